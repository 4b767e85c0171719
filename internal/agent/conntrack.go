package agent

import (
	"fmt"

	"holdfast/internal/status"
	"holdfast/internal/vip/conntrack"
)

const (
	// Shares of the table of tracked connections: from which one on it is said,
	// and below which one it is over.
	conntrackHigh, conntrackLow = 0.8, 0.7
)

// lackOfTracking says that the table of tracked connections is filling up; known
// that it was said.
func lackOfTracking(u conntrack.Use, known bool) *status.Finding {
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
	u, err := conntrack.ReadUse()
	if err != nil {
		a.log.Debug("the table of tracked connections is not known", "error", err)
		return
	}
	a.mu.Lock()
	_, known := a.findings[status.CodeConntrackFull]
	a.mu.Unlock()
	a.report(status.CodeConntrackFull, lackOfTracking(u, known))
}
