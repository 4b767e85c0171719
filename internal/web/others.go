package web

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/traffic"
)

const (
	// otherAge is how long an answer of another controller is given again to everybody who
	// wants to know.
	otherAge = 400 * time.Millisecond
	// patience is how long open pages wait for a controller before they show what the
	// others say.
	patience = 300 * time.Millisecond
)

// told is what another controller told of itself.
type told struct {
	answer  cloud.Answer
	journal Journal
}

// An other is another controller, with what it told last. However many want to know, it is
// asked one question at a time.
type other struct {
	target Target
	cache  cache[told]
	past   *pastCache
	events []status.Event // the newest of its journal; the question that is under way has them
}

// get gives what o told within otherAge, and what it told before where ctx ends first; late
// says that it has not yet answered what it is asked now.
func (o *other) get(ctx context.Context) (t told, late bool) {
	t = o.cache.get(ctx)
	if t.answer.Name == "" { // it was never asked before
		t = told{cloud.Answer{Name: o.target.Name, Address: o.target.Addr, Error: "has not answered yet"}, Journal{Controller: o.target.Name, Error: "has not answered yet"}}
	}
	return t, o.cache.underWay()
}

// ask asks o for its Snapshot, and for what its journal has that is not known.
func (o *other) ask(ctx context.Context, own netip.Addr, by *Asker) told {
	var t told
	var both sync.WaitGroup
	both.Go(func() { t.answer = GatherFrom(ctx, own, by, []Target{o.target})[0] })
	both.Go(func() { t.journal = o.askJournal(ctx, own, by) })
	both.Wait()
	return t
}

// askJournal gives the newest events of o; those that are known where it does not answer.
func (o *other) askJournal(ctx context.Context, own netip.Addr, by *Asker) Journal {
	known := map[string]uint64{}
	if n := len(o.events); n > 0 {
		known[o.target.Name] = o.events[n-1].Seq
	}
	j := journalsFrom(ctx, own, by, []Target{o.target}, IncidentEvents, known)[0]
	switch after := known[o.target.Name]; {
	case j.Error != "":
	case after > 0 && (len(j.Events) == 0 || j.Events[0].Seq > after):
		o.events = slices.Concat(o.events, j.Events)
	default: // the first answer, or its numbers have begun anew
		o.events = j.Events
	}
	o.events = o.events[max(0, len(o.events)-IncidentEvents):]
	j.Events = o.events
	return j
}

// othersOf gives what is kept of targets, and forgets all others.
func (s *Server) othersOf(own netip.Addr, targets []Target) []*other {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*other
	for _, t := range targets {
		i := slices.IndexFunc(s.others, func(o *other) bool { return o.target == t })
		if i >= 0 {
			all = append(all, s.others[i])
			continue
		}
		o := &other{target: t}
		o.cache.age, o.cache.now, o.cache.broke = otherAge, s.opt.Now, s.broke
		o.cache.load = func(ctx context.Context) told { return o.ask(ctx, own, s.opt.Asker) }
		o.past = newPastCache(s.opt.Now, s.broke, func(ctx context.Context, span string) (*traffic.History, error) {
			return o.askPast(ctx, own, s.opt.Asker, span)
		})
		all = append(all, o)
	}
	s.others = all
	return all
}

// lookFor asks all controllers for their Snapshots and events, this one not over the
// network. Who has not answered after wait is shown as it was before, unless another holds
// now what it held: then it is shown as silent, rather than two holders that never were.
func (s *Server) lookFor(ctx context.Context, wait time.Duration) view {
	targets := s.opt.Controllers()
	own, others := s.apart(targets)
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	kept := s.othersOf(own, others)
	found, late := make([]told, len(kept)), make([]bool, len(kept))
	tellers := []*pastCache{s.past}
	for _, o := range kept {
		tellers = append(tellers, o.past)
	}
	clients := make([]pasts, len(tellers))
	var all sync.WaitGroup
	for i, o := range kept {
		all.Go(func() { found[i], late[i] = o.get(waiting) })
	}
	for i, p := range tellers {
		all.Go(func() { p.addTo(waiting, &clients[i]) })
	}
	all.Wait()
	journals := []Journal{{Controller: s.opt.Self, Events: s.opt.Events(IncidentEvents), ClockAhead: s.opt.ClockAhead()}}
	var answers []cloud.Answer
	for _, t := range found {
		answers, journals = append(answers, t.answer), append(journals, t.journal)
	}
	answers = s.inOrder(targets, answers)
	cloudName := s.ownCloud(answers)
	journals = OfCloud(journals, cloudName)
	for i, o := range kept {
		if found[i].answer.Of(cloudName).Snapshot == nil && found[i].answer.Snapshot != nil {
			clients[i+1] = pasts{} // what clients of another cloud got
		}
		if late[i] {
			silence(answers, o.target.Name, wait)
		}
	}
	v := s.viewOf(answers, journals)
	for _, t := range clients {
		v.pasts.hour, v.pasts.day = append(v.pasts.hour, t.hour...), append(v.pasts.day, t.day...)
	}
	return v
}

// silence has the answer that name gave before it fell silent not count, if what it held
// has gone to another controller since.
func silence(answers []cloud.Answer, name string, wait time.Duration) {
	i := slices.IndexFunc(answers, func(a cloud.Answer) bool { return a.Name == name })
	if i < 0 || answers[i].Snapshot == nil {
		return
	}
	taken := func(v status.VIP) bool {
		return v.State == status.Active && slices.ContainsFunc(answers, func(a cloud.Answer) bool { return a.Name != name && a.Snapshot != nil && holds(*a.Snapshot, v.Name) })
	}
	if slices.ContainsFunc(answers[i].Snapshot.VIPs, taken) {
		answers[i].Snapshot, answers[i].Clock, answers[i].Error = nil, time.Time{}, fmt.Sprintf("no answer for %s", wait)
	}
}

func holds(s status.Snapshot, vip string) bool {
	return slices.ContainsFunc(s.VIPs, func(v status.VIP) bool { return v.Name == vip && v.State == status.Active })
}
