package vrrp

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// TestRandomFaults runs clusters of two to five machines through random loss,
// partitions, pauses, failures of the service, handovers and changes of configuration, and
// then lets the network be whole. After some intervals there must be exactly
// one Active router among the eligible, for good, and it alone has the address.
func TestRandomFaults(t *testing.T) {
	runs := uint64(400)
	if testing.Short() {
		runs = 40
	}
	for seed := range runs {
		s := newSimulation(t, seed)
		s.trouble()
		s.heal()
		s.check()
		if t.Failed() {
			t.Fatalf("seed %d failed:\n%s", seed, s.log)
		}
	}
}

// A simulation is a cluster in virtual time: a queue of what is to happen when.
// The same seed gives the same run.
type simulation struct {
	t     *testing.T
	rng   *rand.Rand
	now   time.Time
	queue happenings
	count int
	nodes []*node
	loss  float64
	log   []byte

	watch bool                 // look at each step
	two   time.Time            // since when two have the address
	group bool                 // adverts go to a multicast group
	last  map[[2]int]time.Time // when the last advert from one to another arrives
}

// A node is a machine with what its driver keeps.
type node struct {
	id       int
	m        *Machine
	holds    bool
	eligible bool
	deadline time.Time
	until    time.Time // paused until then
	backlog  []Event   // what happened meanwhile
	side     int       // of the partition
	changes  int       // of the state
	sent     int
}

type happening struct {
	at    time.Time
	order int
	do    func()
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || h[i].at.Equal(h[j].at) && h[i].order < h[j].order
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *happenings) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{t: t, rng: rand.New(rand.NewPCG(seed, 568)), now: time.Unix(0, 0), last: map[[2]int]time.Time{}}
	s.group = seed%2 == 1
	n := 2 + s.rng.IntN(4)
	preempt := s.rng.IntN(2) == 0
	interval := time.Duration(1+s.rng.IntN(10)) * IntervalStep
	for i := range n {
		c := Config{Priority: uint8(254 - 24*i), Interval: interval, Preempt: preempt, Source: address(i)}
		if s.rng.IntN(10) == 0 {
			c.Priority = 100
		}
		nd := &node{id: i, m: NewMachine(c), eligible: true}
		s.nodes = append(s.nodes, nd)
		s.after(s.upTo(time.Second), func() { s.step(nd, Startup{}) })
	}
	return s
}

func (s *simulation) upTo(d time.Duration) time.Duration {
	return time.Duration(s.rng.Int64N(int64(d)))
}

func (s *simulation) after(d time.Duration, do func()) {
	s.count++
	heap.Push(&s.queue, happening{s.now.Add(d), s.count, do})
}

func (s *simulation) run(d time.Duration) {
	end := s.now.Add(d)
	for len(s.queue) > 0 && !s.queue[0].at.After(end) {
		h := heap.Pop(&s.queue).(happening)
		s.now = h.at
		h.do()
	}
	s.now = end
}

func (s *simulation) note(format string, args ...any) {
	s.log = fmt.Appendf(s.log, "%v ", s.now.Sub(time.Unix(0, 0)))
	s.log = fmt.Appendf(s.log, format+"\n", args...)
}

// step steps a node, once it is not paused, and checks what it asks for.
func (s *simulation) step(n *node, e Event) {
	if s.now.Before(n.until) {
		n.backlog = append(n.backlog, e)
		return
	}
	before := n.m.State()
	out := n.m.Step(s.now, e)
	if out.State != before {
		n.changes++
		s.note("ctl%d %v: %v", n.id+1, out.State, out.Cause)
	}
	if problem := wrong(before, out, n.holds); problem != "" {
		s.note("ctl%d, %T: %s", n.id+1, e, problem)
		s.t.Errorf("ctl%d, %v after %T: %s", n.id+1, out.State, e, problem)
	}
	if out.Claim || out.Release {
		n.holds = out.Claim
	}
	s.sendAll(n, out)
	s.arm(n, out.Deadline)
	if s.watch {
		s.look()
	}
}

// wrong gives what no output may be.
func wrong(before State, out Output, holds bool) string {
	became := out.State == Active && before != Active
	left := out.State != Active && before == Active
	switch {
	case out.Claim != became:
		return "claims without becoming active, or the other way around"
	case left && !out.Release:
		return "leaves active without a release"
	case out.Release && out.State == Active:
		return "releases and is active"
	case became && (len(out.Send) != 1 || !out.Announce):
		return "becomes active without advert and announcement"
	case out.Announce && out.State != Active:
		return "announces and is not active"
	case before != Active && !became && len(out.Send) > 0:
		return "sends and was not active"
	case (out.State == Initialize) != out.Deadline.IsZero():
		return "has a deadline in initialize, or none elsewhere"
	case (out.Cause.Kind != 0) != (before != out.State):
		return "has a cause and no change, or the other way around"
	case before == Active != holds:
		return "had the address and was not active, or the other way around"
	}
	return ""
}

func (s *simulation) arm(n *node, deadline time.Time) {
	n.deadline = deadline
	if deadline.IsZero() {
		return
	}
	s.after(max(0, deadline.Sub(s.now))+s.upTo(time.Millisecond), func() {
		if n.deadline.Equal(deadline) && !s.now.Before(n.until) {
			s.step(n, Timer{})
		}
	})
}

// sendAll sends what out asks for: by unicast, or to a group, which everyone hears.
func (s *simulation) sendAll(from *node, out Output) {
	for _, to := range s.nodes {
		if out.Yield == address(to.id) {
			s.send(from, to, AdvertReceived{Directed: s.group})
		}
	}
	for _, p := range out.Send {
		from.sent++
		for _, to := range s.nodes {
			if to != from && (s.group || out.Yield != address(to.id)) {
				s.send(from, to, AdvertReceived{Priority: p})
			}
		}
	}
}

// send sends an advert to one node. Between two nodes none overtakes another.
func (s *simulation) send(from, to *node, a AdvertReceived) {
	if to.side != from.side || s.rng.Float64() < s.loss {
		return
	}
	a.Src, a.Interval = address(from.id), from.m.Config().Interval
	at := s.now.Add(50*time.Microsecond + s.upTo(500*time.Microsecond))
	key := [2]int{from.id, to.id}
	if at.Before(s.last[key]) {
		at = s.last[key]
	}
	s.last[key] = at
	s.after(at.Sub(s.now), func() { s.step(to, a) })
}

// pause stops n for d. When it runs again it serves what it received, then its timer.
func (s *simulation) pause(n *node, d time.Duration) {
	s.note("ctl%d is stopped for %v", n.id+1, d)
	n.until = s.now.Add(d)
	s.after(d, func() {
		if s.now.Before(n.until) {
			return // stopped once more
		}
		for _, e := range n.backlog {
			s.step(n, e)
		}
		n.backlog = nil
		if !n.deadline.IsZero() && !s.now.Before(n.deadline) {
			s.step(n, Timer{})
		}
	})
}

func (s *simulation) trouble() {
	s.run(s.upTo(time.Second))
	for range 3 + s.rng.IntN(12) {
		n := s.nodes[s.rng.IntN(len(s.nodes))]
		switch s.rng.IntN(8) {
		case 0:
			s.loss = s.rng.Float64() * 0.6
			s.note("%.0f%% of the adverts are lost", 100*s.loss)
		case 1:
			n.side = s.rng.IntN(3)
			s.note("ctl%d is on side %d", n.id+1, n.side)
		case 2:
			s.pause(n, s.upTo(3*time.Second))
		case 3:
			for _, n := range s.nodes {
				s.pause(n, s.upTo(50*time.Millisecond)+time.Second)
			}
		case 4, 5:
			n.eligible = !n.eligible
			s.note("ctl%d is eligible: %v", n.id+1, n.eligible)
			s.step(n, Eligible{OK: n.eligible, Reason: "service"})
		case 6:
			c := n.m.Config()
			c.Interval = time.Duration(1+s.rng.IntN(20)) * IntervalStep
			s.note("ctl%d has interval %v", n.id+1, c.Interval)
			s.step(n, Configure{c})
		case 7:
			s.yieldAll()
		}
		s.run(s.upTo(time.Second))
	}
}

// yieldAll has whoever is Active hand over to anyone, or to whoever is first.
func (s *simulation) yieldAll() {
	e := Yield{To: address(s.rng.IntN(len(s.nodes))), Wait: s.upTo(time.Second)}
	if s.rng.IntN(4) == 0 {
		e.To = netip.Addr{}
	}
	for _, n := range s.nodes {
		if n.m.State() == Active {
			s.note("ctl%d hands over to %v", n.id+1, e.To)
			s.step(n, e)
		}
	}
}

// heal makes the network whole, and waits as long as the slowest takeover lasts.
func (s *simulation) heal() {
	s.note("the network is whole")
	s.loss = 0
	for _, n := range s.nodes {
		n.side = 0
	}
	s.run(3 * time.Second) // until nobody is stopped any more
	// Four intervals until a takeover, twice, and one to settle it, of 200ms at most.
	s.run(9 * 200 * time.Millisecond)
	for _, n := range s.nodes {
		n.changes, n.sent = 0, 0
	}
	s.note("all must be well")
	s.run(3 * time.Second)
}

func (s *simulation) check() {
	eligible, active := 0, 0
	for _, n := range s.nodes {
		if n.eligible {
			eligible++
		}
		if n.m.State() == Active {
			active++
		}
		if n.holds != (n.m.State() == Active) || n.holds && !n.eligible {
			s.t.Errorf("ctl%d is %v, eligible %v, and has the address: %v", n.id+1, n.m.State(), n.eligible, n.holds)
		}
		if n.changes > 0 {
			s.t.Errorf("ctl%d changed %d times after all was well", n.id+1, n.changes)
		}
		if limit := int(3*time.Second/n.m.Config().Interval) + 1; n.sent > limit {
			s.t.Errorf("ctl%d sent %d adverts in 3s, want at most %d", n.id+1, n.sent, limit)
		}
	}
	if want := min(eligible, 1); active != want {
		s.t.Errorf("%d active routers of %d eligible ones, want %d", active, eligible, want)
	}
}
