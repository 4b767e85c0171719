package handover

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/netnstest"
	"holdfast/internal/peer"
	"holdfast/internal/reach"
	"holdfast/internal/spec"
	"holdfast/internal/vip"
	"holdfast/internal/vip/move"
	"holdfast/internal/web"
)

// TestTakers holds the order: with a word, by force, and without a word.
func TestTakers(t *testing.T) {
	a := newController(t, "ctl1")
	for _, tt := range []struct {
		req  web.HandoverRequest
		want string
	}{
		{web.HandoverRequest{}, "ctl2 ctl3 ctl2:plain ctl3:plain"},
		{web.HandoverRequest{Force: true}, "ctl2 ctl3 ctl2:force ctl3:force ctl2:plain ctl3:plain"},
		{web.HandoverRequest{To: "ctl3"}, "ctl3 ctl3:plain"},
	} {
		var got []string
		for _, x := range a.takers(spec.VIP{}, tt.req, reach.View{}, nil) {
			word := x.Name
			switch {
			case x.plain:
				word += ":plain"
			case x.request.Force:
				word += ":force"
			}
			got = append(got, word)
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.req, diff)
		}
	}
}

func TestOneMoveAtATime(t *testing.T) {
	m := New(Options{RunDir: t.TempDir()})
	done, err := m.begin("api")
	if err != nil {
		t.Fatal(err)
	}
	if !m.involves("api") || m.involves("other") {
		t.Error("a taker that asks now must hear that the VIP is being given")
	}
	if _, err := m.begin("other"); err == nil || !strings.Contains(err.Error(), "a handover of vip api is under way") {
		t.Errorf("a second move at the same time: %v", err)
	}
	done()
	if _, err := m.begin("other"); err != nil {
		t.Errorf("a move after the first: %v", err)
	}
}

func TestInOneLine(t *testing.T) {
	first := &peer.Error{Controller: "ctl2", Refusal: "it is drained"}
	err := inOneLine([]error{first, io.EOF})
	if err.Error() != "ctl2: it is drained; EOF" || !errors.Is(err, io.EOF) || !refused(err) {
		t.Errorf("got %v", err)
	}
}

// TestResume begins like the agent after one that was killed in the middle.
func TestResume(t *testing.T) {
	for _, tt := range []struct {
		name, record string
		copy, detour bool // are in the kernel
		giving       bool // goes on
		taking       bool
	}{
		{"nothing", ``, false, false, false, false},
		{"a giver", `{"giving": {"api": {"to": "ctl2", "until": "2999-01-01T00:00:00Z"}}}`, true, false, true, false},
		{"a giver whose address is gone", `{"giving": {"api": {"to": "ctl2"}}}`, false, false, false, false},
		{"a taker", `{"taking": {"api": {"from": "ctl2", "givers": ["192.0.2.2"]}}}`, false, true, false, true},
		{"a taker whose host has started anew", `{"taking": {"api": {"from": "ctl2", "givers": ["192.0.2.2"]}}}`, false, false, false, false},
		{"leftovers of nobody", ``, true, true, false, false},
		{"a damaged record", `{"giving": `, true, true, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			enterHost(t)
			a := newController(t, "ctl1")
			api := a.spec.VIPs[0]
			c, err := a.copyOf(a.spec, api)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Drop(context.Background()) })
			if tt.copy {
				if err := c.Keep(t.Context(), time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			d, err := a.detourTo(a.spec, api, []netip.Addr{netip.MustParseAddr("192.0.2.2")})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Remove(context.Background()) })
			if tt.detour {
				if err := d.Install(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if tt.record != "" {
				if err := os.WriteFile(a.file, []byte(tt.record), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			a.Resume(t.Context(), a.spec)

			given, taken := a.names()
			if got := len(given) == 1; got != tt.giving {
				t.Errorf("goes on giving: %v", got)
			}
			if got := len(taken) == 1; got != tt.taking {
				t.Errorf("goes on taking: %v", got)
			}
			if present, err := c.Present(); err != nil || present != tt.giving {
				t.Errorf("the address is on lo: %v, %v", present, err)
			}
			if left, err := move.Detours(t.Context()); err != nil || (len(left) == 1) != tt.taking {
				t.Errorf("rules: %v, %v", left, err)
			}
		})
	}
}

// TestLeftoversSpareTheNextMove ends moves that the next one of the same VIP
// has replaced meanwhile: what that has in the kernel stays.
func TestLeftoversSpareTheNextMove(t *testing.T) {
	enterHost(t)
	a := newController(t, "ctl1")
	api := a.spec.VIPs[0]
	c, err := a.copyOf(a.spec, api)
	if err != nil {
		t.Fatal(err)
	}
	d, err := a.detourTo(a.spec, api, []netip.Addr{netip.MustParseAddr("192.0.2.2")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(c.Drop(context.Background()), d.Remove(context.Background())) })
	if err := errors.Join(c.Keep(t.Context(), time.Minute), d.Install(t.Context())); err != nil {
		t.Fatal(err)
	}
	// Nobody is at home at ctl1: what the other side is told, is told at once.
	was, is := &giving{To: "ctl1", copy: c}, &giving{To: "ctl1", copy: c}
	took, takes := &taking{From: "ctl1", detour: d}, &taking{From: "ctl1", detour: d}
	a.giving["api"], a.taking["api"] = is, takes
	left := func(what string, want bool) {
		t.Helper()
		if present, err := c.Present(); err != nil || present != want {
			t.Errorf("%s: the address is on lo: %v, %v; want %v", what, present, err, want)
		}
		if rules, err := move.Detours(t.Context()); err != nil || (len(rules) == 1) != want {
			t.Errorf("%s: rules %v, %v; want some: %v", what, rules, err, want)
		}
		given, taken := a.names()
		if (len(given) == 1) != want || (len(taken) == 1) != want {
			t.Errorf("%s: records %v and %v", what, given, taken)
		}
	}
	a.retake(t.Context(), "api", was)
	a.endGiving(t.Context(), "api", was, "")
	a.endTaking(t.Context(), "api", took, "late")
	left("after the end of the moves before", true)
	a.retake(t.Context(), "api", is)
	a.endTaking(t.Context(), "api", takes, "its time is over")
	left("after its own end", false)
}

// TestClocksDiffer has the wall clock of the taker, of the giver, or of an agent
// that starts again, off by hours: a move lasts as long as it is to.
func TestClocksDiffer(t *testing.T) {
	const limit, off, boot = time.Hour, 5 * time.Hour, 100 * time.Hour
	now := time.Now()
	for _, clock := range []time.Duration{-off, 0, off} {
		asked := prepareRequest{VIP: "api", Left: limit, Until: now.Add(clock + limit)}
		data, err := json.Marshal(asked)
		if err != nil {
			t.Fatal(err)
		}
		var got prepareRequest
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if s := got.span(now); s.Since != now || s.Until != now.Add(limit) {
			t.Errorf("the giver's clock is off by %v: from %v to %v", clock, s.Since.Sub(now), s.Until.Sub(now))
		}

		// Ten minutes of the move are over when the agent starts again.
		const over = 10 * time.Minute
		noted, err := json.Marshal(spanFrom(now, limit).noted(now, boot))
		if err != nil {
			t.Fatal(err)
		}
		var kept span
		if err := json.Unmarshal(noted, &kept); err != nil {
			t.Fatal(err)
		}
		again := now.Add(clock + over)
		if s := kept.recalled(again, boot+over); s.Since != again.Add(-over) || s.Until != again.Add(limit-over) {
			t.Errorf("the clock was set by %v: from %v to %v", clock, s.Since.Sub(again), s.Until.Sub(again))
		}
	}
	old := prepareRequest{Until: now.Add(limit)}
	if s := old.span(now); s.Until != old.Until {
		t.Errorf("an older giver: until %v", s.Until)
	}
	before := span{Since: now, Until: now.Add(limit)}
	if s := before.recalled(now, boot); s != before {
		t.Errorf("written down by an older agent: %+v", s)
	}
}

// TestMovesAreKept reads what was written down, with the settings to put back.
func TestMovesAreKept(t *testing.T) {
	enterHost(t)
	m := New(Options{RunDir: t.TempDir()})
	path := "/proc/sys/net/ipv4/conf/lo/accept_local"
	if err := os.WriteFile(path, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	m.settings = vip.NewSettings([]vip.Setting{{Path: "ipv4/conf/lo/accept_local", Value: "0"}}, m.write)
	now := time.Now()
	err := m.change(func() {
		m.giving["api"] = &giving{To: "ctl2", span: spanFrom(now, time.Hour)}
		m.taking["two"] = &taking{From: "ctl3", Givers: []netip.Addr{netip.MustParseAddr("192.0.2.3")}, span: spanFrom(now, time.Minute)}
	})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := m.read()
	if err != nil {
		t.Fatal(err)
	}
	if g, t2 := kept.Giving["api"], kept.Taking["two"]; g == nil || t2 == nil || g.To != "ctl2" || t2.From != "ctl3" || len(t2.Givers) != 1 ||
		g.Until.Sub(g.Since) != time.Hour || t2.Until.Sub(t2.Since) != time.Minute || !g.Until.After(t2.Until) {
		t.Errorf("got %+v, %+v", g, t2)
	}
	if len(kept.Settings) != 1 {
		t.Errorf("settings: %v", kept.Settings)
	}
	// The next agent puts them back when the last move is over.
	next := New(Options{RunDir: filepath.Dir(m.file)})
	next.giving, next.taking, next.settings = kept.Giving, kept.Taking, vip.NewSettings(kept.Settings, next.write)
	value := func() string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	if err := next.change(func() { delete(next.giving, "api") }); err != nil {
		t.Fatal(err)
	}
	if got := value(); got != "1" {
		t.Errorf("put back while a move goes on: it is %s", got)
	}
	if err := next.change(func() { delete(next.taking, "two") }); err != nil {
		t.Fatal(err)
	}
	if got := value(); got != "0" {
		t.Errorf("it is %s after the last move", got)
	}
	if kept, err = next.read(); err != nil || len(kept.Settings) != 0 {
		t.Errorf("kept still: %+v, %v", kept, err)
	}
}

// withAnnounced gives the spec with a VIP that is announced by BGP, pub, beside the other.
func withAnnounced(t *testing.T) *spec.Spec {
	t.Helper()
	text := strings.Replace(testSpec, "controllers:", "  - {name: pub, addresses: [203.0.113.10/32], hostname: pub.example.org, announce: bgp, endpoints: [public]}\ncontrollers:", 1)
	text = strings.Replace(text, "    interface: eno1\n", "    interface: eno1\n    endpoints: [internal, admin]\n", 1) + "bgp: {engine: external}\n"
	s, findings := spec.Parse("test.yaml", []byte(text))
	if s == nil {
		t.Fatal(findings)
	}
	return s
}

// TestResumeLeavesAnnounced has an agent that starts not take the address that the one before it
// had on lo, and announced, for what is left of a handover.
func TestResumeLeavesAnnounced(t *testing.T) {
	netnstest.New(t).Enter()
	netnstest.Run(t, "ip link set lo up")
	netnstest.Run(t, "ip address add 203.0.113.10/32 dev lo")
	netnstest.Run(t, "ip address add 192.0.2.10/32 dev lo")
	newController(t, "ctl1").Resume(t.Context(), withAnnounced(t))
	if on := netnstest.Run(t, "ip -4 -o address show dev lo scope global"); !strings.Contains(on, "203.0.113.10/32") || strings.Contains(on, "192.0.2.10") {
		t.Errorf("lo has %s", on)
	}
}

// TestAnnouncedIsNotHandedOver has a VIP that is announced by BGP be refused for what it is.
func TestAnnouncedIsNotHandedOver(t *testing.T) {
	c := newController(t, "ctl1")
	c.spec = withAnnounced(t)
	if _, err := c.Move(t.Context(), web.HandoverRequest{VIP: "pub"}); err == nil || !strings.Contains(err.Error(), "vip pub is announced by BGP") || !strings.Contains(err.Error(), "drain") {
		t.Errorf("it is refused as %v", err)
	}
	if _, err := c.Move(t.Context(), web.HandoverRequest{VIP: "other"}); err == nil || !strings.Contains(err.Error(), `no vip is called "other"`) {
		t.Errorf("one that there is not is refused as %v", err)
	}
}
