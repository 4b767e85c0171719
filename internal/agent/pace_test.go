package agent

import (
	"context"
	"errors"
	"fmt"
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

// restless gives an agent without others, and a VIP of it that has just moved four
// times, 30 s apart.
func restless(t *testing.T) (*Agent, *owner) {
	t.Helper()
	s := mustParse(t, strings.Replace(testSpec, "  - {name: ctl2, address: 192.0.2.2}\n", "", 1))
	a := New(Options{Controller: "ctl1", RunDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	a.spec, a.journal = s, testJournal(t, t.TempDir()+"/events.jsonl")
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

// TestPlannedWorkWaits has a VIP that has moved often: a command is refused, for how
// long is said, and a drain's move comes later; who insists, or an agent that ends,
// does not wait.
func TestPlannedWorkWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := restless(t)
		rests := func(req web.HandoverRequest) *restError {
			_, err := a.give(t.Context(), o, req)
			if err == nil {
				t.Fatal("handed over to nobody")
			}
			rests, _ := errors.AsType[*restError](err)
			return rests
		}
		e := rests(web.HandoverRequest{})
		const often = "it has moved 4 times within 3m, and a fabric with EVPN freezes an address for good that does so once more"
		if want := "vip api stays on ctl1: " + often + "; ask again in 1m30s, or insist with --now"; e == nil || e.Error() != want {
			t.Fatalf("refused with %v, want %s", e, want)
		}
		if want := "vip api stays on ctl1 for another 1m30s: " + often + "; then it moves by itself, or now with holdfast handover --now"; e.later() != want {
			t.Errorf("a drain says %q, want %s", e.later(), want)
		}
		for _, req := range []web.HandoverRequest{{Now: true}, {Force: true}} {
			if e := rests(req); e != nil {
				t.Errorf("%+v: %v", req, e)
			}
		}
		time.Sleep(90*time.Second - 1)
		if rests(web.HandoverRequest{}) == nil {
			t.Error("it moves too early")
		}
		time.Sleep(time.Nanosecond)
		if e := rests(web.HandoverRequest{}); e != nil {
			t.Errorf("it moves too late: %v", e)
		}
	})
}

// TestDrainedVIPMovesLater drains the holder of a VIP that rests: that is said, and
// the VIP is offered again and again until it may move.
func TestDrainedVIPMovesLater(t *testing.T) {
	a, _ := drainPair(t)
	rest, now := &restError{"api", "ctl1", 90 * time.Second}, false
	var err error = rest
	a.drains.handOver = func(_ context.Context, _ string, insist bool) error {
		now = insist
		return errors.Join(err)
	}
	got, failed := a.Drain(t.Context(), web.DrainRequest{Controller: "ctl1"})
	if want := fmt.Sprint([]string{rest.later()}); failed != nil || now || fmt.Sprint(got.Notes) != want {
		t.Errorf("drained with notes %q, %v; want %s", got.Notes, failed, want)
	}
	if a.offerVIPs(t.Context()) {
		t.Error("a VIP that rests is offered at longer and longer intervals")
	}
	err = errors.New("nobody takes it")
	if !a.offerVIPs(t.Context()) {
		t.Error("a VIP that nobody takes is offered as often as one that rests")
	}
	if _, failed := a.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", Now: true}); failed != nil || !now {
		t.Errorf("drained now: %v, %v", now, failed)
	}
}
