package health

import (
	"math"
	"slices"
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
// It gives how long each of these took, about; false where none was given.
func (f *flow) pass(now time.Time, n int, answers uint64) (each time.Duration, ok bool) {
	if !f.at.IsZero() {
		dt := now.Sub(f.at).Seconds()
		fade := math.Exp(-dt / flowMemory.Seconds())
		f.had, f.answers = f.had*fade, f.answers*fade
		f.since += float64(n) * dt
	}
	f.at = now
	if answers > 0 {
		each, ok = time.Duration(f.since/float64(answers)*float64(time.Second)), true
		f.had, f.since = f.had+f.since, 0
		f.answers += float64(answers)
	}
	return each, ok
}

// stay gives how long a request takes at the host, the wait for its turn
// included. A silence that goes on does not count yet.
func (f *flow) stay() time.Duration {
	if f.answers == 0 {
		return 0
	}
	return time.Duration(f.had / f.answers * float64(time.Second))
}

// gap gives how long it is from one answer to the next while the host has n
// requests, if they have their turn one after the other.
func (f *flow) gap(n int) time.Duration { return f.stay() / time.Duration(max(n, 1)) }

// usualSamples are as many as one fault more or less does not count among, and
// usualLeast as many as say anything.
const usualSamples, usualLeast = 64, 5

// A usual is how long the requests of a service took last, whatever the hosts had
// to do then: each step in which one answered is one sample. It is what is known
// of a host to which a crowd of clients comes after hours of rest.
type usual struct {
	samples []time.Duration // the newest usualSamples at most
	next    int             // the one that is replaced next
}

func (u *usual) add(d time.Duration) {
	if len(u.samples) < usualSamples {
		u.samples = append(u.samples, d)
		return
	}
	u.samples[u.next] = d
	u.next = (u.next + 1) % usualSamples
}

// long gives what nine of ten do not exceed; false for too few to tell.
func (u *usual) long() (time.Duration, bool) {
	if u == nil || len(u.samples) < usualLeast {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(u.samples))
	return sorted[len(sorted)*9/10], true
}
