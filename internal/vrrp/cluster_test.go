package vrrp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A router drives one machine as package link does: one timer, and everything
// that was received is passed on before the timer is served.
type router struct {
	name  string
	m     *Machine
	inbox chan AdvertReceived
	tell  chan Event
	pause chan time.Duration
	net   *network

	mu     sync.Mutex // guards what follows
	holds  bool
	events []string
}

// A network joins routers. It delivers at once.
type network struct {
	t       *testing.T
	start   time.Time
	routers []*router
	wg      sync.WaitGroup

	mu   sync.Mutex // guards following
	cut  map[[2]int]bool
	lose func(from, to int) bool // an advert; nil: none
}

// newNetwork starts a router for each configuration, named ctl1 and so on.
func newNetwork(t *testing.T, configs ...Config) *network {
	n := &network{t: t, start: time.Now(), cut: map[[2]int]bool{}}
	for i, c := range configs {
		c.Source = address(i)
		n.routers = append(n.routers, &router{
			name: fmt.Sprintf("ctl%d", i+1), m: NewMachine(c), net: n,
			inbox: make(chan AdvertReceived, 1000), tell: make(chan Event), pause: make(chan time.Duration),
		})
	}
	for _, r := range n.routers {
		n.wg.Go(func() { r.run(t.Context()) })
	}
	return n
}

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}) }

// send sends an advert to one router, or to all but one.
func (n *network) send(from *router, priority uint8, only, but netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.Index(n.routers, from)
	for j, to := range n.routers {
		if only.IsValid() && only != address(j) || but == address(j) {
			continue
		}
		if j != i && !n.cut[[2]int{i, j}] && (n.lose == nil || !n.lose(i, j)) {
			to.inbox <- AdvertReceived{Src: address(i), Priority: priority, Interval: from.m.Config().Interval}
		}
	}
}

// isolate cuts router i from all others, in both directions, or joins it again.
func (n *network) isolate(i int, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for j := range n.routers {
		n.cut[[2]int{i, j}], n.cut[[2]int{j, i}] = cut, cut
	}
}

// holders gives the names of the routers that have the address.
func (n *network) holders() []string {
	var names []string
	for _, r := range n.routers {
		r.mu.Lock()
		if r.holds {
			names = append(names, r.name)
		}
		r.mu.Unlock()
	}
	return names
}

func (n *network) wantHolders(names ...string) {
	n.t.Helper()
	synctest.Wait()
	if got := n.holders(); !slices.Equal(got, names) {
		n.t.Errorf("after %v the address is on %v, want %v", time.Since(n.start), got, names)
	}
}

// since gives what r did since it was last asked, with the time since the start.
func (r *router) since() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.events
	r.events = nil
	return e
}

func (r *router) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	r.do(r.m.Step(time.Now(), Startup{}), timer)
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-r.pause:
			time.Sleep(d)
		case e := <-r.tell:
			r.do(r.m.Step(time.Now(), e), timer)
		case a := <-r.inbox:
			r.do(r.m.Step(time.Now(), a), timer)
		case <-timer.C:
			r.drain(timer)
			r.do(r.m.Step(time.Now(), Timer{}), timer)
		}
	}
}

func (r *router) drain(timer *time.Timer) {
	for {
		select {
		case a := <-r.inbox:
			r.do(r.m.Step(time.Now(), a), timer)
		default:
			return
		}
	}
}

func (r *router) do(out Output, timer *time.Timer) {
	if out.Yield.IsValid() {
		r.net.send(r, 0, out.Yield, netip.Addr{})
	}
	for _, p := range out.Send {
		r.net.send(r, p, netip.Addr{}, out.Yield)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if out.Release || out.Claim {
		r.holds = out.Claim
	}
	at := time.Since(r.net.start)
	if out.Announce {
		r.events = append(r.events, fmt.Sprintf("%v announce", at))
	}
	if out.Cause.Kind != 0 {
		r.events = append(r.events, fmt.Sprintf("%v %v: %v", at, out.State, out.Cause))
	}
	timer.Stop()
	if !out.Deadline.IsZero() {
		timer.Reset(time.Until(out.Deadline))
	}
}

func three(interval time.Duration, preempt bool) []Config {
	return []Config{
		{Priority: 254, Interval: interval, Preempt: preempt},
		{Priority: 230, Interval: interval, Preempt: preempt},
		{Priority: 206, Interval: interval, Preempt: preempt},
	}
}

// TestTakeoverTime cuts the Active router off, and checks to the nanosecond when
// the next one takes over: three intervals and the skew time after the last advert.
func TestTakeoverTime(t *testing.T) {
	for _, interval := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t, three(interval, false)...)
			time.Sleep(10*interval + SkewTime(interval, 254) + interval/2)
			n.wantHolders("ctl1")
			n.routers[1].since()
			// Active since 3 intervals and the skew time, so the last advert was half an interval ago.
			n.isolate(0, true)
			last := time.Since(n.start) - interval/2
			time.Sleep(3 * interval)
			n.wantHolders("ctl1", "ctl2") // which cannot know of each other
			at := last + 3*interval + 26*interval/256
			want := []string{
				fmt.Sprintf("%v announce", at),
				fmt.Sprintf("%v active: no advert from 10.0.0.1 for %v", at, rounded(3*interval+26*interval/256)),
			}
			if got := n.routers[1].since(); !slices.Equal(got, want) {
				t.Errorf("ctl2 did %q, want %q", got, want)
			}
			if got := n.routers[2].since(); len(got) != 1 {
				t.Errorf("ctl3 did %q, want to have been Backup from the start", got)
			}
		})
	}
}

// TestOneOfThreeTakesOver lets the Active router resign: the second takes over
// after its skew time, and the third hears it in time.
func TestOneOfThreeTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, three(10*time.Millisecond, false)...)
		time.Sleep(time.Second)
		n.wantHolders("ctl1")
		n.routers[0].tell <- Eligible{Reason: "haproxy died"}
		n.wantHolders()
		time.Sleep(SkewTime(10*time.Millisecond, 230) - time.Nanosecond)
		n.wantHolders()
		time.Sleep(time.Nanosecond)
		n.wantHolders("ctl2")
		time.Sleep(time.Second)
		n.wantHolders("ctl2")
		if got := n.routers[2].since(); len(got) != 1 {
			t.Errorf("ctl3 did %q, want to have stayed Backup", got)
		}
		n.routers[0].tell <- Eligible{OK: true, Reason: "haproxy is ready"}
		time.Sleep(time.Second)
		n.wantHolders("ctl2")
	})
}

// TestPreemptTakesBack is the same with preempt: ctl1 comes back and takes over.
func TestPreemptTakesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, three(100*time.Millisecond, true)...)
		time.Sleep(time.Second)
		n.routers[0].tell <- Eligible{Reason: "haproxy died"}
		time.Sleep(time.Second)
		n.wantHolders("ctl2")
		n.routers[0].tell <- Eligible{OK: true, Reason: "haproxy is ready"}
		time.Sleep(ActiveDownInterval(100*time.Millisecond, 254))
		n.wantHolders("ctl1")
		time.Sleep(time.Second)
		n.wantHolders("ctl1")
	})
}

// TestPartitionHeals checks that after a partition there is one holder within
// an interval, and that the winner announces itself although it has been Active
// all the time: at once, and when the loser has dropped the address.
func TestPartitionHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 100 * time.Millisecond
		n := newNetwork(t, three(interval, false)...)
		time.Sleep(time.Second)
		n.isolate(0, true)
		time.Sleep(time.Second)
		n.wantHolders("ctl1", "ctl2")
		n.routers[0].since()
		healed := time.Since(n.start)
		n.isolate(0, false)
		time.Sleep(interval)
		n.wantHolders("ctl1")
		time.Sleep(2 * interval)
		got := n.routers[0].since()
		if len(got) == 0 || len(got) > 2 {
			t.Fatalf("ctl1 did %q, want one or two announcements", got)
		}
		for _, e := range got {
			var at, what string
			if _, err := fmt.Sscan(e, &at, &what); err != nil || what != "announce" {
				t.Errorf("ctl1 did %q, want announcements only", e)
			}
			if d, err := time.ParseDuration(at); err != nil || d < healed || d > healed+2*interval {
				t.Errorf("announced at %v, want within two intervals of %v", at, healed)
			}
		}
		time.Sleep(time.Second)
		n.wantHolders("ctl1")
	})
}

// TestHeldUpActiveConcedes stops the Active router for two seconds, as SIGSTOP
// or a starved machine does. Its priority is higher, yet the other one keeps
// the address, and does not lose it for a moment. It announces the address
// again, as the one that was stopped had it for all that time.
func TestHeldUpActiveConcedes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, three(100*time.Millisecond, false)...)
		time.Sleep(time.Second)
		n.routers[0].pause <- 2 * time.Second
		time.Sleep(time.Second)
		n.wantHolders("ctl1", "ctl2")
		n.routers[1].since()
		time.Sleep(time.Second + time.Nanosecond)
		n.wantHolders("ctl2")
		time.Sleep(time.Second)
		n.wantHolders("ctl2")
		want := []string{"3s announce", "3.1s announce"}
		if got := n.routers[1].since(); !slices.Equal(got, want) {
			t.Errorf("ctl2 did %q, want %q", got, want)
		}
	})
}

// TestAllHeldUp stops every router for two seconds, as a host does under which
// all of them are virtual machines. Nothing is to move.
func TestAllHeldUp(t *testing.T) {
	for _, preempt := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t, three(100*time.Millisecond, preempt)...)
			time.Sleep(time.Second)
			for _, r := range n.routers {
				r.since()
				r.pause <- 2 * time.Second
			}
			time.Sleep(4 * time.Second)
			n.wantHolders("ctl1")
			for _, r := range n.routers {
				if got := r.since(); len(got) != 0 {
					t.Errorf("preempt %v: %s did %q, want nothing", preempt, r.name, got)
				}
			}
		})
	}
}

// TestStarvedBackupStays stops a Backup router. The adverts of the Active one
// are in its inbox when it runs again.
func TestStarvedBackupStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, three(100*time.Millisecond, false)...)
		time.Sleep(time.Second)
		n.routers[1].since()
		n.routers[1].pause <- 5 * time.Second
		time.Sleep(10 * time.Second)
		n.wantHolders("ctl1")
		if got := n.routers[1].since(); len(got) != 0 {
			t.Errorf("ctl2 did %q, want nothing", got)
		}
	})
}

// TestEqualPriorities checks that a configuration with three equal priorities
// still ends with one holder: after a partition, the one with the highest address.
func TestEqualPriorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{Priority: 100, Interval: 100 * time.Millisecond}
		n := newNetwork(t, c, c, c)
		time.Sleep(time.Second)
		if h := n.holders(); len(h) != 1 { // whichever runs first
			t.Errorf("the address is on %v, want one of them", h)
		}
		n.isolate(0, true)
		n.isolate(1, true)
		time.Sleep(time.Second)
		n.wantHolders("ctl1", "ctl2", "ctl3")
		n.isolate(0, false)
		n.isolate(1, false)
		time.Sleep(100 * time.Millisecond)
		n.wantHolders("ctl3")
		time.Sleep(time.Second)
		n.wantHolders("ctl3")
	})
}

// TestLongerIntervalOneByOne reconfigures three routers from 20ms to 1s, one a
// second, as an operator does who copies a file around. Nothing is to move.
func TestLongerIntervalOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, three(20*time.Millisecond, false)...)
		time.Sleep(time.Second)
		for _, r := range n.routers {
			r.since()
		}
		for i, c := range three(time.Second, false) {
			c.Source = address(i)
			n.routers[i].tell <- Configure{c}
			time.Sleep(5 * time.Second)
		}
		n.wantHolders("ctl1")
		for _, r := range n.routers {
			if got := r.since(); len(got) != 0 {
				t.Errorf("%s did %q, want nothing", r.name, got)
			}
		}
	})
}
