package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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
		putOff := func(waits bool) *restError {
			_, err := a.give(t.Context(), o, web.HandoverRequest{Waits: waits})
			if err == nil {
				t.Fatal("handed over to nobody")
			}
			e, _ := errors.AsType[*restError](err)
			return e
		}
		if e := putOff(true); e == nil || e.Error() != "vip api stays on ctl1 for another 1m30s: it has moved 4 times within 3m" {
			t.Fatalf("put off with %v", e)
		}
		if e := putOff(false); e != nil {
			t.Errorf("what a person orders is put off: %v", e)
		}
		if got := a.restless("api"); !strings.Contains(got, "EVPN") || !strings.Contains(got, "1m30s") {
			t.Errorf("the warning is %q", got)
		}
		time.Sleep(90*time.Second - 1)
		if putOff(true) == nil {
			t.Error("it moves too early")
		}
		time.Sleep(time.Nanosecond)
		if e := putOff(true); e != nil {
			t.Errorf("it moves too late: %v", e)
		}
		if got := a.restless("api"); got != "" {
			t.Errorf("a warning of a VIP that has rested: %s", got)
		}
	})
}

// TestDrainedVIPMovesLater has a drained controller hold a VIP that has moved often,
// as after a failover: it is offered again until it may move, and a drain by hand
// moves it at once.
func TestDrainedVIPMovesLater(t *testing.T) {
	a, _ := drainPair(t)
	var err error = &restError{"api", "ctl1", 90 * time.Second}
	var waited []bool
	a.drains.handOver = func(_ context.Context, _ string, waits bool) error {
		waited = append(waited, waits)
		if waits {
			return errors.Join(err)
		}
		return nil
	}
	if got, failed := a.Drain(t.Context(), web.DrainRequest{Controller: "ctl1"}); failed != nil || len(got.Notes) > 0 {
		t.Errorf("drained with notes %q, %v", got.Notes, failed)
	}
	if a.offerVIPs(t.Context()) {
		t.Error("a VIP that rests is offered at longer and longer intervals")
	}
	err = errors.New("nobody takes it")
	if !a.offerVIPs(t.Context()) {
		t.Error("a VIP that nobody takes is offered as often as one that rests")
	}
	if want := []bool{false, true, true}; !slices.Equal(waited, want) {
		t.Errorf("handed over with waits %v, want %v", waited, want)
	}
}
