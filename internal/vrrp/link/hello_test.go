package link

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/vrrp"
)

// addressesOf gives those of all controllers but one.
func addressesOf(all []*controller, but *controller) []netip.Addr {
	var others []netip.Addr
	for _, c := range all {
		if c != but {
			others = append(others, c.host.addr)
		}
	}
	return others
}

// TestHello has each controller know whom it hears, in whatever state they are.
func TestHello(t *testing.T) {
	for _, multicast := range []bool{false, true} {
		t.Run(fmt.Sprint("multicast ", multicast), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { helloOf(t, multicast) })
		})
	}
}

func helloOf(t *testing.T, multicast bool) {
	w, c := cluster(t, 3, func(_ int, o *Options) { o.Multicast = multicast })
	time.Sleep(2 * time.Second)
	hears := func(by, from *controller, want bool) {
		t.Helper()
		synctest.Wait()
		if h := by.Hearing()[from.host.addr]; h.Hears(2*helloEvery) != want {
			t.Errorf("%s hears %s %v ago", by.options.Load().Controller, from.options.Load().Controller, h.Ago)
		}
	}
	hears(c[1], c[0], true) // by its adverts
	hears(c[0], c[1], false)
	c[1].SetHearers(addressesOf(c, c[1])[:1])
	time.Sleep(2 * helloEvery)
	hears(c[0], c[1], !multicast) // a group of which some do not know hellos gets none
	hears(c[2], c[1], false)
	for _, x := range c {
		x.SetHearers(addressesOf(c, x))
	}
	c[2].SetEligible(false, "haproxy died")
	time.Sleep(2 * helloEvery)
	for _, by := range c {
		for _, from := range c {
			if by != from {
				hears(by, from, true)
			}
		}
	}

	w.silence(c[2].host, true)
	time.Sleep(3 * helloEvery)
	hears(c[0], c[2], false)
	hears(c[2], c[0], true)
	w.silence(c[2].host, false)
	if !c[2].Hello(c[0].host.addr) || c[2].Hello(netip.MustParseAddr("10.0.0.9")) {
		t.Error("who gets hellos is not what was said")
	}
	time.Sleep(promptEvery)
	if h := c[0].Hearing()[c[2].host.addr]; !h.Hears(2 * promptEvery) {
		t.Errorf("a prompt sent no hello: %v ago", h.Ago)
	}
	hears(c[1], c[2], true)

	c[1].host.mu.Lock()
	c[1].host.sendErr = fmt.Errorf("send: %w", unix.EPERM)
	c[1].host.mu.Unlock()
	time.Sleep(3 * helloEvery)
	if h := c[1].Hearing()[c[0].host.addr]; !strings.Contains(h.Refused, "operation not permitted") || !h.Hears(helloEvery) {
		t.Errorf("what the kernel does not send: %+v", h)
	}
	c[1].host.mu.Lock()
	c[1].host.sendErr = nil
	c[1].host.mu.Unlock()
	time.Sleep(2 * helloEvery)
	if h := c[1].Hearing()[c[0].host.addr]; h.Refused != "" {
		t.Errorf("it sends again: %+v", h)
	}
	c[0].wantState(vrrp.Active)
	c[1].wantState(vrrp.Backup)
	for _, x := range c {
		if s := x.Stats(); len(s.Rejected) != 0 || s.Holder != "ctl1" {
			t.Errorf("hellos have changed something: %+v", s)
		}
	}
}

// at gives when each of what a holder did happened.
func at(t *testing.T, did []string, what string) (all []time.Duration) {
	t.Helper()
	for _, d := range did {
		when, rest, _ := strings.Cut(d, " ")
		if rest != what {
			continue
		}
		at, err := time.ParseDuration(when)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, at)
	}
	return all
}

// lastWord fails the test unless the one that keeps the addresses announces them
// soon after the other has released them.
func lastWord(t *testing.T, keeps, gaveWay *controller, within time.Duration) {
	t.Helper()
	released := at(t, gaveWay.holder.did(), "release")
	if len(released) != 1 {
		t.Fatalf("released at %v, want once", released)
	}
	announced := at(t, keeps.holder.did(), "announce")
	for _, a := range announced {
		if a >= released[0] && a-released[0] <= within {
			return
		}
	}
	t.Errorf("released at %v, announced by who has it at %v: neighbours go on to send to who has not", released, announced)
}

// TestNotHeard hands over to a controller that nobody hears: it takes over, the
// giver stays, and has the last word with the neighbours.
func TestNotHeard(t *testing.T) {
	for _, to := range []int{1, 0} { // of lower and of higher priority
		synctest.Test(t, func(t *testing.T) {
			w, c := cluster(t, 2, nil)
			time.Sleep(time.Second)
			giver, taker := c[1-to], c[to]
			if to == 0 {
				if err := <-c[0].yields(c[1].host.addr, YieldOptions{}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
			}
			w.silence(taker.host, true)
			quiet(w, c)
			if err := <-giver.yields(taker.host.addr, YieldOptions{Keep: true}); err == nil {
				t.Error("handed over to one that is not heard")
			}
			time.Sleep(10 * time.Second)
			giver.wantState(vrrp.Active)
			taker.wantState(vrrp.Backup)
			lastWord(t, giver, taker, 500*time.Millisecond)
		})
	}
}

// TestHolderNotHeard has the holder go silent: who takes over has the last word.
func TestHolderNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 2, nil)
		time.Sleep(time.Minute)
		quiet(w, c)
		w.silence(c[0].host, true)
		time.Sleep(10 * time.Second)
		c[1].wantState(vrrp.Active)
		c[0].wantState(vrrp.Backup)
		lastWord(t, c[1], c[0], time.Second)
	})
}
