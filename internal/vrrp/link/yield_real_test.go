package link

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/vrrp"
)

// A ledger has when each of several holders had the address, of which it may be
// asked whether there was a moment without one.
type ledger struct {
	mu      sync.Mutex // guards following
	has     map[string]bool
	gap     string // nobody has it now, and who had it last
	gaps    []string
	slow    int           // gaps for which the kernel was too slow
	doubled time.Duration // the longest time with two
	since   time.Time     // two have it
}

// claimed takes in that name has the address from now on, for which it had to
// ask the kernel for some time. Where others have the kernel's lock, that may be
// longer than the two overlap.
func (l *ledger) claimed(name string, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.has[name] = true
	switch {
	case len(l.has) > 1:
		l.since = time.Now()
	case l.gap != "" && took > overlap/2:
		l.slow++
	case l.gap != "":
		l.gaps = append(l.gaps, l.gap)
	}
	l.gap = ""
}

// released takes in that name does not have the address any more.
func (l *ledger) released(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.has[name] {
		return
	}
	delete(l.has, name)
	if len(l.has) == 0 {
		l.gap = time.Now().Format("05.000000") + " after " + name
	} else {
		l.doubled = max(l.doubled, time.Since(l.since))
	}
}

// A noted is a holder that writes in a ledger. What it has, it has when the
// kernel says so; and has no more before it asks the kernel.
type noted struct {
	*realHolder
	name string
	l    *ledger
}

func (h noted) Claim(ctx context.Context) error {
	begun := time.Now()
	err := h.realHolder.Claim(ctx)
	if err == nil {
		h.l.claimed(h.name, time.Since(begun))
	}
	return err
}

func (h noted) Release(ctx context.Context) error {
	h.l.released(h.name)
	return h.realHolder.Release(ctx)
}

func (h noted) Withdraw(ctx context.Context) error {
	h.l.released(h.name)
	return h.realHolder.Withdraw(ctx)
}

// TestYieldRoundRobin hands over among three machines, to the next and to the
// one before, many times. At every moment one at least has the address, and
// nobody changes but the two each time.
func TestYieldRoundRobin(t *testing.T) {
	eachMode(t, modes, func(t *testing.T, m mode) {
		const times = 40
		lan := newLAN(t)
		machines := []*machine{lan.plug(), lan.plug(), lan.plug()}
		book := &ledger{has: map[string]bool{}}
		var loops []*running
		for i, x := range machines {
			o := m.options(x, machines...)
			o.Interval = 20 * time.Millisecond
			o.Holder = noted{o.Holder.(*realHolder), o.Controller, book}
			loops = append(loops, x.loop(o))
			if i == 0 {
				loops[0].await(vrrp.Active)
			} else {
				loops[i].hears(10)
			}
		}
		addrs := make([]netip.Addr, len(machines))
		for i, x := range machines {
			addrs[i] = m.addr(x)
		}
		at, before := 0, transitions(loops)
		var took []time.Duration
		for i := range times {
			to := (at + 1 + i/2%2) % len(loops)
			begun := time.Now()
			if err := loops[at].Yield(t.Context(), addrs[to], YieldOptions{Keep: i%4 < 2}); err != nil {
				t.Fatalf("handover %d: %v", i+1, err)
			}
			took = append(took, time.Since(begun))
			loops[to].await(vrrp.Active)
			if machines[at].has(m.virtual()) {
				t.Errorf("handover %d: the giver has the address still", i+1)
			}
			if got, want := loops[at].Stats().Reason, "handed over to "+loops[to].o.Controller; got != want {
				t.Errorf("handover %d: reason %q, want %q", i+1, got, want)
			}
			at = to
		}
		book.mu.Lock()
		defer book.mu.Unlock()
		if len(book.gaps) > 0 {
			t.Errorf("%d moments without a holder: %q", len(book.gaps), book.gaps)
		}
		if got := transitions(loops) - before; got != 2*times {
			t.Errorf("%d transitions in %d handovers, want two each", got, times)
		}
		for _, r := range loops {
			if s := r.Stats(); len(s.Rejected) != 0 || s.SendErrors != 0 {
				t.Errorf("%s: %+v", r.o.Controller, s)
			}
		}
		slices.Sort(took)
		t.Logf("%d handovers took %v to %v, %v in the middle; two had the address for %v at most, nobody %d times as the kernel was slow",
			times, took[0], took[times-1], took[times/2], book.doubled, book.slow)
	})
}

func transitions(loops []*running) (sum uint64) {
	for _, r := range loops {
		sum += r.Stats().Transitions
	}
	return sum
}

// TestYieldInVain hands over to a controller whose HAProxy died: the giver has
// the address all the time. When HAProxy is back, it works.
func TestYieldInVain(t *testing.T) {
	eachMode(t, []mode{modes[0], modes[3]}, func(t *testing.T, m mode) {
		lan := newLAN(t)
		one, two, three := lan.plug(), lan.plug(), lan.plug()
		a := one.loop(m.options(one, one, two, three))
		a.await(vrrp.Active)
		b := two.loop(m.options(two, one, two, three))
		c := three.loop(m.options(three, one, two, three))
		b.hears(5)
		c.hears(5)
		b.SetEligible(false, "haproxy died")
		b.await(vrrp.Initialize)
		before := transitions([]*running{a, c})
		err := a.Yield(t.Context(), m.addr(two), YieldOptions{Keep: true})
		if err == nil || !strings.Contains(err.Error(), "ctl2: it did not take over within") {
			t.Errorf("got %v", err)
		}
		c.hears(10)
		if got := transitions([]*running{a, c}); got != before || !one.has(m.virtual()) {
			t.Errorf("%d transitions, want none", got-before)
		}
		b.SetEligible(true, "haproxy is back")
		b.hears(5)
		if err := a.Yield(t.Context(), m.addr(two), YieldOptions{Keep: true}); err != nil {
			t.Error(err)
		}
	})
}
