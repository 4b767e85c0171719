package health

import (
	"math"
	"slices"
	"sort"
	"time"
)

// flowMemory is over about which time a flow is averaged, and flowRest after which
// rest nothing of it counts: no request waits any more for those before it.
const (
	flowMemory = 3 * time.Second
	flowRest   = time.Second
)

// A flow is what went through a host of late: how many requests it had and how
// many answers it gave. Both tell how long one takes (Little's law). HAProxy's own
// mean time of some hundred answers may be hours old.
type flow struct {
	at      time.Time
	had     float64 // requests times seconds, until the last answer
	since   float64 // the same since then
	busy    float64 // seconds since then in which it had any
	answers float64
	worked  time.Time // when it had anything to do last
}

// pass takes in that the host had n requests since the last call, and gave answers.
// It gives what that says of these, if there were any.
func (f *flow) pass(now time.Time, n int, answers uint64) sample {
	one := sample{at: now, answers: answers}
	if !f.at.IsZero() {
		dt := now.Sub(f.at).Seconds()
		fade := math.Exp(-dt / flowMemory.Seconds())
		f.had, f.answers = f.had*fade, f.answers*fade
		f.since += float64(n) * dt
		f.busy += float64(min(n, 1)) * dt
	}
	if n > 0 || answers > 0 || f.worked.IsZero() {
		f.worked = now
	} else if now.Sub(f.worked) >= flowRest {
		f.had, f.answers = 0, 0
	}
	f.at = now
	if answers > 0 {
		one.had, one.busy = f.since, f.busy
		f.had, f.since, f.busy = f.had+f.since, 0, 0
		f.answers += float64(answers)
	}
	return one
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

// What is known of a service comes from usualSamples at most: as many as one fault
// more or less does not count among. usualLeast are as many as say anything. Where
// there are as many as that of the last usualRecent, only they count: what an
// overload made answers take is over when it is.
const (
	usualSamples = 64
	usualLeast   = 5
	usualRecent  = time.Second
)

// A usual is how long a host of a service works on one request, by what they did
// last: each step in which one answered is one sample. It is what is known
// of a host to which a crowd of clients comes after hours of rest. How long requests
// wait for their turn is not in it, and of hosts that work on many at once it is
// their part.
type usual struct{ samples []sample } // the newest last

// A sample is what a host did from one answer, or some at once, to the next.
type sample struct {
	at      time.Time
	had     float64 // requests times seconds
	busy    float64 // seconds in which it had any
	answers uint64
}

func (u *usual) add(s sample) {
	if len(u.samples) == usualSamples {
		u.samples = slices.Delete(u.samples, 0, 1)
	}
	u.samples = append(u.samples, s)
}

// known reports whether there is enough to tell how long requests take.
func (u *usual) known() bool { return len(u.samples) >= usualLeast }

// mean gives how long hosts worked on one on average before a silence that began
// then.
func (u *usual) mean(began time.Time) time.Duration {
	all := u.samples
	recent := all[sort.Search(len(all), func(i int) bool { return all[i].at.After(began.Add(-usualRecent)) }):]
	if len(recent) >= usualLeast {
		all = recent
	}
	busy, answers := 0.0, uint64(0)
	for _, s := range all {
		busy += s.busy
		answers += s.answers
	}
	return time.Duration(busy / float64(max(answers, 1)) * float64(time.Second))
}
