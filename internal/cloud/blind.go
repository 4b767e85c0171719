package cloud

import (
	"fmt"
	"slices"
	"time"

	"holdfast/internal/reach"
	"holdfast/internal/status"
)

// Leads reports whether f explains others, and is to be told before anything else.
func Leads(f status.Finding) bool {
	return slices.Contains([]string{status.CodeIsolated, status.CodeBlind, status.CodeBadLink}, f.Code)
}

// A blindness is what the HAProxy of one controller alone does not reach.
type blindness struct {
	controller string
	hosts      []string // that it finds down, and all others up
	services   []string // of which it has no host, and others have
	by         []string // who reach them
	since      time.Time
}

// findBlind tells of controllers that are themselves what is wrong with hosts:
// each of these is down for one controller and up for all others. One host that
// one controller does not reach may as well be the host's fault, unless it was
// the last of a service.
func (m *merger) findBlind() {
	for _, s := range m.seeing {
		if s.HAProxy.State != status.HAProxyRunning {
			continue
		}
		b := m.blindness(s.Controller)
		if len(b.hosts) < 2 && len(b.services) == 0 {
			continue
		}
		m.blind = append(m.blind, b)
		m.tellBlind(b)
	}
}

// blindness gives what only controller does not reach.
func (m *merger) blindness(controller string) blindness {
	b := blindness{controller: controller}
	for _, s := range m.out.Services {
		has, lacks := false, false
		var others []string
		for _, h := range s.Hosts {
			own, up, down := h.seenBy(controller)
			has = has || own.State == status.Up || own.State == status.Unknown
			others = withAll(others, up)
			lacks = lacks || own.State == status.Down && own.settled
			if own.State != status.Down || !own.settled || len(up) == 0 || down {
				continue
			}
			b.hosts, b.by = with(b.hosts, h.Name), withAll(b.by, up)
			if b.since.IsZero() || own.Since.Before(b.since) {
				b.since = own.Since
			}
		}
		if lacks && len(others) > 0 && !has && !m.servesAtLast(controller, s.Name) {
			b.services, b.by = append(b.services, s.Name), withAll(b.by, others)
		}
	}
	return b
}

// seenBy gives how controller sees h, which others find it up for long enough,
// and whether any other finds it down.
func (h Host) seenBy(controller string) (own HostView, up []string, down bool) {
	for _, v := range h.Views {
		switch {
		case v.Controller == controller:
			own = v
		case v.State == status.Down:
			down = true
		case v.State == status.Up && v.settled:
			up = append(up, v.Controller)
		}
	}
	return own, up, down
}

// servesAtLast reports whether hosts that fail their checks serve at controller.
func (m *merger) servesAtLast(controller, service string) bool {
	return slices.ContainsFunc(m.seeing, func(s *status.Snapshot) bool {
		return s.Controller == controller && slices.ContainsFunc(s.Services, func(v status.Service) bool { return v.Name == service && v.LastResort })
	})
}

func (m *merger) tellBlind(b blindness) {
	severity, remedy := status.Warning, "look at its link, its filters and its routes"
	with := also{"HAProxy of " + b.controller + " cut off from hosts", b.since, m.lookAtLink(b.controller)}
	text := fmt.Sprintf("its HAProxy does not reach %s, and %s", status.List(b.hosts), reaches(b.by))
	if len(b.services) > 0 {
		text = fmt.Sprintf("its HAProxy reaches no host of %s, and %s", status.List(b.services), reaches(b.by))
		if len(b.hosts) > 0 {
			text += "; out of its reach: " + status.List(b.hosts)
		}
	}
	if held := m.heldBy(b.controller); len(held) > 0 {
		text += "; it holds VIP " + status.List(held)
		if to := m.betterThan(b); len(b.services) > 0 {
			severity = status.Error
			text += ", so clients get errors"
			if to != "" {
				remedy = "holdfast handover --to " + to + " ends that, if the agent does not within some seconds; then look at the link, the filters and the routes of " + b.controller
				with.command = command("holdfast handover --to %1", to)
			}
		}
	} else if len(b.services) > 0 {
		remedy += "; a handover to it is refused meanwhile"
	}
	m.find(severity, status.CodeBlind, "controller "+b.controller, text, remedy, with)
}

// findLags tells of controllers whose own link is bad, beside those that are blind.
func (m *merger) findLags() {
	var views []reach.View
	for _, s := range m.seeing {
		views = append(views, reach.View{Controller: s.Controller, Paths: s.Paths})
	}
	for i, s := range m.seeing {
		lag := reach.FindLag(views[i], views)
		told := slices.ContainsFunc(m.blind, func(b blindness) bool { return b.controller == s.Controller })
		if len(lag.Hosts) == 0 || told {
			continue
		}
		text, remedy := lag.String(), "look at its link, its switch port and its routes"
		with := also{brief: "link of " + s.Controller + " bad", command: m.lookAtLink(s.Controller)}
		if held := m.heldBy(s.Controller); len(held) > 0 {
			text += "; it holds VIP " + status.List(held)
			if to := m.takerOf(lag); to != "" {
				remedy = "holdfast handover --to " + to + " ends that for clients, if the agent does not within a minute; then look at the link, the switch port and the routes of " + s.Controller
				with.command = command("holdfast handover --to %1", to)
			}
		}
		m.lagging = append(m.lagging, s.Controller)
		m.find(status.Warning, status.CodeBadLink, "controller "+s.Controller, text, remedy, with)
	}
}

// takerOf gives a controller that is better and may take a VIP; "" for none.
func (m *merger) takerOf(l reach.Lag) string {
	for _, s := range m.seeing {
		if slices.Contains(l.By, s.Controller) && s.HAProxy.State == status.HAProxyRunning && !status.DrainedWhole(s.Drains) {
			return s.Controller
		}
	}
	return ""
}

func reaches(who []string) string {
	if len(who) == 1 {
		return who[0] + " does"
	}
	return status.List(who) + " do"
}

// betterThan gives a controller that has a host of every service which b lacks;
// "" for none.
func (m *merger) betterThan(b blindness) string {
	for _, a := range m.answers {
		if a.Name == b.controller || !slices.Contains(b.by, a.Name) || a.Snapshot == nil || status.DrainedWhole(a.Snapshot.Drains) {
			continue
		}
		all := true
		for _, s := range m.out.Services {
			if slices.Contains(b.services, s.Name) {
				all = all && slices.ContainsFunc(s.Hosts, func(h Host) bool {
					own, _, _ := h.seenBy(a.Name)
					return own.State == status.Up
				})
			}
		}
		if all {
			return a.Name
		}
	}
	return ""
}

// explained reports whether it is told already why h is seen differently: by
// the controllers that do not reach it.
func (m *merger) explained(h Host) bool {
	down := slices.DeleteFunc(slices.Clone(h.Views), func(v HostView) bool { return v.State != status.Down })
	return len(down) > 0 && !slices.ContainsFunc(down, func(v HostView) bool {
		return !slices.ContainsFunc(m.blind, func(b blindness) bool {
			return b.controller == v.Controller && slices.Contains(b.hosts, h.Name)
		})
	})
}

// blindTo gives the blindness by which the service is down, if that is why.
func (m *merger) blindTo(service string) (blindness, bool) {
	for _, b := range m.blind {
		if len(m.seeing) > 0 && b.controller == m.seeing[0].Controller && slices.Contains(b.services, service) {
			return b, true
		}
	}
	return blindness{}, false
}

func with(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

func withAll(names, more []string) []string {
	for _, name := range more {
		names = with(names, name)
	}
	return names
}
