package sim

import (
	"time"

	"holdfast/internal/vrrp"
)

// What package splitbrain does, by its constants: the agents of two that hold the
// address and do not hear each other find that out over their own channel, and one
// gives way.
const (
	settleLook  = 100 * time.Millisecond
	settleEvery = 400 * time.Millisecond // an agent is asked
	settleSure  = 300 * time.Millisecond
	settleDeaf  = 600 * time.Millisecond
	settleLost  = 2 * time.Second
)

// planSettle has the agents look from now on.
func (w *world) planSettle() {
	if !w.settles {
		w.settles = true
		w.push(event{at: w.now + settleLook, kind: evSettle})
	}
}

// settle is a look of all agents.
func (w *world) settle() {
	w.settles = false
	for i, a := range w.nodes {
		for k, b := range w.nodes[:i] {
			since := &w.apart[i][k]
			switch {
			case !a.alive() || !b.alive() || !a.held || !b.held || !w.speak(a, b) || a.heardLately(b) || b.heardLately(a):
				*since = 0
			case *since == 0:
				*since = w.now
			case w.now-*since >= settleSure+settleEvery:
				*since = 0
				if b.beats(a) {
					a.giveWay(b)
				} else {
					b.giveWay(a)
				}
			}
		}
	}
	for _, holder := range w.nodes {
		for _, o := range w.nodes {
			if holder.tells(o) && o.alive() && !o.held && o.present { // what a former process left
				o.step(vrrp.Elsewhere{})
				o.arm()
			}
		}
	}
	more := w.filtered != [MaxNodes][MaxNodes]bool{}
	for _, n := range w.nodes {
		n.tellDeferral()
	}
	for _, n := range w.nodes {
		if n.alive() && n.deferTo > 0 {
			n.lookAtDeferral(w.nodes[n.deferTo-1])
		}
		more = more || n.deferTo > 0
	}
	if more {
		w.planSettle()
	}
}

// tells reports whether n has told o by now that it holds the address.
func (n *node) tells(o *node) bool {
	return n != o && n.alive() && n.held && n.w.speak(n, o) && n.now().Sub(n.heldAt) >= settleEvery
}

// heardLately reports whether adverts of o are heard.
func (n *node) heardLately(o *node) bool {
	at := n.heardOf[o.id]
	return !at.IsZero() && n.now().Sub(at) < max(settleDeaf, 5*o.cfg.Interval)
}

func (n *node) beats(o *node) bool {
	a, b := n.router.Config().Priority, o.router.Config().Priority
	if a != b {
		return a > b
	}
	return n.heldAt.Before(o.heldAt)
}

// giveWay ends being Active for to.
func (n *node) giveWay(to *node) {
	n.deferTo, n.word, n.gaveWay = to.id+1, n.w.now, n.w.now
	n.weigh()
	n.tellDeferral()
	to.insist()
	n.step(vrrp.GiveWay{To: to.addr})
	n.told = vrrp.Silence{All: true} // as the router takes it
	n.weigh()
	n.w.disturb()
	n.arm()
}

// tellDeferral has the agents that n's speaks with know to whom n gave way: who hears n
// alone would take the address in its place. They wait for as long as n does by what it
// knows of the holder.
func (n *node) tellDeferral() {
	if !n.alive() || n.deferTo == 0 || n.w.now-n.word >= settleLost {
		return
	}
	to := n.w.nodes[n.deferTo-1]
	for _, o := range n.w.nodes {
		switch {
		case o == n || o == to || !o.alive() || !n.w.speak(n, o):
		case o.deferTo == n.id+1: // to whom n gave way it gives way itself
			o.deferTo, o.word = to.id+1, n.word
		case o.deferTo == 0 && !o.held && !o.heardLately(to):
			o.deferTo, o.word, o.gaveWay = to.id+1, n.word, o.w.now
			o.weigh() // which is no disturbance: where adverts get lost it comes and goes
			o.arm()
		}
	}
}

// insist announces the address for some seconds.
func (n *node) insist() {
	if n.held {
		n.ask(doAnnounce)
		n.rounds.Insist(n.now(), n.router.Config().Interval)
		n.arm()
	}
}

// passedOn reports whether an agent that n's speaks with passes on what to's says.
func (n *node) passedOn(to *node) bool {
	for _, by := range n.w.nodes {
		if by != n && by != to && by.alive() && n.w.speak(n, by) && n.w.speak(by, to) {
			return true
		}
	}
	return false
}

// lookAtDeferral ends it when to does not hold the address any more.
func (n *node) lookAtDeferral(to *node) {
	const newHolder = time.Second // who is heard before may give way, too
	back := n.heardLately(to)
	heard := !n.heardAt.IsZero() && n.now().Sub(n.heardAt) < 4*n.heardInt
	switch {
	case n.held || back || heard && n.w.now-n.gaveWay > newHolder:
	case n.w.speak(n, to) && to.alive():
		if n.word = n.w.now; to.held {
			return
		}
	case to.alive() && to.held && n.passedOn(to):
		n.word = n.w.now
		return
	case n.w.now-n.word < settleLost:
		return
	}
	n.deferTo, n.silent = 0, n.now()
	n.weigh()
	if !back {
		n.w.disturb()
	}
	n.arm()
}
