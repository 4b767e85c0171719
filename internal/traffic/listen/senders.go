package listen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"maps"
	"net/netip"
	"os"
	"strconv"
	"time"
)

const (
	// maxSenders bounds the ports that are remembered: HAProxy has one for each thread of
	// each worker.
	maxSenders = 1024
	// lookEvery is how often at the most it is looked who has a port: less than lines may
	// wait, so that those of a new worker are not taken for a stranger's. Where nothing new
	// was found the next look comes later, lookSeldom at the most: who sends from one port
	// after the other is to cost nothing.
	lookEvery, lookSeldom = pause / 2, 400 * time.Millisecond
	// What was found holds for a while: a worker that has ended may have lines left. That a
	// port is a stranger's holds for less, a new worker may have it next.
	lookHolds, strangerHolds = 5 * time.Second, time.Second
)

// Senders know whose sockets datagrams come from: any user of this host can send one. It
// is for one goroutine.
type senders struct {
	allowed func(uid uint32) bool
	known   map[int]sender
	looked  time.Time
	every   time.Duration // that now passes between two looks
	read    func() ([]byte, error)
}

// A sender is who has a port.
type sender struct {
	may   bool
	until time.Time
}

func newSenders(may func(uid uint32) bool) senders {
	return senders{allowed: may, known: map[int]sender{}, every: lookEvery, read: func() ([]byte, error) { return os.ReadFile("/proc/thread-self/net/udp") }}
}

// may reports whether from is a socket of a user that may be HAProxy.
func (s *senders) may(from netip.AddrPort, now time.Time) bool {
	if !from.Addr().IsLoopback() {
		return false
	}
	port := int(from.Port())
	one, ok := s.known[port]
	if (!ok || now.After(one.until)) && now.Sub(s.looked).Abs() >= s.every {
		s.look(now)
		if one, ok = s.known[port]; ok {
			s.every = lookEvery
		} else {
			s.every = min(2*s.every, lookSeldom)
			one = sender{until: now.Add(strangerHolds)}
			s.known[port] = one
		}
	}
	return ok && one.may
}

// look reads which ports are those of users that may be HAProxy.
func (s *senders) look(now time.Time) {
	s.looked = now
	table, err := s.read()
	if err != nil {
		return
	}
	maps.DeleteFunc(s.known, func(_ int, one sender) bool { return now.After(one.until) })
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan() && len(s.known) < maxSenders; {
		if port, uid, ok := socketOf(lines.Bytes()); ok && s.allowed(uid) {
			s.known[port] = sender{true, now.Add(lookHolds)}
		}
	}
}

// socketOf reads a line of /proc/net/udp (proc_net_udp(5)): "12: 0100007F:24FF 00000000:0000
// 07 00000000:00000000 00:00000000 00000000   107 …".
func socketOf(line []byte) (port int, uid uint32, ok bool) {
	fields := bytes.Fields(line)
	if len(fields) < 8 {
		return 0, 0, false
	}
	_, hex, ok := bytes.Cut(fields[1], []byte(":"))
	if !ok {
		return 0, 0, false
	}
	p, err := strconv.ParseUint(string(hex), 16, 16)
	if err != nil {
		return 0, 0, false
	}
	u, err := strconv.ParseUint(string(fields[7]), 10, 32)
	return int(p), uint32(u), err == nil
}

// timestamp reads SCM_TIMESTAMPNS; now where it is none.
func timestamp(data []byte, now time.Time) time.Time {
	if len(data) < 16 {
		return now
	}
	at := time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
	if late := now.Sub(at); late < 0 || late > time.Minute { // the clock was set
		return now
	}
	return at
}

func nativeUint32(data []byte) uint32 { return binary.NativeEndian.Uint32(data) }
