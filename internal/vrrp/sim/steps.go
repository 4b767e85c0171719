package sim

import (
	"strings"
	"time"
)

// step does what a step says, to each node that it is about. One about a node
// that there is not does nothing.
func (w *world) step(s Step) {
	if w.lab.Trace {
		_, words, _ := strings.Cut(s.String(), " ")
		w.note(nil, "== "+words)
	}
	w.judge.promise(w, s)
	w.disturb()
	onTheWay := w.now + 2*(w.s.Most+w.jitter) // what was sent before, and is doubled, may arrive until then
	if w.network(s) {
		w.judge.topology = max(w.judge.topology, onTheWay)
		return
	}
	for _, n := range w.nodes {
		if s.Node == All || s.Node == Who(n.id+1) {
			w.happen(n, s)
		} else if s.Node == Holder && n.serving() {
			w.happen(n, s)
			return
		}
	}
}

// network does a step about all nodes.
func (w *world) network(s Step) bool {
	switch s.Verb {
	case Heal:
		w.cut, w.deaf = [MaxNodes][MaxNodes]bool{}, [MaxNodes][MaxNodes]bool{}
		w.filtered = [MaxNodes][MaxNodes]bool{}
		w.loss, w.double, w.jitter = 0, 0, 0
		for _, n := range w.nodes {
			n.apart = false
		}
	case Loss:
		w.loss = s.Value
	case Double:
		w.double = s.Value
	case Jitter:
		w.jitter = s.For
	default:
		return false
	}
	return true
}

// happen does a step to n.
func (w *world) happen(n *node, s Step) {
	switch s.Verb {
	case Kill:
		n.kill()
	case PowerOff:
		n.powerOff()
	case Boot:
		if !n.frozen {
			n.stopped = n.stopped && n.runs
			n.boot()
		}
	case ShutDown:
		if n.alive() {
			n.shutDown()
		}
	case Stop, Freeze:
		w.hold(n, s)
	case ServiceDown, ServiceUp:
		w.service(n, s.Verb == ServiceUp)
	case Unplug, Plug:
		n.carrier = s.Verb == Plug
		if n.neighbours = n.neighbours && n.carrier; n.carrier {
			n.up = w.now
		}
		w.judge.topology = max(w.judge.topology, w.now)
		n.turnOnce()
	case Cut, Join, Isolate, Rejoin:
		w.judge.topology = max(w.judge.topology, w.now)
		w.wire(n, s)
	case Deaf:
		if o := w.other(s); o != nil {
			w.deaf[n.id][o.id], w.deaf[o.id][n.id] = true, true
		}
	case Filter:
		w.judge.topology = max(w.judge.topology, w.now)
		if o := w.other(s); o != nil {
			w.filtered[n.id][o.id] = true
		}
		w.planSettle()
	case Forge, Replay:
		w.forge(n, s)
	default:
		w.order(n, s)
	}
	w.changed = true
}

func (w *world) other(s Step) *node {
	if s.Other < 1 || s.Other > len(w.nodes) {
		return nil
	}
	return w.nodes[s.Other-1]
}

// hold stops or freezes n, unless it is already.
func (w *world) hold(n *node, s Step) {
	if !n.powered || n.frozen || n.stopped || s.Verb == Stop && !n.runs {
		return
	}
	n.stopped, n.frozen = s.Verb == Stop, s.Verb == Freeze
	n.since, n.until = w.now, w.now+s.For
	n.resumeGen++
	w.push(event{at: n.until, kind: evResume, to: uint8(n.id), gen: n.resumeGen})
}

func (w *world) service(n *node, up bool) {
	if !n.powered || n.frozen {
		return
	}
	n.serves = up
	switch {
	case !n.runs:
	case up:
		w.push(event{at: w.now + w.chance(n.id, 1, 50*time.Millisecond), kind: evReady, to: uint8(n.id)})
	default:
		n.ready = false // its parent is told at once, or when it runs again
		n.turnOnce()
	}
}

// wire cuts or joins n.
func (w *world) wire(n *node, s Step) {
	off := s.Verb == Cut || s.Verb == Isolate
	if s.Verb == Cut || s.Verb == Join {
		if o := w.other(s); o != nil {
			w.cut[n.id][o.id] = off
			w.filtered[n.id][o.id] = w.filtered[n.id][o.id] && off
		}
		return
	}
	n.apart = off
	for _, o := range w.nodes {
		w.cut[n.id][o.id], w.cut[o.id][n.id] = off, off
	}
}

// order does what a person, or the agent beyond its loop, has the loop of n do.
func (w *world) order(n *node, s Step) {
	if !n.alive() {
		return
	}
	switch s.Verb {
	case Handover:
		o := w.other(s)
		if o == nil || o == n || !o.alive() || o.bar != clear || !w.speak(n, o) {
			return // the other agent does not agree to it
		}
		travel := time.Millisecond + w.chance(n.id, 1, 4*time.Millisecond)
		w.push(event{at: w.now + travel, kind: evYield, to: uint8(n.id), p: packet{from: uint8(s.Other), interval: s.For}})
	case Give:
		n.yield(0, s.For)
	case Stay:
		n.stay()
	case Limp, Sound:
		n.limps = s.Verb == Limp
		n.configure()
	case SetInterval:
		n.cfg.Interval = s.For
		n.configure()
	case SetPriority:
		n.cfg.Priority = uint8(min(max(s.Value, 1), 254))
		n.configure()
	case Slow:
		n.slow = max(n.slow, w.now+s.For)
		w.push(event{at: n.slow, kind: evLook})
	default: // is of happen
	}
}

// speak reports whether the agents of a and b reach each other by TCP.
func (w *world) speak(a, b *node) bool {
	return w.hears(a, b) && w.hears(b, a) && !w.deaf[a.id][b.id]
}

// forge has n hear what a forger sends, who can send as anyone. What it recorded
// is authentic. With a key it may be what n heard before, and then knows, or what
// was sent before n knows anything of its sender: of that the other agents tell it
// within a second, see auth.Receiver.Told, so it comes after that.
func (w *world) forge(n *node, s Step) {
	o := w.other(s)
	if o == nil || o == n {
		return
	}
	if s.Verb == Forge {
		w.push(event{at: w.now, kind: evPacket, to: uint8(n.id), p: packet{
			from: uint8(o.id), priority: uint8(s.Value), interval: w.s.Interval, signed: o.forged(uint8(s.Value)),
		}})
		return
	}
	var found *memory
	for i := range n.memories {
		if m := &n.memories[i]; m.at <= w.now-s.For && int(m.p.from) == o.id {
			found = m
		}
	}
	if found != nil && (n.receiver == nil || n.receiver.Latest(o.addr) != 0) {
		p := found.p
		p.again = true
		w.push(event{at: w.now, kind: evPacket, to: uint8(n.id), p: p})
	}
}

// A memory is a packet that a forger recorded.
type memory struct {
	at time.Duration
	p  packet
}

// remember keeps what n heard, for a forger.
func (n *node) remember(p packet, now time.Duration) {
	const most = 1000
	if len(n.memories) >= most {
		n.memories = append(n.memories[:0], n.memories[most/2:]...)
	}
	n.memories = append(n.memories, memory{now, p})
}
