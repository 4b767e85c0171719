package incident

import (
	"slices"
	"time"

	"holdfast/internal/status"
)

const (
	// near is how much two clocks may differ that agents have compared, at worst.
	near = 2 * time.Millisecond
	// stepped is by how much a controller's clock must have been set back for its
	// events not to count as late any more.
	stepped = time.Minute
)

// A Journal has the events of one controller, in the order in which it wrote them.
type Journal struct {
	Controller string
	Events     []status.Event
	// ClockAhead is how far its clock is off now, for what it wrote before it knew.
	ClockAhead time.Duration
}

// learned gives the events of j, with what the agent has learned of its clock only after
// it wrote the first ones of its life.
func (j Journal) learned() []status.Event {
	events, ahead := slices.Clone(j.Events), j.ClockAhead
	for i, e := range slices.Backward(events) {
		if e.ClockAhead != 0 {
			ahead = e.ClockAhead
		}
		events[i].ClockAhead = ahead
		if e.Kind == status.EventAgentStarted {
			ahead = 0 // the one before may have had another
		}
	}
	return events
}

// Merge gives the events of all journals in the order in which they came about: those of
// one controller in its own order, those of several by their clocks, which Event.When
// brings together. Where these cannot tell, what gives a VIP up comes before what takes it.
func Merge(journals ...Journal) []status.Event {
	var queues []queue
	total := 0
	for _, j := range journals {
		total += len(j.Events)
		if q := newQueue(j.learned()); len(q.rest) > 0 {
			queues = append(queues, q)
		}
	}
	merged := make([]status.Event, 0, total)
	for len(queues) > 0 {
		i := first(queues)
		merged = append(merged, queues[i].rest[0])
		if queues[i].drop(); len(queues[i].rest) == 0 {
			queues = append(queues[:i], queues[i+1:]...)
		}
	}
	return merged
}

// A queue has what of a journal is not merged yet.
type queue struct {
	rest []status.Event
	at   time.Time // of the first of them; never goes back, but for a clock that was set
}

func newQueue(events []status.Event) queue {
	q := queue{rest: events}
	if len(events) > 0 {
		q.at = events[0].When()
	}
	return q
}

func (q *queue) drop() {
	q.rest = q.rest[1:]
	if len(q.rest) == 0 {
		return
	}
	next := q.rest[0].When()
	if back := q.at.Sub(next); back <= 0 || back > stepped {
		q.at = next
	}
}

// first gives the index of the queue whose first event comes before those of all others.
func first(queues []queue) int {
	earliest := 0
	for i, q := range queues {
		if q.at.Before(queues[earliest].at) {
			earliest = i
		}
	}
	best := earliest
	for i, q := range queues {
		if q.at.Sub(queues[earliest].at) <= near && rank(q.rest[0].Kind) < rank(queues[best].rest[0].Kind) {
			best = i
		}
	}
	return best
}

// rank orders what happens at the same moment: causes before what they bring about.
func rank(kind string) int {
	switch kind {
	case status.EventDrainBegun, status.EventHAProxyDown, status.EventHAProxyHung, status.EventHAProxyFailed:
		return 0
	case status.EventVIPInitialize, status.EventBGPWithdrawn, status.EventBGPDraining:
		return 1
	case status.EventVIPActive:
		return 2
	case status.EventVIPBackup, status.EventHandover:
		return 3
	}
	return 4
}
