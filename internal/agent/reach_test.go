package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"holdfast/internal/peer"
	"holdfast/internal/reach"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// reaching gives services as an HAProxy tells of them: "a !b" has a host of a,
// and finds those of b down.
func reaching(words string) []status.Service {
	var all []status.Service
	for word := range strings.FieldsSeq(words) {
		name, lacks := strings.CutPrefix(word, "!")
		h := status.Host{Name: "h", State: status.Up}
		if lacks {
			h.State = status.Down
		}
		all = append(all, status.Service{Name: name, Hosts: []status.Host{h}})
	}
	return all
}

// peers are the agents of ctl2 and ctl3, which say what they reach, and take no VIP.
type peers struct {
	mu       sync.Mutex
	prepared []string // who was asked to take one, in order; "!" by force
	agents   map[string]*Agent
}

// newPeers starts them at their addresses.
func newPeers(t *testing.T, reached map[string]string) *peers {
	t.Helper()
	newHost(t) // its interfaces
	p := &peers{agents: map[string]*Agent{}}
	for name, words := range reached {
		address := "192.0.2." + strings.TrimPrefix(name, "ctl")
		link, err := netlink.LinkByName("eno1")
		if err != nil {
			t.Fatal(err)
		}
		if parsed, err := netlink.ParseAddr(address + "/24"); err != nil || netlink.AddrAdd(link, parsed) != nil {
			t.Fatal(address, err)
		}
		other := threeControllers(t)
		p.agents[name] = other
		other.services, other.polled = reaching(words), other.started
		one := *other.currentSpec()
		one.Digest = "one"
		other.rollout.Use(&one)
		commands := other.commands()
		commands["prepare"] = func(_ context.Context, _ string, body json.RawMessage) (any, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			word := name
			if strings.Contains(string(body), `"force":true`) {
				word = "!" + name
			}
			p.prepared = append(p.prepared, word)
			return nil, errors.New("it takes none")
		}
		server := peer.NewServer(peer.Options{Handlers: commands, Log: other.log})
		server.Allow(map[netip.Addr]string{netip.MustParseAddr("192.0.2.1"): "ctl1"})
		listener, err := net.Listen("tcp", address+":9471")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = server.Serve(ctx, listener) }()
		t.Cleanup(func() { cancel(); <-ended })
	}
	return p
}

// TestHandoverTakesTheBest proves that the one that reaches less than the holder
// is refused with the reason, and taken last where somebody insists.
func TestHandoverTakesTheBest(t *testing.T) {
	p := newPeers(t, map[string]string{"ctl2": "keystone !nova !glance", "ctl3": "keystone nova glance"})
	a := threeControllers(t)
	a.services = reaching("keystone nova !glance")
	o, err := a.newOwner(a.currentSpec(), a.currentSpec().VIPs[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		req  web.HandoverRequest
		want string // who is asked to take it
		says string
	}{
		{web.HandoverRequest{}, "ctl3", "ctl3: it takes none; ctl2: its HAProxy reaches no host of nova, and that of ctl1 does; with --force it takes the vip all the same"},
		{web.HandoverRequest{Force: true}, "ctl3 !ctl3 !ctl2", "ctl2: it takes none"},
		{web.HandoverRequest{To: "ctl2"}, "", "vip api stays on ctl1: ctl2: its HAProxy reaches no host of nova, and that of ctl1 does; with --force"},
		{web.HandoverRequest{To: "ctl2", Force: true}, "!ctl2", "ctl2: it takes none"},
	} {
		p.prepared = nil
		_, err := a.give(t.Context(), o, tt.req)
		if err == nil || !strings.Contains(err.Error(), tt.says) || !refused(err) {
			t.Errorf("%+v: %v, want %q", tt.req, err, tt.says)
		}
		if got := strings.Join(p.prepared, " "); got != tt.want {
			t.Errorf("%+v: asked %q, want %q", tt.req, got, tt.want)
		}
	}
	// What is down for both is no reason, nor is what is not known.
	a.services = reaching("keystone !nova")
	if _, err := a.give(t.Context(), o, web.HandoverRequest{To: "ctl2"}); err == nil || !strings.Contains(err.Error(), "ctl2: it takes none") {
		t.Errorf("with nova down for both: %v", err)
	}
	if err := a.lostByReturn(t.Context(), "ctl3"); err == nil || !strings.Contains(err.Error(), "reaches no host of nova, and that of ctl3 does") {
		t.Errorf("a preferred controller that reaches less would take the VIP back: %v", err)
	}
	if err := a.lostByReturn(t.Context(), "ctl2"); err != nil {
		t.Errorf("a preferred controller that reaches as much would not take the VIP back: %v", err)
	}
}

// setPaths has a controller know of 20 handshakes with each other one, of which
// every second got lost with those named.
func (a *Agent) setPaths(self string, lossy ...string) {
	targets := pathTargets(a.currentSpec(), self)
	a.paths.mu.Lock()
	defer a.paths.mu.Unlock()
	a.paths.targets, a.paths.windows = targets, map[netip.AddrPort]*reach.Window{}
	for _, t := range targets {
		w := &reach.Window{}
		for i := range status.PathWindow {
			w.Add(time.Now(), i%2 == 0 || !slices.Contains(lossy, t.host), time.Millisecond)
		}
		a.paths.windows[t.at] = w
	}
}

// TestNoReturnToABadLink proves that a preferred controller does not take the VIP
// back over a link that would have it give that away again, and that the one with
// a good link is asked first to take it.
func TestNoReturnToABadLink(t *testing.T) {
	p := newPeers(t, map[string]string{"ctl2": "keystone", "ctl3": "keystone"})
	a := threeControllers(t)
	a.services, a.polled = reaching("keystone"), a.started
	o, err := a.newOwner(a.currentSpec(), a.currentSpec().VIPs[0])
	if err != nil {
		t.Fatal(err)
	}
	order := func() string {
		t.Helper()
		p.prepared = nil
		if _, err := a.give(t.Context(), o, web.HandoverRequest{}); err == nil {
			t.Error("somebody took it, want nobody to")
		}
		return strings.Join(p.prepared, " ")
	}
	a.setPaths("ctl1", "ctl2", "ctl3")
	p.agents["ctl2"].setPaths("ctl2", "ctl1")
	p.agents["ctl3"].setPaths("ctl3", "ctl1")
	if err := a.lostByReturn(t.Context(), "ctl2"); err == nil || !strings.Contains(err.Error(), "connections from ctl1 to ctl2, ctl3 get no answer at first") {
		t.Errorf("over a link that loses half: %v", err)
	}
	if got := order(); got != "ctl2 ctl3" {
		t.Errorf("asked %q, want both in the order of the spec", got)
	}
	a.setPaths("ctl1", "ctl2")
	p.agents["ctl2"].setPaths("ctl2", "ctl1", "ctl3")
	p.agents["ctl3"].setPaths("ctl3", "ctl2")
	if err := a.lostByReturn(t.Context(), "ctl2"); err != nil {
		t.Errorf("from one with a bad link: %v", err)
	}
	if got := order(); got != "ctl3 ctl2" {
		t.Errorf("asked %q, want ctl2 last, whose link is bad", got)
	}
}

// TestAskReach proves that what others say comes with its age, and that one who
// does not answer is not counted.
func TestAskReach(t *testing.T) {
	newPeers(t, map[string]string{"ctl2": "keystone !nova"})
	a := threeControllers(t)
	views, answered := a.askReach(t.Context(), a.otherControllers(a.currentSpec()), reachTimeout)
	v, ok := views["ctl2"]
	if len(views) != 1 || !ok || answered != 1 {
		t.Fatalf("%d answered: %v", answered, views)
	}
	if v.Spec != "one" || v.Unfit == "" || v.Services["nova"] || !v.Services["keystone"] || v.At.After(a.started.Add(reachTimeout)) {
		t.Errorf("ctl2 says %+v", v)
	}
}

// TestIsolated proves that a controller says so when no other answers, not at the
// first time, and no more once one does.
func TestIsolated(t *testing.T) {
	a := threeControllers(t)
	w := &reachWatch{Agent: a}
	others := a.otherControllers(a.currentSpec())
	has := func() bool {
		return slices.ContainsFunc(a.Snapshot().Findings, func(f status.Finding) bool { return f.Code == status.CodeIsolated })
	}
	w.noteAnswers(a.currentSpec(), others, 0)
	if has() {
		t.Error("isolated after one look")
	}
	w.noteAnswers(a.currentSpec(), others, 0)
	if !has() {
		t.Error("not isolated after two looks")
	}
	w.noteAnswers(a.currentSpec(), others, 1)
	if has() {
		t.Error("isolated though one answers")
	}
	a.setPaths("ctl1", "ctl2", "ctl3")
	for range 2 * isolatedAfter {
		w.noteAnswers(a.currentSpec(), others, 0)
	}
	if has() {
		t.Error("isolated though the last handshake but one was answered")
	}
	for _, window := range a.paths.windows {
		window.Add(time.Now(), false, 0)
	}
	w.noteAnswers(a.currentSpec(), others, 0)
	w.noteAnswers(a.currentSpec(), others, 0)
	if !has() {
		t.Error("not isolated though no handshake is answered")
	}
}
