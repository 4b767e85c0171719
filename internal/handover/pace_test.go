package handover

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// TestPace counts moves, not looks, and forgets them after three minutes.
func TestPace(t *testing.T) {
	begun := time.Now()
	var p pace
	at := func(s int, holder string) time.Duration {
		now := begun.Add(time.Duration(s) * time.Second)
		p.see(now, holder)
		return p.wait(now)
	}
	for i, tt := range []struct {
		second int
		holder string
		want   time.Duration
	}{
		{0, "ctl1", 0},
		{1, "ctl1", 0},
		{10, "ctl2", 0}, // the first move
		{11, "", 0},
		{12, "ctl2", 0}, // nobody was known for a moment
		{20, "ctl1", 0},
		{30, "ctl2", 0},
		{40, "ctl1", 150 * time.Second}, // the fourth, until the first is forgotten
		{100, "ctl1", 90 * time.Second},
		{110, "ctl2", 90 * time.Second}, // the fifth: until the second is
		{190, "ctl2", 10 * time.Second},
		{200, "ctl2", 0},
		{400, "ctl3", 0},
	} {
		if got := at(tt.second, tt.holder); got != tt.want {
			t.Errorf("step %d, after %d s: wait %v, want %v", i, tt.second, got, tt.want)
		}
	}
}

// restless gives ctl1 of a cloud of one, with a VIP that has just moved four times, 30 s apart.
func restless(t *testing.T) *controller {
	t.Helper()
	c := newController(t, "ctl1")
	c.spec.Controllers = c.spec.Controllers[:1]
	p := &pace{}
	for i, holder := range []string{"ctl1", "ctl2", "ctl1", "ctl2", "ctl1"} {
		p.see(time.Now().Add(time.Duration(i-4)*30*time.Second), holder)
	}
	c.paces["api"] = p
	return c
}

// TestPlannedWorkWaits has a VIP that has moved often: what can wait does, until the
// VIP has rested; what a person orders is done, and he is warned.
func TestPlannedWorkWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := restless(t)
		c.opt.Gather = func(context.Context, []string) []cloud.Answer { // as if there were others
			return []cloud.Answer{{Snapshot: &status.Snapshot{HAProxy: status.HAProxy{State: status.HAProxyRunning}}}}
		}
		tried := func(waits bool) (bool, []string) {
			warnings, err := c.GiveAll(t.Context(), web.HandoverRequest{}, waits)
			if err != nil && !strings.Contains(err.Error(), "there is no other controller") {
				t.Error(err)
			}
			return err != nil, warnings
		}
		if yes, _ := tried(true); yes {
			t.Error("what can wait is not put off")
		}
		yes, warnings := tried(false)
		if !yes {
			t.Error("what a person orders is put off")
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], "EVPN") || !strings.Contains(warnings[0], "1m30s") {
			t.Errorf("the warnings are %q", warnings)
		}
		time.Sleep(90*time.Second - 1)
		if yes, _ := tried(true); yes {
			t.Error("it moves too early")
		}
		time.Sleep(time.Nanosecond)
		yes, warnings = tried(true)
		if !yes {
			t.Error("it moves too late")
		}
		if len(warnings) > 0 {
			t.Errorf("a warning of a VIP that has rested: %s", warnings)
		}
	})
}
