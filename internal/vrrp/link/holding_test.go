package link

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/vrrp"
)

// TestClaimFails checks that a controller which cannot take the address says so
// to the others, and tries again, less and less often.
func TestClaimFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 1, func(_ int, o *Options) {
			o.Peers = map[netip.Addr]string{netip.MustParseAddr("10.0.0.9"): "ctl9"}
		})
		c[0].holder.set(func(h *fakeHolder) { h.claimErr = errFake })
		time.Sleep(310 * time.Millisecond)
		wantAll(t, "holder", c[0].holder.did(), "300.78125ms claim", "300.78125ms release")
		wantAll(t, "sent", w.sent(), "300.78125ms 10.0.0.1 sends 254", "300.78125ms 10.0.0.1 sends 0")
		wantAll(t, "transitions", c[0].reasons(),
			"backup: started", "initialize: cannot take the address: no such device")
		time.Sleep(3 * time.Second)
		// After 500ms and the 300.78125ms of a Backup router, then after 1s.
		wantAll(t, "holder", c[0].holder.did(),
			"1.1015625s claim", "1.1015625s release", "2.40234375s claim", "2.40234375s release")
		c[0].holder.set(func(h *fakeHolder) { h.claimErr = nil })
		time.Sleep(10 * time.Second)
		c[0].wantState(vrrp.Active)
		c[0].reasons()
		// The next failure, over a minute later, is a new one.
		time.Sleep(2 * time.Minute)
		c[0].holder.did()
		c[0].holder.set(func(h *fakeHolder) { h.holdErr = errFake })
		time.Sleep(750 * time.Millisecond)
		wantAll(t, "transitions", c[0].reasons(), "initialize: cannot keep the address: no such device")
		c[0].holder.set(func(h *fakeHolder) { h.holdErr = nil })
		time.Sleep(801 * time.Millisecond)
		wantAll(t, "transitions", c[0].reasons(),
			"backup: no longer: cannot keep the address: no such device",
			"active: no other controller was heard for 300.8ms")
	})
}

// TestHoldFailsOnce checks that one failure to renew the lease costs nothing.
func TestHoldFailsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 1, nil)
		time.Sleep(time.Second)
		c[0].reasons()
		c[0].holder.set(func(h *fakeHolder) { h.holdErr = errFake })
		time.Sleep(500 * time.Millisecond)
		c[0].holder.set(func(h *fakeHolder) { h.holdErr = nil })
		time.Sleep(5 * time.Second)
		wantAll(t, "transitions", c[0].reasons())
	})
}

// TestSlowKernel lets a Hold last longer than three intervals, as it does where
// others have the kernel's lock: the loop advertises meanwhile. Past the lease
// it resigns.
func TestSlowKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 2, nil)
		time.Sleep(time.Second)
		c[0].holder.set(func(h *fakeHolder) { h.block = 1500 * time.Millisecond })
		time.Sleep(10 * time.Second)
		c[0].wantState(vrrp.Active)
		c[1].wantState(vrrp.Backup)
		c[0].reasons()
		c[0].holder.did()
		w.sent()
		c[0].holder.set(func(h *fakeHolder) { h.block = 20 * time.Second })
		time.Sleep(3 * time.Second)
		c[1].wantState(vrrp.Active)
		wantAll(t, "ctl1", c[0].reasons(),
			"initialize: cannot have the address: the kernel has not answered for 1.75s",
			"backup: no longer: cannot have the address: the kernel has not answered for 1.75s")
		time.Sleep(20 * time.Second)
		// Released when the kernel answers, once for each time it was given up.
		if got := c[0].holder.did(); len(got) == 0 || !strings.HasSuffix(got[0], "release") {
			t.Errorf("ctl1 did %q, want a release", got)
		}
		c[0].wantState(vrrp.Backup)
	})
}

// TestHoldGivenUp lets a Hold last for longer than the lease: it is told that the
// address is not wanted any more, and is not to announce it when the kernel
// answers. What waits behind it, and is not wanted either, is not even begun.
func TestHoldGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 2, nil)
		time.Sleep(time.Second)
		gaveUp := make(chan time.Duration, 1)
		begun := time.Now()
		c[0].holder.set(func(h *fakeHolder) {
			h.deaf = func(ctx context.Context) {
				<-ctx.Done()
				gaveUp <- time.Since(begun)
				time.Sleep(20 * time.Second)
			}
		})
		time.Sleep(3 * time.Second)
		c[1].wantState(vrrp.Active)
		select {
		case after := <-gaveUp:
			if after > 2*time.Second+c[0].options.Load().Refresh {
				t.Errorf("the Hold was given up after %v, when the lease had ended", after)
			}
		default:
			t.Error("nobody told the Hold that it is given up")
		}
		c[0].holder.holdCount()
		c[0].holder.did()
		time.Sleep(30 * time.Second)
		if n := c[0].holder.holdCount(); n != 0 {
			t.Errorf("%d Holds of an address that was given up", n)
		}
		for _, what := range c[0].holder.did() {
			if !strings.HasSuffix(what, "release") {
				t.Errorf("ctl1 did %q with an address that it had given up", what)
			}
		}
	})
}

// TestSlowClaim lets a Claim last: the adverts go on, and it is Active, and
// announces, when it has the addresses.
func TestSlowClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 2, nil)
		time.Sleep(time.Second)
		c[1].holder.did()
		c[1].holder.set(func(h *fakeHolder) { h.block = time.Second })
		c[0].stop()
		time.Sleep(500 * time.Millisecond)
		c[1].wantState(vrrp.Backup)
		w.sent()
		time.Sleep(200 * time.Millisecond)
		if got := w.sent(); len(got) != 2 {
			t.Errorf("sent %q while the kernel did not answer, want two adverts", got)
		}
		time.Sleep(400 * time.Millisecond)
		c[1].wantState(vrrp.Active)
		wantAll(t, "ctl2", c[1].holder.did(), "1.01015625s claim", "2.01015625s announce")
		c[1].mu.Lock()
		last := c[1].moves[len(c[1].moves)-1]
		c[1].mu.Unlock()
		if last.Took != time.Second || last.From != vrrp.Backup || last.To != vrrp.Active || last.Peer != "ctl1" {
			t.Errorf("transition %+v", last)
		}
	})
}

// TestClaimInVain lets a winning advert come while the addresses are being claimed.
func TestClaimInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 2, nil)
		time.Sleep(time.Second)
		w.isolate(c[0].host, true)
		c[1].reasons()
		c[1].holder.did()
		c[1].holder.set(func(h *fakeHolder) { h.block = time.Second })
		time.Sleep(500 * time.Millisecond)
		w.isolate(c[0].host, false)
		time.Sleep(5 * time.Second)
		c[1].wantState(vrrp.Backup)
		wantAll(t, "ctl2", c[1].reasons())
		did := c[1].holder.did()
		if len(did) != 2 || !strings.HasSuffix(did[0], "claim") || !strings.HasSuffix(did[1], "release") {
			t.Errorf("ctl2 did %q, want to claim and release", did)
		}
		if n := c[1].holder.holdCount(); n != 0 {
			t.Errorf("%d holds, want none", n)
		}
		c[1].holder.set(func(h *fakeHolder) {
			if h.present {
				t.Error("ctl2 has the address")
			}
		})
	})
}

// TestReleaseFails checks that an address which cannot be released is reported,
// and is no reason not to go on: its lease ends by itself.
func TestReleaseFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		_, c := cluster(t, 2, func(i int, o *Options) { logOf(0, i, o, &log) })
		time.Sleep(time.Second)
		c[0].holder.set(func(h *fakeHolder) { h.releaseErr = errFake })
		c[0].SetEligible(false, "haproxy died")
		time.Sleep(time.Second)
		c[0].SetEligible(true, "haproxy is back")
		time.Sleep(time.Second)
		c[0].wantState(vrrp.Backup)
		c[1].wantState(vrrp.Active)
		c[0].stop()
		if !strings.Contains(log.String(), "cannot release the address") || !strings.Contains(log.String(), "no such device") {
			t.Errorf("log:\n%s", log.String())
		}
	})
}
