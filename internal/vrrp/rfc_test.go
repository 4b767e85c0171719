package vrrp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// TestStateTable is RFC 9568 section 6.4 as a table: every state, every event
// and every condition under which the event counts differently.
func TestStateTable(t *testing.T) {
	const (
		interval = 100 * time.Millisecond
		learned  = 20 * time.Millisecond // the interval in the other's adverts
		own      = 100
	)
	var (
		down        = ActiveDownInterval(interval, own)
		learnedDown = ActiveDownInterval(learned, own)
		skew        = SkewTime(interval, own)
		low         = netip.MustParseAddr("10.0.0.1")
		high        = netip.MustParseAddr("10.0.0.3")
	)
	adv := func(src netip.Addr, priority uint8) Event {
		return AdvertReceived{Src: src, Priority: priority, Interval: learned}
	}
	const unchanged = -1
	type want struct {
		does  string // what Output asks for
		state State
		wait  time.Duration // until the deadline; 0 for none, unchanged
	}
	tests := []struct {
		section string
		state   State
		preempt bool
		event   Event
		want    want
	}{
		{"6.4.1 startup, priority not 255", Initialize, false, Startup{}, want{"", Backup, down}},
		{"6.4.1 startup, priority not 255", Initialize, true, Startup{}, want{"", Backup, down}},
		{"6.4.1 any advert", Initialize, false, adv(high, 254), want{"", Initialize, 0}},
		{"6.4.1 shutdown", Initialize, false, Shutdown{}, want{"", Initialize, 0}},

		{"6.4.2 shutdown", Backup, false, Shutdown{}, want{"", Initialize, 0}},
		{"6.4.2 Active_Down_Timer fires", Backup, false, Timer{}, want{"send 100, claim, announce", Active, interval}},
		{"6.4.2 Active_Down_Timer fires", Backup, true, Timer{}, want{"send 100, claim, announce", Active, interval}},
		{"6.4.2 priority 0", Backup, false, adv(low, 0), want{"", Backup, skew}},
		{"6.4.2 priority 0", Backup, true, adv(high, 0), want{"", Backup, skew}},
		{"6.4.2 higher priority", Backup, false, adv(low, 101), want{"", Backup, learnedDown}},
		{"6.4.2 higher priority", Backup, true, adv(low, 101), want{"", Backup, learnedDown}},
		{"6.4.2 owner's priority", Backup, true, adv(low, 255), want{"", Backup, learnedDown}},
		{"6.4.2 same priority, lower address", Backup, false, adv(low, 100), want{"", Backup, learnedDown}},
		{"6.4.2 same priority, lower address", Backup, true, adv(low, 100), want{"", Backup, learnedDown}},
		{"6.4.2 same priority, higher address", Backup, true, adv(high, 100), want{"", Backup, learnedDown}},
		{"6.4.2 lower priority, no preemption", Backup, false, adv(high, 99), want{"", Backup, learnedDown}},
		{"6.4.2 lower priority, preemption", Backup, true, adv(high, 99), want{"", Backup, unchanged}},

		{"6.4.3 shutdown", Active, false, Shutdown{}, want{"send 0, release", Initialize, 0}},
		{"6.4.3 Adver_Timer fires", Active, false, Timer{}, want{"send 100", Active, interval}},
		{"6.4.3 priority 0", Active, false, adv(low, 0), want{"send 100, announce", Active, interval}},
		{"6.4.3 higher priority", Active, false, adv(low, 101), want{"send 100, release", Backup, learnedDown}},
		{"6.4.3 higher priority", Active, true, adv(low, 101), want{"send 100, release", Backup, learnedDown}},
		{"6.4.3 owner's priority", Active, true, adv(low, 255), want{"send 100, release", Backup, learnedDown}},
		{"6.4.3 same priority, higher address", Active, false, adv(high, 100), want{"send 100, release", Backup, learnedDown}},
		{"6.4.3 same priority, higher address", Active, true, adv(high, 100), want{"send 100, release", Backup, learnedDown}},
		{"6.4.3 same priority, lower address", Active, false, adv(low, 100), want{"send 100, announce", Active, interval}},
		{"6.4.3 lower priority, no preemption", Active, false, adv(high, 99), want{"send 100, announce", Active, interval}},
		{"6.4.3 lower priority, preemption", Active, true, adv(high, 99), want{"send 100, announce", Active, interval}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s, preempt %v", tt.section, tt.preempt), func(t *testing.T) {
			m, now, deadline := machineIn(t, tt.state, Config{
				Priority: own, Interval: interval, Preempt: tt.preempt, Source: netip.MustParseAddr("10.0.0.2"),
			})
			if _, ok := tt.event.(Timer); !ok {
				now = now.Add(interval / 2)
			} else {
				now = deadline
			}
			out := m.Step(now, tt.event)
			got := want{actions(out), out.State, 0}
			switch {
			case tt.want.wait == unchanged && out.Deadline.Equal(deadline):
				got.wait = unchanged
			case !out.Deadline.IsZero():
				got.wait = out.Deadline.Sub(now)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if changed := out.State != tt.state; changed != (out.Cause.Kind != 0) {
				t.Errorf("state changed: %v, but the cause is %+v", changed, out.Cause)
			}
		})
	}
}

// machineIn gives a machine in state, when it came there, and its deadline.
func machineIn(t *testing.T, state State, c Config) (m *Machine, now, deadline time.Time) {
	t.Helper()
	m, now = NewMachine(c), time.Unix(0, 0)
	var out Output
	if state != Initialize {
		out = m.Step(now, Startup{})
		m.leftover = false // a later advert is not the first one
	}
	if state == Active {
		now = out.Deadline
		out = m.Step(now, Timer{})
	}
	if m.State() != state {
		t.Fatalf("state %v, want %v", m.State(), state)
	}
	return m, now, out.Deadline
}

// actions says what out asks for, in the order in which it is to be done.
func actions(out Output) string {
	s := ""
	add := func(on bool, what string) {
		if on && s != "" {
			s += ", "
		}
		if on {
			s += what
		}
	}
	for _, p := range out.Send {
		add(true, fmt.Sprint("send ", p))
	}
	add(out.Release, "release")
	add(out.Claim, "claim")
	add(out.Announce, "announce")
	return s
}

// TestCausesHaveWords checks that every kind of cause says something, and that
// those about a peer name it.
func TestCausesHaveWords(t *testing.T) {
	name := func(netip.Addr) string { return "ctl9" }
	for k := CauseStarted; k <= CauseHeldUp; k++ {
		c := Cause{Kind: k, Peer: netip.MustParseAddr("10.0.0.9"), Priority: 7, Own: 8, Lasted: 1234567 * time.Microsecond, Text: "words"}
		if c.Words(name) == "" {
			t.Errorf("kind %d has no words", k)
		}
	}
	for cause, want := range map[Cause]string{
		{Kind: CauseSilence, Peer: netip.MustParseAddr("10.0.0.9"), Lasted: 310156250}:     "no advert from ctl9 for 310.2ms",
		{Kind: CauseSilence, Lasted: 3010156250}:                                           "no other controller was heard for 3.01s",
		{Kind: CauseSilence, Lasted: 310156}:                                               "no other controller was heard for 310µs",
		{Kind: CauseResigned, Peer: netip.MustParseAddr("10.0.0.9")}:                       "ctl9 resigned",
		{Kind: CauseOutranked, Peer: netip.MustParseAddr("10.0.0.9"), Priority: 9, Own: 8}: "ctl9 is active too, with priority 9 and this controller 8",
	} {
		if got := cause.Words(name); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := (Cause{Kind: CauseResigned, Peer: netip.MustParseAddr("10.0.0.9")}).String(); got != "10.0.0.9 resigned" {
		t.Errorf("got %q", got)
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	src := netip.MustParseAddr("10.0.0.1")
	backup, now, _ := machineIn(t, Backup, Config{Priority: 100, Interval: 100 * time.Millisecond})
	active, activeNow, _ := machineIn(t, Active, Config{Priority: 100, Interval: 100 * time.Millisecond})
	n := testing.AllocsPerRun(100, func() {
		now = now.Add(100 * time.Millisecond)
		backup.Step(now, AdvertReceived{Src: src, Priority: 254, Interval: 100 * time.Millisecond})
		activeNow = activeNow.Add(100 * time.Millisecond)
		active.Step(activeNow, Timer{})
	})
	if n > 0 {
		t.Errorf("%v allocations for an advert and a timer, want none", n)
	}
	if backup.State() != Backup || active.State() != Active {
		t.Errorf("states %v and %v", backup.State(), active.State())
	}
}
