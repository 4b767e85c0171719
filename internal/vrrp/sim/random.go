package sim

import (
	"math/rand/v2" //nolint:depguard // from a seed: two runs are the same
	"slices"
	"time"

	"holdfast/internal/vrrp"
)

// Random gives the schedule of a seed. Some are of holders that fail one after
// the other on a sound network, some of a network that does not let packets
// pass, some of hosts that do not run, of handovers, or of a forger; some of
// all of it.
func Random(seed uint64) Schedule {
	g := generator{rng: rand.New(rand.NewPCG(seed, 9568))}
	intervals := []time.Duration{10, 10, 20, 20, 20, 50, 100, 100, 300, 1000}
	g.s = Schedule{
		Seed: seed, Interval: intervals[g.rng.IntN(len(intervals))] * time.Millisecond,
		Preempt: g.one(4), Group: g.one(2), Key: g.one(8), // signatures cost more than all the rest
		Least: 50 * time.Microsecond, Most: 50*time.Microsecond + g.upTo(time.Millisecond),
		Quiet: time.Second + g.upTo(2*time.Second),
	}
	if g.one(40) {
		g.s.Quiet = 70 * time.Second
	}
	g.nodes()
	g.now = g.s.Interval*5 + 300*time.Millisecond
	for range 1 + g.rng.IntN(4) {
		g.chapter()
	}
	if !g.one(5) {
		g.gap()
		g.add(Step{Verb: Heal})
		g.add(Step{Verb: Rejoin, Node: All})
	}
	return g.s
}

type generator struct {
	rng *rand.Rand
	s   Schedule
	now time.Duration
}

func (g *generator) one(of int) bool { return g.rng.IntN(of) == 0 }

func (g *generator) upTo(d time.Duration) time.Duration { return time.Duration(g.rng.Int64N(int64(d))) }

func (g *generator) nodes() {
	n := []int{2, 2, 3, 3, 3, 3, 4, 5, 5, 7, 9}[g.rng.IntN(11)]
	drifts, equal := g.one(3), g.one(8)
	for i := range n {
		of := Node{Priority: uint8(254 - 24*i)}
		if equal && g.one(2) {
			of.Priority = 100
		}
		if drifts {
			of.Drift = g.rng.IntN(20001) - 10000
		}
		g.s.Nodes = append(g.s.Nodes, of)
	}
	if g.one(3) {
		g.rng.Shuffle(n, func(i, j int) { g.s.Nodes[i], g.s.Nodes[j] = g.s.Nodes[j], g.s.Nodes[i] })
	}
}

func (g *generator) add(s Step) {
	s.At = g.now.Round(time.Microsecond)
	s.For = s.For.Round(time.Microsecond)
	g.s.Steps = append(g.s.Steps, s)
}

// gap lets time pass: less than an interval, some intervals, or as long as
// everything takes to settle.
func (g *generator) gap() {
	switch g.rng.IntN(12) {
	case 0, 1:
		g.now += g.upTo(g.s.Interval)
	case 2, 3, 4, 5:
		g.now += g.upTo(8 * g.s.Interval)
	case 6:
		g.now += 8*g.s.Interval + g.upTo(3*time.Second)
	default:
		g.now += 5*g.s.Interval + g.upTo(10*g.s.Interval)
	}
}

func (g *generator) node() Who {
	if g.one(2) {
		return Holder
	}
	return Who(1 + g.rng.IntN(len(g.s.Nodes)))
}

func (g *generator) other() int { return 1 + g.rng.IntN(len(g.s.Nodes)) }

// chapter adds some steps of one kind.
func (g *generator) chapter() {
	kinds := []func(){g.fail, g.fail, g.fail, g.fail, g.fail, g.fail, g.service, g.service, g.service, g.halt, g.network, g.network, g.hand, g.hand, g.change, g.forger, g.steady}
	kind := g.rng.IntN(len(kinds) + 2)
	for range 2 + g.rng.IntN(10) {
		if kind < len(kinds) {
			kinds[kind]()
		} else {
			kinds[g.rng.IntN(len(kinds))]()
		}
		g.gap()
	}
}

// fail ends a host or an agent, and starts it again.
func (g *generator) fail() {
	verb := []Verb{PowerOff, PowerOff, PowerOff, ShutDown, ShutDown, Kill}[g.rng.IntN(6)]
	g.add(Step{Verb: verb, Node: g.node()})
	if verb == Kill {
		g.now += g.upTo(2 * time.Second)
	}
	g.gap()
	if g.one(2) {
		g.rest()
	}
	if !g.one(8) {
		g.add(Step{Verb: Boot, Node: All})
	}
}

// steady lets all be well for so long that the bounds of the RFC must hold, and
// then something happens to the holder.
func (g *generator) steady() {
	g.add(Step{Verb: Heal})
	for _, v := range []Verb{Rejoin, Plug, Boot, ServiceUp, Sound} {
		g.add(Step{Verb: v, Node: All})
	}
	g.now += 6*time.Second + 105*g.s.Interval + g.upTo(g.s.Interval)
	s := Step{Verb: []Verb{PowerOff, ShutDown, ServiceDown, Handover}[g.rng.IntN(4)], Node: Holder}
	if s.Verb == Handover {
		s.Other, s.For = g.other(), 4*g.s.Interval+500*time.Millisecond
	}
	g.add(s)
	g.now += 4*g.s.Interval + time.Second
}

func (g *generator) rest() { g.now += 5 * g.s.Interval }

func (g *generator) service() {
	if g.one(4) {
		g.add(Step{Verb: Unplug, Node: g.node()})
		g.gap()
		g.add(Step{Verb: Plug, Node: All})
		return
	}
	g.add(Step{Verb: ServiceDown, Node: g.node()})
	g.gap()
	if !g.one(8) {
		g.add(Step{Verb: ServiceUp, Node: All})
	}
}

func (g *generator) halt() {
	s := Step{Verb: Stop, Node: g.node(), For: g.upTo(20 * g.s.Interval)}
	if g.one(3) {
		s.For = g.upTo(4 * time.Second)
	}
	if g.one(3) {
		s.Verb = Freeze
	}
	if g.one(6) {
		s.Node = All
	}
	if g.one(6) {
		s.Verb = Slow
	}
	g.add(s)
	if g.one(2) {
		g.now += s.For
	}
}

func (g *generator) network() {
	node := Who(g.other())
	switch g.rng.IntN(10) {
	case 9:
		other := g.other()
		g.add(Step{Verb: Filter, Node: node, Other: other})
		if !g.one(4) {
			g.add(Step{Verb: Filter, Node: Who(other), Other: int(node)})
		}
	case 0:
		g.add(Step{Verb: Loss, Value: []int{0, 1, 5, 10, 20, 30, 50}[g.rng.IntN(7)]})
	case 1:
		g.add(Step{Verb: Jitter, For: []time.Duration{0, g.s.Interval / 8, g.s.Interval, 3 * g.s.Interval}[g.rng.IntN(4)]})
	case 2:
		g.add(Step{Verb: Double, Value: []int{0, 10, 50, 100}[g.rng.IntN(4)]})
	case 3:
		g.add(Step{Verb: Cut, Node: node, Other: g.other()})
	case 4:
		other := g.other()
		g.add(Step{Verb: Cut, Node: node, Other: other})
		g.add(Step{Verb: Cut, Node: Who(other), Other: int(node)})
	case 5:
		g.add(Step{Verb: Isolate, Node: g.node()})
	case 6:
		g.add(Step{Verb: Rejoin, Node: All})
	case 7:
		g.add(Step{Verb: Heal})
	case 8:
		g.split()
	}
}

// split parts the network in two.
func (g *generator) split() {
	side := make([]bool, len(g.s.Nodes))
	for i := range side {
		side[i] = g.one(2)
	}
	for i := range side {
		for k := range side {
			if side[i] != side[k] {
				g.add(Step{Verb: Cut, Node: Who(i + 1), Other: k + 1})
			}
		}
	}
}

func (g *generator) hand() {
	wait := 4*g.s.Interval + 500*time.Millisecond
	if g.one(4) {
		wait = 1 + g.upTo(8*g.s.Interval)
	}
	switch g.rng.IntN(6) {
	case 0:
		g.add(Step{Verb: Give, Node: Holder, For: wait})
	case 1:
		g.add(Step{Verb: Deaf, Node: Who(g.other()), Other: g.other()})
	case 2:
		g.add(Step{Verb: Handover, Node: Holder, Other: g.other(), For: wait})
		g.now += g.upTo(2 * g.s.Interval)
		g.add(Step{Verb: Stay, Node: All})
	default:
		g.add(Step{Verb: Handover, Node: Holder, Other: g.other(), For: wait})
	}
}

func (g *generator) change() {
	switch g.rng.IntN(4) {
	case 0:
		g.add(Step{Verb: SetInterval, Node: []Who{g.node(), All}[g.rng.IntN(2)], For: vrrp.IntervalStep * time.Duration(1+g.rng.IntN(20))})
	case 1:
		g.add(Step{Verb: SetPriority, Node: g.node(), Value: 1 + g.rng.IntN(254)})
	case 2:
		g.add(Step{Verb: Limp, Node: g.node()})
		g.add(Step{Verb: Handover, Node: Holder, Other: g.other(), For: time.Second})
	case 3:
		g.add(Step{Verb: Sound, Node: All})
	}
}

func (g *generator) forger() {
	if g.one(3) {
		g.add(Step{Verb: Replay, Node: Who(g.other()), Other: g.other(), For: g.upTo(time.Second)})
		return
	}
	g.add(Step{Verb: Forge, Node: Who(g.other()), Other: g.other(), Value: []int{0, 1, 100, 254, 255}[g.rng.IntN(5)]})
}

// withoutForger gives s without what a forger does.
func (s Schedule) withoutForger() Schedule {
	s.Steps = slices.DeleteFunc(slices.Clone(s.Steps), func(s Step) bool { return s.Verb == Forge || s.Verb == Replay })
	return s
}
