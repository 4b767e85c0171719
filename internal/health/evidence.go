package health

import "time"

// What ends the memory that a host was late.
const (
	// quickLeast answers in one step, each in less than a fifth of a check's time, are
	// not those of a late host; nor are its checks that were not late for quickFor.
	quickLeast = 5
	quickFor   = 6 * time.Second
)

// service is what is remembered of one.
type service struct {
	hosts map[string]*host
	usual usual
}

// host is what is remembered of one.
type host struct {
	Reading
	of      *service
	verdict Verdict
	flow    flow
	resumed time.Time // when a long silence ended

	progress   time.Time     // when something came from it last
	waits      time.Time     // since when something waits with no progress; zero for nothing
	asks       time.Time     // the same, of requests alone
	crowd      int           // how many requests it had as that began
	paused     time.Duration // for how long requests waited there for any answer, the longest of late
	pausedAt   time.Time     // and when it gave that
	lateIn     time.Duration // in which it gave the last late answer
	lateAt     time.Time     // and when
	checking   time.Time     // since when its check is under way; zero for none
	asked      time.Time     // when it was probed last
	askedWith  Reading       // what was known of it then
	out        time.Time     // when it was taken out as hung; zero when it is not
	gone       bool          // it was taken out since it does not even accept
	doubted    time.Time     // when it was misjudged
	kept       time.Time     // when HAProxy was told to keep it
	answeredAt time.Time     // when a probe was answered last
	answeredIn time.Duration
	fails      string    // how it fails its clients; empty when it does not
	failedAt   time.Time // when it was taken out for that
}

// read takes in r. It gives what h has answered since the last.
func (h *host) read(now time.Time, r Reading) sample {
	before := h.Reading
	h.Reading = r
	answered := r.Answers > before.Answers
	one := h.flow.pass(now, before.InFlight, r.Answers-min(r.Answers, before.Answers))
	checked := before.Checking && !r.Checking && r.Check == Passed
	if answered || checked {
		h.heard(now)
	}
	if r.Check == Passed && (checked || r.CheckTook != before.CheckTook) {
		h.took(now, r.CheckTook)
	}
	if s := r.Sockets; s != nil && s.Heard >= 0 {
		h.heard(now.Add(-s.Heard))
	}
	if p := r.Probe; p != nil && p.Answered {
		if at := p.Begun.Add(p.Took); at.After(h.answeredAt) {
			h.answeredAt, h.answeredIn = at, p.Took
			h.heard(at)
			h.took(at, p.Took)
		}
	}
	if r.Answers < before.Answers { // another HAProxy
		h.progress = now
	}
	switch {
	case !r.Checking:
		h.checking = time.Time{}
	case h.checking.IsZero() || checked:
		h.checking = now
	}
	h.quick(now, one)
	h.wait(now)
	return one
}

// quick forgets that h was late, or misjudged, once it is quick with many, or its
// checks have been quick for a while.
func (h *host) quick(now time.Time, one sample) {
	many := one.answers >= quickLeast && one.had/float64(one.answers) < h.CheckTime.Seconds()/5
	if many || h.Check == Passed && h.CheckTook < h.CheckTime && now.Sub(h.lateAt) >= quickFor {
		h.lateAt = time.Time{}
	}
	if many && now.Sub(h.doubted) >= quickFor {
		h.doubted = time.Time{}
	}
}

// took records how long an answer took, if that was long. One in time says that
// what waited there is gone.
func (h *host) took(at time.Time, d time.Duration) {
	switch {
	case d < h.CheckTime:
		h.lateAt = time.Time{}
	case d >= h.lateIn || at.Sub(h.lateAt) > lateMemory/2:
		h.lateIn, h.lateAt = d, at
	}
}

// heard records that something came from h at some time.
func (h *host) heard(at time.Time) {
	if h.silentSince(at, h.waits) >= h.CheckTime {
		h.resumed = at
	}
	if !h.asks.IsZero() && at.After(h.asks) {
		h.paused, h.pausedAt = max(h.lately(at), h.silentSince(at, h.asks)), at
		h.asks = time.Time{}
	}
	if at.After(h.progress) {
		h.progress = at
	}
	if at.After(h.waits) {
		h.waits = time.Time{}
	}
}

// lately gives the longest time for which requests waited at h of late until it
// answered one; zero where none came.
func (h *host) lately(now time.Time) time.Duration {
	if now.Sub(h.pausedAt) > pauseMemory {
		return 0
	}
	return h.paused
}

// wait records since when something waits at h.
func (h *host) wait(now time.Time) {
	switch {
	case h.InFlight == 0:
		h.asks = time.Time{}
	case h.asks.IsZero():
		h.asks = now
	}
	if h.silentSince(now, h.asks) < h.CheckTime/2 {
		h.crowd = h.InFlight // those that come later wait behind these
	}
	if h.InFlight == 0 && !h.Checking {
		h.waits = time.Time{}
		return
	}
	if h.waits.IsZero() {
		h.waits = now
	}
	s := h.Sockets
	if s != nil && s.Waiting == 0 && s.Connecting == 0 && !h.Checking {
		h.waits, h.asks = time.Time{}, time.Time{} // consoles and pools of connections have nothing to say
	}
	// The kernel knows since when exactly.
	if s != nil && s.Waiting > 0 {
		if since := now.Add(-s.Longest); since.Before(h.waits) && since.After(h.progress) {
			h.waits = since
		}
	}
}

// silence gives for how long nothing has come from h while something waits.
func (h *host) silence(now time.Time) time.Duration { return h.silentSince(now, h.waits) }

func (h *host) silentSince(now, waits time.Time) time.Duration {
	if waits.IsZero() {
		return 0
	}
	if h.progress.After(waits) {
		waits = h.progress
	}
	return now.Sub(waits)
}

// mute reports whether a probe of h has waited, too.
func (h *host) mute(now time.Time) bool {
	p := h.Probe
	switch {
	case p == nil || p.Answered || p.Refused:
		return false
	case p.Ended:
		return p.Begun.After(h.progress)
	}
	since := p.Begun
	if h.progress.After(since) {
		since = h.progress
	}
	return now.Sub(since) >= h.CheckTime/2
}

// accepts reports whether nothing says that h accepts no connection: a probe that
// got none in half the time.
func (h *host) accepts(now time.Time) bool {
	p := h.Probe
	return p == nil || p.Connected || p.Refused || !p.Ended && now.Sub(p.Begun) < h.CheckTime/2 || h.progress.After(p.Begun)
}

// unheard reports whether the checks of h get no connection, and nothing else
// has come from it for d.
func (h *host) unheard(now time.Time, d time.Duration) bool {
	return h.Check == Unreachable && now.Sub(h.progress) >= d
}

// cutOff reports whether h accepts nothing, neither checks nor probes, and has
// said nothing for as long as a standstill lasts that is one: then it is out of
// reach, however the others of its service do. It may be all of them, where
// this controller is the one that is cut off; keeping them would leave clients
// waiting for nobody.
func (h *host) cutOff(now time.Time) bool {
	p := h.Probe
	return h.unheard(now, standstill) && p != nil && p.Begun.After(h.progress) && h.mute(now) && !h.accepts(now)
}

// refused reports whether the last probe of h was refused: a service that ends
// gracefully closes its listener first, and finishes what it has.
func (h *host) refused() bool { return h.Probe != nil && h.Probe.Refused }

// lively reports whether h has answered anything of late.
func (h *host) lively(now time.Time) bool { return now.Sub(h.progress) < 2*h.CheckTime }
