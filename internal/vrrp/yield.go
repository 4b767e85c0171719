package vrrp

import (
	"net/netip"
	"time"
)

// yielding is what a machine knows of the handover that it is in. It is Active
// all the while: it has the addresses until the other one is heard.
type yielding struct {
	on    bool
	to    netip.Addr // invalid: whoever takes over first
	any   bool       // adverts of to come from an address that is not known
	until time.Time
}

// Yielding reports whether a Yield is under way.
func (m *Machine) Yielding() bool { return m.state == Active && m.active.yield.on }

// yield begins a handover, or replaces the one under way.
func (m *Machine) yield(now time.Time, e Yield) {
	to := e.To.WithZone("")
	if m.state != Active || e.Wait <= 0 || to.IsValid() && to == m.cfg.Source {
		return
	}
	m.active.yield = yielding{on: true, to: to, any: e.AnySource, until: now.Add(e.Wait)}
	m.advertise(now)
	m.deadline = now.Add(m.cfg.Interval)
}

// stay ends a handover, as if its time were over.
func (m *Machine) stay(now time.Time) {
	if !m.Yielding() {
		return
	}
	m.active.yield = yielding{}
	m.advertise(now)
	m.deadline = now.Add(m.cfg.Interval)
}

// taken reports whether a says that the router to hand over to has taken over.
func (y *yielding) taken(a AdvertReceived) bool {
	return y.on && a.Priority > 0 && (y.any || !y.to.IsValid() || a.Src.WithZone("") == y.to)
}

// A given is a directed advert of priority 0: its sender hands over to this
// router, and goes on telling the group that it is Active, for the others.
type given struct {
	from  netip.Addr
	until time.Time
}

// directed takes in a directed advert of priority 0. What its sender tells the
// group does not count until an interval and a half later: the next one is due
// after an interval, and may be lost.
func (g *given) directed(now time.Time, a AdvertReceived) {
	if a.Directed {
		g.from, g.until = a.Src, now.Add(max(a.Interval, MinInterval)*3/2)
	}
}

// covers reports whether a is not to be counted.
func (g *given) covers(now time.Time, a AdvertReceived) bool {
	return a.Priority > 0 && a.Src == g.from && now.Before(g.until)
}
