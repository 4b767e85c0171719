package web

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/incident"
	"holdfast/internal/status"
)

const (
	// viewAge is how long one look at the cloud is shown to everybody.
	viewAge = time.Second
	// lookTimeout bounds one look, whoever waits for it.
	lookTimeout = 3 * time.Second
	// pageEvents is the number of events that the page shows.
	pageEvents = 40
)

// A view is one look at the cloud.
type view struct {
	cloud  cloud.Cloud
	events []status.Event // of all controllers, newest first
	// incidents are of all controllers, oldest first.
	incidents []incident.Incident
	// pasts are what clients got, as each controller tells.
	pasts pasts
}

// A cache keeps the newest look at something, and makes one at a time however many ask.
type cache[T any] struct {
	age  time.Duration // of the oldest that is shown
	now  func() time.Time
	load func(context.Context) T
	// broke is told of a panic of load, after which the last view stays.
	broke func(why any)

	mu   sync.Mutex // guards following
	made time.Time
	view T
	next chan struct{} // closed when the view that is being made is there; nil when none is
	from time.Time     // when that began
}

// get gives a view that is not older than the cache's age. With ctx's end it gives the
// last there was; also while one is made that has had its time and stands still, as
// what a disk or a kernel keeps.
func (c *cache[T]) get(ctx context.Context) T {
	wait := c.refresh()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view
}

// refresh starts to make a view when the last is too old, and gives what to
// wait for; nil when there is nothing to wait for.
func (c *cache[T]) refresh() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil && c.now().Sub(c.made) >= c.age {
		c.next, c.from = make(chan struct{}), c.now()
		go c.make()
	}
	if c.next != nil && c.now().Sub(c.from) > lookTimeout {
		return nil
	}
	return c.next
}

// underWay reports whether a view is being made.
func (c *cache[T]) underWay() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next != nil
}

// make belongs to all who wait for it, so it has a context of its own.
func (c *cache[T]) make() {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	var v T
	ok := contained(c.broke, func() { v = c.load(ctx) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made = c.now(); ok {
		c.view = v
	}
	close(c.next)
	c.next = nil
}

// contained calls f, tells broke of a panic of it, and reports whether there was none: what
// another machine has told must not end the agent.
func contained(broke func(why any), f func()) (ok bool) {
	defer func() {
		if !ok {
			broke(recover())
		}
	}()
	f()
	return true
}

// look asks all controllers, and waits for each as long as one is waited for.
func (s *Server) look(ctx context.Context) view { return s.lookFor(ctx, lookTimeout) }

// viewOf makes a view of what all controllers told.
func (s *Server) viewOf(answers []cloud.Answer, journals []Journal) view {
	now := s.opt.Now()
	return view{
		cloud:     cloud.Merge(now, s.ownCloud(answers), answers),
		events:    newestFirst(journals, pageEvents),
		incidents: Group(journals, now.Add(-s.opt.ClockAhead())),
	}
}

// ownCloud gives the name of this controller's cloud; "" while it has no spec.
func (s *Server) ownCloud(answers []cloud.Answer) string {
	for _, a := range answers {
		if a.Name == s.opt.Self && a.Snapshot != nil {
			return a.Snapshot.Cloud
		}
	}
	return ""
}

// apart gives this controller's own address, and the others of targets.
func (s *Server) apart(targets []Target) (own netip.Addr, others []Target) {
	for _, t := range targets {
		if t.Name != s.opt.Self {
			others = append(others, t)
		} else if at, err := netip.ParseAddrPort(t.Addr); err == nil {
			own = at.Addr()
		}
	}
	return own, others
}

// Journals gives the newest n events of each controller, this one's first.
func (s *Server) Journals(ctx context.Context, n int) []Journal {
	own, others := s.apart(s.opt.Controllers())
	return s.journals(ctx, own, others, n)
}

func (s *Server) journals(ctx context.Context, own netip.Addr, others []Target, n int) []Journal {
	all := append([]Journal{{Controller: s.opt.Self, Events: s.opt.Events(n), ClockAhead: s.opt.ClockAhead()}}, journalsFrom(ctx, own, s.opt.Asker, others, n, nil)...)
	return OfCloud(all, s.opt.Snapshot().Cloud)
}

// inOrder gives the answers in the order of targets, with this controller's own.
func (s *Server) inOrder(targets []Target, answers []cloud.Answer) []cloud.Answer {
	var all []cloud.Answer
	for _, t := range targets {
		if t.Name != s.opt.Self {
			all, answers = append(all, answers[0]), answers[1:]
			continue
		}
		now, snap := s.opt.Now(), s.snapshot()
		all = append(all, cloud.Answer{Name: t.Name, Address: t.Addr, Snapshot: &snap, Received: now, Clock: now})
	}
	return all
}
