// Package bgp decides what a controller announces by BGP: from the spec and from what the
// controller knows of itself it says whether it has the address of a VIP, whether routers
// are told of it, and with which attributes. It opens no socket, and knows no clock: time
// comes in as a value.
//
// All controllers that are well announce a VIP, so one that is not needs nobody's leave to
// withdraw it; and where none is well there is no route, which is what its clients get
// told by the last router. Nothing here depends on what another controller does.
package bgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"holdfast/internal/spec"
)

// A State is what a controller does with one VIP.
type State string

// The states.
const (
	Withdrawn State = "withdrawn" // no router is told of it, and the address is not here
	Announced State = "announced"
	// Resuming: an agent before this one announced it, routers have kept that, and this one
	// does not know yet whether it is well.
	Resuming State = "resuming"
	// Draining: routers are told to prefer any other controller (RFC 8326), and the
	// address stays for the connections that are open.
	Draining State = "draining"
	// Lingering: no router is told of it any more, and the address stays for what is
	// still on its way.
	Lingering State = "lingering"
)

// Facts are what the controller knows of itself at one moment.
type Facts struct {
	// Unfit says why HAProxy does not serve: "HAProxy is down"; empty: it does.
	Unfit string
	// Checked reports whether the first checks of the services of the VIP have ended: until
	// then nobody knows whether they have a host.
	Checked bool
	// Serves reports whether some service of the VIP has a host that takes requests.
	Serves bool
	// Drained has why the controller is taken out of service by a person; empty: it is not.
	Drained string
	// Leaving has why the agent is about to end for longer; empty: it is not, or it is only
	// started again.
	Leaving string
	// Connections is how many of other hosts are open to the addresses; less than 0: nobody
	// knows.
	Connections int
}

// A Decision is what is to be done about one VIP.
type Decision struct {
	State  State
	Since  time.Time // when State began
	Reason string    // why: "HAProxy is down: exit 1"; empty where it is announced as it should be
	// Address and Route say whether the kernel is to have the address, and routers a route.
	Address, Route bool
	// Shutdown has the route carry GRACEFUL_SHUTDOWN.
	Shutdown bool
	// Closing has HAProxy tell clients of the VIP to come anew, with the next answer.
	Closing bool
}

// Times of a Machine.
const (
	// NoHostFor is how long no service may have a host before the VIP is withdrawn: all
	// checks of a cloud may fail for a moment.
	NoHostFor = 3 * time.Second
	// SettleFor is how long a drain lasts at least: routers take up to seconds to take a
	// changed route into their tables, and connections that are under way until then come here.
	SettleFor = 3 * time.Second
	// LingerFor is how long the address stays behind its route.
	LingerFor = 2 * time.Second
)

// A Machine decides about one VIP. It is not for several goroutines.
type Machine struct {
	limit   time.Duration
	restart time.Duration
	is      Decision
	checked bool
	hosted  time.Time // when a service last had a host
}

// NewMachine gives one that announces nothing. limit is how long connections may go on while
// the controller is drained: agent.handover_limit. restart is 0, or for how long routers go
// on with what an agent before this one announced (RFC 4724), which had the address: until
// then it stays, for this one to find out whether it is well.
func NewMachine(now time.Time, limit, restart time.Duration) *Machine {
	m := &Machine{limit: limit, restart: restart, is: Decision{State: Withdrawn, Since: now, Reason: "the agent has just started"}}
	if restart > 0 {
		m.enter(now, Resuming, m.is.Reason)
	}
	return m
}

// SetLimit changes how long connections may go on.
func (m *Machine) SetLimit(limit time.Duration) { m.limit = limit }

// Decision gives the last one.
func (m *Machine) Decision() Decision { return m.is }

// Step decides anew, with what is known at now.
func (m *Machine) Step(now time.Time, f Facts) Decision {
	if f.Unfit != "" {
		m.checked = false // the checks of the next HAProxy begin anew
	} else if f.Checked {
		m.checked = true
	}
	if f.Serves || m.hosted.IsZero() {
		m.hosted = now
	}
	switch hard, soft := m.hard(now, f), cmp.Or(f.Leaving, f.Drained); {
	case hard != "" && m.is.State == Resuming && now.Sub(m.is.Since) < m.restart:
		m.is.Reason = hard
	case hard != "":
		m.enter(now, Withdrawn, hard)
	case soft == "":
		m.enter(now, Announced, "")
	default:
		m.leave(now, soft, f.Connections)
	}
	return m.is
}

// hard gives why the VIP is of no use here, as nobody would be served.
func (m *Machine) hard(now time.Time, f Facts) string {
	switch {
	case f.Unfit != "":
		return f.Unfit
	case !m.checked:
		return "the first checks have not ended"
	case !f.Serves && (m.is.State == Withdrawn || m.is.State == Resuming || now.Sub(m.hosted) >= NoHostFor):
		return "no service has a host"
	}
	return ""
}

// leave goes one step further in giving the VIP up without a connection lost.
func (m *Machine) leave(now time.Time, why string, connections int) {
	in := now.Sub(m.is.Since)
	switch m.is.State {
	case Announced, Resuming:
		m.enter(now, Draining, why)
	case Draining:
		m.is.Reason = why
		switch {
		case in >= SettleFor && connections == 0:
			m.enter(now, Lingering, why)
		case in >= max(m.limit, SettleFor):
			m.enter(now, Lingering, fmt.Sprintf("%s; %s is over", why, m.limit))
		}
	case Lingering:
		if in >= LingerFor {
			m.enter(now, Withdrawn, m.is.Reason)
		}
	case Withdrawn:
		m.is.Reason = why
	}
}

// enter makes the Decision of a state.
func (m *Machine) enter(now time.Time, s State, why string) {
	since := now
	if s == m.is.State {
		since = m.is.Since
	}
	m.is = Decision{
		State: s, Since: since, Reason: why,
		Address: s != Withdrawn, Route: s == Announced || s == Draining, Shutdown: s == Draining, Closing: s == Draining,
	}
}

// A Route is what routers are told of one address.
type Route struct {
	Prefix netip.Prefix // of one address
	// MED is MULTI_EXIT_DISC (RFC 4271 section 5.1.4): the least is preferred.
	MED uint32
	// Prepend is how often the own number stands in AS_PATH beside the one time that it must.
	Prepend     int
	Communities []uint32 // sorted
}

// medStep is the distance of two controllers' MED, which leaves room for others between.
const medStep = 10

// mostPrepended bounds AS_PATH: more has some routers refuse the route.
const mostPrepended = 9

// Routes gives what controller announces of v by d; none where it announces nothing.
func Routes(s *spec.Spec, v spec.VIP, controller string, d Decision) []Route {
	if !d.Route || s.BGP == nil {
		return nil
	}
	communities := slices.Clone(s.BGP.Communities)
	if d.Shutdown {
		communities = append(communities, spec.GracefulShutdown)
	}
	slices.Sort(communities)
	communities = slices.Compact(communities)
	rank := s.Rank(v, controller)
	var all []Route
	for _, a := range v.Addrs() {
		r := Route{Prefix: netip.PrefixFrom(a, a.BitLen()), Communities: communities}
		switch v.Order {
		case spec.OrderMED:
			r.MED = uint32(rank * medStep)
		case spec.OrderPrepend:
			r.Prepend = min(rank, mostPrepended)
		case spec.OrderEqual:
		}
		all = append(all, r)
	}
	return all
}

// Same reports whether two routes say the same.
func (r Route) Same(o Route) bool {
	return r.Prefix == o.Prefix && r.MED == o.MED && r.Prepend == o.Prepend && slices.Equal(r.Communities, o.Communities)
}

// Change gives what of is must be told anew for routers to know next, and which prefixes are
// to be withdrawn.
func Change(is, next []Route) (announce []Route, withdraw []netip.Prefix) {
	for _, r := range next {
		if !slices.ContainsFunc(is, r.Same) {
			announce = append(announce, r)
		}
	}
	for _, r := range is {
		if !slices.ContainsFunc(next, func(n Route) bool { return n.Prefix == r.Prefix }) {
			withdraw = append(withdraw, r.Prefix)
		}
	}
	return announce, withdraw
}
