package agent

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// restlessVIP gives an agent without others, and a VIP of it that has just moved
// four times, 30 s apart.
func restlessVIP(t *testing.T) (*Agent, *owner) {
	t.Helper()
	s := mustParse(t, strings.Replace(testSpec, "  - {name: ctl2, address: 192.0.2.2}\n", "", 1))
	a := New(Options{Controller: "ctl1", RunDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	a.rollout.Use(s)
	a.journal = testJournal(t, t.TempDir()+"/events.jsonl")
	o, err := a.newOwner(s, s.VIPs[0])
	if err != nil {
		t.Fatal(err)
	}
	p := &pace{}
	for i, holder := range []string{"ctl1", "ctl2", "ctl1", "ctl2", "ctl1"} {
		p.see(time.Now().Add(time.Duration(i-4)*30*time.Second), holder)
	}
	a.paces["api"] = p
	return a, o
}

// TestPlannedWorkWaits has a VIP that has moved often: what can wait does, until the
// VIP has rested; what a person orders is done, and he is warned.
func TestPlannedWorkWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := restlessVIP(t)
		rests := func() bool { return a.rest("api", time.Now()) > 0 }
		if !rests() {
			t.Fatal("it has moved four times and may move")
		}
		given, err := a.give(t.Context(), o, web.HandoverRequest{})
		if err == nil || !strings.Contains(err.Error(), "there is no other controller") {
			t.Errorf("what a person orders is put off: %v", err)
		}
		if got := given.Warning; !strings.Contains(got, "EVPN") || !strings.Contains(got, "1m30s") {
			t.Errorf("the warning is %q", got)
		}
		time.Sleep(90*time.Second - 1)
		if !rests() {
			t.Error("it moves too early")
		}
		time.Sleep(time.Nanosecond)
		if rests() {
			t.Error("it moves too late")
		}
		if given, _ := a.give(t.Context(), o, web.HandoverRequest{}); given.Warning != "" {
			t.Errorf("a warning of a VIP that has rested: %s", given.Warning)
		}
	})
}
