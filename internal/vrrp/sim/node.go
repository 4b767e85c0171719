package sim

import (
	"net/netip"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/conflict"
	"holdfast/internal/ether"
	"holdfast/internal/vrrp"
)

// What package vrrp/link and package vip do, by their own constants.
const (
	leaseTime   = 2 * time.Second
	refresh     = 250 * time.Millisecond
	handLimit   = 7 * refresh // a Claim or Hold that takes longer is a failure
	minPause    = 500 * time.Millisecond
	maxPause    = 30 * time.Second
	settledTime = time.Minute
	overlap     = 30 * time.Millisecond
	listenTime  = 2 * time.Second
	period      = time.Minute                // of announcements in the long run
	lowering    = 10                         // of the priority of one that limps
	startDelay  = 3 * time.Second            // startup_delay of the spec, which is longer by default
	guardTime   = startDelay + 2*time.Second // to be heard, and to ask twice
	inboxSize   = 256                        // packets that a socket keeps for a process that does not run
)

// A Router decides on a node: a vrrp.Machine, or one that is broken on purpose.
type Router interface {
	Step(now time.Time, e vrrp.Event) vrrp.Output
	State() vrrp.State
	Config() vrrp.Config
	Yielding() bool
}

// A node is one controller: its agent's loop, as vrrp/link has it, and its kernel.
type node struct {
	id   int
	w    *world
	addr netip.Addr
	cfg  vrrp.Config // by the spec

	// The machine and its clock.
	powered bool
	drift   int64
	lost    time.Duration // by which the clock is behind, for all the time it stood still
	frozen  bool
	stopped bool
	since   time.Duration // the beginning of the stop or freeze
	until   time.Duration // and its end
	carrier bool
	apart   bool          // cut off from everyone
	slow    time.Duration // the kernel changes no address before
	serves  bool          // HAProxy does

	resumeGen, wakeGen, leaseGen, handGen, tellGen uint32

	// The agent.
	runs     bool
	router   Router
	deadline time.Time
	wakeAt   time.Duration // of the evWake that counts; 0 for none
	inbox    []packet
	ready    bool // the agent knows that HAProxy answers
	limps    bool
	bar      obstacle

	unplugged time.Time // since when there is no carrier, while that is not believed yet
	noCarrier bool      // is believed
	listening time.Time // for others, until then; zero for not

	// Its addresses; see link's holding.
	held    bool
	asked   time.Time
	holdDue time.Time
	turn    int
	trouble bool
	retry   time.Time
	pause   time.Duration
	heldAt  time.Time
	rounds  vrrp.Rounds

	// Whether the silence of others counts; see conflict/watch.
	guard    conflict.Guard
	guardDue time.Time
	poked    bool // it is to look now
	met      bool // some host answered since the doubt began
	humble   bool
	told     vrrp.Silence
	heardAt  time.Time     // an Active router was
	heardInt time.Duration // its interval
	counts   bool          // by the guard silence does
	silent   time.Time     // then from here on

	// Two that do not hear each other; see splitbrain.
	heardOf [MaxNodes]time.Time // when each was
	deferTo int                 // from 1, to whom this node gave way; 0 for nobody
	gaveWay time.Duration
	word    time.Duration // when that one said last that it holds the address

	// A planned handover; see link's handover.
	req     bool
	to      int // 1 to MaxNodes, 0 for anyone
	due     time.Time
	hUntil  time.Time
	wait    time.Duration
	heardBy bool
	removed bool

	hand []errand // the first is being done, if handBusy
	busy bool
	done []result // of the hand, that the loop has not collected

	// With a key.
	signer   *auth.Signer
	receiver *auth.Receiver

	// The kernel.
	up         time.Duration // since when it has a carrier
	neighbours bool          // it knows some
	present    bool
	own        time.Duration // when its router took what a former process had left
	ends       time.Time     // of the lease

	// What a client on the node's segment believes.
	arp   int // the node whose announcement came last; 0 for none
	arpAt time.Duration

	adverts  uint64        // that the router asked for
	active   time.Duration // when its router was Active last
	cause    vrrp.CauseKind
	memories []memory // of a forger
}

type errand struct {
	kind errandKind
	turn int
}

type errandKind uint8

const (
	doClaim errandKind = iota + 1
	doHold
	doAnnounce
	doRelease
	doWithdraw // after a handover
)

type result struct {
	errand
	ok bool
}

// An obstacle is why a node may not be Active.
type obstacle uint8

const (
	clear obstacle = iota
	notReady
	noLink
	listens
	inTrouble
)

func (o obstacle) String() string {
	return [...]string{"all is well", "haproxy is not ready", "no carrier", "listening for the others", "cannot have the address"}[o]
}

// epoch is when all clocks begin: anything but the zero time.
func epoch() time.Time { return time.Unix(0, 0) }

// local gives the time by n's own clock.
func (n *node) local(now time.Duration) time.Time {
	d := now - n.lost
	return epoch().Add(d + time.Duration(int64(d)*n.drift/1_000_000))
}

// global gives when n's clock shows t: the first moment at which it does.
func (n *node) global(t time.Time) time.Duration {
	const million = 1_000_000
	x := int64(t.Sub(epoch()))
	if n.drift == 0 {
		return time.Duration(x) + n.lost
	}
	return time.Duration((x*million+million+n.drift-1)/(million+n.drift)) + n.lost
}

func (n *node) now() time.Time { return n.local(n.w.now) }

// alive reports whether the agent's loop gets to run.
func (n *node) alive() bool { return n.runs && !n.stopped && !n.frozen }

// serving reports whether the node answers for the address: it does while its
// kernel has it, whatever became of the agent.
func (n *node) serving() bool { return n.present && n.powered && !n.frozen }

// boot starts the host and the agent, as far as they do not run.
func (n *node) boot() {
	if !n.powered {
		n.powered, n.serves, n.up, n.neighbours = true, true, n.w.now, false
	}
	if n.runs {
		return
	}
	n.runs = true
	n.router = n.w.lab.New(n.cfg)
	n.inbox, n.done, n.hand, n.busy = n.inbox[:0], nil, n.hand[:0], false
	n.newKeys()
	n.ready, n.limps, n.bar, n.deadline = false, false, clear, time.Time{}
	n.unplugged, n.noCarrier, n.listening = time.Time{}, !n.carrier, time.Time{}
	n.dropHolding()
	n.turn = 0
	n.trouble, n.retry, n.pause = false, time.Time{}, 0
	n.rounds.Stop()
	n.req, n.due = false, time.Time{}
	n.humble, n.told, n.heardAt = false, vrrp.Silence{Counts: true}, time.Time{}
	n.heardOf, n.deferTo = [MaxNodes]time.Time{}, 0
	n.guard = conflict.Guard{Others: len(n.w.nodes) > 1, Delay: startDelay, Interval: n.cfg.Interval}
	n.doubt()
	n.judge()
	n.step(vrrp.Startup{})
	if n.serves {
		n.w.push(event{at: n.w.now + n.w.chance(n.id, 1, 200*time.Millisecond), kind: evReady, to: uint8(n.id)})
	}
	n.arm()
}

// kill ends the agent, in no order.
func (n *node) kill() {
	n.runs = false
	n.hand, n.busy, n.done = n.hand[:0], false, nil
	n.inbox = n.inbox[:0]
	n.wakeAt = 0
	n.wakeGen++
	n.handGen++
}

// powerOff ends the host.
func (n *node) powerOff() {
	n.kill()
	n.powered, n.frozen, n.stopped, n.serves = false, false, false, false
	n.resumeGen++
	n.setPresent(false)
}

// shutDown ends the agent in order: the hand ends its work before.
func (n *node) shutDown() {
	n.step(vrrp.Shutdown{})
	had := n.present
	for _, e := range n.hand {
		if e.kind == doRelease || e.kind == doWithdraw {
			had = false
		}
	}
	n.kill()
	if n.present && !had {
		n.setPresent(false)
	}
}

func (n *node) setPresent(on bool) {
	if n.present == on {
		return
	}
	n.present = on
	n.w.note(n, map[bool]string{true: "has the address", false: "has the address no more"}[on])
	if on {
		n.w.gained(n)
	}
	n.w.changed = true
}

// turnOnce is one turn of the loop, in the order of link's: what was received
// is heard before a timer is served.
func (n *node) turnOnce() {
	if !n.alive() {
		return
	}
	for i := 0; i < len(n.inbox); i++ {
		n.hear(n.inbox[i])
	}
	n.inbox = n.inbox[:0]
	n.collect()
	n.inspect()
	n.judge()
	n.tick()
	n.look()
	n.arm()
}

func (n *node) hear(p packet) {
	if !p.proven && !n.believes(&p) {
		return
	}
	a := vrrp.AdvertReceived{Src: n.w.nodes[p.from].addr, Priority: p.priority, Interval: p.interval, Directed: p.directed}
	if p.priority > 0 {
		n.listening = time.Time{} // an Active router was heard
		n.heardAt, n.heardInt = n.now(), p.interval
		n.heardOf[p.from] = n.heardAt
		n.poked = n.poked || !n.told.Counts || n.humble
	}
	n.step(a)
}

// collect takes what the hand has done.
func (n *node) collect() {
	for len(n.done) > 0 {
		r := n.done[0]
		n.done = n.done[1:]
		now := n.now()
		switch {
		case r.kind == doWithdraw:
			n.endYield()
		case r.turn != n.turn || n.asked.IsZero():
		case r.kind == doClaim:
			n.asked, n.held, n.heldAt, n.holdDue = time.Time{}, true, now, now.Add(refresh)
			n.ask(doAnnounce)
			n.rounds.Begin(now, n.router.Config().Interval)
		case r.kind == doHold:
			n.asked = time.Time{}
		}
	}
}

// inspect believes in a carrier that is away for two intervals while Active, at
// once otherwise, and listens for a while when it is back.
func (n *node) inspect() {
	now := n.now()
	switch {
	case n.carrier:
		if n.noCarrier {
			n.noCarrier, n.listening = false, now.Add(listenTime)
			n.heardAt = time.Time{}
			n.doubt()
		}
		n.unplugged = time.Time{}
	case n.noCarrier:
	case n.router.State() != vrrp.Active:
		n.noCarrier = true
	case n.unplugged.IsZero():
		n.unplugged = now
	case !now.Before(n.unplugged.Add(2 * n.router.Config().Interval)):
		n.noCarrier, n.unplugged = true, time.Time{}
	}
	if !n.listening.IsZero() && !now.Before(n.listening) {
		n.listening = time.Time{}
	}
}

func (n *node) obstacle() obstacle {
	switch {
	case !n.ready:
		return notReady
	case n.noCarrier:
		return noLink
	case !n.listening.IsZero():
		return listens
	case n.trouble:
		return inTrouble
	}
	return clear
}

// judge tells the router when its eligibility has changed.
func (n *node) judge() {
	bar, was := n.obstacle(), n.bar
	if bar == was {
		return
	}
	n.bar = bar
	n.w.changed = true
	if bar != clear {
		n.step(vrrp.Eligible{Reason: bar.String()})
	} else {
		n.step(vrrp.Eligible{OK: true, Reason: "no longer: " + was.String()})
	}
}

// tick serves the timers that are due.
func (n *node) tick() {
	now := n.now()
	if !n.deadline.IsZero() && !now.Before(n.deadline) {
		n.step(vrrp.Timer{})
	}
	if n.trouble && !now.Before(n.retry) {
		n.trouble, n.retry = false, time.Time{}
		n.judge()
	}
	if !n.asked.IsZero() && !now.Before(n.asked.Add(handLimit)) {
		n.fail(now)
	}
	if !n.holdDue.IsZero() && !now.Before(n.holdDue) {
		n.holdDue = now.Add(refresh)
		if n.asked.IsZero() {
			n.asked = now
			n.ask(doHold)
		}
	}
	if !n.due.IsZero() && !now.Before(n.due) {
		n.due = time.Time{}
		switch {
		case n.heardBy:
			n.removed = true
			n.ask(doWithdraw)
		case n.router.Yielding() && now.Before(n.hUntil):
			n.step(vrrp.Yield{Wait: n.hUntil.Sub(now)})
		}
	}
	if !n.rounds.Due.IsZero() && !now.Before(n.rounds.Due) {
		n.rounds.Next(now, period)
		n.ask(doAnnounce)
	}
}

// fail resigns for a pause that doubles each time.
func (n *node) fail(now time.Time) {
	if n.held && now.Sub(n.heldAt) > settledTime {
		n.pause = 0
	}
	n.dropHolding()
	n.pause = min(max(2*n.pause, minPause), maxPause)
	n.trouble, n.retry = true, now.Add(n.pause)
	n.judge()
}

func (n *node) dropHolding() {
	n.asked, n.held, n.holdDue, n.heldAt = time.Time{}, false, time.Time{}, time.Time{}
}

// arm has the loop woken for the first of its timers. A wait that ends too early
// is let end: what is due then is asked for again.
func (n *node) arm() {
	if !n.alive() {
		return
	}
	next := n.deadline
	for _, t := range [...]time.Time{n.retry, n.holdDue, n.due, n.rounds.Due, n.listening, n.guardDue} {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if !n.asked.IsZero() {
		next = earlier(next, n.asked.Add(handLimit))
	}
	if !n.unplugged.IsZero() {
		next = earlier(next, n.unplugged.Add(2*n.router.Config().Interval))
	}
	if next.IsZero() {
		return
	}
	at := max(n.global(next), n.w.now+50*time.Microsecond)
	if n.wakeAt != 0 && n.wakeAt <= at {
		return
	}
	n.wakeGen++
	n.wakeAt = at
	n.w.push(event{at: at + n.w.lateness(n.id), kind: evWake, to: uint8(n.id), gen: n.wakeGen})
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// step steps the router, and does what it asks for, as link's runner does.
func (n *node) step(e vrrp.Event) {
	before, wasPresent := n.router.State(), n.held
	out := n.router.Step(n.now(), e)
	n.deadline = out.Deadline
	n.w.checkOutput(n, before, out)
	if out.Yield.IsValid() {
		n.w.send(n, n.w.byAddress(out.Yield), packet{directed: n.w.s.Group, signed: n.sign(0)})
	}
	for _, p := range out.Send {
		n.w.sendAll(n, p, out.Yield)
	}
	if out.Release && (out.Cause.Kind != vrrp.CauseYielded || !n.req) {
		n.ask(doRelease)
	}
	switch now := n.now(); {
	case out.Claim:
		if n.turn == 0 && n.present {
			n.own = n.w.now
		}
		n.turn++
		n.dropHolding()
		n.asked = now
		n.ask(doClaim)
	case out.Announce && wasPresent:
		n.ask(doAnnounce)
		n.rounds.Begin(now, n.router.Config().Interval)
	}
	if out.State != before {
		n.poked = true
		n.w.transition(n, out)
		if out.State != vrrp.Active {
			n.dropHolding()
			n.rounds.Stop()
		}
	}
	n.follow(out)
}

// follow looks what became of a handover.
func (n *node) follow(out vrrp.Output) {
	switch now := n.now(); {
	case !n.req, n.router.Yielding():
	case n.heardBy:
		if out.Claim && !n.removed {
			n.endYield()
		}
	case out.State == vrrp.Active:
		n.insist()
		n.endYield()
	case out.Cause.Kind == vrrp.CauseYielded:
		n.heardBy = true
		n.due = now.Add(overlap)
	default:
		n.endYield()
	}
}

// endYield ends a handover, which may have left two that have the address.
func (n *node) endYield() {
	n.req, n.due = false, time.Time{}
	n.w.disturb()
}

// doubt begins one of whether the silence of others counts.
func (n *node) doubt() {
	n.met = n.neighbours
	n.guard.Doubt(n.now())
	n.poked = true
	n.counts = false
	n.weigh()
}

// weigh tells the router whether silence counts now.
func (n *node) weigh() {
	e := vrrp.Silence{Counts: n.counts && n.deferTo == 0, All: n.deferTo > 0}
	if e.Counts {
		e.Since = n.silent
	}
	n.hush(e)
}

// hush tells the router whether silence counts.
func (n *node) hush(e vrrp.Silence) {
	if e != n.told {
		n.told = e
		n.w.changed = true
		n.step(e)
	}
}

// look steps the guard when it is due, and does what it asks for.
func (n *node) look() {
	now := n.now()
	if !n.poked && (n.guardDue.IsZero() || now.Before(n.guardDue)) {
		return
	}
	n.poked = false
	heard := !n.held && !n.heardAt.IsZero() && now.Sub(n.heardAt) < 4*n.heardInt
	out := n.guard.Step(now, conflict.Facts{Active: n.held, Heard: heard, Forwards: n.met, Up: n.w.now - n.up})
	n.guardDue = out.Next
	if out.Probe {
		n.w.probe(n)
	}
	if out.Reach {
		n.w.reach(n)
	}
	if out.Answer {
		n.ask(doAnnounce)
	}
	n.counts, n.silent = out.Counts, out.Since
	n.weigh()
	if out.Humble != n.humble {
		n.humble = out.Humble
		n.configure()
	}
}

// claimed is that another machine says that the address is its own.
func (n *node) claimed(from *node) {
	n.met, n.neighbours = true, true
	n.guard.Claimed(n.now(), conflict.Claim{MAC: ether.MAC{2, 5: byte(from.id)}})
	n.poked = true
	n.turnOnce()
}

// yield hands over to the node to, 0 for whoever is first.
func (n *node) yield(to int, wait time.Duration) {
	if !n.alive() || n.req || n.router.State() != vrrp.Active || !n.held {
		return
	}
	n.req, n.to, n.wait, n.heardBy, n.removed = true, to, wait, false, false
	now := n.now()
	n.hUntil, n.due = now.Add(wait), time.Time{}
	e := vrrp.Yield{Wait: wait}
	if to > 0 {
		e.To = n.w.nodes[to-1].addr
		if n.w.s.Group {
			n.due = now.Add(wait / 2)
		}
	}
	n.step(e)
	n.arm()
}

// stay calls a handover off.
func (n *node) stay() {
	if n.router.Yielding() {
		n.step(vrrp.Stay{})
		n.arm()
	}
}

// configure gives the router what the spec and the condition of its link say.
func (n *node) configure() {
	if !n.runs {
		return
	}
	c := n.cfg
	if n.limps {
		c.Priority, c.Patient = max(1, c.Priority/lowering), true
	}
	if n.humble {
		c.Priority = 1
	}
	n.step(vrrp.Configure{Config: c})
	n.arm()
}

// ask gives the hand something to do.
func (n *node) ask(kind errandKind) {
	n.hand = append(n.hand, errand{kind, n.turn})
	n.work()
}

// work has the hand begin with the next errand.
func (n *node) work() {
	if n.busy || len(n.hand) == 0 {
		return
	}
	n.busy = true
	n.handGen++
	took := 100*time.Microsecond + n.w.chance(n.id, 2, 1400*time.Microsecond)
	n.w.push(event{at: max(n.w.now+took, n.slow), kind: evHand, to: uint8(n.id), gen: n.handGen})
}

// worked ends the errand that the hand is at.
func (n *node) worked() {
	e := n.hand[0]
	n.hand = append(n.hand[:0], n.hand[1:]...)
	n.busy = false
	switch e.kind {
	case doClaim, doHold:
		n.renew(e.kind == doHold && e.turn == n.turn && !n.asked.IsZero())
		n.done = append(n.done, result{e, true})
	case doAnnounce:
		if n.held { // else it was asked for before the address was given up
			n.announce()
		}
	case doRelease:
		n.setPresent(false)
	case doWithdraw:
		n.setPresent(false)
		n.done = append(n.done, result{e, true})
	}
	n.work()
	if len(n.done) > 0 {
		n.turnOnce()
	}
}

// renew lets the lease begin anew. An address that was gone is announced.
func (n *node) renew(announce bool) {
	was := n.present
	n.ends = n.now().Add(n.w.lab.lease())
	n.setPresent(true)
	if !was {
		n.leaseGen++
		n.w.push(event{at: n.global(n.ends), kind: evLease, to: uint8(n.id), gen: n.leaseGen})
		if announce {
			n.announce()
		}
	}
}

// leaseEnds is the kernel's look at the lease.
func (n *node) leaseEnds() {
	switch now := n.now(); {
	case !n.present:
	case now.Before(n.ends):
		n.w.push(event{at: n.global(n.ends), kind: evLease, to: uint8(n.id), gen: n.leaseGen})
	default:
		n.setPresent(false)
	}
}

// announce tells the segments of all nodes that the address is here.
func (n *node) announce() {
	if n.present {
		n.w.announced(n)
	}
}
