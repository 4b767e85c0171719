package sim

import (
	"time"

	"holdfast/internal/auth"
)

// An event is what is to happen at a moment, to the node to.
type event struct {
	at    time.Duration
	order uint64 // between events of one moment
	kind  eventKind
	to    uint8
	gen   uint32 // of wake, lease, hand and resume: others than the newest say nothing
	p     packet
}

type eventKind uint8

const (
	evStep   eventKind = iota // of the schedule
	evPacket                  // arrives
	evFrame                   // a gratuitous ARP arrives
	evWake                    // the loop's wait ends
	evHand                    // the kernel is done with an errand
	evLease                   // the lease ends, unless it was renewed
	evResume                  // a stop or freeze ends
	evYield                   // the word of another agent to hand over arrives
	evReady                   // HAProxy answers
	evClaim                   // a host says that the address is its own
	evMet                     // a host answers
	evTell                    // the other agents say what they signed last
	evSettle                  // agents look whether two hold it who do not hear each other
	evTold                    // one of them says it
	evLook                    // whether what must hold does
)

// A packet is an advert on its way.
type packet struct {
	from     uint8
	priority uint8
	directed bool
	again    bool          // sent anew by a forger
	proven   bool          // its signature was looked at
	interval time.Duration // of an advert; of evYield how long to wait
	signed   *signed       // with a key; nil for none
	was, is  auth.Sequence // of evTold
}

// A queue has events in the order of time: a heap of four branches.
type queue struct {
	events []event
	order  uint64
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.order < o.order
}

func (q *queue) push(e event) {
	q.order++
	e.order = q.order
	q.events = append(q.events, e)
	h := q.events
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
}

// pop takes the first event out; there must be one.
func (q *queue) pop() event {
	h := q.events
	first, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	q.events = h
	if len(h) == 0 {
		return first
	}
	i := 0
	for {
		least := 4*i + 1
		if least >= len(h) {
			break
		}
		for c := least + 1; c < min(4*i+5, len(h)); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if !h[least].before(&last) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = last
	return first
}
