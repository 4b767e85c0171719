package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// A neighbour is the agent of ctl2, as far as its Snapshot goes.
type neighbour struct {
	snapshot status.Snapshot
	// asked is called before each answer.
	asked func()
	mute  bool // answers nothing
}

// drainPair gives the agent of ctl1, which does not run, with ctl2 beside it;
// the HAProxy of ctl2 finds keystone up on both.
func drainPair(t *testing.T) (*Agent, *neighbour) {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.71.2:0")
	if err != nil {
		t.Skipf("cannot listen on loopback: %v", err)
	}
	n := &neighbour{asked: func() {}}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n.asked()
		if n.mute {
			panic(http.ErrAbortHandler)
		}
		if err := json.NewEncoder(w).Encode(n.snapshot); err != nil {
			t.Error(err)
		}
	})}
	go server.Serve(listener)                //nolint:errcheck // it ends with the test
	t.Cleanup(func() { _ = server.Close() }) // nothing to be done about it
	dir := t.TempDir()
	a := New(Options{Controller: "ctl1", StateDir: dir, RunDir: dir, Log: slog.New(slog.DiscardHandler)})
	a.drains.handOver = func(context.Context, string, bool) error { return nil }
	a.journal = testJournal(t, filepath.Join(dir, "events.jsonl"))
	a.rollout.Use(mustParse(t, fmt.Sprintf(`cloud: test
agent: {port: %d}
vips: [{name: api, addresses: [127.0.71.10/24], hostname: api.example.org, interface: lo, vrrp: {router_id: 7}}]
controllers: [{name: ctl1, address: 127.0.71.1}, {name: ctl2, address: 127.0.71.2}]
services: {keystone: {}, horizon: {}}
`, listener.Addr().(*net.TCPAddr).Port)))
	n.snapshot = status.Snapshot{Schema: 1, Controller: "ctl2", HAProxy: status.HAProxy{State: status.HAProxyRunning}}
	for _, name := range []string{"keystone", "horizon"} {
		n.snapshot.Services = append(n.snapshot.Services, status.Service{
			Name: name, Hosts: []status.Host{{Name: "ctl1", State: status.Up}, {Name: "ctl2", State: status.Up}},
		})
	}
	return a, n
}

// TestDrainIntention proves that an agent tells what it is about to drain
// before it looks at what others drain, and takes that back when it may not:
// then of two agents at the same moment at least one sees the other.
func TestDrainIntention(t *testing.T) {
	a, n := drainPair(t)
	told := 0
	n.asked = func() {
		if drains := a.Snapshot().Drains; len(drains) != 1 || drains[0].Reason != "mine" {
			t.Errorf("while the others are asked, ctl1 says it drains %v", drains)
		}
		if got := a.checkAnswer("ctl1", "keystone"); got != answerReady {
			t.Errorf("while the others are asked, HAProxys are told %q", got)
		}
		told++
	}
	n.snapshot.Drains = []status.Drained{{Since: time.Now(), Reason: "theirs"}} // about to be: its HAProxy finds all up
	_, err := a.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", Reason: "mine"})
	refusal, ok := errors.AsType[*web.ControlError](err)
	if want := "ctl1 is not drained: keystone and horizon would be left without a host: ctl2 is drained"; !ok || refusal.Status != http.StatusConflict || !strings.HasPrefix(refusal.Message, want) {
		t.Errorf("%v, want %s", err, want)
	}
	if told == 0 || a.Snapshot().Drains != nil || len(a.journal.last(9)) != 0 {
		t.Errorf("ctl2 was asked %d times; what is left of the refused drain: %v, %v", told, a.Snapshot().Drains, a.journal.last(9))
	}
}

// TestDrainHere goes through the life of a drain, with what is said on the way.
func TestDrainHere(t *testing.T) {
	a, _ := drainPair(t)
	offered := ""
	a.drains.handOver = func(_ context.Context, cause string, _ bool) error {
		offered = cause
		if a.checkAnswer("", "keystone") != answerDrain || a.drains.last() {
			t.Error("the VIPs are offered before the drain, or with a lowered priority")
		}
		return errors.New("vip api stays on ctl1: nobody takes it")
	}
	got, err := a.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", Reason: "new kernel", For: time.Hour})
	if err != nil || len(got.Drains) != 1 || got.Drains[0].Until.Sub(got.Drains[0].Since) != time.Hour || len(got.Services) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if offered != "ctl1 is drained: new kernel" || len(got.Notes) != 1 || got.Notes[0] != "vip api stays on ctl1: nobody takes it" || !a.drains.last() || !a.drained() {
		t.Errorf("offered because %q; notes %q", offered, got.Notes)
	}
	if k, h := a.checkAnswer("ctl1", "keystone"), a.checkAnswer("other", "horizon"); k != answerDrain || h != answerMaint {
		t.Errorf("HAProxys are told %q and, where there is a cookie, %q", k, h)
	}
	_, err = a.Undrain(t.Context(), web.DrainRequest{Controller: "ctl1", Services: []string{"keystone"}})
	if err == nil || err.Error() != "keystone stays drained, as all of ctl1 is; holdfast undrain ctl1 puts all back" {
		t.Errorf("one service of a drained controller: %v", err)
	}
	got, err = a.Undrain(t.Context(), web.DrainRequest{Controller: "ctl1"})
	if err != nil || !got.Changed || len(got.Services) != 2 || len(got.Drains) != 0 || a.drained() || a.drains.last() {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = a.Undrain(t.Context(), web.DrainRequest{Controller: "ctl1", Services: []string{"keystone"}})
	if err != nil || got.Changed || len(got.Services) != 0 {
		t.Errorf("what is not drained: %+v, %v", got, err)
	}
	var said []string
	for _, e := range a.journal.last(9) {
		said = append(said, fmt.Sprintf("%s %s: %s", e.Kind, e.Subject, e.Cause))
	}
	if want := "drain-begun controller ctl1: new kernel, drain-ended controller ctl1: asked for"; strings.Join(said, ", ") != want {
		t.Errorf("journal: %s, want %s", strings.Join(said, ", "), want)
	}
}

// TestDrainUnasked says why an agent has not drained its controller.
func TestDrainUnasked(t *testing.T) {
	a, _ := drainPair(t)
	_, err := a.Drain(t.Context(), web.DrainRequest{Controller: "ctl2"})
	if want := "the agent of ctl2 does not answer at 127.0.71.2:9471: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	refused := drainUnasked("undrain", &peer.Error{Controller: "ctl2", Refusal: "nova stays drained"})
	if refused.Error() != "nova stays drained" {
		t.Error(refused)
	}
}
