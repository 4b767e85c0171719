package hearing

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vrrp/link"
)

// A fakeLoop hears what hears has.
type fakeLoop struct {
	mu      sync.Mutex // guards following
	hears   map[netip.Addr]link.Hearing
	hearers []netip.Addr
	hellos  []netip.Addr
	signed  link.Signed // by it
	proven  uint64      // of the others
	told    []string
}

func (l *fakeLoop) Signed() link.Signed { return l.signed }

func (l *fakeLoop) Proven(netip.Addr) uint64 { return l.proven }

func (l *fakeLoop) Told(was uint64, is link.Signed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, fmt.Sprintf("%d: %v %d", was, is.From, is.Sequence))
}

func (l *fakeLoop) Hearing() map[netip.Addr]link.Hearing {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.hears)
}

// hear sets what is heard of a controller.
func (l *fakeLoop) hear(from netip.Addr, h link.Hearing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hears == nil {
		l.hears = map[netip.Addr]link.Hearing{}
	}
	l.hears[from] = h
}

func (l *fakeLoop) SetHearers(all []netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hearers = all
}

func (l *fakeLoop) Hello(to netip.Addr) bool {
	l.hellos = append(l.hellos, to)
	return true
}

// A bench is the Hearing of ctl1, which has the VIPs api and inside with ctl2 and ctl3.
type bench struct {
	*Hearing
	spec        atomic.Pointer[spec.Spec]
	api, inside *fakeLoop
	answer      func(controller string) (reply, error) // of the others

	mu       sync.Mutex // guards following
	findings map[string]status.Finding
	reports  int
}

func address(last byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, last}) }

func newBench() *bench {
	b := &bench{
		api: &fakeLoop{}, inside: &fakeLoop{}, findings: map[string]status.Finding{},
	}
	b.spec.Store(&spec.Spec{Controllers: []spec.Controller{{Name: "ctl1", Address: address(1)}, {Name: "ctl2", Address: address(2)}, {Name: "ctl3", Address: address(3)}}})
	set := func(key string, f *status.Finding) {
		delete(b.findings, key)
		if f != nil {
			b.findings[key] = *f
		}
	}
	b.Hearing = New(Options{
		Controller: "ctl1",
		Spec:       b.spec.Load,
		VIPs:       func() []VIP { return []VIP{{"api", b.api}, {"inside", b.inside}} },
		Ask: func(_ context.Context, controller, command string, _, resp any) error {
			if command != "hears" {
				return errors.New(command)
			}
			answer, err := b.answer(controller)
			*resp.(*reply) = answer
			return err
		},
		SetFinding: func(key string, f *status.Finding) {
			b.mu.Lock()
			defer b.mu.Unlock()
			set(key, f)
		},
		Report: func(_, key string, f *status.Finding) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if _, known := b.findings[key]; known != (f != nil) {
				set(key, f)
				b.reports++
			}
		},
	})
	return b
}

// said wants these findings, in the order of their keys.
func (b *bench) said(t *testing.T, want ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, key := range slices.Sorted(maps.Keys(b.findings)) {
		all = append(all, b.findings[key].String())
	}
	if len(all) != len(want) {
		t.Fatalf("%d findings, want %d: %q", len(all), len(want), all)
	}
	for i, w := range want {
		if !strings.Contains(all[i], w) {
			t.Errorf("%q does not say %q", all[i], w)
		}
	}
}

// TestHearers holds who is sent hellos, and since when.
func TestHearers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		if b.since("ctl2") != 0 {
			t.Error("nobody was told of, and gets hellos")
		}
		b.greet("ctl3", true)
		time.Sleep(time.Second)
		b.greet("ctl2", true)
		if want := []netip.Addr{address(2), address(3)}; !slices.Equal(b.api.hearers, want) || !slices.Equal(b.inside.hearers, want) {
			t.Errorf("got %v and %v", b.api.hearers, b.inside.hearers)
		}
		time.Sleep(time.Second)
		b.greet("ctl2", true) // again
		if got := b.since("ctl2"); got != time.Second {
			t.Errorf("since %v", got)
		}
		if b.greet("ctl2", false); !slices.Equal(b.api.hearers, []netip.Addr{address(3)}) || b.since("ctl2") != 0 {
			t.Errorf("one that knows no hellos any more gets them: %v", b.api.hearers)
		}
		if !b.Greet("inside", "ctl2") || len(b.api.hellos) != 0 || !slices.Equal(b.inside.hellos, []netip.Addr{address(2)}) || b.Greet("gone", "ctl2") {
			t.Errorf("greeted at once: %v and %v", b.api.hellos, b.inside.hellos)
		}
	})
}

// TestHearingFindings holds the words, and that what is over is not said any more.
func TestHearingFindings(t *testing.T) {
	b := newBench()
	if notHeardHere("ctl2", nil) != nil || notHeardThere("ctl1", "ctl2", nil, "x") != nil {
		t.Error("a finding about nothing")
	}
	b.tell("ctl2", notHeardHere("ctl2", []string{"api"}), nil)
	b.tell("ctl2", nil, nil) // it passed
	for range deafLooks {
		if len(b.findings) > 0 {
			t.Error("one look is enough")
		}
		b.tell("ctl2", notHeardHere("ctl2", []string{"api"}), notHeardThere("ctl1", "ctl2", []string{"api", "inside"}, "operation not permitted"))
	}
	for range deafLooks {
		b.tell("ctl3", nil, notHeardThere("ctl1", "ctl3", []string{"api"}, ""))
	}
	b.said(t, "adverts of ctl2 for vip api do not arrive here",
		"adverts of ctl1 for vips api, inside do not arrive at ctl2, whose agent answers: were ctl1 to hold the address, both would; the kernel here does not send them (operation not permitted)",
		"adverts of ctl1 for vip api do not arrive at ctl3")
	b.tell("ctl2", nil, nil)
	b.said(t, "do not arrive at ctl3")
	s := *b.spec.Load()
	s.Controllers = s.Controllers[:2]
	b.forget(&s)
	b.said(t)
	if b.reports != 5 {
		t.Errorf("reported %d beginnings and ends, want 5: a controller that is gone is no news", b.reports)
	}
}

// TestHearsAnswer asks what the other agent knows, and one that does not know the command.
func TestHearsAnswer(t *testing.T) {
	b := newBench()
	b.api.hear(address(2), link.Hearing{Ago: time.Second})
	b.api.hear(address(3), link.Hearing{Ago: -1})
	answer, err := b.Hears(t.Context(), "ctl2", question{})
	if got, ok := answer.(reply); err != nil || !ok || !maps.Equal(got.Heard, map[string]time.Duration{"api": time.Second}) {
		t.Errorf("got %+v, %v", answer, err)
	}
	if b.since("ctl2") == 0 {
		t.Error("one that asks knows what a hello is, and is not sent any")
	}
	b.answer = func(string) (reply, error) {
		return reply{}, &peer.Error{Controller: "ctl2", Refusal: "no such command"}
	}
	b.ask(t.Context(), b.spec.Load().Controllers[1])
	if b.since("ctl2") != 0 || len(b.findings) != 0 {
		t.Errorf("an agent of before is sent hellos, or blamed: %v", b.findings)
	}
	b.answer = func(string) (reply, error) {
		return reply{}, &peer.Error{Controller: "ctl2", Err: errors.New("no route")}
	}
	b.greet("ctl2", true)
	b.ask(t.Context(), b.spec.Load().Controllers[1])
	if b.since("ctl2") == 0 || len(b.findings) != 0 {
		t.Errorf("one that does not answer is not known to be deaf: %v", b.findings)
	}
}

// TestWatch has ctl2 not hear api, and ctl3 not be heard there; each VIP is on both, and
// each was greeted for long enough.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		deaf, well := 2*deafAfter, deafAfter/2
		b.api.hear(address(2), link.Hearing{Ago: well, Refused: "not permitted"})
		b.api.hear(address(3), link.Hearing{Ago: deaf})
		b.inside.hear(address(2), link.Hearing{Ago: -1})
		b.answer = func(controller string) (reply, error) {
			if controller == "ctl2" {
				return reply{Greeting: time.Hour, Heard: map[string]time.Duration{"api": deaf}}, nil // no inside there
			}
			return reply{Greeting: time.Hour, Heard: map[string]time.Duration{"api": well}}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); b.Watch(ctx) }()
		// Greeted at the first look, for long enough at the fourth.
		time.Sleep(4*interval + interval/2)
		synctest.Wait()
		b.said(t)
		time.Sleep(interval)
		synctest.Wait()
		b.said(t, "adverts of ctl3 for vip api do not arrive here",
			"adverts of ctl1 for vip api do not arrive at ctl2, whose agent answers: were ctl1 to hold the address, both would; the kernel here does not send them (not permitted)")
		b.api.hear(address(3), link.Hearing{Ago: well})
		s := *b.spec.Load()
		s.Controllers = []spec.Controller{s.Controllers[0], s.Controllers[2]}
		b.spec.Store(&s)
		time.Sleep(interval)
		synctest.Wait()
		b.said(t)
		cancel()
		<-ended
	})
}

// TestSequences has controllers tell each other what they have signed last, so that
// nobody can send it again to one that has just begun.
func TestSequences(t *testing.T) {
	b := newBench()
	b.api.signed = link.Signed{From: address(1), Sequence: 11}
	got, err := b.Hears(t.Context(), "ctl2", question{})
	if err != nil || !maps.Equal(got.(reply).Signed, map[string]link.Signed{"api": b.api.signed}) {
		t.Errorf("ctl2 is told %+v, %v", got, err)
	}
	b.api.proven = 7
	local := netip.MustParseAddr("fe80::2")
	b.answer = func(string) (reply, error) {
		return reply{Signed: map[string]link.Signed{
			"api": {From: address(2), Sequence: 22}, "inside": {From: local, Sequence: 33}, "gone": {From: address(2), Sequence: 44},
		}}, nil
	}
	b.ask(t.Context(), spec.Controller{Name: "ctl2", Address: address(2)})
	if want := []string{"7: 192.0.2.2 22"}; !slices.Equal(b.api.told, want) {
		t.Errorf("api is told %q, want %q", b.api.told, want)
	}
	if want := []string{"0: fe80::2 33"}; !slices.Equal(b.inside.told, want) {
		t.Errorf("inside is told %q, want %q", b.inside.told, want)
	}
	// Of ctl3 it says nothing, and what is not signed tells nothing.
	b.answer = func(string) (reply, error) {
		return reply{Signed: map[string]link.Signed{"api": {From: address(3), Sequence: 22}, "inside": {}}}, nil
	}
	b.ask(t.Context(), spec.Controller{Name: "ctl2", Address: address(2)})
	if len(b.api.told) != 1 || len(b.inside.told) != 1 {
		t.Errorf("told %q and %q", b.api.told, b.inside.told)
	}
}
