package agent

import (
	"context"
	"fmt"
	"time"

	"holdfast/internal/status"
	"holdfast/internal/vip"
)

const (
	// Shares of the table of tracked connections: from which one on it is said,
	// below which one it is over, and from which one on this controller takes
	// no VIP from one that may have room.
	conntrackHigh, conntrackLow, conntrackFull = 0.8, 0.7, 0.95
	// trackedAfterEnd is for how many seconds the kernel tracks a TCP connection
	// that has ended (nf_conntrack_tcp_timeout_time_wait).
	trackedAfterEnd = 120
	// trackedTwice: HAProxy has a connection to a host for one of a client, where all are tracked.
	trackedTwice = 2
)

// lackOfTracking says that the table of tracked connections is filling up; known
// that it was said.
func lackOfTracking(u vip.ConntrackUse, known bool) *status.Finding {
	least := conntrackHigh
	if known {
		least = conntrackLow
	}
	if u.Share() < least {
		return nil
	}
	return &status.Finding{
		Severity: status.Warning, Code: status.CodeConntrackFull, Subject: "kernel",
		Text:   fmt.Sprintf("the table of tracked connections is filling up: %s; when it is full, new connections and adverts are dropped", u),
		Remedy: "raise net.netfilter.nf_conntrack_max, or have the firewall track less; conntrack -S counts what was dropped",
	}
}

// watchTracking reports how full the table is.
func (a *Agent) watchTracking() {
	u, err := vip.ReadConntrackUse()
	if err != nil {
		a.log.Debug("the table of tracked connections is not known", "error", err)
		return
	}
	a.mu.Lock()
	_, known := a.findings[status.CodeConntrackFull]
	a.mu.Unlock()
	a.report(status.CodeConntrackFull, lackOfTracking(u, known))
}

// noRoomFor says why this host cannot track the connections of a VIP that it is
// to take, "" if it can. A Detour switches conntrack on where nothing else has, and
// then, narrow, for the VIP's alone; or for the whole host, of which before tells: a
// table that was of no account fills up. Conns and rate are those of the giver, open
// and new in a second.
func noRoomFor(before, now vip.ConntrackUse, narrow bool, conns, rate int) string {
	if now.Max == 0 || !narrow && before.Count > 0 { // it is not known, or was on
		return ""
	}
	need := conns + rate*trackedAfterEnd
	if !narrow {
		need *= trackedTwice
	}
	if room := int(conntrackHigh*float64(now.Max)) - now.Count; need > room {
		return fmt.Sprintf("to send connections on it would have to track about %d, and net.netfilter.nf_conntrack_max is %d there; raise it", need, now.Max)
	}
	return ""
}

// tooFull says why this host is no place for a VIP; nil if it is.
func tooFull() error {
	u, err := vip.ReadConntrackUse()
	if err != nil || u.Share() < conntrackFull {
		return nil //nolint:nilerr // what is not known is no reason
	}
	return fmt.Errorf("its table of tracked connections is full, %s: it drops new connections; raise net.netfilter.nf_conntrack_max there", u)
}

// loadTimeout is how long HAProxy may take to tell of its load.
const loadTimeout = 500 * time.Millisecond

// clientLoad asks HAProxy for its open connections and the new ones in a second;
// zero where it does not say.
func (a *Agent) clientLoad(ctx context.Context) (conns, rate int) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	info, err := a.haproxy.Info(ctx)
	if err != nil {
		return 0, 0
	}
	return info.Conns, info.ConnRate
}
