package vrrp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// orders has all orders of three priorities.
var orders = [][3]uint8{{254, 230, 206}, {254, 206, 230}, {230, 254, 206}, {230, 206, 254}, {206, 254, 230}, {206, 230, 254}}

// active makes router i of n Active, and all others Backup that follow it.
func (n *network) active(i int) {
	for j, r := range n.routers {
		if j != i {
			r.tell <- Eligible{Reason: "not yet"}
		}
	}
	time.Sleep(time.Minute)
	for _, r := range n.routers {
		r.tell <- Eligible{OK: true, Reason: "ready"}
	}
	time.Sleep(time.Minute)
	n.wantHolders(n.routers[i].name)
	for _, r := range n.routers {
		r.since()
	}
}

// TestYieldAmongThree hands over from the first of three routers to the second,
// for every order of their priorities. The third hears both for a moment, and
// then the giver falls silent: it stays Backup.
func TestYieldAmongThree(t *testing.T) {
	for _, interval := range []time.Duration{10 * time.Millisecond, time.Second} {
		for _, order := range orders {
			for _, everyone := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v %v everyone %v", interval, order, everyone), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { yieldAmongThree(t, interval, order, everyone) })
				})
			}
		}
	}
}

func yieldAmongThree(t *testing.T, interval time.Duration, order [3]uint8, everyone bool) {
	var configs []Config
	for _, p := range order {
		configs = append(configs, Config{Priority: p, Interval: interval})
	}
	n := newNetwork(t, configs...)
	n.active(0)
	e, taker := Yield{To: address(1), Wait: 4 * interval}, 1
	if everyone {
		e = Yield{Wait: e.Wait}
		if order[2] > order[1] {
			taker = 2
		}
	}
	begun := time.Since(n.start)
	n.routers[0].tell <- e
	skew := SkewTime(interval, order[taker])
	time.Sleep(skew - time.Nanosecond)
	n.wantHolders("ctl1")
	time.Sleep(time.Nanosecond)
	n.wantHolders(n.routers[taker].name)
	time.Sleep(20 * interval)
	n.wantHolders(n.routers[taker].name)
	at := begun + skew
	want := map[int][]string{
		0: {fmt.Sprintf("%v backup: handed over to %v", at, address(taker))},
		// The second time for what the giver says last, and once it has dropped the address.
		taker: {
			fmt.Sprintf("%v announce", at), fmt.Sprintf("%v active: 10.0.0.1 resigned", at),
			fmt.Sprintf("%v announce", at), fmt.Sprintf("%v announce", at+interval),
		},
	}
	for i, r := range n.routers {
		if got := r.since(); !slices.Equal(got, want[i]) {
			t.Errorf("%s did %q, want %q", r.name, got, want[i])
		}
	}
}

// TestYieldToTheDeaf hands over to a router that nothing reaches: the giver stays
// Active, and nobody else takes over.
func TestYieldToTheDeaf(t *testing.T) {
	for _, order := range orders {
		synctest.Test(t, func(t *testing.T) {
			const interval = 10 * time.Millisecond
			n := newNetwork(t, Config{Priority: order[0], Interval: interval},
				Config{Priority: order[1], Interval: interval}, Config{Priority: order[2], Interval: interval})
			n.active(0)
			n.routers[1].tell <- Eligible{Reason: "haproxy died"}
			n.routers[1].since()
			n.routers[0].tell <- Yield{To: address(1), Wait: time.Second}
			time.Sleep(time.Minute)
			n.wantHolders("ctl1")
			for _, r := range n.routers {
				if got := r.since(); len(got) != 0 {
					t.Errorf("%v: %s did %q, want nothing", order, r.name, got)
				}
			}
		})
	}
}

// TestYieldUnheard hands over to a router that takes over, and is never heard by
// the giver. Two have the address until the wait is over, and then for as long
// as any two of which one is deaf: there is one in the end.
func TestYieldUnheard(t *testing.T) {
	for _, order := range orders {
		for _, heals := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				const interval, wait = 100 * time.Millisecond, 500 * time.Millisecond
				n := newNetwork(t, Config{Priority: order[0], Interval: interval},
					Config{Priority: order[1], Interval: interval}, Config{Priority: order[2], Interval: interval})
				n.active(0)
				n.lossy(1, func(from, to int) float64 {
					if from == 1 && to == 0 {
						return 1
					}
					return 0
				})
				n.routers[0].tell <- Yield{To: address(1), Wait: wait}
				time.Sleep(wait - time.Nanosecond)
				n.wantHolders("ctl1", "ctl2")
				winner := "ctl1"
				if heals {
					// It is heard before the wait is over: its answer to the last 0.
					n.lossy(1, nil)
					winner = "ctl2"
					n.routers[0].tell <- Yield{To: address(1), Wait: wait}
				}
				// A losing one is told, a winning one finds out that it is not heard.
				time.Sleep(time.Second + 5*interval)
				n.wantHolders(winner)
				time.Sleep(10 * time.Second)
				n.wantHolders(winner)
				if got := n.routers[2].since(); len(got) != 0 {
					t.Errorf("%v: ctl3 did %q, want nothing", order, got)
				}
			})
		}
	}
}

// TestYieldUnderLoss hands over again and again while a part of the adverts is
// lost, which is known by then. Each time there is one holder soon, and no more
// takeovers than were asked for or come of the loss alone.
func TestYieldUnderLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval, rounds = 20 * time.Millisecond, 100
		n := newNetwork(t, three(interval, false)...)
		n.lossy(1, func(int, int) float64 { return 0.2 })
		time.Sleep(10 * time.Second)
		n.takeovers()
		for i := range rounds {
			from := slices.IndexFunc(n.routers, func(r *router) bool { return slices.Contains(n.holders(), r.name) })
			to := (from + 1 + i%2) % 3
			n.routers[from].tell <- Yield{To: address(to), Wait: 10 * interval}
			time.Sleep(time.Second)
			n.wantHolders(n.routers[to].name)
		}
		if got := n.takeovers(); got < rounds || got > rounds+rounds/20 {
			t.Errorf("%d takeovers in %d handovers", got, rounds)
		}
	})
}

// TestYieldKeepsFromPreempting hands over to a lower router, with preempt: the
// giver does not take back what it has handed over, but takes over from a third.
func TestYieldKeepsFromPreempting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, three(100*time.Millisecond, true)...)
		time.Sleep(10 * time.Second)
		n.routers[0].tell <- Yield{To: address(1), Wait: time.Second}
		time.Sleep(time.Minute)
		n.wantHolders("ctl2")
		n.routers[1].tell <- Eligible{Reason: "haproxy died"}
		time.Sleep(time.Minute)
		n.wantHolders("ctl1")
		n.routers[1].tell <- Eligible{OK: true, Reason: "haproxy is back"}
		time.Sleep(time.Minute)
		n.wantHolders("ctl1")
	})
}

// TestYieldWords checks the words for people.
func TestYieldWords(t *testing.T) {
	c := Cause{Kind: CauseYielded, Peer: address(1)}
	if got := c.String(); !strings.HasSuffix(got, "handed over to 10.0.0.2") {
		t.Errorf("got %q", got)
	}
}
