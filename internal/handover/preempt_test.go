package handover

import (
	"errors"
	"testing"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/reach"
	"holdfast/internal/spec"
	"holdfast/internal/vrrp/link"
	"holdfast/internal/web"
)

// TestPreferredTo has who asks for a VIP back: one that the VIP's own order has before the
// holder, which does not advertise as high a priority as its own.
func TestPreferredTo(t *testing.T) {
	two := spec.VIP{Prefer: []string{"ctl2", "ctl3", "ctl1"}}
	for _, tt := range []struct {
		name, self string
		vip        spec.VIP
		known      link.Stats
		want       bool
	}{
		{"the first", "ctl1", spec.VIP{}, link.Stats{Holder: "ctl2", HolderPriority: 230}, true},
		{"not the first", "ctl2", spec.VIP{}, link.Stats{Holder: "ctl1", HolderPriority: 254}, false},
		{"the first of this VIP", "ctl2", two, link.Stats{Holder: "ctl1", HolderPriority: 206}, true},
		{"the last of this VIP", "ctl1", two, link.Stats{Holder: "ctl3", HolderPriority: 230}, false},
		{"a holder with another spec", "ctl2", two, link.Stats{Holder: "ctl1", HolderPriority: 254}, false},
		{"a holder that gave its priority away", "ctl2", two, link.Stats{Holder: "ctl1", HolderPriority: 1}, true},
		{"who is no controller", "ctl1", spec.VIP{}, link.Stats{Holder: "10.0.0.99", HolderPriority: 100}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := newController(t, tt.self).preferredTo(tt.vip, tt.known); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestTurn has who of several that are preferred to a holder asks first.
func TestTurn(t *testing.T) {
	two := spec.VIP{Prefer: []string{"ctl2", "ctl3", "ctl1"}}
	for _, tt := range []struct {
		self string
		vip  spec.VIP
		want time.Duration
	}{
		{"ctl1", spec.VIP{}, preemptDelay},
		{"ctl2", spec.VIP{}, 2 * preemptDelay},
		{"ctl2", two, preemptDelay},
		{"ctl3", two, 2 * preemptDelay},
	} {
		if got := newController(t, tt.self).turn(tt.vip); got != tt.want {
			t.Errorf("%s asks for a vip of %v after %v, want %v", tt.self, tt.vip.Prefer, got, tt.want)
		}
	}
}

// TestMovingIsForMoments has a refusal that the asker need not take for a minute's answer.
func TestMovingIsForMoments(t *testing.T) {
	a := newController(t, "ctl1")
	done, err := a.begin("api")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.begin("other"); !errors.Is(err, peer.ErrLater) || err.Error() != "a handover of vip api is under way; try again when it is done" {
		t.Errorf("a second move while one is under way: %v", err)
	}
	done()
	if _, err := a.begin("other"); err != nil {
		t.Error(err)
	}
}

// TestTakersOfAVIP has the order in which a VIP's own others are asked.
func TestTakersOfAVIP(t *testing.T) {
	a := newController(t, "ctl1")
	for _, tt := range []struct {
		prefer []string
		want   string
	}{
		{nil, "ctl2"},
		{[]string{"ctl3", "ctl2", "ctl1"}, "ctl3"},
	} {
		if got := a.candidates(spec.VIP{Prefer: tt.prefer}, web.HandoverRequest{})[0].Name; got != tt.want {
			t.Errorf("of %v %s is asked first, not %s", tt.prefer, got, tt.want)
		}
	}
}

// TestGivenBy has who hands a VIP over: for some seconds, and only where somebody wants it.
func TestGivenBy(t *testing.T) {
	a := newController(t, "ctl1")
	for _, tt := range []struct {
		came reach.Arrival
		want string
	}{
		{reach.Arrival{}, ""},
		{reach.Arrival{At: time.Now(), From: "ctl2"}, "ctl2"},
		{reach.Arrival{At: time.Now().Add(-time.Minute), From: "ctl2"}, ""},
		{reach.Arrival{At: time.Now(), From: "ctl2", Unasked: true}, ""},
	} {
		a.arrived("api", tt.came)
		if got := a.GivenBy("api"); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.came, got, tt.want)
		}
	}
}
