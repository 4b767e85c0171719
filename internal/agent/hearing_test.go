package agent

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// peerServer answers like the agent of a controller at 127.0.0.2 that has these
// commands.
func peerServer(t *testing.T, commands map[string]peer.Handler) netip.AddrPort {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("ports below 1024 are root's")
	}
	s := peer.NewServer(peer.Options{Handlers: commands, Log: slog.New(slog.DiscardHandler)})
	s.Allow(map[netip.Addr]string{netip.MustParseAddr("127.0.0.1"): "ctl1"})
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(t.Context(), listener)
	return netip.MustParseAddrPort(listener.Addr().String())
}

// asker is an agent at 127.0.0.1 that knows one other, ctl2, at to.
func asker(to netip.AddrPort) *Agent {
	a := New(Options{Controller: "ctl1", Log: slog.New(slog.DiscardHandler)})
	a.rollout.Use(&spec.Spec{
		Controllers: []spec.Controller{
			{Name: "ctl1", Address: netip.MustParseAddr("127.0.0.1")}, {Name: "ctl2", Address: to.Addr()},
		},
		Agent: spec.Agent{CheckPort: int(to.Port())},
	})
	return a
}

// TestHearers holds who is sent hellos, and since when.
func TestHearers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hearing
		if h.since("ctl2") != 0 {
			t.Error("nobody was told of, and gets hellos")
		}
		h.knows("ctl3", true)
		time.Sleep(time.Second)
		if got := h.knows("ctl2", true); !slices.Equal(got, []string{"ctl2", "ctl3"}) {
			t.Errorf("got %v", got)
		}
		time.Sleep(time.Second)
		h.knows("ctl2", true) // again
		if got := h.since("ctl2"); got != time.Second {
			t.Errorf("since %v", got)
		}
		if got := h.knows("ctl2", false); !slices.Equal(got, []string{"ctl3"}) || h.since("ctl2") != 0 {
			t.Errorf("one that knows no hellos any more gets them: %v", got)
		}
	})
}

// TestHearingFindings holds the words, and that what is over is not said any more.
func TestHearingFindings(t *testing.T) {
	a := threeControllers(t)
	if notHeardHere("ctl2", nil) != nil || notHeardThere("ctl1", "ctl2", nil, "x") != nil {
		t.Error("a finding about nothing")
	}
	a.tellHearing("ctl2", notHeardHere("ctl2", []string{"api"}), nil)
	a.tellHearing("ctl2", nil, nil) // it passed
	for range deafLooks {
		if len(a.Snapshot().Findings) > 0 {
			t.Error("one look is enough")
		}
		a.tellHearing("ctl2", notHeardHere("ctl2", []string{"api"}), notHeardThere("ctl1", "ctl2", []string{"api", "inside"}, "operation not permitted"))
	}
	for range deafLooks {
		a.tellHearing("ctl3", nil, notHeardThere("ctl1", "ctl3", []string{"api"}, ""))
	}
	said := func(want ...string) {
		t.Helper()
		var all []string
		for _, f := range a.Snapshot().Findings {
			all = append(all, f.String())
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
	said("adverts of ctl2 for vip api do not arrive here",
		"adverts of ctl1 for vips api, inside do not arrive at ctl2, whose agent answers: were ctl1 to hold the address, both would; the kernel here does not send them (operation not permitted)",
		"adverts of ctl1 for vip api do not arrive at ctl3")
	a.tellHearing("ctl2", nil, nil)
	said("do not arrive at ctl3")
	s := *a.currentSpec()
	s.Controllers = s.Controllers[:2]
	a.forgetHearing(&s)
	said()
	events := a.journal.last(10)
	if len(events) != 5 || events[0].Kind != status.CodeAdvertsBlocked || !strings.HasPrefix(events[4].Text, "over: ") {
		t.Errorf("the journal has %+v", events)
	}
}

// TestHearsAnswer asks what the other agent knows, and one that does not know the command.
func TestHearsAnswer(t *testing.T) {
	a := threeControllers(t)
	answer, err := a.hears(t.Context(), "ctl2", struct{}{})
	if reply, ok := answer.(hearsReply); err != nil || !ok || len(reply.Heard) != 0 {
		t.Errorf("got %+v, %v", answer, err)
	}
	if a.hearing.since("ctl2") == 0 {
		t.Error("one that asks knows what a hello is, and is not sent any")
	}
	to := peerServer(t, nil)
	b := asker(to)
	b.hearing.knows("ctl2", true)
	c, _ := b.currentSpec().Controller("ctl2")
	b.askHears(t.Context(), c)
	if b.hearing.since("ctl2") != 0 || len(b.findings) != 0 {
		t.Errorf("an agent of before is sent hellos, or blamed: %v", b.findings)
	}
	c.Address = netip.MustParseAddr("127.0.0.3") // nobody
	b.currentSpec().Controllers[1] = c
	b.hearing.knows("ctl2", true)
	b.askHears(t.Context(), c)
	if b.hearing.since("ctl2") == 0 || len(b.findings) != 0 {
		t.Errorf("one that does not answer is not known to be deaf: %v", b.findings)
	}
}
