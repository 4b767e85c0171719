package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/vrrp"
)

// yields hands over in the background, and gives what comes of it.
func (c *controller) yields(to netip.Addr, o YieldOptions) <-chan error {
	done := make(chan error, 1)
	go func() { done <- c.Yield(c.t.Context(), to, o) }()
	synctest.Wait()
	return done
}

// quiet forgets what has happened so far.
func quiet(w *wire, all []*controller) {
	w.sent()
	for _, c := range all {
		c.holder.did()
		c.reasons()
	}
}

// TestYield hands over to each of the others in turn, whatever the priorities.
// The giver has the addresses until after the taker has them, and the third
// controller stays where it is.
func TestYield(t *testing.T) {
	for _, multicast := range []bool{false, true} {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprintf("multicast %v, keep %v", multicast, keep), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, c := cluster(t, 3, func(_ int, o *Options) { o.Multicast = multicast })
					time.Sleep(time.Second)
					for _, move := range [][2]int{{0, 2}, {2, 1}, {1, 0}, {0, 1}, {1, 2}, {2, 0}} {
						oneMove(t, w, c, c[move[0]], c[move[1]], keep)
					}
				})
			})
		}
	}
}

func oneMove(t *testing.T, w *wire, all []*controller, from, to *controller, keep bool) {
	t.Helper()
	time.Sleep(time.Minute)
	quiet(w, all)
	from.wantState(vrrp.Active)
	begun := time.Since(w.begun)
	giver, taker := from.options.Load(), to.options.Load()
	done := from.yields(to.host.addr, YieldOptions{Keep: keep})
	time.Sleep(vrrp.SkewTime(giver.Interval, taker.Priority))
	to.wantState(vrrp.Active)
	from.wantState(vrrp.Backup)
	time.Sleep(time.Second)
	if err := <-done; err != nil {
		t.Errorf("%s to %s: %v", giver.Controller, taker.Controller, err)
	}
	at := begun + vrrp.SkewTime(giver.Interval, taker.Priority)
	wantAll(t, taker.Controller, to.holder.did()[:2], fmt.Sprintf("%v claim", at), fmt.Sprintf("%v announce", at))
	how := "release"
	if keep {
		how = "withdraw"
	}
	wantAll(t, giver.Controller, from.holder.did(), fmt.Sprintf("%v %s", at+overlap, how))
	wantAll(t, giver.Controller, from.reasons(), "backup: handed over to "+taker.Controller)
	wantAll(t, taker.Controller, to.reasons(), fmt.Sprintf("active: %s resigned", giver.Controller))
	for _, c := range all {
		if c != from && c != to {
			wantAll(t, "the third", append(c.reasons(), c.holder.did()...))
		}
		if s := c.Stats(); len(s.Rejected) != 0 || s.Holder != taker.Controller {
			t.Errorf("stats %+v", s)
		}
	}
}

// TestYieldToTheDead hands over to a controller that hears nothing: the giver
// stays Active, and says to all that it is when the wait is over.
func TestYieldToTheDead(t *testing.T) {
	for _, multicast := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w, c := cluster(t, 3, func(_ int, o *Options) { o.Multicast = multicast })
			time.Sleep(time.Second)
			w.isolate(c[1].host, true)
			time.Sleep(5 * time.Second)
			c[1].stop()
			quiet(w, c)
			c[0].host.mu.Lock()
			c[0].host.away = c[1].host.addr
			c[0].host.mu.Unlock()
			err := <-c[0].yields(c[1].host.addr, YieldOptions{Keep: true})
			if want := "vip api is not handed over to ctl2: it did not take over within 900ms"; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			time.Sleep(5 * time.Second)
			wantAll(t, "ctl1", c[0].reasons())
			for _, did := range c[0].holder.did() {
				if !strings.HasSuffix(did, " announce") { // lest the other has announced itself
					t.Errorf("ctl1 did %s", did)
				}
			}
			c[0].host.mu.Lock()
			if got := c[0].host.forgot; !slices.Equal(got, []netip.Addr{c[1].host.addr}) {
				t.Errorf("dropped what waits for %v, want that for ctl2 alone", got)
			}
			c[0].host.mu.Unlock()
			wantAll(t, "ctl3", append(c[2].holder.did(), c[2].reasons()...))
			if err := <-c[0].yields(c[2].host.addr, YieldOptions{}); err != nil {
				t.Errorf("and then to one that lives: %v", err)
			}
		})
	}
}

// TestYieldToAnyone hands over to whoever is the first.
func TestYieldToAnyone(t *testing.T) {
	for _, multicast := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			_, c := cluster(t, 3, func(_ int, o *Options) { o.Multicast = multicast })
			time.Sleep(time.Second)
			if err := <-c[0].yields(netip.Addr{}, YieldOptions{}); err != nil {
				t.Error(err)
			}
			c[1].wantState(vrrp.Active)
			wantAll(t, "ctl1", c[0].reasons(), "backup: started",
				"active: no other controller was heard for 300.8ms", "backup: handed over to ctl2")
		})
	}
}

// TestYieldFallsBack hands over, in multicast mode and without keeping the
// connections, to a controller that is not there. Everyone is told after half of
// the wait, as keepalived drops what is for it alone, and somebody else is first.
func TestYieldFallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 3, func(_ int, o *Options) { o.Multicast = true })
		time.Sleep(time.Second)
		c[2].stop()
		begun := time.Now()
		err := <-c[0].yields(c[2].host.addr, YieldOptions{Wait: time.Second})
		if want := "vip api was taken over by ctl2, not by ctl3"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		skew := vrrp.SkewTime(100*time.Millisecond, 230)
		if got, want := time.Since(begun), 500*time.Millisecond+skew+overlap; got != want {
			t.Errorf("took %v, want %v", got, want)
		}
		c[1].wantState(vrrp.Active)
	})
}

// TestYieldRefuses has everything for which a handover is refused or ends.
func TestYieldRefuses(t *testing.T) {
	want := func(t *testing.T, err error, text string) {
		t.Helper()
		if err == nil || err.Error() != "vip api is not handed over to "+text {
			t.Errorf("got %v, want %s", err, text)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 3, nil)
		time.Sleep(time.Second)
		two, three := c[1].host.addr, c[2].host.addr
		want(t, <-c[1].yields(three, YieldOptions{}), "ctl3: it is not active here: started")
		want(t, <-c[0].yields(netip.MustParseAddr("10.0.0.9"), YieldOptions{}), "10.0.0.9: that is not the address of another controller")

		w.isolate(c[1].host, true)
		first := c[0].yields(two, YieldOptions{Wait: time.Minute})
		want(t, <-c[0].yields(three, YieldOptions{}), "ctl3: another handover is under way")
		c[0].SetEligible(false, "haproxy died")
		want(t, <-first, "ctl2: this controller holds it no more: haproxy died")
		w.isolate(c[1].host, false)
		time.Sleep(5 * time.Second)

		holder := c[1]
		if c[2].Stats().State == vrrp.Active {
			holder = c[2]
		}
		c[0].stop()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- holder.Yield(ctx, c[0].host.addr, YieldOptions{Wait: time.Minute}) }()
		time.Sleep(time.Second)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that the context ended", err)
		}
		time.Sleep(time.Second)
		holder.wantState(vrrp.Active)
		if sent := strings.Join(w.sent(), "\n"); strings.HasSuffix(sent, "sends 0") {
			t.Errorf("it goes on after the context has ended:\n%s", sent)
		}

		last := holder.yields(c[0].host.addr, YieldOptions{Wait: time.Minute})
		holder.stop()
		want(t, <-last, "ctl1: this controller holds it no more: shutting down")
		want(t, holder.Yield(t.Context(), three, YieldOptions{}), holder.options.Load().name(three)+": it is not active here: shutting down")
	})
}

// TestYieldAndEnd ends the loop in the moment in which both have the addresses:
// they are withdrawn all the same, and the connections left alone.
func TestYieldAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 2, nil)
		time.Sleep(time.Second)
		quiet(w, c)
		done := c[0].yields(c[1].host.addr, YieldOptions{Keep: true})
		time.Sleep(20 * time.Millisecond)
		c[1].wantState(vrrp.Active)
		c[0].stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		wantAll(t, "ctl1", c[0].holder.did(), "1.02s withdraw")
	})
}

// TestYieldComesBack lets the taker fail at once: the giver takes over again
// before it has dropped the addresses, and keeps them.
func TestYieldComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 2, nil)
		time.Sleep(time.Second)
		quiet(w, c)
		done := c[0].yields(c[1].host.addr, YieldOptions{Keep: true})
		time.Sleep(20 * time.Millisecond)
		c[1].SetEligible(false, "haproxy died")
		time.Sleep(time.Second)
		want := "vip api is not handed over to ctl2: ctl2 took over, and this controller did after it: ctl2 resigned"
		if err := <-done; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		for _, e := range c[0].holder.did() {
			if strings.HasSuffix(e, "withdraw") || strings.HasSuffix(e, "release") {
				t.Errorf("ctl1 did %q", e)
			}
		}
		c[0].wantState(vrrp.Active)
	})
}

// TestWithdrawFails checks that the error says that the address is on two.
func TestWithdrawFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 2, nil)
		time.Sleep(time.Second)
		c[0].holder.set(func(h *fakeHolder) { h.releaseErr = errFake })
		err := <-c[0].yields(c[1].host.addr, YieldOptions{Keep: true})
		if !errors.Is(err, errFake) || !strings.Contains(err.Error(), "was handed over to ctl2, but is still here too") {
			t.Errorf("got %v", err)
		}
		c[1].wantState(vrrp.Active)
		c[0].wantState(vrrp.Backup)
	})
}
