package sockdiag

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// A Talk is what the TCP connections of this host to one address and port say,
// of all processes together.
type Talk struct {
	// Waiting counts those on which this host sent last, and heard nothing since.
	Waiting int
	// Longest is how long the one of these has been silent that has been so
	// longest: no byte either way. The kernel counts in steps of some milliseconds.
	Longest time.Duration
	// Heard is how long ago the last byte came on any; negative for never.
	Heard time.Duration
	// Connecting counts those that the other end has not accepted yet.
	Connecting int
}

// manyRemotes is from how many addresses on one listing of all connections is
// cheaper than one for each.
const manyRemotes = 4

// Talks tells of the connections to each of remotes. One to which there is none
// is left out.
func Talks(ctx context.Context, remotes ...netip.AddrPort) (talks map[netip.AddrPort]Talk, err error) {
	wanted := make(map[netip.AddrPort]bool, len(remotes))
	matches := make([]Match, 0, len(remotes))
	for _, r := range remotes {
		m := Match{Remote: r}.normal()
		wanted[m.Remote] = true
		matches = append(matches, m)
	}
	if len(matches) > manyRemotes {
		matches = []Match{{}}
	}
	var c Conn
	defer func() { err = errors.Join(err, c.Close()) }()
	talks = map[netip.AddrPort]Talk{}
	for _, m := range matches {
		if err := ctx.Err(); err != nil {
			return talks, err
		}
		found, err := c.Sockets(m)
		if err != nil {
			return talks, err
		}
		for _, s := range found {
			if wanted[s.Remote] {
				talks[s.Remote] = talks[s.Remote].with(s)
			}
		}
	}
	return talks, nil
}

// with gives t with what s says.
func (t Talk) with(s Socket) Talk {
	if t == (Talk{}) {
		t.Heard = -1
	}
	if s.Connecting() {
		t.Connecting++
		return t
	}
	if s.age.heard && (t.Heard < 0 || s.age.received < t.Heard) {
		t.Heard = s.age.received
	}
	if s.age.sent < s.age.received {
		t.Waiting++
		t.Longest = max(t.Longest, s.silence())
	}
	return t
}

// DestroySilent destroys the TCP connections that the processes pids have to one
// of the addresses, if for the time that goes with it no byte came or went, or
// if the other end has not accepted them yet: nothing was sent on those. It gives
// the number of those destroyed by remote address. See Destroy.
func DestroySilent(ctx context.Context, pids []int, silence map[netip.AddrPort]time.Duration) (map[netip.AddrPort]int, error) {
	return destroyOf(ctx, pids, slices.Collect(maps.Keys(silence)), func(s Socket) bool {
		limit, ok := silence[s.Remote]
		return ok && (s.Connecting() || s.silence() >= limit)
	})
}

// An age tells how long ago bytes passed on a connection.
type age struct {
	sent, received time.Duration // since it was made, where none ever did
	acked          time.Duration
	heard          bool // a byte came ever
	unacked        bool // the other end has not confirmed all that was sent
	// again is for how long, up to when it was sent last, the first of what is not
	// confirmed has been sent again and again; 0 where it was sent once.
	again time.Duration
}

// silence gives for how long no byte has come or gone on s. What is sent again,
// and confirmed by nobody, does not count as sent; nor, then, what the other end sends
// again, since it does not hear either that it was heard: the kernel takes that for a
// confirmation of what was confirmed long ago.
func (s Socket) silence() time.Duration {
	switch {
	case s.age.again > 0:
		return min(max(s.age.again+s.age.sent, s.age.acked), s.age.received)
	case s.age.unacked:
		return min(s.age.acked, s.age.received)
	}
	return min(s.age.sent, s.age.received)
}

// Offsets in struct tcp_info (linux/tcp.h), in bytes.
const (
	infoBackoff      = 4 // so often the time until it is sent again was doubled; 8 bits
	infoTimeout      = 8 // that time, in microseconds
	infoUnacked      = 24
	infoLastSent     = 44 // milliseconds, as the two after it
	infoLastReceived = 52
	infoLastAcked    = 56
	infoReceived     = 128 // bytes, 64 bits; since Linux 4.1
	infoLength       = infoReceived + 8
)

// readAge reads a struct tcp_info; one that is too short says nothing.
func readAge(info []byte) age {
	if len(info) < infoLength {
		return age{}
	}
	ago := func(at int) time.Duration {
		return time.Duration(binary.NativeEndian.Uint32(info[at:])) * time.Millisecond
	}
	timeout := time.Duration(binary.NativeEndian.Uint32(info[infoTimeout:])) * time.Microsecond
	return age{
		// It was t, 2t, 4t and so on, and is to be the next of these.
		again: timeout - timeout>>info[infoBackoff],
		sent:  ago(infoLastSent), received: ago(infoLastReceived), acked: ago(infoLastAcked),
		heard:   binary.NativeEndian.Uint64(info[infoReceived:]) > 0,
		unacked: binary.NativeEndian.Uint32(info[infoUnacked:]) > 0,
	}
}
