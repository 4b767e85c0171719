package link

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/vrrp"
)

// TestPromotion checks the order of a takeover: the advert, the addresses, the
// announcement; and that the announcement is repeated, and the lease renewed.
func TestPromotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 1, func(_ int, o *Options) {
			o.Peers = map[netip.Addr]string{netip.MustParseAddr("10.0.0.9"): "ctl9"}
		})
		time.Sleep(301 * time.Millisecond)
		wantAll(t, "sent", w.sent(), "300.78125ms 10.0.0.1 sends 254")
		wantAll(t, "holder", c[0].holder.did(), "300.78125ms claim", "300.78125ms announce")
		time.Sleep(10 * time.Second)
		wantAll(t, "holder", c[0].holder.did(),
			"400.78125ms announce", "550.78125ms announce", "1.30078125s announce", "5.30078125s announce")
		if n := c[0].holder.holdCount(); n != 40 {
			t.Errorf("%d holds in 10s, want one every 250ms", n)
		}
		time.Sleep(time.Minute)
		wantAll(t, "holder", c[0].holder.did(), "1m5.30078125s announce")
		wantAll(t, "transitions", c[0].reasons(),
			"backup: started", "active: no other controller was heard for 300.8ms")
		if s := c[0].Stats(); s.Holder != "ctl1" || s.Transitions != 2 || s.AdvertsSent < 700 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestResign checks the order when HAProxy dies: priority 0 first, then the
// addresses; and that the next controller has them after its skew time.
func TestResign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 3, nil)
		time.Sleep(time.Second)
		c[0].wantState(vrrp.Active)
		for _, c := range c {
			c.holder.did()
			c.reasons()
		}
		w.sent()
		if got := c[2].Stats().Holder; got != "ctl1" {
			t.Errorf("ctl3 believes that %q is the holder, want ctl1", got)
		}
		c[0].SetEligible(false, "haproxy died: signal 9")
		sent := w.sent()
		wantAll(t, "sent", sent, "1s 10.0.0.1 sends 0", "1s 10.0.0.1 sends 0") // to two peers
		wantAll(t, "ctl1", c[0].holder.did(), "1s release")
		if got := c[2].Stats().Holder; got != "" {
			t.Errorf("ctl3 believes that %q is the holder, want nobody", got)
		}
		time.Sleep(10156250)
		wantAll(t, "ctl2", c[1].holder.did(), "1.01015625s claim", "1.01015625s announce")
		wantAll(t, "ctl2", c[1].reasons(), "active: ctl1 resigned")
		wantAll(t, "ctl1", c[0].reasons(), "initialize: haproxy died: signal 9")
		time.Sleep(time.Second)
		wantAll(t, "ctl3", c[2].reasons())
		if s := c[0].Stats(); s.Reason != "haproxy died: signal 9" || s.Holder != "ctl2" || s.State != vrrp.Initialize {
			t.Errorf("ctl1's stats %+v", s)
		}
	})
}

// TestShutdown checks that the end of the context resigns and releases, with a
// context for Release that has not ended.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 2, nil)
		time.Sleep(time.Second)
		c[0].holder.did()
		w.sent()
		c[0].stop()
		wantAll(t, "sent", w.sent(), "1s 10.0.0.1 sends 0")
		wantAll(t, "ctl1", c[0].holder.did(), "1s release")
		time.Sleep(11 * time.Millisecond)
		c[1].wantState(vrrp.Active)
		if got := c[0].Stats(); got.State != vrrp.Initialize || got.Reason != "shutting down" {
			t.Errorf("stats after the end: %+v", got)
		}
	})
}

func TestNotEligibleFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 1, nil)
		c[0].SetEligible(false, "")
		time.Sleep(time.Second)
		c[0].wantState(vrrp.Initialize)
		if got := c[0].Stats().Reason; got != "not eligible" {
			t.Errorf("reason %q", got)
		}
		c[0].SetEligible(false, "port 5000 is taken by keystone-wsgi (pid 7)")
		synctest.Wait()
		if got := c[0].Stats().Reason; got != "port 5000 is taken by keystone-wsgi (pid 7)" {
			t.Errorf("reason %q", got)
		}
	})
}

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

// TestHeldUp stops the loop of the Active controller. When it runs again it
// finds the other's adverts, concedes, and does not renew the lease before that.
func TestHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 2, nil)
		time.Sleep(time.Second)
		c[0].reasons()
		c[0].holder.did()
		c[0].holder.holdCount()
		c[0].host.mu.Lock()
		c[0].host.pause = 3 * time.Second
		c[0].host.mu.Unlock()
		time.Sleep(4 * time.Second)
		c[1].wantState(vrrp.Active)
		c[0].wantState(vrrp.Backup)
		if n := c[0].holder.holdCount(); n != 0 {
			t.Errorf("%d holds, want none", n)
		}
		got := c[0].reasons()
		if len(got) != 1 || !strings.HasPrefix(got[0], "backup: this process was held up for") || !strings.HasSuffix(got[0], "ctl2 took over") {
			t.Errorf("transitions %q", got)
		}
		if got := c[0].Stats().Late; got != 1 {
			t.Errorf("late %d times, want 1", got)
		}
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
		if c[1].holder.present {
			t.Error("ctl2 has the address")
		}
	})
}

// TestCarrier checks that a lost carrier makes a controller not eligible, but
// not if it comes back within two intervals.
func TestCarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 1, nil)
		time.Sleep(time.Second)
		c[0].reasons()
		c[0].host.setFault("interface eth0 has no carrier")
		time.Sleep(150 * time.Millisecond)
		c[0].host.setFault("")
		time.Sleep(time.Second)
		wantAll(t, "transitions", c[0].reasons())
		c[0].host.setFault("interface eth0 has no carrier")
		time.Sleep(200 * time.Millisecond)
		wantAll(t, "transitions", c[0].reasons(), "initialize: interface eth0 has no carrier")
		c[0].host.setFault("interface eth0 is down")
		synctest.Wait()
		if got := c[0].Stats().Reason; got != "interface eth0 is down" {
			t.Errorf("reason %q", got)
		}
		opens := c[0].host.opens
		c[0].host.setFault("")
		time.Sleep(time.Second)
		if got := c[0].Stats(); got.State != vrrp.Initialize || !strings.HasPrefix(got.Reason, "listening for the others") {
			t.Errorf("stats after the link came back: %+v", got)
		}
		time.Sleep(1400 * time.Millisecond)
		wantAll(t, "transitions", c[0].reasons(),
			"backup: no longer: interface eth0 is down", "active: no other controller was heard for 300.8ms")
		if c[0].host.opens == opens {
			t.Error("the socket was not opened anew")
		}
		// HAProxy's reason is not told as the interface's.
		c[0].SetEligible(false, "haproxy died")
		synctest.Wait()
		c[0].SetEligible(true, "haproxy is back")
		wantAll(t, "transitions", c[0].reasons(), "initialize: haproxy died", "backup: haproxy is back")
	})
}

// TestCarrierComesBack checks that a controller whose link was away does not
// take over before the others had time to be heard, and is Backup as soon as
// one is heard.
func TestCarrierComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 2, nil)
		time.Sleep(time.Second)
		w.isolate(c[0].host, true)
		c[0].host.setFault("interface eth0 has no carrier")
		time.Sleep(time.Second)
		c[1].wantState(vrrp.Active)
		c[0].reasons()
		c[0].host.setFault("") // but the switch does not forward yet
		time.Sleep(1500 * time.Millisecond)
		c[0].wantState(vrrp.Initialize)
		w.isolate(c[0].host, false)
		time.Sleep(100 * time.Millisecond)
		wantAll(t, "ctl1", c[0].reasons(), "backup: no longer: interface eth0 has no carrier")
		time.Sleep(time.Second)
		c[0].wantState(vrrp.Backup)
		c[1].wantState(vrrp.Active)
	})
}

// TestSocketFails checks that a controller without a socket is not eligible,
// since it would hear nobody, and that it tries again.
func TestSocketFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 1, nil)
		time.Sleep(time.Second)
		c[0].reasons()
		c[0].host.mu.Lock()
		c[0].host.readErr, c[0].host.openErr = errFake, errFake
		c[0].host.mu.Unlock()
		time.Sleep(10 * time.Second)
		wantAll(t, "transitions", c[0].reasons(), "initialize: no socket for adverts: no such device")
		if n := c[0].host.opens; n < 5 || n > 12 {
			t.Errorf("opened %d times in 10s, want it to be less and less often", n)
		}
		c[0].host.mu.Lock()
		c[0].host.openErr = nil
		c[0].host.mu.Unlock()
		time.Sleep(6 * time.Second)
		c[0].wantState(vrrp.Active)
	})
}

// TestSendFails checks that adverts that cannot be sent are counted and make
// the loop look at its socket, but do not end it.
func TestSendFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		_, c := cluster(t, 2, func(_ int, o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		time.Sleep(time.Second)
		opens := c[0].host.opens
		c[0].host.mu.Lock()
		c[0].host.sendErr = unix.ENODEV
		c[0].host.mu.Unlock()
		time.Sleep(5 * time.Second)
		s := c[0].Stats()
		if s.SendErrors < 45 || s.State != vrrp.Active {
			t.Errorf("stats %+v", s)
		}
		if n := c[0].host.opens - opens; n < 4 || n > 6 {
			t.Errorf("the socket was opened %d times in 5s, want about one a second", n)
		}
		c[0].host.mu.Lock()
		c[0].host.sendErr = nil
		c[0].host.mu.Unlock()
		time.Sleep(time.Second)
		c[0].wantState(vrrp.Active)
		c[1].wantState(vrrp.Backup)
		c[0].stop()
		if n := strings.Count(log.String(), "cannot send an advert"); n != 1 {
			t.Errorf("logged %d times, want once a minute", n)
		}
	})
}

// TestRejects feeds a loop what it must not believe, and checks that it counts
// it, names the source once, and changes nothing.
func TestRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		_, c := cluster(t, 2, func(_ int, o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		time.Sleep(time.Second)
		c[1].wantState(vrrp.Backup)
		seen := c[1].Stats().AdvertsSeen
		foreign := netip.MustParseAddr("10.0.0.99")
		a := vrrp.Advert{VRID: 51, Priority: 255, Interval: 10 * time.Millisecond, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.100")}}
		b, err := a.Append(nil, vrrp.MessageOnly, foreign, c[1].host.addr)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			c[1].host.put(datagram{src: foreign, dst: c[1].host.addr, ttl: 255, payload: b})
		}
		c[1].host.put(datagram{src: c[0].host.addr, dst: c[1].host.addr, ttl: 254, payload: b})
		synctest.Wait()
		s := c[1].Stats()
		if s.Rejected["source"] != 5 || s.Rejected["ttl"] != 1 || len(s.Rejected) != 2 || s.AdvertsSeen != seen {
			t.Errorf("rejected %v, seen %d, want %d", s.Rejected, s.AdvertsSeen, seen)
		}
		if s.LastRejected.Source != c[0].host.addr || s.LastRejected.Reason != vrrp.BadTTL {
			t.Errorf("last rejected %+v", s.LastRejected)
		}
		c[1].stop()
		if n := strings.Count(log.String(), "source=10.0.0.99"); n != 1 {
			t.Errorf("the foreign source is named %d times, want once:\n%s", n, log.String())
		}
	})
}

// TestMismatches checks that another list of addresses or another interval is
// counted and reported, but no reason to drop the advert.
func TestMismatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 2, func(i int, o *Options) {
			if i == 0 {
				o.Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.101")}
				o.Interval = 50 * time.Millisecond
			}
		})
		time.Sleep(time.Second)
		c[1].wantState(vrrp.Backup)
		s := c[1].Stats()
		if s.AdvertsSeen == 0 || s.OtherAddresses != s.AdvertsSeen || s.OtherInterval != s.AdvertsSeen || s.Checksums["rfc"] != s.AdvertsSeen {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestConfigure changes what can be changed while Active, and refuses the rest.
func TestConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 2, nil)
		time.Sleep(time.Second)
		c[0].reasons()
		w.sent()
		o := *c[0].options.Load()
		o.Interval, o.Priority = time.Second, 200
		o.Peers = map[netip.Addr]string{c[1].host.addr: "second", netip.MustParseAddr("10.0.0.3"): "third"}
		if err := c[0].Configure(o); err != nil {
			t.Fatal(err)
		}
		sent := w.sent()
		wantAll(t, "sent", sent, "1s 10.0.0.1 sends 200", "1s 10.0.0.1 sends 200")
		time.Sleep(time.Minute)
		wantAll(t, "transitions", c[0].reasons())
		c[1].wantState(vrrp.Backup)
		if got := c[0].Stats().Priority; got != 200 {
			t.Errorf("priority %d", got)
		}
		o.VRID = 52
		if err := c[0].Configure(o); err == nil || !strings.Contains(err.Error(), "fixed") {
			t.Errorf("another router id: %v", err)
		}
		o.VRID, o.Interval = 51, time.Millisecond
		if err := c[0].Configure(o); err == nil || !strings.Contains(err.Error(), "interval") {
			t.Errorf("a bad interval: %v", err)
		}
		if got := c[0].options.Load().Interval; got != time.Second {
			t.Errorf("interval %v after bad options", got)
		}
	})
}

// TestSlowLog checks that a log which hangs does not cost the address.
func TestSlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		_, c := cluster(t, 2, func(i int, o *Options) {
			if i == 0 {
				o.OnTransition = func(Transition) { <-hang }
			}
		})
		time.Sleep(10 * time.Second)
		c[0].wantState(vrrp.Active)
		c[1].wantState(vrrp.Backup)
		if got := c[1].Stats().Transitions; got != 1 {
			t.Errorf("ctl2 changed %d times, want once", got)
		}
		close(hang)
	})
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{
		Name: "api", VRID: 51, Priority: 254, Interval: 100 * time.Millisecond, Interface: "eth0",
		Source: netip.MustParseAddr("10.0.0.1"), Peers: map[netip.Addr]string{netip.MustParseAddr("10.0.0.2"): "ctl2"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.100")}, Holder: &fakeHolder{},
	}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.VRID = 0 }, "router id 0"},
		{func(o *Options) { o.Priority = 0 }, "priority 0"},
		{func(o *Options) { o.Priority = 255 }, "priority 255"},
		{func(o *Options) { o.Interval = 15 * time.Millisecond }, "interval 15ms"},
		{func(o *Options) { o.Interval = time.Minute }, "interval 1m0s"},
		{func(o *Options) { o.Interface = "" }, "no interface"},
		{func(o *Options) { o.Holder = nil }, "no holder"},
		{func(o *Options) { o.Refresh = -1 }, "refresh"},
		{func(o *Options) { o.Source = netip.Addr{} }, "source"},
		{func(o *Options) { o.Source = netip.MustParseAddr("fe80::1%eth0") }, "source"},
		{func(o *Options) { o.Source = netip.MustParseAddr("10.0.0.2") }, "both this controller's and another's"},
		{func(o *Options) { o.Addresses = []netip.Addr{netip.MustParseAddr("fd00::1")} }, "no address of the family"},
		{func(o *Options) { o.Addresses = make([]netip.Addr, 3) }, "no address of the family"},
		{func(o *Options) { o.Peers = map[netip.Addr]string{netip.MustParseAddr("fd00::2"): "x"} }, "not of the family"},
	}
	for _, tt := range tests {
		o := good
		tt.change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want an error about %q", err, tt.want)
		}
	}
	bad := good
	bad.VRID, bad.Priority = 0, 0
	if _, err := New(bad); err == nil || strings.Count(err.Error(), "vip api:") != 2 {
		t.Errorf("got %v, want both errors", err)
	}
}

// TestAccept is the table of who and what is believed.
func TestAccept(t *testing.T) {
	four := &Options{VRID: 51, Source: netip.MustParseAddr("10.0.0.1"), Peers: map[netip.Addr]string{netip.MustParseAddr("10.0.0.2"): "ctl2"}}
	multi4 := &Options{VRID: 51, Source: four.Source, Peers: four.Peers, Multicast: true}
	six := &Options{VRID: 51, Source: netip.MustParseAddr("fd00::1"), Peers: map[netip.Addr]string{netip.MustParseAddr("fd00::2"): "ctl2"}}
	multi6 := &Options{VRID: 51, Source: six.Source, Peers: six.Peers, Multicast: true}
	local := netip.MustParseAddr("fe80::1")
	tests := []struct {
		name     string
		o        *Options
		own      netip.Addr
		src, dst string
		ttl      int
		vrid     uint8
		want     vrrp.Reason
	}{
		{"unicast", four, four.Source, "10.0.0.2", "10.0.0.1", 255, 51, 0},
		{"unicast from a stranger", four, four.Source, "10.0.0.9", "10.0.0.1", 255, 51, vrrp.ForeignSource},
		{"unicast from oneself", four, four.Source, "10.0.0.1", "10.0.0.1", 255, 51, vrrp.OwnSource},
		{"unicast to another address of this host", four, four.Source, "10.0.0.2", "10.0.0.100", 255, 51, vrrp.BadDestination},
		{"unicast over a router", four, four.Source, "10.0.0.2", "10.0.0.1", 254, 51, vrrp.BadTTL},
		{"unicast of another router id", four, four.Source, "10.0.0.2", "10.0.0.1", 255, 52, vrrp.BadVRID},
		{"multicast to unicast", four, four.Source, "10.0.0.2", "224.0.0.18", 255, 51, vrrp.BadDestination},
		{"multicast", multi4, multi4.Source, "10.0.0.2", "224.0.0.18", 255, 51, 0},
		{"multicast from a stranger", multi4, multi4.Source, "10.0.0.9", "224.0.0.18", 255, 51, vrrp.ForeignSource},
		{"unicast to multicast", multi4, multi4.Source, "10.0.0.2", "10.0.0.1", 255, 51, vrrp.BadDestination},
		{"IPv6 unicast", six, six.Source, "fd00::2", "fd00::1", 255, 51, 0},
		{"IPv6 unicast from a stranger", six, six.Source, "fe80::2", "fd00::1", 255, 51, vrrp.ForeignSource},
		{"IPv6 unicast without a hop limit", six, six.Source, "fd00::2", "fd00::1", -1, 51, vrrp.BadTTL},
		{"IPv6 multicast", multi6, local, "fe80::2", "ff02::12", 255, 51, 0},
		{"IPv6 multicast from oneself", multi6, local, "fe80::1", "ff02::12", 255, 51, vrrp.OwnSource},
		{"IPv6 multicast from elsewhere", multi6, local, "fd00::2", "ff02::12", 255, 51, vrrp.ForeignSource},
		{"IPv6 unicast to multicast", multi6, local, "fe80::2", "fe80::1", 255, 51, vrrp.BadDestination},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := datagram{src: netip.MustParseAddr(tt.src), dst: netip.MustParseAddr(tt.dst), ttl: tt.ttl}
			sent := vrrp.Advert{VRID: tt.vrid, Priority: 100, Interval: time.Second, Addresses: []netip.Addr{d.src}}
			var err error
			if d.payload, err = sent.Append(nil, vrrp.MessageOnly, d.src, d.dst); err != nil {
				t.Fatal(err)
			}
			var got vrrp.Advert
			if _, reason := accept(tt.o, tt.own, d, &got); reason != tt.want {
				t.Errorf("got %v, want %v", reason, tt.want)
			}
			d.payload = d.payload[:6]
			if _, reason := accept(tt.o, tt.own, d, &got); tt.want == 0 && reason != vrrp.BadLength {
				t.Errorf("cut short: got %v, want %v", reason, vrrp.BadLength)
			}
		})
	}
}

// FuzzReceive reads any packet as a raw IPv4 socket gives it, with its header.
func FuzzReceive(f *testing.F) {
	good := []byte{
		0x45, 0xc0, 0, 32, 0, 1, 0, 0, 255, 112, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2,
		0x31, 0x37, 0x96, 1, 0, 0x0a, 0x19, 0xbc, 10, 9, 0, 0x67,
	}
	f.Add(good)
	f.Add(append([]byte{0x46, 0, 0, 36}, good[4:]...))
	f.Add(good[:19])
	o := &Options{VRID: 55, Source: netip.MustParseAddr("10.9.0.2"), Peers: map[netip.Addr]string{netip.MustParseAddr("10.9.0.1"): "ctl1"}}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseIPv4(b)
		if err != nil {
			if err != vrrp.BadHeader {
				t.Fatalf("error %v", err)
			}
			return
		}
		var a vrrp.Advert
		_, reason := accept(o, o.Source, d, &a)
		if reason == 0 && (d.ttl != 255 || d.src.String() != "10.9.0.1" || a.VRID != 55 || a.Interval < vrrp.MinInterval) {
			t.Fatalf("accepted %+v with %+v", d, a)
		}
		if int(reason) >= vrrp.Reasons {
			t.Fatalf("reason %d", reason)
		}
	})
}

// FuzzControl reads any control messages as a raw IPv6 socket gives them.
func FuzzControl(f *testing.F) {
	info := unix.PktInfo6(&unix.Inet6Pktinfo{Addr: [16]byte{0xfd, 15: 2}, Ifindex: 1})
	f.Add([]byte{0x31}, info)
	f.Add([]byte{}, info[:20])
	f.Fuzz(func(t *testing.T, payload, control []byte) {
		d, err := parseIPv6(payload, control, netip.MustParseAddr("fd00::1"))
		if err == nil && !d.dst.Is6() {
			t.Fatalf("destination %v", d.dst)
		}
	})
}

// TestParsePackets checks the parsers of what the kernel gives.
func TestParsePackets(t *testing.T) {
	header := []byte{0x46, 0xc0, 0, 28, 0, 1, 0, 0, 254, 112, 0, 0, 10, 9, 0, 1, 224, 0, 0, 18, 1, 1, 1, 1, 'a', 'b', 'c', 'd'}
	d, err := parseIPv4(header)
	if err != nil || d.src.String() != "10.9.0.1" || d.dst.String() != "224.0.0.18" || d.ttl != 254 || string(d.payload) != "abcd" {
		t.Errorf("with options: %+v, %v", d, err)
	}
	for name, i := range map[string]int{"version": 0, "protocol": 9, "total length": 2} {
		bad := append([]byte(nil), header...)
		bad[i] = 0xff
		if _, err := parseIPv4(bad); err != vrrp.BadHeader {
			t.Errorf("bad %s: %v", name, err)
		}
	}
	oob := append(unix.PktInfo6(&unix.Inet6Pktinfo{Addr: [16]byte{0xff, 2, 15: 0x12}, Ifindex: 1}), hopLimit(t, 255)...)
	six, err := parseIPv6([]byte("abcd"), oob, netip.MustParseAddr("fe80::1%eth0"))
	if err != nil || six.src.String() != "fe80::1" || six.dst != vrrp.Group6() || six.ttl != 255 {
		t.Errorf("IPv6: %+v, %v", six, err)
	}
	if _, err := parseIPv6([]byte("abcd"), nil, netip.MustParseAddr("fe80::1")); err != vrrp.BadHeader {
		t.Errorf("IPv6 without control messages: %v", err)
	}
}

func hopLimit(t *testing.T, n byte) []byte {
	t.Helper()
	b := make([]byte, unix.CmsgSpace(4))
	b[0] = byte(unix.CmsgLen(4))
	b[8], b[12], b[16] = unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, n
	return b
}

// TestWarningsAreBounded checks that keys from the network do not fill the memory.
func TestWarningsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := startReports(&Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		now := time.Now()
		for i := range 100 {
			r.warn(now.Add(time.Duration(i)), fmt.Sprint("key", i), "once")
		}
		if len(r.said) > 64 {
			t.Errorf("%d keys are kept", len(r.said))
		}
		r.warn(now.Add(time.Second), "key99", "again")
		r.warn(now.Add(2*time.Minute), "key99", "much later")
		r.stop()
		if strings.Contains(log.String(), "again") || !strings.Contains(log.String(), `"not logged since"=1`) {
			t.Errorf("log:\n%s", log.String())
		}
	})
}

// TestFullQueue checks that lines that do not fit are counted.
func TestFullQueue(t *testing.T) {
	var log strings.Builder
	r := &reports{log: slog.New(slog.NewTextHandler(&log, nil)), queue: make(chan report, 1)}
	r.info("kept")
	r.info("lost")
	r.wg.Go(r.run)
	r.stop()
	if got := log.String(); !strings.Contains(got, "lines=1") || !strings.Contains(got, "kept") || strings.Contains(got, `"lost"`) {
		t.Errorf("log:\n%s", got)
	}
}
