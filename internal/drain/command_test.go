package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// A bench has the drains of ctl1, with ctl2 beside it.
type bench struct {
	*Drains
	spec *spec.Spec
	// neighbour is what ctl2 says of itself, and asked is called before it does.
	neighbour status.Snapshot
	asked     func()
	mute      bool // ctl2 says nothing
	// ask is what the agent of ctl2 does with a command.
	ask func(command string) error
	// handOver is what becomes of the VIPs.
	handOver func(cause string, waits bool) error
	events   []status.Event
	findings map[string]*status.Finding
	carried  carried
	haproxy  int // its process
}

// newBench gives one whose ctl2 finds keystone and horizon up on both.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		asked: func() {}, handOver: func(string, bool) error { return nil }, findings: map[string]*status.Finding{}, carried: carried{states: map[string]string{}},
		ask: func(string) error { return refusedConnection("ctl2") },
		spec: mustParse(t, `cloud: test
vips: [{name: api, addresses: [127.0.71.10/24], hostname: api.example.org, interface: lo, vrrp: {router_id: 7}}]
controllers: [{name: ctl1, address: 127.0.71.1}, {name: ctl2, address: 127.0.71.2}]
services: {keystone: {}, horizon: {}}
`),
	}
	b.neighbour = status.Snapshot{Schema: 1, Controller: "ctl2", HAProxy: status.HAProxy{State: status.HAProxyRunning}}
	for _, name := range []string{"keystone", "horizon"} {
		b.neighbour.Services = append(b.neighbour.Services, status.Service{
			Name: name, Hosts: []status.Host{{Name: "ctl1", State: status.Up}, {Name: "ctl2", State: status.Up}},
		})
	}
	b.Drains = New(Options{
		Controller: "ctl1", StateDir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
		Spec:     func() *spec.Spec { return b.spec },
		Snapshot: func() status.Snapshot { return status.Snapshot{Drains: b.List()} },
		Gather:   b.gather,
		Ask:      func(_ context.Context, _, command string, _, _ any) error { return b.ask(command) },
		Holds:    func() bool { return true },
		HandOver: func(_ context.Context, req web.HandoverRequest, waits bool) ([]string, error) {
			return nil, b.handOver(req.Cause, waits)
		},
		Settle:  func() {},
		Carry:   b.carried.carry,
		HAProxy: func() int { return b.haproxy },
		Event:   func(e status.Event) { b.events = append(b.events, e) },
		Report:  func(code string, f *status.Finding) { b.findings[code] = f },
	})
	return b
}

// refusedConnection is of a host on which no agent is.
func refusedConnection(controller string) error {
	return &peer.Error{Controller: controller, Address: netip.MustParseAddrPort("127.0.71.2:9471"), Err: syscall.ECONNREFUSED}
}

// gather has ctl2 say what its bench has; a ctl3 is as it was before a fault of ctl2.
func (b *bench) gather(_ context.Context, controllers []string) []cloud.Answer {
	b.asked()
	var all []cloud.Answer
	for _, name := range controllers {
		answer := cloud.Answer{Name: name, Address: "127.0.71.2:9470", Error: "timeout"}
		if name != "ctl2" || !b.mute {
			told := b.neighbour
			told.Controller, answer.Snapshot, answer.Error = name, &told, ""
		}
		all = append(all, answer)
	}
	return all
}

// TestDrainLastAnnouncer has the last controller that announces a VIP by BGP be drained by force only.
func TestDrainLastAnnouncer(t *testing.T) {
	b := newBench(t)
	b.spec = mustParse(t, `cloud: test
vips: [{name: api, addresses: [203.0.113.10/32], hostname: api.example.org, announce: bgp}]
controllers: [{name: ctl1, address: 127.0.71.1}, {name: ctl2, address: 127.0.71.2}]
services: {keystone: {hosts: [{name: web1, address: 127.0.71.8}, {name: web2, address: 127.0.71.9}]}}
bgp: {engine: external}
`)
	is := func(s status.AnnouncedState) []status.VIP {
		return []status.VIP{{Name: "api", Announce: "bgp", Announced: s}}
	}
	b.opt.Snapshot = func() status.Snapshot { return status.Snapshot{Drains: b.List(), VIPs: is(status.Announced)} }
	for _, c := range []struct {
		other   status.AnnouncedState
		drained []status.Drained
		force   bool
		refused string
	}{
		{other: status.Withdrawn, refused: "vip api would be announced by nobody"},
		{other: status.Announced, drained: []status.Drained{{Reason: "theirs"}}, refused: "vip api would be announced by nobody"},
		{other: status.Withdrawn, force: true},
		{other: status.Announced},
	} {
		b.neighbour.VIPs, b.neighbour.Drains = is(c.other), c.drained
		_, err := b.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", Force: c.force})
		if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("beside one that is %s: %v", c.other, err)
		}
		if _, err := b.Undrain(t.Context(), web.DrainRequest{Controller: "ctl1"}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDrainIntention proves that an agent tells what it is about to drain
// before it looks at what others drain, and takes that back when it may not:
// then of two agents at the same moment at least one sees the other.
func TestDrainIntention(t *testing.T) {
	b := newBench(t)
	told := 0
	b.asked = func() {
		if drains := b.List(); len(drains) != 1 || drains[0].Reason != "mine" {
			t.Errorf("while the others are asked, ctl1 says it drains %v", drains)
		}
		if got := b.Answer("keystone"); got != answerReady {
			t.Errorf("while the others are asked, HAProxys are told %q", got)
		}
		told++
	}
	b.neighbour.Drains = []status.Drained{{Since: time.Now(), Reason: "theirs"}} // about to be: its HAProxy finds all up
	_, err := b.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", Reason: "mine"})
	refusal, ok := errors.AsType[*web.ControlError](err)
	if want := "ctl1 is not drained: keystone and horizon would be left without a host: ctl2 is drained"; !ok || refusal.Status != http.StatusConflict || !strings.HasPrefix(refusal.Message, want) {
		t.Errorf("%v, want %s", err, want)
	}
	if told == 0 || b.List() != nil || len(b.events) != 0 {
		t.Errorf("ctl2 was asked %d times; what is left of the refused drain: %v, %v", told, b.List(), b.events)
	}
}

// TestDrainHere goes through the life of a drain, with what is said on the way.
func TestDrainHere(t *testing.T) {
	b := newBench(t)
	offered := ""
	b.handOver = func(cause string, _ bool) error {
		offered = cause
		if b.Answer("keystone") != answerDrain || b.Last() {
			t.Error("the VIPs are offered before the drain, or with a lowered priority")
		}
		return errors.New("vip api stays on ctl1: nobody takes it")
	}
	got, err := b.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", Reason: "new kernel", For: time.Hour, By: "root on ctl2"})
	if err != nil || len(got.Drains) != 1 || got.Drains[0].Until.Sub(got.Drains[0].Since) != time.Hour || len(got.Services) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if offered != "ctl1 is drained: new kernel" || len(got.Notes) != 1 || got.Notes[0] != "vip api stays on ctl1: nobody takes it" || !b.Last() || !b.Whole() {
		t.Errorf("offered because %q; notes %q", offered, got.Notes)
	}
	if k, h := b.Answer("keystone"), b.Answer("horizon"); k != answerDrain || h != answerMaint {
		t.Errorf("HAProxys are told %q and, where there is a cookie, %q", k, h)
	}
	_, err = b.Undrain(t.Context(), web.DrainRequest{Controller: "ctl1", Services: []string{"keystone"}})
	if err == nil || err.Error() != "keystone stays drained, as all of ctl1 is; holdfast undrain ctl1 puts all back" {
		t.Errorf("one service of a drained controller: %v", err)
	}
	got, err = b.Undrain(t.Context(), web.DrainRequest{Controller: "ctl1", By: "root on ctl1"})
	if err != nil || !got.Changed || len(got.Services) != 2 || len(got.Drains) != 0 || b.Whole() || b.Last() {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = b.Undrain(t.Context(), web.DrainRequest{Controller: "ctl1", Services: []string{"keystone"}})
	if err != nil || got.Changed || len(got.Services) != 0 {
		t.Errorf("what is not drained: %+v, %v", got, err)
	}
	var said []string
	for _, e := range b.events {
		said = append(said, fmt.Sprintf("%s %s: %s by %s", e.Kind, e.Subject, e.Cause, e.By))
	}
	if want := "drain-begun controller ctl1: new kernel by root on ctl2, drain-ended controller ctl1:  by root on ctl1"; strings.Join(said, ", ") != want {
		t.Errorf("journal: %s, want %s", strings.Join(said, ", "), want)
	}
}

// TestDrainUnasked says why an agent has not drained its controller.
func TestDrainUnasked(t *testing.T) {
	b := newBench(t)
	_, err := b.Drain(t.Context(), web.DrainRequest{Controller: "ctl2"})
	if want := "the agent of ctl2 does not answer at 127.0.71.2:9471: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	b.ask = func(string) error { return &peer.Error{Controller: "ctl2", Refusal: "nova stays drained"} }
	_, err = b.Undrain(t.Context(), web.DrainRequest{Controller: "ctl2"})
	if err == nil || err.Error() != "nova stays drained" {
		t.Error(err)
	}
}

// TestDrainedVIPMovesLater has a drained controller hold a VIP that nobody takes, as
// after a failover: it is offered again, and may rest; a drain by hand moves it at once.
func TestDrainedVIPMovesLater(t *testing.T) {
	b := newBench(t)
	var waited []bool
	var err error // of what can wait
	b.handOver = func(_ string, waits bool) error {
		waited = append(waited, waits)
		if waits {
			return err
		}
		return nil
	}
	if got, failed := b.Drain(t.Context(), web.DrainRequest{Controller: "ctl1"}); failed != nil || len(got.Notes) > 0 {
		t.Errorf("drained with notes %q, %v", got.Notes, failed)
	}
	if b.offer(t.Context()) {
		t.Error("a VIP that rests is offered at longer and longer intervals")
	}
	err = errors.New("nobody takes it")
	if !b.offer(t.Context()) {
		t.Error("a VIP that nobody takes is offered as often as one that rests")
	}
	if want := []bool{false, true, true}; !slices.Equal(waited, want) {
		t.Errorf("handed over with waits %v, want %v", waited, want)
	}
}

// TestDrainWarnings has what is to be said of the moves reach the operator.
func TestDrainWarnings(t *testing.T) {
	b := newBench(t)
	b.opt.HandOver = func(context.Context, web.HandoverRequest, bool) ([]string, error) {
		return []string{"vip api moves often"}, errors.New("nobody takes it")
	}
	got, err := b.Drain(t.Context(), web.DrainRequest{Controller: "ctl1"})
	if want := []string{"vip api moves often", "nobody takes it"}; err != nil || !slices.Equal(got.Notes, want) {
		t.Errorf("%q, %v, want %q", got.Notes, err, want)
	}
}

// TestDrainEndsInTime watches a drain until its time is over.
func TestDrainEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		if _, err := b.Drain(t.Context(), web.DrainRequest{Controller: "ctl1", For: time.Minute}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 59*time.Second)
		defer cancel()
		b.Watch(ctx)
		if !b.Whole() {
			t.Error("it ended too early")
		}
		ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		b.Watch(ctx)
		if last := b.events[len(b.events)-1]; b.Whole() || last.Kind != status.EventDrainEnded || last.Cause != "its time was over" {
			t.Errorf("not ended in time; the last event is %+v", last)
		}
	})
}
