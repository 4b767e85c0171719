package process

import "time"

// A try is one attempt to get a sign of life from HAProxy.
type try struct {
	planned, started, ended time.Time
	ok                      bool
	own                     bool // it failed for want of something that the agent needs
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
// more of the agent than of HAProxy.
type hangDetector struct {
	after time.Duration // of silence, counted from the first failed try
	tries int           // failed ones in a row, at least
	back  int           // good ones in a row that end a hang
	slack time.Duration // by which a try may be late
	limit time.Duration // that a try may take

	failed, good int
	since        time.Time // the first failed try in a row began
	hung         bool
}

// see takes in one try.
func (d *hangDetector) see(t try) verdict {
	switch {
	case t.ok:
		d.failed = 0
		d.good++
		if d.hung && d.good < d.back {
			return unsure
		}
		d.hung = false
		return alive
	case d.late(t), t.own:
		d.failed = 0
		return unsure
	}
	d.good = 0
	if d.failed == 0 {
		d.since = t.started
	}
	d.failed++
	if d.failed < d.tries || t.ended.Sub(d.since) < d.after {
		return unsure
	}
	d.hung = true
	return silent
}

// late reports whether the agent did not run when it should have.
func (d *hangDetector) late(t try) bool {
	return t.started.Sub(t.planned) > d.slack || t.ended.Sub(t.started) > d.limit+d.slack
}

// reset forgets all, for a new HAProxy.
func (d *hangDetector) reset() { d.failed, d.good, d.hung = 0, 0, false }
