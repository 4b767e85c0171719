package handover

import (
	"context"
	"fmt"
	"time"

	"holdfast/internal/vip/conntrack"
)

const (
	// Shares of the table of tracked connections: up to which one it may fill for a
	// move, and from which one on this controller takes no VIP from one that may have room.
	roomShare, fullShare = 0.8, 0.95
	// trackedAfterEnd is for how many seconds the kernel tracks a TCP connection
	// that has ended (nf_conntrack_tcp_timeout_time_wait).
	trackedAfterEnd = 120
	// trackedTwice: HAProxy has a connection to a host for one of a client, where all are tracked.
	trackedTwice = 2
	// infoTimeout is how long HAProxy may take to tell of its connections.
	infoTimeout = 500 * time.Millisecond
)

// noRoomFor says why this host cannot track the connections of a VIP that it is
// to take, "" if it can. A Detour switches conntrack on where nothing else has, and
// then, narrow, for the VIP's alone; or for the whole host, of which before tells: a
// table that was of no account fills up. Conns and rate are those of the giver, open
// and new in a second.
func noRoomFor(before, now conntrack.Use, narrow bool, conns, rate int) string {
	if now.Max == 0 || !narrow && before.Count > 0 { // it is not known, or was on
		return ""
	}
	need := conns + rate*trackedAfterEnd
	if !narrow {
		need *= trackedTwice
	}
	if room := int(roomShare*float64(now.Max)) - now.Count; need > room {
		return fmt.Sprintf("to send connections on it would have to track about %d, and net.netfilter.nf_conntrack_max is %d there; raise it", need, now.Max)
	}
	return ""
}

// tooFull says why this host is no place for a VIP; nil if it is.
func tooFull() error {
	u, err := conntrack.ReadUse()
	if err != nil || u.Share() < fullShare {
		return nil //nolint:nilerr // what is not known is no reason
	}
	return fmt.Errorf("its table of tracked connections is full, %s: it drops new connections; raise net.netfilter.nf_conntrack_max there", u)
}

// clientLoad asks HAProxy for its open connections and the new ones in a second;
// zero where it does not say.
func (m *Moves) clientLoad(ctx context.Context) (conns, rate int) {
	ctx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	info, err := m.opt.HAProxy.Info(ctx)
	if err != nil {
		return 0, 0
	}
	return info.Conns, info.ConnRate
}
