package link

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
			"400.78125ms announce", "550.78125ms announce", "1.30078125s announce",
			"1.80078125s announce", "2.80078125s announce", "5.30078125s announce")
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

// TestRejects feeds a loop what it must not believe, and checks that it counts
// it, names the source once, and changes nothing.
func TestRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		_, c := cluster(t, 2, func(i int, o *Options) { logOf(1, i, o, &log) })
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
