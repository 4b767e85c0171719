package cloud

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/status"
)

// findServices tells of services and of hosts of them that do not answer.
func (m *merger) findServices() {
	var unknown []string
	for _, s := range m.out.Services {
		switch {
		case s.State == status.Down:
			m.findServiceDown(s)
		case s.LastResort:
			m.findLastResort(s)
		}
		m.findLate(s)
		if s.State == status.Unknown {
			unknown = append(unknown, s.Name)
		}
	}
	if len(unknown) > 0 {
		m.find(status.Warning, status.CodeServiceUnknown, subjects("service", unknown), "no health check has ended yet",
			"wait for the first; if it stays so, see whether HAProxy runs",
			also{brief: status.Few(unknown) + " not checked yet", command: "holdfast status --watch"})
	}
	m.findHostsDown()
	m.findDisagreements()
	m.findDrained()
}

func (m *merger) findServiceDown(s Service) {
	var whys []string
	for _, h := range s.Hosts {
		whys = append(whys, h.why())
	}
	text, remedy := "no host answers: ", "see its log on each host; it comes back by itself once a check passes"
	if same := slices.Compact(slices.Clone(whys)); len(same) == 1 {
		text += same[0] + " on " + status.List(names(s.Hosts))
	} else {
		for i, h := range s.Hosts {
			whys[i] = h.Name + ": " + whys[i]
		}
		text += strings.Join(whys[:min(len(whys), status.Listed)], ", ")
	}
	with := also{brief: s.Name + " down", since: s.wentDown()}
	if len(s.Hosts) > 0 {
		with.command = lookAtUnit(s.Name, s.Hosts[0].Name)
	}
	if b, blind := m.blindTo(s.Name); blind {
		with.command = m.lookAtLink(b.controller)
		text, remedy = "no host answers "+b.controller+", whose HAProxy clients reach; others have it up", "see what is said of controller "+b.controller
	}
	if !slices.Contains(s.states(), status.Down) {
		text, remedy = "every host is drained: "+status.List(names(s.Hosts)), "holdfast undrain one of them"
		if with.brief = s.Name + " drained everywhere"; len(s.Hosts) > 0 {
			with.command = undrain(s.Hosts[0].Name, s.Name)
		}
	}
	m.find(status.Error, status.CodeServiceDown, "service "+s.Name, text, remedy, with)
}

// wentDown gives when the last host of s came into the state that it is in.
func (c Service) wentDown() time.Time {
	var last time.Time
	for _, h := range c.Hosts {
		if h.Since.After(last) {
			last = h.Since
		}
	}
	return last
}

// findLastResort tells of a service none of whose hosts passes its check, and
// which is served all the same.
func (m *merger) findLastResort(s Service) {
	var whys []string
	for _, h := range s.Hosts {
		whys = append(whys, h.Name+": "+h.why())
	}
	m.find(status.Error, status.CodeServiceLastResort, "service "+s.Name,
		"no host passes its check; those that accept a connection serve all the same ("+strings.Join(whys[:min(len(whys), status.Listed)], ", ")+")",
		"see its log on each host, and what they share, as a database; it ends by itself once a check passes",
		also{s.Name + " fails on every host", s.wentDown(), lookAtUnit(s.Name, s.Hosts[0].Name)})
}

// lateFor is how long a host must be late before that is a finding: until then
// it is a moment's load.
const lateFor = 10 * time.Second

// findLate tells of hosts whose answers take longer than their check may: more
// is asked of them than they can do.
func (m *merger) findLate(s Service) {
	var late []string
	var worst Host
	for _, h := range s.Hosts {
		if h.Condition == status.Late && h.State == status.Up && m.now.Sub(h.ConditionSince) >= lateFor && !slices.Contains(m.lagging, h.Name) {
			late = append(late, h.Name)
			worst = h
		}
	}
	if len(late) == 0 {
		return
	}
	m.find(status.Warning, status.CodeServiceLate, "service "+s.Name, "late on "+status.List(late)+": "+worst.Evidence,
		"more waits there than it can do: give it more workers or hosts, or bound what each gets with limit:; it stays in use",
		also{s.Name + " late on " + status.Few(late), worst.ConditionSince, command("ssh %1 top -bn1", worst.Name)})
}

// judged reports whether h is down by what clients of the VIP's holder got of it: other HAProxys, which
// have no clients, need not have seen that.
func (h Host) judged() bool {
	return h.State == status.Down && (h.Condition == status.Hung || h.Condition == status.Failing) && h.Evidence != ""
}

// why says why h is as it is: what the evidence says of it, or its check.
func (h Host) why() string {
	switch {
	case h.State == status.Drain:
		return "drained"
	case h.State == status.Down && h.Evidence != "" && h.Condition != status.Well && h.Condition != "":
		return string(h.Condition) + ", " + h.Evidence
	case h.Check != "":
		return h.Check
	}
	return "its check fails"
}

// findHostsDown tells of hosts that are down while their service has others. A
// host on which nothing answers any more is one finding, not one a service.
func (m *merger) findHostsDown() {
	told := map[string]bool{}
	for _, s := range m.out.Services {
		for _, h := range s.Hosts {
			if h.State != status.Down || s.State == status.Down || s.LastResort || h.disagrees() && !h.judged() || told[h.Name] || m.lost(h.Name) {
				continue
			}
			down, whole := m.downOn(h.Name)
			switch {
			case whole && m.unreachable(h.Name): // said with the controller, as is all of one that is lost
			case whole:
				told[h.Name] = true
				m.find(status.Warning, status.CodeHostDown, "host "+h.Name,
					fmt.Sprintf("none of its %d services answers: %s (%s)", len(down), h.why(), status.List(down)),
					"is the host up, and does "+m.asker()+" reach "+h.Address+"?",
					also{"all services on " + h.Name + " down", m.firstDown(h.Name), command("ssh %1 ping -c 3 %2", m.asker(), bare(h.Address))})
			default:
				m.find(status.Warning, status.CodeHostDown, status.HostSubject(s.Name, h.Name), "down: "+h.why(),
					"see its log there; it comes back by itself once its check passes",
					also{s.Name + " down on " + h.Name, h.Since, lookAtUnit(s.Name, h.Name)})
			}
		}
	}
}

// downOn gives the services that are down on a host, and whether those are all
// that it has, and several.
func (m *merger) downOn(host string) (down []string, whole bool) {
	all := 0
	for _, s := range m.out.Services {
		for _, h := range s.Hosts {
			if h.Name != host {
				continue
			}
			all++
			if h.State == status.Down && !h.disagrees() {
				down = append(down, s.Name)
			}
		}
	}
	return down, all > 1 && len(down) == all
}

// firstDown gives when the first of the services that are down on a host went down.
func (m *merger) firstDown(host string) time.Time {
	var first time.Time
	for _, s := range m.out.Services {
		for _, h := range s.Hosts {
			if h.Name == host && h.State == status.Down && (first.IsZero() || h.Since.Before(first)) {
				first = h.Since
			}
		}
	}
	return first
}

// asker gives the controller whose HAProxy is believed.
func (m *merger) asker() string {
	if len(m.seeing) == 0 {
		return "the load balancer"
	}
	return m.seeing[0].Controller
}

// findDisagreements tells of hosts that HAProxys see differently for longer
// than their checks explain, one finding for each host and way to differ.
func (m *merger) findDisagreements() {
	services, seen := map[[2]string][]string{}, map[[2]string]also{}
	var order [][2]string
	for _, s := range m.out.Services {
		for _, h := range s.Hosts {
			words := h.disagreement()
			if words == "" || m.explained(h) || h.judged() || m.lost(h.Name) {
				continue
			}
			key := [2]string{h.Name, words}
			if services[key] == nil {
				order = append(order, key)
			}
			services[key] = append(services[key], s.Name)
			seen[key] = h.alsoSeen(services[key])
		}
	}
	for _, key := range order {
		m.find(status.Warning, status.CodeHostDisagreement, subjects("service", services[key])+" on "+key[0], key[1],
			"check the network between "+key[0]+" and the controllers that find it down", seen[key])
	}
}

// alsoSeen gives since when h is seen differently, and how one sees what the other does not.
func (h Host) alsoSeen(services []string) also {
	with := also{brief: status.Few(services) + " on " + h.Name + " seen differently"}
	for _, v := range h.Views {
		if v.settled && v.Since.After(with.since) {
			with.since = v.Since
		}
		if v.State == status.Down && v.settled {
			with.command = curlFrom(v.Controller, h.Address)
		}
	}
	return with
}

// disagreement says who sees h how: "up for a, b, down for c (why)"; "" when
// all agree or a change is too young.
func (h Host) disagreement() string {
	var parts []string
	for _, state := range []status.ServiceState{status.Up, status.Drain, status.Down} {
		var who []string
		why := ""
		for _, v := range h.Views {
			if v.State == state && v.settled {
				who = append(who, v.Controller)
				why = v.Check
			}
		}
		if len(who) == 0 {
			continue
		}
		part := string(state) + " for " + status.List(who)
		if state == status.Down && why != "" {
			part += " (" + why + ")"
		}
		parts = append(parts, part)
	}
	if len(parts) < 2 {
		return ""
	}
	return strings.Join(parts, ", ")
}

// findDrained tells what HAProxys find taken out on purpose that no agent says
// it drains, one finding a host: its agent does not answer, or somebody did it by hand.
func (m *merger) findDrained() {
	drained, all, since := map[string][]string{}, map[string]int{}, map[string]time.Time{}
	var order []string
	for _, s := range m.out.Services {
		for _, h := range s.Hosts {
			all[h.Name]++
			if h.State != status.Drain || m.drains(h.Address, s.Name) {
				continue
			}
			if drained[h.Name] == nil {
				order = append(order, h.Name)
			}
			drained[h.Name] = append(drained[h.Name], s.Name)
			if h.Since.After(since[h.Name]) {
				since[h.Name] = h.Since
			}
		}
	}
	for _, host := range order {
		subject, remedy := "host "+host, "holdfast undrain "+host+" puts it back"
		with := also{host + " drained", since[host], undrain(host, "")}
		if part := drained[host]; len(part) < all[host] {
			subject = subjects("service", part) + " on " + host
			remedy = "holdfast undrain " + host + " --service " + part[0] + " puts it back"
			with.brief, with.command = status.Few(part)+" drained on "+host, undrain(host, part[0])
		}
		m.find(status.Info, status.CodeDrained, subject, "drained on purpose", remedy, with)
	}
}

func names(hosts []Host) []string {
	var all []string
	for _, h := range hosts {
		all = append(all, h.Name)
	}
	return all
}
