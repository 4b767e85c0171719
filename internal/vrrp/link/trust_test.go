package link

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/vrrp"
)

// guarded has somebody else say when silence counts.
func guarded(_ int, o *Options) { o.Guarded = true }

// doubted gives the number of the doubt that there is.
func (c *controller) doubted() uint64 {
	c.t.Helper()
	synctest.Wait()
	select {
	case n := <-c.Doubted():
		return n
	default:
		c.t.Fatal("there is no doubt")
		return 0
	}
}

// TestSilenceInDoubt has nobody take over because of a silence that does not count, says
// why, and takes over once it does; again after a fault of the link, for which the word of
// before does not count.
func TestSilenceInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := cluster(t, 1, guarded)
		c := all[0]
		time.Sleep(time.Minute)
		c.wantState(vrrp.Backup)
		n := c.doubted()
		c.SetTrust(Trust{Doubt: n, Why: "nobody was heard yet"})
		synctest.Wait()
		if got := c.Stats().Reason; got != "nobody was heard yet" {
			t.Errorf("it waits because %q", got)
		}
		since := time.Now()
		time.Sleep(time.Second)
		c.SetTrust(Trust{Doubt: n, Counts: true, Since: since})
		c.wantState(vrrp.Active)
		c.reasons()

		c.host.setFault("interface eth0 has no carrier")
		time.Sleep(time.Second)
		c.host.setFault("")
		c.SetTrust(Trust{Doubt: n, Counts: true, Since: since})
		time.Sleep(time.Minute)
		c.wantState(vrrp.Backup)
		c.SetTrust(Trust{Doubt: c.doubted(), Counts: true, Since: time.Now()})
		time.Sleep(301 * time.Millisecond)
		c.wantState(vrrp.Active)
	})
}

// TestDoubtDelaysNoFailover has a holder die and another one resign while silence is in
// doubt: who was heard is replaced as ever.
func TestDoubtDelaysNoFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 3, guarded)
		c[0].SetTrust(Trust{Doubt: c[0].doubted(), Counts: true, Since: time.Now()})
		time.Sleep(time.Second)
		c[0].wantState(vrrp.Active)
		c[1].wantState(vrrp.Backup)
		w.isolate(c[0].host, true)
		time.Sleep(311 * time.Millisecond) // three intervals and the skew time
		c[1].wantState(vrrp.Active)
		c[1].SetEligible(false, "haproxy died")
		time.Sleep(21 * time.Millisecond)
		c[2].wantState(vrrp.Active)
	})
}

// TestHumble has a controller that was never heard give way to one with a lower priority.
func TestHumble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 2, guarded)
		w.isolate(c[0].host, true)
		c[1].SetTrust(Trust{Doubt: c[1].doubted(), Counts: true, Since: time.Now()})
		n := c[0].doubted()
		c[0].SetTrust(Trust{Doubt: n, Counts: true, Humble: true, Since: time.Now()})
		time.Sleep(time.Second)
		c[0].wantState(vrrp.Active)
		c[1].wantState(vrrp.Active)
		c[1].reasons()
		w.isolate(c[0].host, false)
		time.Sleep(200 * time.Millisecond)
		c[0].wantState(vrrp.Backup)
		wantAll(t, "the one that serves", c[1].reasons())
		if got := c[0].Stats().Priority; got != 254 {
			t.Errorf("priority %d in Stats, want the one of the options", got)
		}
		c[0].SetTrust(Trust{Doubt: n, Counts: true})
		w.isolate(c[1].host, true)
		w.sent()
		time.Sleep(time.Second)
		c[0].wantState(vrrp.Active)
		if !slices.ContainsFunc(w.sent(), func(s string) bool { return strings.HasSuffix(s, "10.0.0.1 sends 254") }) {
			t.Error("it is humble for ever")
		}
	})
}

// TestGiveWay has two that do not hear each other settle it: the one that gives way sends
// nothing, keeps the connections, and takes the address from nobody until it is told to.
func TestGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := cluster(t, 2, nil)
		w.isolate(c[0].host, true)
		time.Sleep(time.Second)
		c[0].wantState(vrrp.Active)
		c[1].wantState(vrrp.Active)
		c[1].holder.did()
		c[1].reasons()
		w.sent()
		to := netip.MustParseAddr("10.0.0.1")
		c[1].Defer("ctl1 has the address, as the agents found out")
		if err := c[1].GiveWay(t.Context(), to, YieldOptions{Keep: true}); err != nil {
			t.Fatal(err)
		}
		wantAll(t, "holder", c[1].holder.did(), "1s withdraw")
		wantAll(t, "transitions", c[1].reasons(), "backup: ctl1 is active too, as the agents found out, and neither hears the other's adverts")
		time.Sleep(time.Minute)
		c[1].wantState(vrrp.Backup)
		if got := c[1].Stats().Reason; got != "ctl1 has the address, as the agents found out" {
			t.Errorf("it waits because %q", got)
		}
		if err := c[1].GiveWay(t.Context(), to, YieldOptions{}); err == nil {
			t.Error("it gave way twice")
		}
		c[1].Defer("")
		time.Sleep(312 * time.Millisecond)
		c[1].wantState(vrrp.Active)
		c[1].holder.did()

		// Without Defer it goes on as any router does.
		if err := c[1].GiveWay(t.Context(), to, YieldOptions{}); err != nil {
			t.Fatal(err)
		}
		if did := c[1].holder.did(); len(did) != 1 || !strings.HasSuffix(did[0], "release") {
			t.Errorf("holder did %q", did)
		}
		time.Sleep(312 * time.Millisecond)
		c[1].wantState(vrrp.Active)
	})
}

// TestInsist has a holder announce the addresses for some seconds, and one that does not
// hold them do nothing.
func TestInsist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 2, nil)
		time.Sleep(20 * time.Second)
		c[0].holder.did()
		c[1].holder.did()
		c[0].Insist()
		c[1].Insist()
		time.Sleep(5 * time.Second)
		if got := c[0].holder.did(); len(got) < 8 {
			t.Errorf("the holder did %q, want it to announce for seconds", got)
		}
		wantAll(t, "ctl2", c[1].holder.did())
	})
}

// TestElsewhere has one that waits release what a former process may have left, once, by
// the word that another one has the address; a holder keeps it.
func TestElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := cluster(t, 1, guarded)
		time.Sleep(time.Second)
		c[0].wantState(vrrp.Backup)
		c[0].Elsewhere()
		time.Sleep(time.Second)
		if did := c[0].holder.did(); len(did) != 1 || !strings.HasSuffix(did[0], "release") {
			t.Errorf("it did %q", did)
		}
		c[0].Elsewhere()
		time.Sleep(time.Second)
		wantAll(t, "told again", c[0].holder.did())
		_, c = cluster(t, 1, nil)
		time.Sleep(time.Second)
		c[0].wantState(vrrp.Active)
		c[0].holder.did()
		c[0].Elsewhere()
		time.Sleep(100 * time.Millisecond)
		if did := strings.Join(c[0].holder.did(), " "); strings.Contains(did, "release") {
			t.Errorf("the holder did %q", did)
		}
	})
}
