package agent

import (
	"testing"

	"github.com/vishvananda/netlink"

	"holdfast/internal/status"
)

// TestMeasurePaths measures the way to another controller, tells of it in the
// Snapshot and to whoever asks, and forgets it with the spec.
func TestMeasurePaths(t *testing.T) {
	newHost(t) // its interfaces
	a := threeControllers(t)
	for range 3 {
		a.paths.Measure(t.Context())
	}
	if got := a.Snapshot().Paths; len(got) != 2 || got[0].Host != "ctl2" || got[0].Address != "192.0.2.2" || got[0].Sent != 3 || got[0].Lost != 3 || got[0].Silent != 3 {
		t.Errorf("to controllers that are not there: %+v", got)
	}
	a.services = []status.Service{{Name: "keystone", Hosts: []status.Host{{Name: "h", State: status.Up}}}}
	a.polled = a.started
	if told := a.reach(); len(told.Paths) != 2 || !told.Services["keystone"] || told.At != a.started {
		t.Errorf("others are told %+v", told)
	}
	// One that is an address of this host is none to compare.
	eno1, err := netlink.LinkByName("eno1")
	if err != nil {
		t.Fatal(err)
	}
	if other, err := netlink.ParseAddr("192.0.2.2/24"); err != nil || netlink.AddrAdd(eno1, other) != nil {
		t.Fatal(err)
	}
	a.paths.Measure(t.Context())
	if got := a.paths.List(); len(got) != 1 || got[0].Host != "ctl3" || got[0].Sent != 4 {
		t.Errorf("with 192.0.2.2 on this host: %+v", got)
	}
	alone := *a.currentSpec()
	alone.Controllers, alone.Services = alone.Controllers[:1], nil
	a.rollout.Use(&alone)
	a.paths.Measure(t.Context())
	if got := a.paths.List(); len(got) != 0 {
		t.Errorf("with no other controller: %+v", got)
	}
}
