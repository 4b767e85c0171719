package link

import (
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
