package health

import "time"

// How long a silence must last that is no answer yet.
const (
	// gapFactor is how many times the gap that is to be expected between two
	// answers a silence must last. A host with k requests, each of which takes
	// r, gives one every r/k.
	gapFactor = 6
	// stayFactor is how many times longer than its requests stay at a host it must
	// be silent: threads that share a processor finish all at once.
	stayFactor = 2
	// crowdFactor is how many times longer than the requests that it had as the
	// silence began take one after the other: some are harder than others.
	crowdFactor = 2
	// pauseFactor is how many times longer than another host of its service, which
	// then answered, it must be silent: a crowd that came to all of them has as hard
	// requests here as there, and none of them may have been hard before. It is by
	// what they did in the last pauseMemory.
	pauseFactor = 2
	pauseMemory = 2 * time.Second
	// strange is how long a silence must last, in times of a check, in a service
	// of which it is not known yet how long its requests take.
	strange = 4
	// longestSilence bounds that, in times of a check. It is also what it takes where
	// nothing but checks waits, which get no connection.
	longestSilence = 10
	// checkSilence is what it takes, in times of a check, where nothing but checks
	// waits, and the host accepts: others may keep it busy, of whom this HAProxy
	// sees nothing, and no client waits for a quick judgement.
	checkSilence = 60
	// lateFactor is how many times longer than its last late answer a silence
	// must last, for as long as lateMemory.
	lateFactor = 4
	lateMemory = 30 * time.Second
	// oneAtATime is how many times longer it takes to find a host hung while
	// another one of its service is: what clients do to one they may do to the
	// next, which then has their requests.
	oneAtATime = 3
	// remember is for how long a host that was misjudged gets twice the time.
	remember = time.Minute
)

// remaining gives for how much longer h may be silent. It is negative once it
// has been so for too long.
func (h *host) remaining(now time.Time) time.Duration {
	checks := time.Duration(checkSilence)
	if h.Check == Unreachable { // it has no queue that it could wait in, but that of the kernel
		checks = longestSilence
	}
	left := h.patience(now, checks*h.CheckTime) - h.silence(now)
	if !h.asks.IsZero() {
		left = min(left, h.patience(now, h.expected(now))-h.silentSince(now, h.asks))
	}
	return left
}

// expected gives how long h may be silent that has requests, by how long they
// take it now, and how long those of its service usually take.
func (h *host) expected(now time.Time) time.Duration {
	usual := &h.of.usual
	switch {
	case !usual.known() && h.accepts(now):
		return strange * h.CheckTime
	case !usual.known(): // how long a request takes does not matter to one that gets no connection
		return 0
	}
	expected := max(gapFactor*h.flow.gap(h.InFlight), stayFactor*h.flow.stay(), crowdFactor*time.Duration(h.crowd)*usual.mean(h.asks), pauseFactor*h.othersPaused(now))
	return min(expected, longestSilence*h.CheckTime)
}

// othersPaused gives the longest time for which requests waited of late at another
// host of the service that is in use, until it answered one.
func (h *host) othersPaused(now time.Time) time.Duration {
	longest := time.Duration(0)
	for _, o := range h.of.hosts {
		if o != h && o.InUse && o.out.IsZero() {
			longest = max(longest, o.lately(now))
		}
	}
	return longest
}

// patience gives how long h may be silent from which nothing is expected for a time.
func (h *host) patience(now time.Time, expected time.Duration) time.Duration {
	p := max(h.CheckTime, expected)
	if now.Sub(h.lateAt) < lateMemory {
		p = max(p, lateFactor*h.lateIn)
	}
	if h.other(func(o *host) bool { return !o.out.IsZero() }) {
		p *= oneAtATime
	}
	if !h.doubted.IsZero() && now.Sub(h.doubted) < remember {
		p *= 2
	}
	return p
}
