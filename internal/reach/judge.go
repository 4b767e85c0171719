package reach

import (
	"slices"
	"time"
)

const (
	// Pause is between two unasked moves of a VIP, wherever the first one went
	// or came from: an address that goes to and fro is worse than a service that
	// is missing, and some switches hold one back that moves often.
	Pause = 5 * time.Minute
	// worseFor is how long a holder must be clearly worse than the same other
	// controller. A service that is down for everybody is found so by one HAProxy
	// up to three seconds before the next one (the interval of checks), and is
	// told a second or two later; the same when it comes back.
	worseFor = 6 * time.Second
	// silentHead is how much less it takes where it is cut off: by then each
	// handshake with every host of a service has gone without an answer for longer.
	silentHead = 3 * time.Second
	// fresh is how old the word of a controller may be.
	fresh = 4 * time.Second
	// arrivalTime is within which time of what the giver said the VIP comes, if
	// it does: by a move that failed it did not.
	arrivalTime = 15 * time.Second
	// retry is the pause after a move that did not come about.
	retry = 30 * time.Second
)

// A Judge says when the holder of one VIP ought to give it away. It is not for
// concurrent use.
type Judge struct {
	held     bool
	insisted bool                 // somebody wanted it here, whatever that costs
	next     time.Time            // no move before
	better   map[string]time.Time // controllers that are clearly better, each since when
}

// NewJudge makes a Judge of a VIP that is not held here.
func NewJudge() *Judge { return &Judge{better: map[string]time.Time{}} }

// An Arrival is the last planned move of the VIP to this controller.
type Arrival struct {
	At       time.Time // zero for none
	Unasked  bool      // a Judge's
	Insisted bool      // asked for by force
	From     string    // who gives it
}

// A Move is what ought to be done; the zero Move is nothing.
type Move struct {
	To string
	// Services are those that To has a host of and this controller has not; none
	// where it is for Lag.
	Services []string
	// Lag is what the paths of this controller have in common that are worse; the
	// zero Lag where they are not.
	Lag Lag
}

// Step says what is to be done at now by a controller that holds the VIP, or
// does not. Its own View is own, those of others are in the order of preference.
// Times must not go back. After a Move one of Moved and Failed must be called.
func (j *Judge) Step(now time.Time, holds bool, came Arrival, own View, others []View) Move {
	if !holds {
		j.held, j.insisted = false, false
		clear(j.better)
		return Move{}
	}
	if !j.held {
		j.held = true
		j.arrived(now, came)
	}
	others = slices.DeleteFunc(slices.Clone(others), func(o View) bool { return now.Sub(o.At) > fresh })
	lag := FindLag(own, others)
	best := j.compare(now, own, others, lag)
	if best.Controller == "" || j.insisted || now.Before(j.next) {
		return Move{}
	}
	return Move{To: best.Controller, Services: gain(best, own), Lag: lag}
}

// arrived notes how the VIP came. What was long ago is of another time.
func (j *Judge) arrived(now time.Time, came Arrival) {
	if came.At.IsZero() {
		return
	}
	j.insisted = came.Insisted && now.Sub(came.At) < arrivalTime
	if next := came.At.Add(Pause); came.Unasked && next.After(j.next) {
		j.next = next
	}
}

// compare notes who is better, and gives the best of those that were so for
// long enough; the first of several.
func (j *Judge) compare(now time.Time, own View, others []View, lag Lag) View {
	var best View
	better := func(a, b View) bool {
		if a.count() != b.count() {
			return a.count() > b.count()
		}
		lags := lagging(append(slices.Clone(others), own))
		return lags[a.Controller] < lags[b.Controller]
	}
	seen := map[string]bool{}
	for _, o := range others {
		if o.Unfit != "" || o.Spec != own.Spec || now.Sub(own.At) > fresh || !clearlyBetter(o, own, lag) {
			continue
		}
		seen[o.Controller] = true
		if j.better[o.Controller].IsZero() {
			j.better[o.Controller] = now
			if len(cutOff(own, o)) > 0 {
				j.better[o.Controller] = now.Add(-silentHead)
			}
		}
		if now.Sub(j.better[o.Controller]) >= worseFor && (best.Controller == "" || better(o, best)) {
			best = o
		}
	}
	for name := range j.better {
		if !seen[name] {
			delete(j.better, name)
		}
	}
	return best
}

// Moved notes that the Move of a Step was done.
func (j *Judge) Moved(now time.Time) {
	j.next = now.Add(Pause)
	clear(j.better)
}

// Failed notes that it did not come about.
func (j *Judge) Failed(now time.Time) { j.next = now.Add(retry) }
