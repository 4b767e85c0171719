package link

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/vrrp"
)

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
		opens := c[0].host.openCount()
		c[0].host.setFault("")
		time.Sleep(time.Second)
		if got := c[0].Stats(); got.State != vrrp.Initialize || !strings.HasPrefix(got.Reason, "listening for the others") {
			t.Errorf("stats after the link came back: %+v", got)
		}
		time.Sleep(1400 * time.Millisecond)
		wantAll(t, "transitions", c[0].reasons(),
			"backup: no longer: interface eth0 is down", "active: no other controller was heard for 300.8ms")
		if c[0].host.openCount() == opens {
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
		if n := c[0].host.openCount(); n < 5 || n > 12 {
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
// the loop look at its socket, but do not end it. The other one, which hears
// nothing, takes over, and this one gives way.
func TestSendFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		_, c := cluster(t, 2, func(i int, o *Options) { logOf(0, i, o, &log) })
		time.Sleep(time.Second)
		opens := c[0].host.openCount()
		c[0].host.mu.Lock()
		c[0].host.sendErr = unix.ENODEV
		c[0].host.mu.Unlock()
		time.Sleep(5 * time.Second)
		s := c[0].Stats()
		if s.SendErrors < 10 || s.State != vrrp.Backup {
			t.Errorf("stats %+v", s)
		}
		if n := c[0].host.openCount() - opens; n < 1 || n > 2 {
			t.Errorf("the socket was opened %d times while it sent, want about one a second", n)
		}
		c[0].host.mu.Lock()
		c[0].host.sendErr = nil
		c[0].host.mu.Unlock()
		time.Sleep(time.Second)
		c[0].wantState(vrrp.Backup)
		c[1].wantState(vrrp.Active)
		c[0].stop()
		if n := strings.Count(log.String(), "cannot send an advert"); n != 1 {
			t.Errorf("logged %d times, want once a minute", n)
		}
	})
}

// TestLinkChange checks that the lease is renewed at once when a link has
// changed, which announces another MAC address, but not without end.
func TestLinkChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 1, nil)
		time.Sleep(10*time.Second + 100*time.Millisecond) // the next one is due 200ms later
		c[0].holder.holdCount()
		c[0].host.changeLink(func() {})
		time.Sleep(25 * time.Millisecond)
		if n := c[0].holder.holdCount(); n != 1 {
			t.Errorf("held %d times within 25ms of the change, want once", n)
		}
		for range 1000 {
			c[0].host.changeLink(func() {})
			time.Sleep(time.Millisecond)
		}
		if n := c[0].holder.holdCount(); n > 51 {
			t.Errorf("held %d times in a second of changes", n)
		}
	})
}

// TestAnotherMACAddress checks that the peers are told of it, and only then.
func TestAnotherMACAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 3, func(_ int, o *Options) { o.Multicast = true })
		h := c[1].host
		h.changeLink(func() { h.seen.macs = "one" })
		time.Sleep(time.Second)
		h.changeLink(func() {})
		time.Sleep(time.Second)
		h.mu.Lock()
		if h.greeted != nil {
			t.Errorf("greeted %v without a reason", h.greeted)
		}
		h.mu.Unlock()
		h.changeLink(func() { h.seen.macs = "two" })
		synctest.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		if want := []netip.Addr{c[0].host.addr, c[2].host.addr}; !slices.Equal(h.greeted, want) {
			t.Errorf("greeted %v, want %v", h.greeted, want)
		}
	})
}

// TestMadeAnew checks that the socket is opened anew on an interface that was
// made anew between two looks, that a Backup router listens then, and that an
// Active one goes on.
func TestMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 2, func(i int, o *Options) { o.Multicast = true })
		for _, x := range c {
			x.host.changeLink(func() { x.host.ifindex = 2 })
		}
		time.Sleep(time.Second)
		for i, x := range c {
			x.reasons()
			opens := x.host.openCount()
			x.host.changeLink(func() { x.host.ifindex = 7 })
			time.Sleep(2500 * time.Millisecond)
			if n := x.host.openCount() - opens; n != 1 {
				t.Errorf("ctl%d opened its socket %d times, want once", i+1, n)
			}
		}
		wantAll(t, "the active one", c[0].reasons())
		wantAll(t, "the other one", c[1].reasons(),
			"initialize: listening for the others, after this is over: interface eth0 was made anew",
			"backup: no longer: interface eth0 was made anew")
	})
}

// TestVRF checks that an interface in a VRF is not served from, and said.
func TestVRF(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fault = "interface eth0 is in the VRF mgmt"
		_, c := cluster(t, 1, nil)
		time.Sleep(time.Second)
		c[0].reasons()
		h := c[0].host
		h.changeLink(func() { h.seen.fault = fault })
		time.Sleep(time.Second)
		wantAll(t, "transitions", c[0].reasons(), "initialize: "+fault)
		h.changeLink(func() { h.seen.fault = "" })
		time.Sleep(5 * time.Second)
		c[0].wantState(vrrp.Active)
	})
}
