package reach

import (
	"slices"
	"time"

	"holdfast/internal/status"
)

// sampleAge is how old a sample of a Window may be.
const sampleAge = 2 * status.PathWindow * time.Second

// A Window has the last handshakes with one host. Its zero value is empty.
type Window struct {
	samples       []sample
	silent, shuts time.Time // since when; zero: it is not so
}

type sample struct {
	at       time.Time
	answered bool
	rtt      time.Duration // 0 where it is not known
}

// Add takes in one that ended at a time: whether it was answered, and, if the
// kernel knows that, how long it took; else 0.
func (w *Window) Add(at time.Time, answered bool, rtt time.Duration) {
	if len(w.samples) == status.PathWindow {
		w.samples = slices.Delete(w.samples, 0, 1)
	}
	w.samples = append(w.samples, sample{at, answered, rtt})
	w.silent = since(w.silent, at, !answered)
}

// Refuse takes in whether a handshake that ended at a time was refused.
func (w *Window) Refuse(at time.Time, refused bool) { w.shuts = since(w.shuts, at, refused) }

// since gives since when something is so that was so since a time, zero for not at all.
func since(was, at time.Time, so bool) time.Time {
	switch {
	case !so:
		return time.Time{}
	case was.IsZero():
		return at
	}
	return was
}

// Path tells what they say at a time; without a name and an address.
func (w *Window) Path(now time.Time) status.Path {
	w.samples = slices.DeleteFunc(w.samples, func(s sample) bool { return now.Sub(s.at) > sampleAge })
	p := status.Path{Sent: len(w.samples), SilentSince: w.silent, RefusedSince: w.shuts}
	var times []time.Duration
	for _, s := range w.samples {
		if p.Silent++; s.answered {
			p.Silent = 0
		}
		if s.rtt > 0 {
			times = append(times, s.rtt)
		}
	}
	if len(times) > 0 {
		slices.Sort(times)
		p.RTT = times[len(times)/2]
	}
	half := len(w.samples) / 2
	earlier, later := lost(w.samples[:half]), lost(w.samples[half:])
	p.Lost = earlier + later
	if half > 0 {
		p.Lasting = min(float64(earlier)/float64(half), float64(later)/float64(len(w.samples)-half))
	}
	return p
}

func lost(samples []sample) int {
	n := 0
	for _, s := range samples {
		if !s.answered {
			n++
		}
	}
	return n
}
