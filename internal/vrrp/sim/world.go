package sim

import (
	"fmt"
	"net/netip"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/vrrp"
)

// A Lab is what a schedule runs in. The zero Lab runs what the agent ships.
type Lab struct {
	// New gives what decides on a node; nil for vrrp.NewMachine.
	New func(vrrp.Config) Router
	// Lease is how long a kernel keeps an address that nobody renews; 0 for 2s.
	Lease time.Duration
	// Gullible has nodes believe a forger who does not have the key.
	Gullible bool
	// Trace has Result.Trace written.
	Trace bool
}

func (l Lab) lease() time.Duration {
	if l.Lease > 0 {
		return l.Lease
	}
	return leaseTime
}

// A Result is what became of a run.
type Result struct {
	// Violation is the first thing that must not be; nil if there was none.
	Violation *Violation
	// Moves counts how often the address came to another node than had it last.
	Moves int
	// Gains has each time that the address came to a node.
	Gains []Gain
	// Sent counts adverts, one for each node that one was sent to.
	Sent   int
	Events int           // that were simulated
	Lasted time.Duration // of virtual time
	Trace  []string      // if asked for
}

// A Gain is a node that has the address from At on.
type Gain struct {
	At    time.Duration
	Node  int // from 1
	Cause vrrp.CauseKind
}

// A Violation is something that must not be.
type Violation struct {
	Invariant Invariant
	At        time.Duration
	Text      string // who, and for how long
}

func (v *Violation) Error() string {
	return fmt.Sprintf("at %v: %s: %s", v.At, v.Invariant, v.Text)
}

// A world is a run.
type world struct {
	s     *Schedule
	lab   Lab
	now   time.Duration
	q     queue
	nodes []*node

	cut, deaf [MaxNodes][MaxNodes]bool
	filtered  [MaxNodes][MaxNodes]bool
	apart     [MaxNodes][MaxNodes]time.Duration // since when both hold it and neither hears the other; 0 for not
	settles   bool                              // evSettle is planned
	links     [MaxNodes][MaxNodes]wire
	loss      int // percent
	double    int
	jitter    time.Duration
	counters  [MaxNodes][4]uint64

	next    int           // of the steps
	longest time.Duration // interval of any node at any time
	drifts  bool
	replays bool

	keys, wrong *auth.Keys // of the controllers, and of a forger; nil for none

	judge  judge
	last   *node // that had the address last
	result Result

	changed bool // who has it, may have it or hears whom
}

// A wire leads from one node to another.
type wire struct {
	packets uint64
	last    time.Duration // a packet arrives: none overtakes it, unless there is jitter
}

// Run runs s, which is one that Parse would read, in lab.
func Run(s Schedule, lab Lab) Result {
	w := newWorld(&s, lab)
	w.run()
	w.result.Lasted = w.now
	return w.result
}

func newWorld(s *Schedule, lab Lab) *world {
	if lab.New == nil {
		lab.New = func(c vrrp.Config) Router { return vrrp.NewMachine(c) }
	}
	w := &world{s: s, lab: lab, longest: s.Interval}
	w.q.events = make([]event, 0, 64)
	for i, of := range s.Nodes {
		n := &node{
			id: i, w: w, addr: address(i), drift: int64(of.Drift), carrier: true,
			cfg: vrrp.Config{Priority: of.Priority, Interval: s.Interval, Preempt: s.Preempt, Source: address(i)},
		}
		w.drifts = w.drifts || of.Drift != 0
		w.nodes = append(w.nodes, n)
	}
	for _, step := range s.Steps {
		w.replays = w.replays || step.Verb == Replay
		if step.Verb == SetInterval {
			w.longest = max(w.longest, step.For)
		}
	}
	if s.Key {
		w.keys, w.wrong = keyOf(1), keyOf(2)
	}
	w.judge.init()
	return w
}

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}) }

func (w *world) byAddress(a netip.Addr) *node { return w.nodes[a.As4()[3]-1] }

func (w *world) push(e event) { w.q.push(e) }

// restless is how long after the last step all must be at rest: the longest waits for
// what may be by itself are some minutes.
const restless = time.Hour

// run runs the steps, and then until all has been quiet for as long as it must.
func (w *world) run() {
	for _, n := range w.nodes {
		n.boot()
	}
	w.disturb()
	w.planStep()
	for w.result.Violation == nil {
		end := w.judge.end(w)
		if len(w.q.events) == 0 || w.q.events[0].at > end {
			w.now = end
			if w.judge.atEnd(w) {
				return
			}
			continue
		}
		e := w.q.pop()
		w.now = e.at
		if n := len(w.s.Steps); n > 0 && w.now > w.s.Steps[n-1].At+restless {
			w.violate(AtRest, "it has not settled %v after the last step", restless)
			return
		}
		w.result.Events++
		w.serve(e)
		if w.changed {
			w.examine()
		}
	}
}

func (w *world) planStep() {
	if w.next < len(w.s.Steps) {
		w.push(event{at: max(w.now, w.s.Steps[w.next].At), kind: evStep})
	}
}

func (w *world) serve(e event) {
	n := w.nodes[e.to]
	switch e.kind {
	case evStep:
		w.step(w.s.Steps[w.next])
		w.next++
		w.planStep()
	case evPacket:
		w.arrive(n, e.p)
	case evFrame:
		if n.carrier { // a client there may run though the node does not
			n.arp, n.arpAt = int(e.p.from)+1, w.now
			if n.alive() {
				n.claimed(w.nodes[e.p.from])
			}
		}
	case evWake:
		if e.gen == n.wakeGen {
			n.wakeAt = 0
			n.turnOnce()
		}
	case evHand:
		switch {
		case e.gen != n.handGen || !n.runs:
		case !n.alive():
			n.busy = false // resume goes on
		case w.now < n.slow:
			w.push(event{at: n.slow, kind: evHand, to: e.to, gen: e.gen})
		default:
			n.worked()
		}
	case evLease:
		if e.gen == n.leaseGen && !n.frozen {
			n.leaseEnds()
		}
	case evResume:
		if e.gen == n.resumeGen && n.powered {
			w.resume(n)
		}
	case evYield:
		n.yield(int(e.p.from), e.p.interval)
	case evReady:
		if n.runs {
			n.ready = n.serves
			w.disturb()
			n.turnOnce()
		}
	case evClaim:
		if n.alive() && n.carrier {
			n.claimed(w.nodes[e.p.from])
		}
	case evMet:
		if n.alive() && n.carrier {
			n.met, n.neighbours, n.poked = true, true, true
			n.turnOnce()
		}
	case evSettle:
		w.settle()
	case evTell:
		if e.gen == n.tellGen && n.runs {
			w.tell(n)
		}
	case evTold:
		if e.gen == n.tellGen && n.alive() {
			n.receiver.Told(w.nodes[e.p.from].addr, e.p.was, e.p.is)
		}
	case evLook:
		w.changed = true
	}
}

// probe asks all hosts for the address: who has it answers.
func (w *world) probe(n *node) {
	for _, x := range w.nodes {
		if x != n && x.serving() && w.hears(x, n) && w.chance(n.id, 3, 100) >= time.Duration(w.loss) {
			w.carry(x, n, event{kind: evClaim, p: packet{from: uint8(x.id)}})
		}
	}
}

// reach asks one host for a sign of life: the network's router, unless n is cut off,
// or another node.
func (w *world) reach(n *node) {
	if !n.carrier || w.chance(n.id, 3, 100) < time.Duration(w.loss) {
		return
	}
	answers := !n.apart
	for _, x := range w.nodes {
		answers = answers || x != n && x.powered && !x.frozen && w.hears(x, n) && w.hears(n, x)
	}
	if answers {
		w.push(event{at: w.now + 2*w.s.Most + w.jitter, kind: evMet, to: uint8(n.id)})
	}
}

// arrive takes in a packet: at once, or when the process runs again.
func (w *world) arrive(n *node, p packet) {
	if w.replays && n.alive() && !p.again {
		n.remember(p, w.now)
	}
	switch {
	case !n.runs || !n.carrier:
	case n.alive():
		if !n.believes(&p) {
			return // dropped where it is read
		}
		n.inbox = append(n.inbox, p)
		n.turnOnce()
	case len(n.inbox) < inboxSize:
		n.inbox = append(n.inbox, p)
	}
}

// resume ends a stop or a freeze.
func (w *world) resume(n *node) {
	if n.frozen {
		n.lost += w.now - n.since
		n.frozen = false
		if n.present {
			w.push(event{at: n.global(n.ends), kind: evLease, to: uint8(n.id), gen: n.leaseGen})
		}
	}
	n.stopped = false
	w.note(n, "runs again")
	w.disturb()
	n.wakeAt = 0
	n.wakeGen++
	n.turnOnce()
	n.work()
}

// send sends a packet from a node to another, as the network lets it.
func (w *world) send(from, to *node, p packet) {
	p.from, p.interval = uint8(from.id), from.router.Config().Interval
	w.result.Sent++
	w.carry(from, to, event{kind: evPacket, p: p})
}

// sendAll sends an advert to every peer but one, or to the group, which all hear.
func (w *world) sendAll(from *node, priority uint8, but netip.Addr) {
	signed := from.sign(priority)
	for _, to := range w.nodes {
		if to != from && (w.s.Group || to.addr != but) {
			w.send(from, to, packet{priority: priority, signed: signed})
		}
	}
}

// carry has e arrive at to, or not.
func (w *world) carry(from, to *node, e event) {
	l := &w.links[from.id][to.id]
	l.packets++
	if w.cut[from.id][to.id] || !from.carrier || e.kind == evPacket && w.filtered[from.id][to.id] {
		return
	}
	h := hash(w.s.Seed, uint64(from.id)<<8|uint64(to.id), l.packets)
	if int(h%100) < w.loss {
		return
	}
	e.to = uint8(to.id)
	e.at = w.now + w.s.Least
	if spread := w.s.Most - w.s.Least; spread > 0 {
		e.at += time.Duration(h>>8) % spread
	}
	if w.jitter > 0 {
		e.at += time.Duration(hash(h, 1, 1)>>8) % w.jitter
	} else if e.at < l.last {
		e.at = l.last
	}
	l.last = e.at
	w.push(e)
	if w.double > 0 && int(hash(h, 2, 2)%100) < w.double {
		e.at += time.Duration(hash(h, 3, 3)>>8) % (w.s.Most + w.jitter + 1)
		w.push(e)
	}
}

// announced tells the clients on each node's segment that n has the address.
func (w *world) announced(n *node) {
	w.note(n, "announces")
	n.arp, n.arpAt = n.id+1, w.now
	for _, to := range w.nodes {
		if to != n {
			w.carry(n, to, event{kind: evFrame, p: packet{from: uint8(n.id)}})
		}
	}
}

// chance gives a duration from 0 to less than most, another one each time.
func (w *world) chance(id, of int, most time.Duration) time.Duration {
	c := &w.counters[id][of]
	*c++
	return time.Duration(hash(w.s.Seed, uint64(id)<<8|uint64(of)|1<<20, *c)>>1) % most
}

// lateness is by how much a wait of the kernel ends late.
func (w *world) lateness(id int) time.Duration {
	d := w.chance(id, 3, time.Millisecond)
	return d * d / time.Millisecond // seldom by much
}

// hash mixes three numbers (the finalizer of splitmix64, three times).
func hash(a, b, c uint64) uint64 {
	return mix(mix(mix(a+0x9e3779b97f4a7c15)^b) ^ c)
}

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// gained notes that a node has the address.
func (w *world) gained(n *node) {
	if w.last != nil && w.last != n {
		w.result.Moves++
	}
	w.last = n
	w.result.Gains = append(w.result.Gains, Gain{w.now, n.id + 1, n.cause})
	if j := &w.judge; w.now <= j.alone && len(w.result.Gains) > j.gains+1 {
		w.violate(One, "%s, and %d took over too", j.promote, n.id+1)
	}
}

// transition notes that the state of a node changed.
func (w *world) transition(n *node, out vrrp.Output) {
	if out.State == vrrp.Active {
		n.cause = out.Cause.Kind
		w.judge.promoted(out.Cause.Kind)
	}
	if w.lab.Trace {
		w.note(n, fmt.Sprintf("%v: %v", out.State, out.Cause))
	}
	w.changed = true
}

// note writes a line of the trace about a node, or all if it is nil.
func (w *world) note(n *node, text string) {
	if !w.lab.Trace {
		return
	}
	who := ""
	if n != nil {
		who = fmt.Sprintf(" %d", n.id+1)
	}
	w.result.Trace = append(w.result.Trace, fmt.Sprintf("%v%s %s", w.now, who, text))
}

// disturb says that something happened to the world.
func (w *world) disturb() {
	w.judge.calm = w.now
	w.changed = true
}
