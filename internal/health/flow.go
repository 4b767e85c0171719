package health

import (
	"math"
	"time"
)

// flowMemory is over about which time a flow is averaged.
const flowMemory = 3 * time.Second

// A flow is what went through a host of late: how many requests it had and how
// many answers it gave. Both tell how long one takes (Little's law). HAProxy's own
// mean time of some hundred answers may be hours old.
type flow struct {
	at      time.Time
	had     float64 // requests times seconds, until the last answer
	since   float64 // the same since then
	answers float64
}

// pass takes in that the host had n requests since the last call, and gave answers.
func (f *flow) pass(now time.Time, n int, answers uint64) {
	if !f.at.IsZero() {
		dt := now.Sub(f.at).Seconds()
		fade := math.Exp(-dt / flowMemory.Seconds())
		f.had, f.answers = f.had*fade, f.answers*fade
		f.since += float64(n) * dt
	}
	f.at = now
	if answers > 0 {
		f.had, f.since = f.had+f.since, 0
		f.answers += float64(answers)
	}
}

// gap gives how long it is from one answer to the next while the host has n
// requests. A silence that goes on does not count yet.
func (f *flow) gap(n int) time.Duration {
	if f.answers == 0 {
		return 0
	}
	return time.Duration(f.had / f.answers / float64(max(n, 1)) * float64(time.Second))
}
