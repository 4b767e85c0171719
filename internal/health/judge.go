package health

import (
	"fmt"
	"maps"
	"time"

	"holdfast/internal/status"
)

// What a verdict takes beside the silence that is too long.
const (
	// misjudged is within which time a host that answers again was no hung one.
	misjudged = time.Second
	// standstill is after which silence a host that is not out, since no other
	// one does better, is said to hang.
	standstill = 10 * time.Second
	// keepAgain is between two commands to keep one host.
	keepAgain = 200 * time.Millisecond
)

// A Judge judges the hosts of all services of one HAProxy. It is not for
// concurrent use.
type Judge struct {
	services map[string]*service
	last     time.Time // of the step before
}

// NewJudge makes a Judge that knows of no host.
func NewJudge() *Judge { return &Judge{services: map[string]*service{}} }

// Step takes what is known of all hosts at now, which is every so often. Times
// must not go back. A step that comes late takes nobody out: what stood still
// may have been the agent, and what has come for it meanwhile it has not read.
func (j *Judge) Step(now time.Time, every time.Duration, readings []Reading) Output {
	late := !j.last.IsZero() && now.Sub(j.last) > 2*every
	j.last = now
	hosts := make([]*host, len(readings))
	seen := make(map[*host]bool, len(readings))
	for i, r := range readings {
		h := j.host(now, r)
		hosts[i], seen[h] = h, true
		if one := h.read(now, r); one.answers > 0 {
			h.of.usual.add(one)
		}
	}
	for _, s := range j.services {
		maps.DeleteFunc(s.hosts, func(_ string, h *host) bool { return !seen[h] })
	}
	maps.DeleteFunc(j.services, func(_ string, s *service) bool { return len(s.hosts) == 0 })
	out := Output{Verdicts: make(map[Key]Verdict, len(hosts)), Cut: map[Key]time.Duration{}}
	for _, h := range hosts {
		h.judge(now, late, &out)
		out.Verdicts[h.Key] = h.verdict
	}
	for _, h := range hosts {
		h.curious(now, &out)
	}
	return out
}

// host gives what is remembered of the host of r, from now on if it is new.
func (j *Judge) host(now time.Time, r Reading) *host {
	s := j.services[r.Service]
	if s == nil {
		s = &service{hosts: map[string]*host{}}
		j.services[r.Service] = s
	}
	h := s.hosts[r.Host]
	if h == nil {
		h = &host{Reading: r, of: s, progress: now}
		s.hosts[r.Host] = h
	}
	return h
}

// other reports whether another host of the service of h is so.
func (h *host) other(is func(*host) bool) bool {
	for _, o := range h.of.hosts {
		if o != h && is(o) {
			return true
		}
	}
	return false
}

// judge comes to a verdict on h.
func (h *host) judge(now time.Time, lateStep bool, out *Output) {
	silence := h.silence(now)
	h.backAgain(now)
	standsOut := h.other(func(o *host) bool { return o.better(now, silence) })
	switch {
	case h.Drained:
		h.out, h.fails = time.Time{}, ""
		h.is(now, "", "")
	case !h.out.IsZero():
		h.stillOut(now, out)
	case h.fails != "":
		h.is(now, status.Failing, h.fails)
	case h.InUse && h.Fails != "":
		h.fails, h.failedAt = h.Fails, now
		h.is(now, status.Failing, h.fails)
		out.TakeOut = append(out.TakeOut, h.Key)
	case h.InUse && !lateStep && standsOut && h.remaining(now) <= 0 && h.mute(now):
		h.out, h.gone = now, !h.Probe.Connected
		h.stillOut(now, out)
		out.TakeOut = append(out.TakeOut, h.Key)
	default:
		h.otherwise(now, silence, standsOut, out)
	}
}

// backAgain forgets why h was taken out when it answers again, or refuses, or
// HAProxy has it back.
func (h *host) backAgain(now time.Time) {
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

// stillOut tells of h, which was taken out for its silence.
func (h *host) stillOut(now time.Time, out *Output) {
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
func (h *host) otherwise(now time.Time, silence time.Duration, standsOut bool, out *Output) {
	switch {
	case h.Down && (h.Check == Refused || h.Check == Unreachable && !h.lively(now)):
		h.is(now, status.Dead, h.Words)
	case h.Down && h.Check == Wrong:
		h.is(now, status.Failing, h.Words)
	case h.refused() && silence > 0:
		h.is(now, status.Dead, "connection refused")
	case h.cutOff(now):
		h.is(now, status.Dead, fmt.Sprintf("no connection, and nothing came for %v", words(now.Sub(h.progress))))
	case silence >= standstill && silence >= h.patience(now, standstill):
		why := "but no other host does better" // and it can be no worse than these
		if standsOut {
			why = "but its requests may take so long"
			if h.InFlight == 0 {
				why = "but no client waits there"
			}
		}
		h.is(now, status.Hung, fmt.Sprintf("nothing came for %v, %s", words(silence), why))
		h.keep(now, out)
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
		h.keep(now, out)
	}
}

// late tells in what h is late; empty when it is not.
func (h *host) late(now time.Time, silence time.Duration) string {
	limit := h.CheckTime
	if silence >= limit && (h.mute(now) || !h.checking.IsZero()) {
		return fmt.Sprintf("nothing came for %v", words(silence))
	}
	if waited := now.Sub(h.checking); !h.checking.IsZero() && waited >= limit {
		return fmt.Sprintf("its check waits since %v; it answered %s so far, and has %d", words(waited), status.Count(int(h.Answers), "request"), h.InFlight)
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
func (h *host) keep(now time.Time, out *Output) {
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

// words gives d as a person reads it.
func words(d time.Duration) string {
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
