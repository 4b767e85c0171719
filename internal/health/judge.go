package health

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"holdfast/internal/status"
)

// What a judgement takes beside the time of a check.
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
	// quickLeast answers in one step, each in less than a fifth of a check's time, are
	// not those of a late host; nor are its checks that were not late for quickFor.
	quickLeast = 5
	quickFor   = 6 * time.Second
	// oneAtATime is how many times longer it takes to find a host hung while
	// another one of its service is: what clients do to one they may do to the
	// next, which then has their requests.
	oneAtATime = 3
	// misjudged is within which time a host that answers again was no hung one.
	misjudged = time.Second
	// remember is for how long a host that was misjudged gets twice the time.
	remember = time.Minute
	// standstill is after which silence a host that is not out, since no other
	// one does better, is said to hang.
	standstill = 10 * time.Second
	// calm is between two probes of a host on which nothing new waits, and
	// between two probes of one that is out.
	calm = time.Second
	// keepAgain is between two commands to keep one host.
	keepAgain = 200 * time.Millisecond
)

// A Judge judges the hosts of all services of one HAProxy. It is not for
// concurrent use.
type Judge struct {
	hosts  map[Key]*host
	usuals map[string]*usual // by service
	last   time.Time         // of the step before
}

// host is what is remembered of one.
type host struct {
	Reading
	verdict Verdict
	flow    flow
	resumed time.Time // when a long silence ended

	progress   time.Time     // when something came from it last
	waits      time.Time     // since when something waits with no progress; zero for nothing
	asks       time.Time     // the same, of requests alone
	crowd      int           // how many requests it had as that began
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

// NewJudge makes a Judge that knows of no host.
func NewJudge() *Judge { return &Judge{hosts: map[Key]*host{}, usuals: map[string]*usual{}} }

// Step takes what is known of all hosts at now, which is every so often. Times
// must not go back. A step that comes late takes nobody out: what stood still
// may have been the agent, and what has come for it meanwhile it has not read.
func (j *Judge) Step(now time.Time, every time.Duration, readings []Reading) Output {
	late := !j.last.IsZero() && now.Sub(j.last) > 2*every
	j.last = now
	seen := make(map[Key]bool, len(readings))
	for _, r := range readings {
		seen[r.Key] = true
		h := j.hosts[r.Key]
		if h == nil {
			h = &host{Reading: r, progress: now}
			j.hosts[r.Key] = h
		}
		if one := h.read(now, r); one.answers > 0 {
			j.usual(r.Service).add(one)
		}
	}
	maps.DeleteFunc(j.hosts, func(key Key, _ *host) bool { return !seen[key] })
	maps.DeleteFunc(j.usuals, func(service string, _ *usual) bool {
		return !slices.ContainsFunc(readings, func(r Reading) bool { return r.Service == service })
	})
	out := Output{Verdicts: make(map[Key]Verdict, len(readings)), Cut: map[Key]time.Duration{}}
	for _, r := range readings {
		h := j.hosts[r.Key]
		j.judge(now, h, late, &out)
		out.Verdicts[r.Key] = h.verdict
	}
	for _, r := range readings {
		j.curious(now, j.hosts[r.Key], &out)
	}
	return out
}

// usual gives what is known of a service.
func (j *Judge) usual(service string) *usual {
	u := j.usuals[service]
	if u == nil {
		u = &usual{}
		j.usuals[service] = u
	}
	return u
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
	if at.After(h.progress) {
		h.progress = at
	}
	if at.After(h.waits) {
		h.waits = time.Time{}
	}
	if at.After(h.asks) {
		h.asks = time.Time{}
	}
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

// remaining gives for how much longer h may be silent. It is negative once it
// has been so for too long.
func (j *Judge) remaining(now time.Time, h *host) time.Duration {
	checks := time.Duration(checkSilence)
	if h.Check == Unreachable { // it has no queue that it could wait in, but that of the kernel
		checks = longestSilence
	}
	left := j.patience(now, h, checks*h.CheckTime) - h.silence(now)
	if !h.asks.IsZero() {
		left = min(left, j.patience(now, h, j.expected(now, h))-h.silentSince(now, h.asks))
	}
	return left
}

// expected gives how long h may be silent that has requests, by how long they
// take it now, and how long those of its service usually take.
func (j *Judge) expected(now time.Time, h *host) time.Duration {
	usual := j.usual(h.Service)
	switch {
	case !usual.known() && h.accepts(now):
		return strange * h.CheckTime
	case !usual.known(): // how long a request takes does not matter to one that gets no connection
		return 0
	}
	expected := max(gapFactor*h.flow.gap(h.InFlight), stayFactor*h.flow.stay(), crowdFactor*time.Duration(h.crowd)*usual.mean(h.asks))
	return min(expected, longestSilence*h.CheckTime)
}

// patience gives how long h may be silent from which nothing is expected for a time.
func (j *Judge) patience(now time.Time, h *host, expected time.Duration) time.Duration {
	p := max(h.CheckTime, expected)
	if now.Sub(h.lateAt) < lateMemory {
		p = max(p, lateFactor*h.lateIn)
	}
	if j.other(h, func(o *host) bool { return !o.out.IsZero() }) {
		p *= oneAtATime
	}
	if !h.doubted.IsZero() && now.Sub(h.doubted) < remember {
		p *= 2
	}
	return p
}

// other reports whether another host of the service of h is so.
func (j *Judge) other(h *host, is func(*host) bool) bool {
	for key, o := range j.hosts {
		if key.Service == h.Service && key.Host != h.Host && is(o) {
			return true
		}
	}
	return false
}

// judge comes to a verdict on h.
func (j *Judge) judge(now time.Time, h *host, lateStep bool, out *Output) {
	silence := h.silence(now)
	j.backAgain(now, h)
	standsOut := j.other(h, func(o *host) bool { return o.better(now, silence) })
	switch {
	case h.Drained:
		h.out, h.fails = time.Time{}, ""
		h.is(now, "", "")
	case !h.out.IsZero():
		j.stillOut(now, h, out)
	case h.fails != "":
		h.is(now, status.Failing, h.fails)
	case h.InUse && h.Fails != "":
		h.fails, h.failedAt = h.Fails, now
		h.is(now, status.Failing, h.fails)
		out.TakeOut = append(out.TakeOut, h.Key)
	case h.InUse && !lateStep && standsOut && j.remaining(now, h) <= 0 && h.mute(now):
		h.out, h.gone = now, !h.Probe.Connected
		j.stillOut(now, h, out)
		out.TakeOut = append(out.TakeOut, h.Key)
	default:
		j.otherwise(now, h, silence, standsOut, out)
	}
}

// backAgain forgets why h was taken out when it answers again, or refuses, or
// HAProxy has it back.
func (j *Judge) backAgain(now time.Time, h *host) {
	if h.fails != "" && h.InUse && now.Sub(h.failedAt) > calm {
		h.fails = ""
	}
	if h.out.IsZero() {
		return
	}
	answers := h.progress.After(h.out)
	if answers && h.progress.Sub(h.out) < misjudged {
		h.doubted = h.progress
	}
	if answers || h.refused() || h.Down && h.Check == Refused || h.InUse && now.Sub(h.out) > calm {
		h.out = time.Time{}
	}
}

// better reports whether h has answered within the time for which another host
// was silent, and is not about as silent itself. One that has just come out of a
// silence is no better: what they share stood still, and the other may be about
// to go on.
func (h *host) better(now time.Time, silence time.Duration) bool {
	return h.InUse && h.out.IsZero() && h.silence(now) <= silence/2 && h.progress.After(now.Add(-silence)) && now.Sub(h.resumed) >= h.CheckTime
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

// refused reports whether the last probe of h was refused: a service that ends
// gracefully closes its listener first, and finishes what it has.
func (h *host) refused() bool { return h.Probe != nil && h.Probe.Refused }

// stillOut tells of h, which was taken out for its silence.
func (j *Judge) stillOut(now time.Time, h *host, out *Output) {
	since := h.progress
	if !h.waits.IsZero() && h.waits.After(since) {
		since = h.waits
	}
	silent := now.Sub(since).Round(time.Millisecond)
	if h.gone {
		h.is(now, status.Dead, fmt.Sprintf("no connection, and nothing came for %v, while others answer", words(silent)))
	} else {
		h.is(now, status.Hung, fmt.Sprintf("it accepts connections, and nothing came for %v, while others answer", words(silent)))
	}
	out.Cut[h.Key] = h.CheckTime
}

// otherwise judges a host that is not out for silence.
func (j *Judge) otherwise(now time.Time, h *host, silence time.Duration, standsOut bool, out *Output) {
	switch {
	case h.Down && (h.Check == Refused || h.Check == Unreachable && !h.lively(now)):
		h.is(now, status.Dead, h.Words)
	case h.Down && h.Check == Wrong:
		h.is(now, status.Failing, h.Words)
	case h.refused() && silence > 0:
		h.is(now, status.Dead, "connection refused")
	case silence >= standstill && silence >= j.patience(now, h, standstill):
		why := "but no other host does better" // and it can be no worse than these
		if standsOut {
			why = "but its requests may take so long"
			if h.InFlight == 0 {
				why = "but no client waits there"
			}
		}
		h.is(now, status.Hung, fmt.Sprintf("nothing came for %v, %s", words(silence), why))
		j.keep(now, h, out)
	default:
		late := h.late(now, silence)
		if late == "" && h.Down && h.Check == Silent {
			h.is(now, status.Hung, h.Words)
			return
		}
		if late == "" {
			h.is(now, status.Well, h.Words)
			return
		}
		h.is(now, status.Late, late)
		j.keep(now, h, out)
	}
}

// lively reports whether h has answered anything of late.
func (h *host) lively(now time.Time) bool { return now.Sub(h.progress) < 2*h.CheckTime }

// late tells in what h is late; empty when it is not.
func (h *host) late(now time.Time, silence time.Duration) string {
	limit := h.CheckTime
	if silence >= limit && (h.mute(now) || !h.checking.IsZero()) {
		return fmt.Sprintf("nothing came for %v", words(silence))
	}
	if waited := now.Sub(h.checking); !h.checking.IsZero() && waited >= limit {
		return fmt.Sprintf("its check waits since %v; it answered %d requests so far, and has %d", words(waited), h.Answers, h.InFlight)
	}
	if p := h.Probe; p != nil && !p.Ended && now.Sub(p.Begun) >= limit && h.lively(now) {
		return fmt.Sprintf("a question to it waits since %v, while it answers others", words(now.Sub(p.Begun)))
	}
	if h.Falling && (h.Check == Silent || h.Check == Unreachable) && h.lively(now) {
		return fmt.Sprintf("%s, while it answered others", h.Words)
	}
	if h.Check == Passed && h.CheckTook >= limit {
		return fmt.Sprintf("%s after %v", h.Words, words(h.CheckTook))
	}
	if h.Check != Passed && h.answeredIn >= limit && now.Sub(h.answeredAt) < 4*calm {
		return fmt.Sprintf("it answered a question after %v", words(h.answeredIn))
	}
	return ""
}

// keep has HAProxy keep h, which is late and no more, when a check of it was not
// answered in time. One that is down has answered before it comes back.
func (j *Judge) keep(now time.Time, h *host, out *Output) {
	overdue := h.Check == Silent || h.Check == Unreachable
	back := h.Down && now.Sub(h.answeredAt) < 4*calm && h.answeredAt.Sub(h.verdict.Since) >= calm
	if overdue && (h.Falling || back) && now.Sub(h.kept) >= keepAgain {
		h.kept = now
		out.Keep = append(out.Keep, h.Key)
	}
}

// is records the verdict on h.
func (h *host) is(now time.Time, c status.Condition, evidence string) {
	if h.verdict.Condition != c {
		h.verdict.Condition, h.verdict.Since = c, now
	}
	h.verdict.Evidence = evidence
}

// curious says of which hosts more is to be known for the next step: of one
// that is silent while something waits, and then of all others of its service,
// since only beside them it can stand out.
func (j *Judge) curious(now time.Time, h *host, out *Output) {
	if h.Drained {
		return
	}
	// Sockets are listed, and probes wait behind what waits at the host: neither is
	// done for a silence that is still as long as it may well be.
	near := j.remaining(now, h) <= 4*h.CheckTime/5 || !j.usual(h.Service).known() && !h.asks.IsZero()
	suspect := h.silence(now) >= h.CheckTime/5 && near
	if suspect || !h.out.IsZero() {
		out.Look = append(out.Look, h.Key)
	}
	switch {
	case h.Down || !h.out.IsZero():
		j.ask(now, h, calm, out)
	case suspect:
		pause := calm
		if h.InFlight > h.askedWith.InFlight || h.Answers != h.askedWith.Answers {
			pause = h.CheckTime / 5
		}
		j.ask(now, h, pause, out)
		for key, o := range j.hosts {
			if key.Service == h.Service && key.Host != h.Host && o.InUse && !o.progress.After(h.waits) {
				j.ask(now, o, calm/2, out)
			}
		}
	}
}

// ask has h probed, unless that was done less than pause ago or a probe is under way.
func (j *Judge) ask(now time.Time, h *host, pause time.Duration, out *Output) {
	if h.Probe != nil && !h.Probe.Ended || now.Sub(h.asked) < pause || slices.Contains(out.Ask, h.Key) {
		return
	}
	h.asked, h.askedWith = now, h.Reading
	out.Ask = append(out.Ask, h.Key)
}

// words gives d as a person reads it.
func words(d time.Duration) string {
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
