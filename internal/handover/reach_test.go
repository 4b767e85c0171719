package handover

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
	"holdfast/internal/web"
)

// TestHandoverTakesTheBest proves that the one that reaches less than the holder
// is refused with the reason, and taken last where somebody insists.
func TestHandoverTakesTheBest(t *testing.T) {
	enterHost(t)
	c, cloud := newControllers(t, map[string]string{"ctl1": "keystone nova !glance", "ctl2": "keystone !nova !glance", "ctl3": "keystone nova glance"})
	give := func(req web.HandoverRequest) error {
		cloud.prepared = nil
		_, err := c.give(t.Context(), c.opt.VIPs()[0], req)
		return err
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
		if err := give(tt.req); err == nil || !strings.Contains(err.Error(), tt.says) || !refused(err) {
			t.Errorf("%+v: %v, want %q", tt.req, err, tt.says)
		}
		if got := strings.Join(cloud.prepared, " "); got != tt.want {
			t.Errorf("%+v: asked %q, want %q", tt.req, got, tt.want)
		}
	}
	// What is down for both is no reason, nor is what is not known.
	c.reaches("keystone !nova")
	if err := give(web.HandoverRequest{To: "ctl2"}); err == nil || !strings.Contains(err.Error(), "ctl2: it takes none") {
		t.Errorf("with nova down for both: %v", err)
	}
	if err := c.lostByReturn(t.Context(), "ctl3"); err == nil || !strings.Contains(err.Error(), "reaches no host of nova, and that of ctl3 does") {
		t.Errorf("a preferred controller that reaches less would take the VIP back: %v", err)
	}
	if err := c.lostByReturn(t.Context(), "ctl2"); err != nil {
		t.Errorf("a preferred controller that reaches as much would not take the VIP back: %v", err)
	}
}

// TestNoReturnToABadLink proves that a preferred controller does not take the VIP
// back over a link that would have it give that away again, and that the one with
// a good link is asked first to take it.
func TestNoReturnToABadLink(t *testing.T) {
	enterHost(t)
	c, cloud := newControllers(t, map[string]string{"ctl1": "keystone", "ctl2": "keystone", "ctl3": "keystone"})
	order := func() string {
		t.Helper()
		cloud.prepared = nil
		if _, err := c.give(t.Context(), c.opt.VIPs()[0], web.HandoverRequest{}); err == nil {
			t.Error("somebody took it, want nobody to")
		}
		return strings.Join(cloud.prepared, " ")
	}
	c.setPaths("ctl2", "ctl3")
	cloud.all["ctl2"].setPaths("ctl1")
	cloud.all["ctl3"].setPaths("ctl1")
	if err := c.lostByReturn(t.Context(), "ctl2"); err == nil || !strings.Contains(err.Error(), "connections from ctl1 to ctl2, ctl3 get no answer at first") {
		t.Errorf("over a link that loses half: %v", err)
	}
	if got := order(); got != "ctl2 ctl3" {
		t.Errorf("asked %q, want both in the order of the spec", got)
	}
	c.setPaths("ctl2")
	cloud.all["ctl2"].setPaths("ctl1", "ctl3")
	cloud.all["ctl3"].setPaths("ctl2")
	if err := c.lostByReturn(t.Context(), "ctl2"); err != nil {
		t.Errorf("from one with a bad link: %v", err)
	}
	if got := order(); got != "ctl3 ctl2" {
		t.Errorf("asked %q, want ctl2 last, whose link is bad", got)
	}
}

// TestAskReach proves that what others say comes with its age, and that one who
// does not answer is not counted.
func TestAskReach(t *testing.T) {
	begun := time.Now()
	c, cloud := newControllers(t, map[string]string{"ctl1": "", "ctl2": "keystone !nova"})
	cloud.all["ctl2"].view.At = begun
	views, answered := c.askReach(t.Context(), c.spec.Others("ctl1"), reachTimeout)
	v, ok := views["ctl2"]
	if len(views) != 1 || !ok || answered != 1 {
		t.Fatalf("%d answered: %v", answered, views)
	}
	if v.Spec != "one" || v.Unfit == "" || v.Services["nova"] || !v.Services["keystone"] || v.At.After(begun.Add(reachTimeout)) {
		t.Errorf("ctl2 says %+v", v)
	}
}

// TestIsolated proves that a controller says so when no other answers, not at the
// first time, and no more once one does.
func TestIsolated(t *testing.T) {
	c := newController(t, "ctl1")
	w := &reachWatch{moves: c.Moves}
	others := c.spec.Others("ctl1")
	has := func() bool {
		_, yes := c.findings[status.CodeIsolated]
		return yes
	}
	w.noteAnswers(c.spec, others, 0)
	if has() {
		t.Error("isolated after one look")
	}
	w.noteAnswers(c.spec, others, 0)
	if !has() {
		t.Error("not isolated after two looks")
	}
	w.noteAnswers(c.spec, others, 1)
	if has() {
		t.Error("isolated though one answers")
	}
	c.setPaths("ctl2", "ctl3")
	for range 2 * isolatedAfter {
		w.noteAnswers(c.spec, others, 0)
	}
	if has() {
		t.Error("isolated though the last handshake but one was answered")
	}
	for i := range c.view.Paths {
		c.view.Paths[i].Silent++
	}
	w.noteAnswers(c.spec, others, 0)
	w.noteAnswers(c.spec, others, 0)
	if !has() {
		t.Error("not isolated though no handshake is answered")
	}
}
