package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"holdfast/internal/status"
)

// eventsOf gives the events of a kind.
func eventsOf(d *running, kind string) []status.Event {
	var all []status.Event
	for _, e := range d.journal.Last(100) {
		if e.Kind == kind {
			all = append(all, e)
		}
	}
	return all
}

// TestLastStop proves that the agent that ends the service by its end says so: what is
// gone, from when on, and why; in the journal, and as an error in the log.
func TestLastStop(t *testing.T) {
	h := newHost(t)
	d := h.start()
	d.awaitActive()
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	said := eventsOf(d, status.EventVIPLeft)
	if len(said) != 1 || said[0].Subject != "vip api" || said[0].Cause == "" || !strings.Contains(said[0].Text, "192.0.2.10 is gone from the network, and clients reach no service") {
		t.Errorf("the last agent ends with the words %+v", said)
	}
	if !strings.Contains(h.logs.String(), "level=ERROR msg=\"the agent ends and nobody takes vip api") {
		t.Error("the log has no error of it")
	}
}

// TestKeepAddress proves that the last agent of all goes on with the VIP when it is
// asked to, as one that gives way to anybody, and ends once it does not hold it.
func TestKeepAddress(t *testing.T) {
	h := newHost(t)
	h.keystone()
	h.opt.KeepAddress = time.Hour
	d := h.start()
	d.awaitActive()
	d.stop()
	h.await("it says that it goes on", func() bool { return len(eventsOf(d, status.EventVIPKept)) == 1 })
	h.await("it gives way to anybody", func() bool { return d.Snapshot().VIPs[0].Priority == 1 })
	time.Sleep(2500 * time.Millisecond) // longer than a lease: nothing is to end
	select {
	case err := <-d.ended:
		t.Fatalf("the agent ended with the VIP: %v", err)
	default:
	}
	if got, err := get("http://192.0.2.10:5000/v3"); err != nil || !strings.HasPrefix(got, "200") {
		t.Errorf("the VIP answers %q, %v", got, err)
	}
	eno1, err := netlink.LinkByName("eno1")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(eno1); err != nil { // it loses the VIP, as to another holder
		t.Fatal(err)
	}
	if err := d.end(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if said := eventsOf(d, status.EventVIPLeft); len(said) > 0 {
		t.Errorf("it says that it left what it did not have: %+v", said)
	}
}
