package reach

import (
	"testing"
	"time"
)

// limping runs n for some seconds and gives those at which the link of ctl1
// turned bad and good again; 0 for never.
func (n *network) limping(seconds int) (bad, good int) {
	var l Limp
	was := false
	for second := 1; second <= seconds; second++ {
		now := n.begun.Add(time.Duration(second) * time.Second)
		others := []View{n.view(now, second, "ctl2"), n.view(now, second, "ctl3")}
		is := l.Step(now, n.view(now, second, "ctl1"), others)
		switch {
		case is && !was && bad > 0, was && !is && good > 0:
			n.t.Errorf("the link turns to and fro: again at %d s", second)
		case is && !was:
			bad = second
		case was && !is:
			good = second
		}
		was = is
	}
	return bad, good
}

// TestLimp has the link of ctl1 be bad from the thirtieth to the 150th second: a
// word of it comes in time, and no other before it has been good for some time.
func TestLimp(t *testing.T) {
	for name, tt := range map[string]struct {
		lost float64
		rtt  time.Duration
	}{"half of the handshakes get lost": {0.51, 0}, "it takes 200 ms each way": {0, 400 * time.Millisecond}} {
		for seed := range seeds(50) {
			n := newNetwork(t, seed)
			whole := ofLink("ctl1", 30, tt.lost, tt.rtt)
			n.way = func(second int, from, to string) (float64, time.Duration) {
				if second >= 150 {
					return 0, 0
				}
				return whole(second, from, to)
			}
			if bad, good := n.limping(300); bad < 31 || bad > 70 || good < 160 || good > 190 {
				t.Errorf("%s, seed %d: bad at %d s, good at %d s; want 31 to 70, 160 to 190", name, seed, bad, good)
			}
		}
	}
}

// TestNoLimp has the link of another controller be bad, and then all of them.
func TestNoLimp(t *testing.T) {
	for name, way := range map[string]func(int, string, string) (float64, time.Duration){
		"another one's": ofLink("ctl2", 0, 0.5, 0),
		"everybody's":   func(int, string, string) (float64, time.Duration) { return 0.3, 0 },
	} {
		n := newNetwork(t, 1)
		n.way = way
		if bad, _ := n.limping(600); bad > 0 {
			t.Errorf("%s link: that of ctl1 is called bad at %d s", name, bad)
		}
	}
}

// TestLimpUntold keeps the last word while no other controller says anything.
func TestLimpUntold(t *testing.T) {
	n := newNetwork(t, 1)
	n.way = ofLink("ctl1", 0, 0, 400*time.Millisecond)
	var l Limp
	var now time.Time
	for second := range 60 {
		now = n.begun.Add(time.Duration(second) * time.Second)
		l.Step(now, n.view(now, second, "ctl1"), []View{n.view(now, second, "ctl2")})
	}
	n.way = ofLink("ctl1", 0, 0, 0)
	old := n.view(now, 60, "ctl2")
	for second := range 60 {
		later := now.Add(time.Duration(10+second) * time.Second)
		if !l.Step(later, n.view(later, second, "ctl1"), []View{old}) {
			t.Fatalf("called good %d s after the last word of another", 10+second)
		}
	}
}
