package agent

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestWatchdogLooksAtWhoMustTurn feeds no watchdog while who tells VRRP of HAProxy's
// state stands still, and does before that has begun.
func TestWatchdogLooksAtWhoMustTurn(t *testing.T) {
	a := New(Options{Controller: "ctl1", Log: slog.New(slog.DiscardHandler)})
	if err := a.alive(); err != nil {
		t.Errorf("before anything runs: %v", err)
	}
	a.started = time.Now().Add(-watchSilence - time.Second)
	if err := a.alive(); err == nil || !strings.Contains(err.Error(), "who watches HAProxy for VRRP has not turned for 11") {
		t.Errorf("with a watcher that stands still: %v", err)
	}
	a.watchTurned.Store(int64(time.Since(a.started)))
	if err := a.alive(); err != nil {
		t.Errorf("with one that turns: %v", err)
	}
	if err := standsStill("HAProxy's supervisor", time.Now().Add(-2*supervisorSilence), supervisorSilence); err == nil {
		t.Error("a supervisor that stands still is not noticed")
	}
}
