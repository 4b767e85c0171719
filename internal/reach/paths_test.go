package reach

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
)

// A network is three controllers, ctl1 to ctl3, of which ctl1 holds the VIP, and
// hosts of services, in virtual time: each controller does one handshake a
// second with everybody else.
type network struct {
	t       *testing.T
	hosts   []string
	chance  *rand.Rand
	windows map[[2]string]*Window
	// way says how a handshake fares now: which share is lost, and how long it takes.
	way func(second int, from, to string) (lost float64, rtt time.Duration)
	// services is what each HAProxy says, as view has it.
	services func(second int, controller string) string
	needs    map[string][]string
	judge    *Judge
	begun    time.Time
	moves    []string
}

func newNetwork(t *testing.T, seed uint64) *network {
	return &network{
		t: t, hosts: []string{"ctl1", "ctl2", "ctl3", "dns1", "dns2"}, chance: rand.New(rand.NewPCG(seed, 1)), windows: map[[2]string]*Window{},
		way:      func(int, string, string) (float64, time.Duration) { return 0, 0 },
		services: func(int, string) string { return "nova dns" },
		needs:    map[string][]string{"dns": {"dns1", "dns2"}},
		judge:    NewJudge(), begun: time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC),
	}
}

func (n *network) view(now time.Time, second int, controller string) View {
	v := view(controller, n.services(second, controller), now)
	v.Needs = n.needs
	for _, host := range n.hosts {
		if host == controller {
			continue
		}
		key := [2]string{controller, host}
		if n.windows[key] == nil {
			n.windows[key] = &Window{}
		}
		lost, rtt := n.way(second, controller, host)
		if n.chance.Float64() < lost {
			n.windows[key].Add(now, false, 0)
		} else {
			n.windows[key].Add(now, true, time.Millisecond+rtt)
		}
		p := n.windows[key].Path(now)
		p.Host, p.Address = host, host
		v.Paths = append(v.Paths, p)
	}
	return v
}

// run lets seconds pass, and notes when and why the VIP is to move; it stays.
func (n *network) run(seconds int) {
	for second := range seconds {
		now := n.begun.Add(time.Duration(second) * time.Second)
		own := n.view(now, second, "ctl1")
		others := []View{n.view(now, second, "ctl2"), n.view(now, second, "ctl3")}
		if m := n.judge.Step(now, true, Arrival{}, own, others); m.To != "" {
			why := strings.Join(m.Services, " and ")
			if why == "" {
				why = m.Lag.String()
			}
			n.moves = append(n.moves, fmt.Sprintf("%d %s: %s", second, m.To, why))
			n.judge.Moved(now)
		}
	}
}

// ofLink says that what holds for the link of a node holds for its ways in both
// directions, from a second on.
func ofLink(node string, since int, lost float64, rtt time.Duration) func(int, string, string) (float64, time.Duration) {
	return func(second int, from, to string) (float64, time.Duration) {
		if second < since || from != node && to != node {
			return 0, 0
		}
		return lost, rtt
	}
}

// TestBadLinkMoves has the holder's link lose or delay from the thirtieth second
// on, for each of some courses of chance.
func TestBadLinkMoves(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lost   float64
		rtt    time.Duration
		within int // seconds of the fault
		why    string
	}{
		{"30 % of all frames, so half of the handshakes", 0.51, 0, 40, "of the connections from ctl1 to ctl2, ctl3, dns1, dns2 get no answer at first, and from ctl2, ctl3 all do"},
		{"200 ms each way", 0, 400 * time.Millisecond, 20, "connections from ctl1 to ctl2, ctl3, dns1, dns2 take up to 400ms longer than from ctl2, ctl3"},
	} {
		for seed := range seeds(50) {
			n := newNetwork(t, seed)
			n.way = ofLink("ctl1", 30, tt.lost, tt.rtt)
			n.run(300)
			if len(n.moves) != 1 || !strings.Contains(n.moves[0], " ctl2: ") {
				t.Fatalf("%s, seed %d: moves %q, want one, to ctl2", tt.name, seed, n.moves)
			}
			var at int
			if _, err := fmt.Sscan(n.moves[0], &at); err != nil || at < 36 || at > 30+tt.within {
				t.Errorf("%s, seed %d: %s; want it within %d s of the fault, and not sooner than after 6", tt.name, seed, n.moves[0], tt.within)
			}
			if tt.lost == 0 && !strings.Contains(n.moves[0], tt.why) {
				t.Errorf("%s, seed %d: %s, want %q", tt.name, seed, n.moves[0], tt.why)
			}
		}
	}
}

// TestCutOffSoon has the holder reach no host of a service from the thirtieth
// second on, of which its HAProxy says nothing yet: it gives the VIP away well
// before the ten seconds in which that finds it out, and the six after these.
func TestCutOffSoon(t *testing.T) {
	n := newNetwork(t, 1)
	n.way = func(second int, from, to string) (float64, time.Duration) {
		if second >= 30 && from == "ctl1" && strings.HasPrefix(to, "dns") {
			return 1, 0
		}
		return 0, 0
	}
	n.run(60)
	if want := []string{"36 ctl2: dns"}; !slices.Equal(n.moves, want) {
		t.Errorf("moves %q, want %q", n.moves, want)
	}
}

// TestCutOffFromNothing has a service of which others know no host that serves
// either: its hosts hang, and their kernels answer for them.
func TestCutOffFromNothing(t *testing.T) {
	n := newNetwork(t, 1)
	n.way = func(_ int, from, to string) (float64, time.Duration) {
		if from == "ctl1" && strings.HasPrefix(to, "dns") {
			return 1, 0
		}
		return 0, 0
	}
	n.services = func(_ int, controller string) string {
		if controller == "ctl1" {
			return "nova dns"
		}
		return "nova"
	}
	n.run(60)
	if len(n.moves) > 0 {
		t.Errorf("moves %q, want none", n.moves)
	}
}

// TestGainWithAGoodLink has two others reach more, of which the first has a bad link.
func TestGainWithAGoodLink(t *testing.T) {
	n := newNetwork(t, 1)
	n.way = ofLink("ctl2", 0, 0, 400*time.Millisecond)
	n.services = func(second int, controller string) string {
		if controller == "ctl1" && second > 30 {
			return "nova !dns"
		}
		return "nova dns"
	}
	n.run(60)
	if want := []string{"37 ctl3: dns"}; !slices.Equal(n.moves, want) {
		t.Errorf("moves %q, want %q", n.moves, want)
	}
}

// TestStays has what is no reason to move, for an hour each.
func TestStays(t *testing.T) {
	every := func(period, lasts int, way func(int, string, string) (float64, time.Duration)) func(int, string, string) (float64, time.Duration) {
		return func(second int, from, to string) (float64, time.Duration) {
			if second%period >= lasts {
				return 0, 0
			}
			return way(second, from, to)
		}
	}
	toHosts := func(lost float64, rtt time.Duration, hosts ...string) func(int, string, string) (float64, time.Duration) {
		return func(_ int, _, to string) (float64, time.Duration) {
			if !slices.Contains(hosts, to) {
				return 0, 0
			}
			return lost, rtt
		}
	}
	for name, way := range map[string]func(int, string, string) (float64, time.Duration){
		"all lose": func(int, string, string) (float64, time.Duration) { return 0.3, 0 },
		"all are late": func(_ int, from, to string) (float64, time.Duration) {
			return 0, time.Duration(500+len(from+to)) * time.Millisecond
		},
		"all lose a little":                        func(int, string, string) (float64, time.Duration) { return 0.02, 0 },
		"one other controller loses":               ofLink("ctl3", 0, 0.5, 0),
		"one other controller is far":              ofLink("ctl2", 0, 0, 400*time.Millisecond),
		"one other controller is gone":             ofLink("ctl3", 30, 1, 0),
		"one host is late for everybody":           toHosts(0, 600*time.Millisecond, "dns1"),
		"one host loses for everybody":             toHosts(0.4, 0, "dns1"),
		"the queues of a busy service are full":    toHosts(0.9, 0, "dns1", "dns2"),
		"and overflow now and then":                toHosts(0.3, 0, "dns1", "dns2"),
		"a service that stands still now and then": every(20, 5, toHosts(1, 0, "dns1", "dns2")),
		"hosts that are out of reach for 6 s each minute": every(60, 6, func(_ int, from, to string) (float64, time.Duration) {
			return map[bool]float64{true: 1}[from == "ctl1" && strings.HasPrefix(to, "dns")], 0
		}),
		"a link that is away for 3 s each minute":      every(60, 3, ofLink("ctl1", 0, 1, 0)),
		"a link that is bad for 8 s each minute":       every(60, 8, ofLink("ctl1", 0, 0.5, 0)),
		"a link that is slow for 8 s in 20":            every(20, 8, ofLink("ctl1", 0, 0, time.Second/2)),
		"the way between two of three":                 func(_ int, a, b string) (float64, time.Duration) { return lossBetween(a, b, "ctl1", "ctl2"), 0 },
		"the others' own ways":                         func(_ int, a, b string) (float64, time.Duration) { return lossBetween(a, b, "ctl3", "ctl2"), 0 },
		"a holder that is 90 ms farther":               ofLink("ctl1", 0, 0, 90*time.Millisecond),
		"hosts that are far from the holder, not most": func(_ int, a, b string) (float64, time.Duration) { return 0, farFrom(a, b, "ctl1", "dns1", "dns2") },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range seeds(2) {
				n := newNetwork(t, seed)
				n.way = way
				n.run(3600)
				if len(n.moves) > 0 {
					t.Errorf("seed %d: moves %q, want none", seed, n.moves)
				}
			}
		})
	}
}

func lossBetween(a, b, x, y string) float64 {
	if a == x && b == y || a == y && b == x {
		return 0.5
	}
	return 0
}

func farFrom(a, b, from string, hosts ...string) time.Duration {
	if a == from && slices.Contains(hosts, b) {
		return 400 * time.Millisecond
	}
	return 0
}

// TestBadLinkStays has reasons not to move that a bad link is no match for.
func TestBadLinkStays(t *testing.T) {
	for name, change := range map[string]func(n *network){
		"the others lack a service": func(n *network) {
			n.services = func(_ int, controller string) string {
				if controller == "ctl1" {
					return "nova dns"
				}
				return "!nova dns"
			}
		},
		"somebody insisted": func(n *network) { n.judge.held, n.judge.insisted = true, true },
	} {
		n := newNetwork(t, 1)
		n.way = ofLink("ctl1", 30, 0.51, 0)
		change(n)
		n.run(600)
		if len(n.moves) > 0 {
			t.Errorf("%s: moves %q, want none", name, n.moves)
		}
	}
}

// TestBadLinkPause moves a VIP that comes back to a bad link once in five minutes.
func TestBadLinkPause(t *testing.T) {
	n := newNetwork(t, 1)
	n.way = ofLink("ctl1", 0, 0, 400*time.Millisecond)
	n.run(1000)
	if len(n.moves) != 4 {
		t.Errorf("%d moves in 1000 s, want one in 300: %q", len(n.moves), n.moves)
	}
}

// TestBestHasAGoodLink has the first of two that reach as much come last for its link.
func TestBestHasAGoodLink(t *testing.T) {
	n := newNetwork(t, 1)
	n.way = ofLink("ctl2", 0, 0, 400*time.Millisecond)
	n.run(40)
	now := n.begun.Add(40 * time.Second)
	views := map[string]View{"ctl2": n.view(now, 40, "ctl2"), "ctl3": n.view(now, 40, "ctl3")}
	if got := Best(n.view(now, 40, "ctl1"), []string{"ctl2", "ctl3"}, views); !slices.Equal(got, []string{"ctl3", "ctl2"}) {
		t.Errorf("the best are %v, want ctl3 first", got)
	}
}

// TestWindow has what each sample counts for.
func TestWindow(t *testing.T) {
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	var w Window
	add := func(words string) {
		for c := range strings.FieldsSeq(words) {
			now = now.Add(time.Second)
			ms, _ := time.ParseDuration(c + "ms")
			w.Add(now, c != "-", ms)
		}
	}
	want := func(want status.Path) {
		t.Helper()
		if got := w.Path(now); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	want(status.Path{})
	add("1 1 - 9 2 1 1 1 1 1")
	want(status.Path{RTT: time.Millisecond, Sent: 10, Lost: 1})
	add("- 1 1 1 1 - 0 - - -")
	// Refused is answered, in a time that nobody knows.
	want(status.Path{RTT: time.Millisecond, Sent: 20, Lost: 6, Lasting: 0.1, Silent: 3, SilentSince: now.Add(-2 * time.Second)})
	add("400 400 400 400 400 400 400 400 400 400")
	want(status.Path{RTT: 400 * time.Millisecond, Sent: 20, Lost: 5, Silent: 0})
	now = now.Add(time.Hour)
	want(status.Path{})
}

// seeds gives how many courses of chance are tried: few with -short, as under the
// race detector.
func seeds(all uint64) uint64 {
	if testing.Short() {
		return (all + 9) / 10
	}
	return all
}

// TestRefusedSince has a host refuse, twice, and once after it did not.
func TestRefusedSince(t *testing.T) {
	begun := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	var w Window
	for i, refused := range []bool{false, true, true, false, true, true} {
		w.Refuse(begun.Add(time.Duration(i)*time.Second), refused)
	}
	if got, want := w.Path(begun).RefusedSince, begun.Add(4*time.Second); !got.Equal(want) {
		t.Errorf("refused since %v, want %v", got, want)
	}
}
