package incident

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/internal/status"
)

const (
	// together is within which time what concerns the same host or VIP is one incident.
	together = 15 * time.Second
	// alike is within which time what one controller sees of several hosts, or several
	// controllers do alike, is one incident.
	alike = 5 * time.Second
	// settles is how long an incident that is over takes more of the same.
	settles = 2 * time.Second
	// again is how long after its end an incident takes what begins anew in the same place.
	again = 20 * time.Second
)

// A group is an incident while events are sorted into it.
type group struct {
	entries []entry
	// open has who sees each condition that lasts.
	open map[string]map[string]bool
	// ever has the conditions that were open at any time.
	ever     map[string]bool
	hosts    map[string]bool
	vips     map[string]bool
	services map[string]bool
	topics   map[string]bool
	// last is when the last event came, moved when the last one did that began or ended
	// something.
	last, moved time.Time
	moves       []move
}

// An entry is an event of a group, and its place among all events.
type entry struct {
	status.Event
	facts
	place int
}

// A move is a VIP that went from one controller to another.
type move struct {
	vip, from, to string
	cause         string
}

// A sorter sorts events into groups, in their order.
type sorter struct {
	groups []*group
	sorted int
	holder map[string]string // of each VIP, as far as events say
	ran    map[string]bool   // controllers whose agents were not said to have ended
}

func newSorter() *sorter {
	return &sorter{holder: map[string]string{}, ran: map[string]bool{}}
}

// add sorts e into a group, or leaves it out where it is of none.
func (s *sorter) add(e status.Event) {
	f := read(e, cmp.Or(lostBy(e.Cause), s.holder[strings.TrimPrefix(e.Subject, "vip ")]))
	began := e.Kind == status.EventAgentStarted
	if began && s.ran[e.Controller] {
		f.line, f.fault = false, true // the agent before it has ended without a word
	}
	g := s.find(e, f)
	if g == nil && !f.line {
		g = newGroup()
		s.groups = append(s.groups, g)
	}
	if began {
		s.forget(e)
	}
	if g != nil {
		g.add(entry{e, f, s.sorted})
		if e.Kind == status.EventVIPActive && s.holder[f.vip] != e.Controller {
			g.moves = append(g.moves, move{f.vip, f.host, e.Controller, e.Cause})
		}
	}
	s.sorted++
	s.remember(e, f)
}

// remember notes what later events are held against.
func (s *sorter) remember(e status.Event, f facts) {
	switch e.Kind {
	case status.EventVIPActive:
		s.holder[f.vip] = e.Controller
	case status.EventAgentEnded:
		s.ran[e.Controller] = false
	case status.EventAgentStarted:
		s.ran[e.Controller] = true
	}
}

// forget ends what an agent saw that has been started anew: it begins with what is so now,
// and tells of no change.
func (s *sorter) forget(e status.Event) {
	for _, g := range s.groups {
		for condition := range g.open {
			if !strings.HasPrefix(condition, "agent") && !strings.HasPrefix(condition, "drain ") && !strings.HasPrefix(condition, "haproxy") && !strings.HasPrefix(condition, "left ") {
				g.end(condition, e.Controller, e.When())
			}
		}
	}
}

// find gives the group that e belongs to, nil for none: the one where what it ends is
// open, or else the newest that it is near to, of those that go on first. Two that it is
// near to are one.
func (s *sorter) find(e status.Event, f facts) *group {
	for _, g := range slices.Backward(s.groups) {
		if !g.past(e.When()) && g.knows(e, f) {
			return g
		}
	}
	var found *group
	for _, over := range []bool{false, true} {
		for _, g := range slices.Backward(s.groups) {
			switch {
			case (len(g.open) == 0) != over || g.past(e.When()) || !g.near(e, f):
			case found == nil:
				found = g
			case f.fault && !over && within(e.When(), g.moved, alike), f.fault && over && len(g.ever) == 0: // that only a VIP moved in
				found = s.join(g, found)
			}
		}
	}
	return found
}

// join makes one group of two, in the place of the earlier.
func (s *sorter) join(a, b *group) *group {
	if b.entries[0].place < a.entries[0].place {
		a, b = b, a
	}
	a.absorb(b)
	s.groups = slices.DeleteFunc(slices.Clone(s.groups), func(one *group) bool { return one == b })
	return a
}

// within reports whether two times are no more than that apart, whichever is later: a
// clock may have been wrong.
func within(a, b time.Time, apart time.Duration) bool { return a.Sub(b).Abs() <= apart }

func newGroup() *group {
	return &group{
		open: map[string]map[string]bool{}, ever: map[string]bool{},
		hosts: map[string]bool{}, vips: map[string]bool{}, services: map[string]bool{}, topics: map[string]bool{},
	}
}

// past reports whether g has been over for so long that nothing belongs to it any more.
func (g *group) past(now time.Time) bool { return len(g.open) == 0 && !within(now, g.last, again) }

// knows reports whether g has the condition that e begins or ends. One that comes again
// and again is one incident.
func (g *group) knows(e status.Event, f facts) bool {
	for _, c := range f.closes {
		if _, is := g.open[f.key(c, e)]; is {
			return true
		}
	}
	if f.opens == "" || !g.ever[f.key(f.opens, e)] {
		return false
	}
	return len(g.open) > 0 || len(g.ever) == 1 && within(e.When(), g.last, again) || within(e.When(), g.last, settles)
}

// near reports whether e is about the same place as g, at the same time.
func (g *group) near(e status.Event, f facts) bool {
	now := e.When()
	soon := within(now, g.last, together)
	place := g.hosts[f.host] || g.vips[f.vip]
	switch {
	case g.mixes(f):
		return false
	case f.topic != "":
		return g.topics[f.topic] && within(now, g.last, alike)
	case f.line:
		return (soon || len(g.open) > 0) && (place || g.only(f.service))
	case len(g.open) == 0:
		return g.nearWhenOver(e, f)
	case g.hosts[f.host]:
		return soon || g.wide(f.host)
	case place:
		return soon
	case g.services[f.service]:
		return g.only(f.service) || within(now, g.moved, alike)
	}
	return strings.HasPrefix(f.opens, "down ") && within(now, g.moved, alike) && g.toldDown(e.Controller)
}

// nearWhenOver is near for what explains nothing by itself, and a group that has nothing
// open: what fails after a VIP has moved is why it did, and an agent that is stopped has
// given its VIPs away before. All else has to come at once.
func (g *group) nearWhenOver(e status.Event, f facts) bool {
	if f.fault && !strings.HasPrefix(e.Kind, "handover") && g.onlyGiven() {
		return false // a host that is lost some seconds after it handed a VIP over did not do so for that
	}
	place := g.hosts[f.host]
	if e.Kind != status.EventVIPActive { // of that the host is who had it
		place = place || g.vips[f.vip]
	}
	if len(g.ever) == 0 && (f.fault || f.planned && g.planned()) {
		return place && within(e.When(), g.last, together)
	}
	return place && within(e.When(), g.moved, settles)
}

// mixes reports whether f is wanted and g is not, or the other way: these are never one.
// What fails where somebody works is part of the work.
func (g *group) mixes(f facts) bool {
	if f.fault {
		return g.planned() && !g.underWork(f)
	}
	return f.planned && slices.ContainsFunc(g.entries, func(e entry) bool { return e.fault })
}

// only reports whether g is about one service, and that is it.
func (g *group) only(service string) bool {
	return g.services[service] && len(g.services) == 1
}

// key gives what a condition is called among those of all controllers: most are of their
// teller, those of a host or a VIP are of all.
func (f facts) key(condition string, e status.Event) string {
	switch word, _, _ := strings.Cut(condition, " "); word {
	case "down", "late", "left", "drain":
		return condition
	}
	return condition + " on " + e.Controller
}

// wide reports whether all of host is concerned, rather than one service on it.
func (g *group) wide(host string) bool {
	if g.ever["drain controller "+host] || g.ever["agent on "+host] {
		return true
	}
	services := map[string]bool{}
	for c := range g.ever {
		if service, at, ok := status.OfHost(strings.TrimPrefix(c, "down ")); ok && at == host {
			services[service] = true
		}
	}
	return len(services) > 1
}

// toldDown reports whether a controller has told of a host that is down.
func (g *group) toldDown(controller string) bool {
	return slices.ContainsFunc(g.entries, func(e entry) bool {
		return e.Controller == controller && strings.HasPrefix(e.opens, "down ")
	})
}

// absorb takes all of a later group.
func (g *group) absorb(later *group) {
	for condition, tellers := range later.open {
		for teller := range tellers {
			tell(g.open, condition, teller)
		}
	}
	for _, both := range []struct{ to, from map[string]bool }{
		{g.ever, later.ever},
		{g.hosts, later.hosts},
		{g.vips, later.vips},
		{g.services, later.services},
		{g.topics, later.topics},
	} {
		maps.Copy(both.to, both.from)
	}
	g.entries = append(g.entries, later.entries...)
	g.moves = append(g.moves, later.moves...)
	g.last, g.moved = latest(g.last, later.last), latest(g.moved, later.moved)
}

// add has one in g.
func (g *group) add(one entry) {
	one.fault = one.fault && !g.underWork(one.facts)
	g.entries = append(g.entries, one)
	e, f, now := one.Event, one.facts, one.When()
	g.last = latest(g.last, now)
	if !f.line {
		note(g.hosts, f.host)
		note(g.services, f.service)
		g.moved = latest(g.moved, now)
	}
	note(g.vips, f.vip)
	note(g.topics, f.topic)
	for _, c := range f.closes {
		g.close(f.key(c, e), e, now)
	}
	if f.opens != "" {
		key := f.key(f.opens, e)
		tell(g.open, key, e.Controller)
		g.ever[key] = true
	}
}

// tell has teller among those who tell of what, in all.
func tell(all map[string]map[string]bool, what, teller string) {
	if all[what] == nil {
		all[what] = map[string]bool{}
	}
	all[what][teller] = true
}

// note has name in set, unless it is empty.
func note(set map[string]bool, name string) {
	if name != "" {
		set[name] = true
	}
}

// underWork reports whether what f is about is drained.
func (g *group) underWork(f facts) bool {
	_, whole := g.open["drain controller "+f.host]
	_, service := g.open["drain "+status.HostSubject(f.service, f.host)]
	return whole || service
}

// planned reports whether somebody wanted all that g has.
func (g *group) planned() bool {
	return slices.ContainsFunc(g.entries, func(e entry) bool { return e.planned }) &&
		!slices.ContainsFunc(g.entries, func(e entry) bool { return e.fault })
}

// onlyGiven reports whether g has a VIP that was handed over, and nothing of a fault.
func (g *group) onlyGiven() bool {
	return slices.ContainsFunc(g.entries, func(e entry) bool { return e.given }) &&
		!slices.ContainsFunc(g.entries, func(e entry) bool { return e.fault })
}

// close ends a condition as e tells: for its teller, and for all where there is nothing
// that each sees for itself.
func (g *group) close(key string, e status.Event, now time.Time) {
	if _, is := g.open[key]; !is {
		return
	}
	if strings.HasPrefix(key, "down ") || strings.HasPrefix(key, "late ") {
		g.end(key, e.Controller, now)
		return
	}
	delete(g.open, key)
	g.moved = latest(g.moved, now)
}

// end has a teller see a condition no more.
func (g *group) end(key, teller string, now time.Time) {
	tellers, is := g.open[key]
	if !is || !tellers[teller] {
		return
	}
	if delete(tellers, teller); len(tellers) == 0 {
		delete(g.open, key)
	}
	g.moved = latest(g.moved, now)
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// id names g by its first event, which has its place in the journal of its controller.
func (g *group) id() string {
	e := g.entries[0]
	if e.Seq > 0 {
		return fmt.Sprintf("%s-%d", e.Controller, e.Seq)
	}
	return fmt.Sprintf("%s-%d", e.Controller, e.Time.UnixMilli())
}
