package process

import "time"

// A try is one attempt to get a sign of life from HAProxy.
type try struct {
	planned, started, ended time.Time
	gave                    verdict // by itself
	busy                    bool    // HAProxy used the processor meanwhile, or waited for it
	limit                   time.Duration
}

// A verdict is what tries say together.
type verdict int

const (
	unsure verdict = iota
	alive
	silent
)

// A hangDetector tells a HAProxy that hangs from one that is slow, and from a
// machine that is: a try that the agent itself was late for, or that took
// longer than it could by its timeout, or that it had no descriptor for, says
// more of the agent than of HAProxy. So does one that reached nobody. And a HAProxy that is busy gets more time: to
// resign on a machine whose processors are all taken resets every connection, and
// what the next controller then gets makes it resign, too. One that spins is
// ended by its own watchdog after 2 s.
type hangDetector struct {
	after time.Duration // of silence, counted from the first failed try
	busy  time.Duration // the same, of a HAProxy that was busy in one of the last two
	tries int           // failed ones in a row, at least
	back  int           // good ones in a row that end a hang
	slack time.Duration // by which a try may be late

	failed, good int
	since        time.Time // the first failed try in a row began
	idle         int       // failed tries in a row, to the last one, in which it was not busy
	hung         bool
}

// see takes in one try.
func (d *hangDetector) see(t try) verdict {
	switch {
	case t.gave == alive:
		d.failed = 0
		d.good++
		if d.hung && d.good < d.back {
			return unsure
		}
		d.hung = false
		return alive
	case d.late(t), t.gave == unsure:
		d.failed = 0
		return unsure
	}
	d.good = 0
	if d.failed == 0 {
		d.since, d.idle = t.started, 0
	}
	d.failed++
	d.idle++
	if t.busy {
		d.idle = 0
	}
	after := d.after
	if d.idle < 2 { // it may have been stopped in the middle of the first one
		after = max(d.after, d.busy)
	}
	if d.failed < d.tries || t.ended.Sub(d.since) < after {
		return unsure
	}
	d.hung = true
	return silent
}

// late reports whether the agent did not run when it should have.
func (d *hangDetector) late(t try) bool {
	return t.started.Sub(t.planned) > d.slack || t.ended.Sub(t.started) > t.limit+d.slack
}

// reset forgets all, for a new HAProxy.
func (d *hangDetector) reset() { d.failed, d.good, d.hung = 0, 0, false }
