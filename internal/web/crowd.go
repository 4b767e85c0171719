package web

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"holdfast/internal/connlimit"
	"holdfast/internal/status"
)

// Who may have how many connections to the page at once. Controllers ask each
// other for what status, drain and the page of each are made from, so they have
// slots that nobody else can take.
const (
	connectionsOfOne       = 16
	connectionsOfStrangers = 192
)

// class tells the controllers of the spec from all others.
func (s *Server) class(remote netip.AddrPort) (connlimit.Class, bool) {
	for _, t := range s.opt.Controllers() {
		if at, err := netip.ParseAddrPort(t.Addr); err == nil && at.Addr() == remote.Addr() {
			return connlimit.Class{Name: "controllers", PerPeer: connectionsOfOne}, true
		}
	}
	return connlimit.Class{Name: "strangers", Total: connectionsOfStrangers, PerPeer: connectionsOfOne, Network: true}, true
}

// crowdMemory is how long it is told that connections were refused.
const crowdMemory = time.Minute

// A crowd is what is known of connections that were refused, for there were too
// many.
type crowd struct {
	mu      sync.Mutex // guards following
	first   time.Time  // of those told of
	last    time.Time
	from    netip.Addr // who came last
	refused int        // since first
}

// tooMany notes that a connection was refused, and logs the first one in a while.
func (s *Server) tooMany(remote netip.AddrPort, _ connlimit.Class) {
	now := s.opt.Now()
	if s.crowd.add(remote.Addr(), now) {
		s.opt.Log.Warn("connections to the page are refused: too many are open", "from", remote.Addr())
	}
}

// add notes one that was refused at now, and reports whether none was for a while.
func (c *crowd) add(from netip.Addr, now time.Time) (fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fresh = c.refused == 0 || now.Sub(c.last) > crowdMemory; fresh {
		c.first, c.refused = now, 0
	}
	c.last, c.from = now, from
	c.refused++
	return fresh
}

// finding says that connections were refused within the last while; nil if not.
func (c *crowd) finding(controller string, now time.Time) *status.Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == 0 || now.Sub(c.last) > crowdMemory {
		return nil
	}
	return &status.Finding{
		Severity: status.Warning, Code: status.CodePageCrowded, Subject: "controller " + controller,
		Text: fmt.Sprintf("its page has refused %s since %s, last from %s: one address may have %d at once, and all but controllers %d together",
			status.Count(c.refused, "connection"), c.first.UTC().Format("15:04:05 UTC"), c.from, connectionsOfOne, connectionsOfStrangers),
		Remedy: "see with ss -tn who has them open; what controllers ask each other has its own, and goes on",
	}
}
