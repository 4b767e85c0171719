package vrrp

import (
	"slices"
	"time"
)

// Rounds says when an Active router announces its addresses again: a few times
// in the seconds after a takeover, when neighbours may have missed it or heard
// the former holder last, and then now and then. The zero value announces nothing.
type Rounds struct {
	// Due is when the next announcement is; zero unless Active.
	Due time.Time

	begun time.Time
	after []time.Duration // begun
	done  int             // of after
}

// Begin starts anew, at a first announcement.
func (r *Rounds) Begin(now time.Time, interval time.Duration) {
	const after = time.Second // a holder that nobody heard gives way; see rival
	r.begin(now, interval, 250*time.Millisecond, after, 3*after/2, 5*after/2, 5*time.Second)
}

// Insist starts anew where another router may have announced the addresses
// without being heard, and goes on to do so until it gives way: after a second or
// five intervals, see rival. The neighbours must not believe its last word.
func (r *Rounds) Insist(now time.Time, interval time.Duration) {
	const (
		every = 500 * time.Millisecond
		times = 8
	)
	after := []time.Duration{interval, 250 * time.Millisecond}
	for i := range times {
		after = append(after, time.Duration(i+1)*max(every, interval))
	}
	r.begin(now, append(after, 10*time.Second)...)
}

func (r *Rounds) begin(now time.Time, after ...time.Duration) {
	slices.Sort(after)
	r.after, r.begun, r.done = after, now, 0
	r.Due = now.Add(after[0])
}

// Next sets the time of the announcement after the one of now. In the long run
// period is between two of them; less than 0 ends them.
func (r *Rounds) Next(now time.Time, period time.Duration) {
	r.done++
	switch {
	case r.done < len(r.after):
		r.Due = r.begun.Add(r.after[r.done])
	case period < 0:
		r.Due = time.Time{}
	default:
		r.Due = now.Add(period)
	}
}

// Stop ends them, with the addresses.
func (r *Rounds) Stop() { r.Due = time.Time{} }
