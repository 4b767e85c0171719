package vips

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vip"
	"holdfast/internal/vrrp"
	"holdfast/internal/vrrp/link"
)

const testSpec = `cloud: test
vips:
  - name: api
    addresses: [192.0.2.10/24]
    hostname: api.example.org
    interface: eno1
    vrrp: {router_id: 7, interval: 20ms, startup_delay: 0s}
controllers:
  - {name: ctl1, address: 192.0.2.1}
  - {name: ctl2, address: 192.0.2.2}
services:
  keystone: {}
`

func mustParse(t *testing.T, text string) *spec.Spec {
	t.Helper()
	s, findings := spec.Parse("test", []byte(text))
	if s == nil {
		t.Fatal(findings)
	}
	return s
}

// newVIPs gives those of the controller ctl1, which are not started.
func newVIPs() *VIPs {
	return New(Options{
		Controller: "ctl1", Log: slog.New(slog.DiscardHandler),
		Holder:   func(_ string, a *vip.Address) link.Holder { return a },
		Priority: func(own int) (uint8, bool) { return uint8(own), false },
		Policy:   func(*spec.Spec) auth.Policy { return auth.Policy{} },
		Note:     func(...*vip.Address) error { return nil },
		Event:    func(status.Event) {},
	})
}

// TestAliveLooksAtWhoMustTurn feeds no watchdog while who tells VRRP of HAProxy's
// state stands still, and does before that has begun.
func TestAliveLooksAtWhoMustTurn(t *testing.T) {
	v := newVIPs()
	if err := v.Alive(); err != nil {
		t.Errorf("before anything runs: %v", err)
	}
	v.began = time.Now().Add(-followSilence - time.Second)
	if err := v.Alive(); err == nil || !strings.Contains(err.Error(), "who watches HAProxy for VRRP has not turned for 11") {
		t.Errorf("with a watcher that stands still: %v", err)
	}
	v.followed.Store(int64(time.Since(v.began)))
	if err := v.Alive(); err != nil {
		t.Errorf("with one that turns: %v", err)
	}
}

// TestConditions has the journal tell that HAProxy ended, however soon it runs again.
func TestConditions(t *testing.T) {
	at := func(state status.HAProxyState, restarts int) status.HAProxy {
		return status.HAProxy{State: state, Restarts: restarts}
	}
	const down, starting, running = status.HAProxyDown, status.HAProxyStarting, status.HAProxyRunning
	for _, tt := range []struct {
		was, is status.HAProxy
		want    []status.HAProxyState
	}{
		{at("", 0), at(running, 0), []status.HAProxyState{running}},
		{at(running, 0), at(running, 0), nil},
		{at(running, 0), at(down, 0), []status.HAProxyState{down}},
		{at(down, 0), at(starting, 1), []status.HAProxyState{starting}},
		{at(running, 0), at(starting, 1), []status.HAProxyState{down, starting}},
		{at(running, 1), at(running, 2), []status.HAProxyState{down, running}},
		{at(running, 1), at(status.HAProxyHung, 1), []status.HAProxyState{status.HAProxyHung}},
	} {
		var got []status.HAProxyState
		for _, next := range conditions(tt.was, tt.is) {
			got = append(got, next.State)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("from %+v to %+v: %v, want %v", tt.was, tt.is, got, tt.want)
		}
	}
}

// TestCauseOfAMove has the journal say that a VIP was handed over, where its holder resigned
// for that, and not where it resigned for anything else.
func TestCauseOfAMove(t *testing.T) {
	for _, tt := range []struct{ by, reason, want string }{
		{"ctl2", "ctl2 resigned", "handed over by ctl2"},
		{"", "ctl2 resigned", "ctl2 resigned"},
		{"ctl3", "ctl2 resigned", "ctl2 resigned"},
		{"ctl2", "no advert from ctl2 for 155ms", "no advert from ctl2 for 155ms"},
	} {
		var got status.Event
		v := newVIPs()
		v.opt.Event, v.opt.Taken = func(e status.Event) { got = e }, func() {}
		v.opt.GivenBy = func(string) string { return tt.by }
		v.journalTransition(link.Transition{VIP: "api", From: vrrp.Backup, To: vrrp.Active, Reason: tt.reason})
		if got.Cause != tt.want {
			t.Errorf("handed over by %q, %q: %q, want %q", tt.by, tt.reason, got.Cause, tt.want)
		}
	}
}
