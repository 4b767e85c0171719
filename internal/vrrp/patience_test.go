package vrrp

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// lossy loses a part of the adverts, by chance but the same in each run.
func (n *network) lossy(seed uint64, loss func(from, to int) float64) {
	chance := rand.New(rand.NewPCG(seed, 7))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose = nil
	if loss != nil {
		n.lose = func(from, to int) bool { return chance.Float64() < loss(from, to) }
	}
}

// takeovers counts how often anyone became Active since it was last asked.
func (n *network) takeovers() int {
	count := 0
	for _, r := range n.routers {
		for _, e := range r.since() {
			if strings.Contains(e, " active: ") {
				count++
			}
		}
	}
	return count
}

// TestLossMovesNothing loses a part of all adverts for minutes. After the first
// seconds, in which the loss is learned, a takeover is rare. When the loss is
// over, the bounds of a clean network hold again.
func TestLossMovesNothing(t *testing.T) {
	const interval = 20 * time.Millisecond
	for _, loss := range []float64{0.1, 0.3} {
		for seed := range seeds(5) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, three(interval, false)...)
				time.Sleep(time.Second)
				n.takeovers()
				n.lossy(seed, func(int, int) float64 { return loss })
				time.Sleep(5 * time.Second)
				learned := n.takeovers()
				const minutes = 5
				time.Sleep(minutes * time.Minute)
				if got := n.takeovers(); learned > 6 || got > minutes {
					t.Errorf("loss of %g, seed %d: %d takeovers while it was learned, want 6 at most; then %d in %d minutes, want one a minute at most", loss, seed, learned, got, minutes)
				}
				n.lossy(seed, nil)
				time.Sleep(64*interval + time.Second)
				n.wantHolders(n.holders()...)
				n.wantTakeover(interval)
			})
		}
	}
}

// TestPatientFromTheStart has a router that is told of the loss, as it gave the
// address away for that, not take it back while it learns; and once it is told
// that the loss is over, take it within the RFC's bound from a holder that is gone.
func TestPatientFromTheStart(t *testing.T) {
	const interval = 20 * time.Millisecond
	for seed := range seeds(20) {
		synctest.Test(t, func(t *testing.T) {
			all := three(interval, false)
			n := newNetwork(t, all...)
			time.Sleep(time.Second)
			n.wantHolders("ctl1")
			giver, limps := n.routers[0], all[0]
			limps.Priority, limps.Patient = limps.Priority/10, true
			giver.tell <- Configure{limps}
			n.lossy(seed, func(from, to int) float64 {
				if from == 0 || to == 0 {
					return 0.3
				}
				return 0
			})
			giver.tell <- Yield{To: address(1), Wait: time.Second}
			time.Sleep(time.Second)
			n.takeovers()
			time.Sleep(time.Minute)
			n.wantHolders("ctl2")
			if got := n.takeovers(); got > 0 {
				t.Errorf("seed %d: %d takeovers, want none", seed, got)
			}
			n.lossy(seed, nil)
			giver.tell <- Configure{all[0]}
			time.Sleep(64 * interval)
			n.wantTakeover(interval)
		})
	}
}

// wantTakeover isolates the only holder, and wants another one within the RFC's bound.
func (n *network) wantTakeover(interval time.Duration) {
	n.t.Helper()
	before := n.holders()
	if len(before) != 1 {
		n.t.Fatalf("the address is on %v, want one holder", before)
	}
	holder := slices.IndexFunc(n.routers, func(r *router) bool { return r.name == before[0] })
	n.isolate(holder, true)
	time.Sleep(ActiveDownInterval(interval, 200))
	synctest.Wait()
	if after := n.holders(); len(after) != 2 {
		n.t.Errorf("the address is on %v after the holder was cut off, want one more", after)
	}
}

// TestTakeoverDespiteLoss cuts the Active router off while 30 % of all is lost:
// the next one takes over within the longest wait that there is.
func TestTakeoverDespiteLoss(t *testing.T) {
	const interval = 20 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, three(interval, false)...)
		n.lossy(1, func(int, int) float64 { return 0.3 })
		time.Sleep(10 * time.Second)
		holder := slices.IndexFunc(n.routers, func(r *router) bool { return r.name == n.holders()[0] })
		n.isolate(holder, true)
		time.Sleep(ActiveDownInterval(interval, 200) + maxExtra*interval)
		synctest.Wait()
		if after := n.holders(); len(after) < 2 {
			t.Errorf("the address is on %v, want a second holder", after)
		}
	})
}

// TestDeafRouter lets nothing pass from the Active router to the next one, which
// therefore takes over. The two must not both have the address for ever.
func TestDeafRouter(t *testing.T) {
	for _, preempt := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const interval = 100 * time.Millisecond
			n := newNetwork(t, three(interval, preempt)...)
			time.Sleep(2 * time.Second)
			n.wantHolders("ctl1")
			n.takeovers()
			n.lossy(1, func(from, to int) float64 {
				if from == 0 && to == 1 {
					return 1
				}
				return 0
			})
			time.Sleep(4*interval + time.Second + interval)
			n.wantHolders("ctl2")
			time.Sleep(15 * time.Second)
			n.wantHolders("ctl2")
			if got := n.takeovers(); got != 1 {
				t.Errorf("preempt %v: %d takeovers, want 1", preempt, got)
			}
			n.lossy(1, nil)
			time.Sleep(time.Minute)
			if preempt {
				n.wantHolders("ctl1")
			} else {
				n.wantHolders("ctl2")
			}
		})
	}
}

// TestPreemptCalmsDown lets the preferred router fail once a second for ten
// minutes, each time for half a second, as with a link that flaps.
func TestPreemptCalmsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, three(20*time.Millisecond, true)...)
		time.Sleep(time.Second)
		n.takeovers()
		var moves []int
		for range 10 {
			for range 60 {
				n.routers[0].tell <- Eligible{Reason: "no carrier"}
				time.Sleep(time.Second / 2)
				n.routers[0].tell <- Eligible{OK: true, Reason: "carrier"}
				time.Sleep(time.Second / 2)
			}
			moves = append(moves, n.takeovers())
		}
		if slices.Max(moves) > 6 || slices.Max(moves[1:]) > 2 {
			t.Errorf("takeovers in each minute: %v, want 6 at most in the first and 2 later", moves)
		}
		time.Sleep(maxCalm)
		n.wantHolders("ctl1")
		// Whoever does not preempt for now takes over all the same where nobody is Active.
		for _, want := range []string{"ctl1", "ctl2"} {
			n.routers[0].tell <- Eligible{Reason: "no carrier"}
			time.Sleep(time.Second / 2)
			n.routers[0].tell <- Eligible{OK: true, Reason: "carrier"}
			time.Sleep(time.Second / 2)
			n.wantHolders(want)
		}
		for _, r := range n.routers[1:] {
			r.tell <- Eligible{Reason: "haproxy died"}
		}
		time.Sleep(100 * time.Millisecond)
		n.wantHolders("ctl1")
	})
}

// TestPatience feeds gaps, in intervals, to a patience.
func TestPatience(t *testing.T) {
	steady := func(gap float64, times int) []float64 { return slices.Repeat([]float64{gap}, times) }
	tests := []struct {
		name string
		gaps []float64
		want int
	}{
		{"nothing lost", steady(1, 100), 0},
		{"late by some", steady(1.4, 100), 0},
		{"one lost", append(steady(1, 10), 2), 0},
		{"two lost", append(steady(1, 10), 3), 1},
		{"every other lost", steady(1.5, 40), 7},
		{"every tenth lost", slices.Repeat(append(steady(1, 8), 2), 10), 3},
		{"all of it long ago", append(steady(2, 40), steady(1, 64)...), 0},
		{"a third lost, and all doubled", slices.Repeat([]float64{2, 0, 1, 0}, 30), 7},
		{"each is late by one, and once more", slices.Repeat([]float64{1, 0}, 60), 0},
		{"a partition", append(steady(1, 10), 1000, 1), 0},
		{"held up, and then all at once", slices.Concat(steady(1, 10), []float64{9}, steady(0, 8)), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const interval = 20 * time.Millisecond
			var p patience
			now := time.Unix(0, 0)
			p.heard(now, AdvertReceived{Src: address(1), Interval: interval})
			for _, gap := range tt.gaps {
				now = now.Add(time.Duration(gap * float64(interval)))
				p.heard(now, AdvertReceived{Src: address(1), Interval: interval})
			}
			if got := p.extra(); got != tt.want {
				t.Errorf("%d intervals more, want %d: %b", got, tt.want, p.lost)
			}
		})
	}
}

// seeds gives how many courses of chance are tried: few with -short, as under the
// race detector.
func seeds(all uint64) uint64 {
	if testing.Short() {
		return (all + 9) / 10
	}
	return all
}
