package link

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/vrrp"
)

func keysOf(t testing.TB, text string) *auth.Keys {
	t.Helper()
	k, err := auth.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const (
	oneKey   = "key 1 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	newKey   = "key 2 hex:220102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	otherKey = "key 1 hex:ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
)

// configure gives one controller other keys, as a reload does.
func (c *controller) configure(change func(*Options)) {
	c.t.Helper()
	o := *c.options.Load()
	change(&o)
	if err := c.Configure(o); err != nil {
		c.t.Error(err)
	}
}

// TestRollOut takes three controllers from no key to strict, to another key, and back, one
// controller and one step at a time: nobody is ever missed, and nothing is dropped.
func TestRollOut(t *testing.T) {
	for name, multicast := range map[string]bool{"unicast": false, "multicast": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { rollOut(t, multicast) })
		})
	}
}

func rollOut(t *testing.T, multicast bool) {
	_, c := cluster(t, 3, func(_ int, o *Options) { o.Multicast = multicast })
	for _, x := range c {
		x.SetHearers(addressesOf(c, x))
	}
	time.Sleep(2 * time.Second)
	for _, x := range c {
		x.reasons()
	}
	steps := []auth.Policy{
		{Keys: keysOf(t, oneKey), Mode: auth.ReceiveOnly},
		{Keys: keysOf(t, oneKey), Mode: auth.Permissive},
		{Keys: keysOf(t, oneKey), Mode: auth.Strict},
		{Keys: keysOf(t, oneKey+newKey), Mode: auth.Strict},
		{Keys: keysOf(t, oneKey+newKey+"active_key 2"), Mode: auth.Strict},
		{Keys: keysOf(t, newKey), Mode: auth.Strict},
		{Keys: keysOf(t, newKey), Mode: auth.Permissive},
		{Keys: keysOf(t, newKey), Mode: auth.ReceiveOnly},
		{},
		{Keys: keysOf(t, oneKey), Mode: auth.Permissive}, // a step too far: who has no key hears it all the same
	}
	for i, step := range steps {
		for _, x := range c {
			x.configure(func(o *Options) { o.Keys = step })
			time.Sleep(3 * time.Second)
			c[0].wantState(vrrp.Active)
		}
		for _, x := range c {
			wantAll(t, "transitions", x.reasons())
			if r := x.Stats().Rejected; len(r) > 0 {
				t.Fatalf("step %d: %s dropped %v", i, x.options.Load().Controller, r)
			}
			for a, h := range x.Hearing() {
				if !h.Hears(2*helloEvery) || h.Signs != step.Signs() {
					t.Errorf("step %d: of %v is heard %+v", i, a, h)
				}
			}
		}
	}
}

// TestForger has somebody send in the name of each controller whatever he likes, and what he
// has recorded. With a key nothing comes of it.
func TestForger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := auth.Policy{Keys: keysOf(t, oneKey), Mode: auth.Strict}
		w, c := cluster(t, 3, func(_ int, o *Options) { o.Keys = policy })
		ear := w.host("10.0.0.99") // gets a copy of what goes to the group, and here of all
		w.mu.Lock()
		w.ear = ear
		w.mu.Unlock()
		time.Sleep(2 * time.Second)
		recorded := ear.take()
		if len(recorded) < 20 {
			t.Fatalf("recorded %d adverts", len(recorded))
		}
		for _, x := range c {
			x.reasons()
		}
		strange := auth.NewSigner(keysOf(t, otherKey), auth.Router{Version: 3, VRID: 51}, 0, 0)
		strange.Next(time.Now().Add(time.Hour))
		want := map[string]uint64{}
		for _, to := range c[1:] {
			for _, from := range c {
				if from == to {
					continue
				}
				for _, priority := range []uint8{0, 1, 254, 255} {
					a := vrrp.Advert{VRID: 51, Priority: priority, Interval: 100 * time.Millisecond, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.100")}}
					plain, err := a.Append(nil, vrrp.MessageOnly, from.host.addr, to.host.addr)
					if err != nil {
						t.Fatal(err)
					}
					d := datagram{src: from.host.addr, dst: to.host.addr, ttl: 255, payload: plain}
					to.host.put(d)
					want["unsigned"]++
					d.payload = strange.Append(slices.Clone(plain), plain, from.host.addr)
					to.host.put(d)
					want["signature"]++
					d.payload = append(slices.Clone(plain), make([]byte, 28)...)
					to.host.put(d)
					want["length"]++
				}
			}
			for _, d := range recorded {
				if d.dst == to.host.addr {
					to.host.put(d)
					want["replayed"]++
				}
			}
			time.Sleep(time.Second)
		}
		got := map[string]uint64{}
		for _, x := range c {
			wantAll(t, "transitions", x.reasons())
			for reason, n := range x.Stats().Rejected {
				got[reason] += n
			}
		}
		for reason, n := range want {
			if got[reason] != n || n == 0 {
				t.Errorf("%s: dropped %d, want %d", reason, got[reason], n)
			}
		}
		if len(got) != len(want) {
			t.Errorf("dropped %v, want %v", got, want)
		}
		c[0].wantState(vrrp.Active)
	})
}

// TestRecordedAtStart has a controller begin whose neighbour is gone, and which is sent
// what that had signed: it waits for who is not there no longer than it has been told.
func TestRecordedAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := auth.Policy{Keys: keysOf(t, oneKey), Mode: auth.Strict}
		w, c := cluster(t, 2, func(_ int, o *Options) { o.Keys = policy })
		ear := w.host("10.0.0.99")
		w.mu.Lock()
		w.ear = ear
		w.mu.Unlock()
		time.Sleep(time.Second)
		recorded := ear.take()
		is := c[0].Signed()
		if is.From != c[0].host.addr || is.Sequence == 0 || c[1].Proven(is.From) != is.Sequence {
			t.Fatalf("ctl1 has signed %+v, and ctl2 has heard %d", is, c[1].Proven(is.From))
		}
		c[1].stop()
		// The loop begins anew, and knows nothing but what ctl1 says of itself.
		fresh, err := newLoop(*c[1].options.Load(), c[1].host)
		if err != nil {
			t.Fatal(err)
		}
		c[1].Loop = fresh
		w.isolate(c[0].host, true)
		c[1].Told(0, is)
		c[1].SetEligible(true, "haproxy is ready")
		c[1].start()
		synctest.Wait()
		for _, d := range recorded {
			c[1].host.put(d)
		}
		time.Sleep(time.Second)
		if n := c[1].Stats().Rejected["replayed"]; n == 0 || c[1].Stats().AdvertsSeen != 0 {
			t.Errorf("%d of what was recorded were dropped, and %d were not", n, c[1].Stats().AdvertsSeen)
		}
		c[1].wantState(vrrp.Active)
	})
}

// TestClockSetBack has a holder's agent start anew with a clock that was set back by an
// hour: the others believe it again as soon as it has said where it is.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := auth.Policy{Keys: keysOf(t, oneKey), Mode: auth.Strict}
		_, c := cluster(t, 2, func(_ int, o *Options) { o.Keys = policy })
		time.Sleep(time.Second)
		was := c[1].Proven(c[0].host.addr)
		c[0].stop()
		again, err := newLoop(*c[0].options.Load(), c[0].host)
		if err != nil {
			t.Fatal(err)
		}
		again.epoch = again.epoch.Add(-time.Hour)
		c[0].Loop = again
		c[0].SetEligible(true, "haproxy is ready")
		c[0].SetHearers(addressesOf(c, c[0]))
		c[0].start()
		time.Sleep(2 * time.Second)
		if c[1].Stats().Rejected["replayed"] == 0 || c[0].Signed().Sequence >= was {
			t.Fatalf("dropped %v; it signs %+v after %d", c[1].Stats().Rejected, c[0].Signed(), was)
		}
		c[1].Told(was, c[0].Signed())
		synctest.Wait() // until the loop has taken that in
		dropped := c[1].Stats().Rejected["replayed"]
		time.Sleep(2 * time.Second)
		if n := c[1].Stats().Rejected["replayed"]; n > dropped || !c[1].Hearing()[c[0].host.addr].Signs {
			t.Errorf("it is not believed: %d dropped", n-dropped)
		}
	})
}

// TestKeepalivesTrailer sends the draft's vector to a loop that shares its router with
// keepalived, at the time of the vector and at others.
func TestKeepalivesTrailer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &Options{
			VRID: 51, Interval: time.Second, Source: netip.MustParseAddr("198.51.100.20"), Checksum: vrrp.PseudoHeader, Keys: auth.Policy{Keys: keysOf(t, oneKey), Mode: auth.Strict},
			Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.100")}, Peers: map[netip.Addr]string{netip.MustParseAddr("198.51.100.10"): "keepalived"},
		}
		payload, err := hex.DecodeString("3133c80100644402c0000264" + "0101000068000000800000001b84bc4e8e43892dc6d98448f8ee2265")
		if err != nil {
			t.Fatal(err)
		}
		d := datagram{src: netip.MustParseAddr("198.51.100.10"), dst: o.Source, ttl: 255, payload: payload}
		r := &runner{o: o, l: &Loop{epoch: time.Now()}, count: &counters{begun: time.Now()}}
		r.prepare()
		form, trailer, reason := accept(o, o.Source, d, &r.got)
		if reason != 0 || form != vrrp.MessageOnly || r.got.Priority != 200 || len(trailer) != auth.TrailerLen {
			t.Fatalf("%v, %v, %+v", form, reason, r.got)
		}
		// The bubble begins in 2000, and the vector is of 2025.
		if got := r.proven(d, trailer); got != vrrp.Stale {
			t.Errorf("25 years early: %v", got)
		}
		time.Sleep(time.Unix(0x68000000, 0).Sub(time.Now()))
		if got := r.proven(d, trailer); got != 0 {
			t.Errorf("at its time: %v", got)
		}
		if got := r.proven(d, trailer); got != vrrp.Replayed {
			t.Errorf("again: %v", got)
		}
		o.Checksum = vrrp.MessageOnly // no keepalived: no clock counts
		r.prepare()
		time.Sleep(time.Hour)
		if got := r.proven(d, trailer); got != vrrp.Replayed {
			t.Errorf("an hour later: %v", got)
		}
	})
}
