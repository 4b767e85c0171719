package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/status"
)

// listenersPatience is how many times longer a HAProxy may hang that answers on
// its runtime socket, but not through its listeners, before it is killed: the
// fault may be on the way to it.
const listenersPatience = 10

// busyPatience is how many times longer a try waits for a HAProxy that was busy
// in the last one.
const busyPatience = 10

// restFactor is how many times longer the pause between two tries is where no
// client comes in through a VIP, while all is well. It ends with the first try that
// is not, and when one comes in: see Taken.
const restFactor = 10

// infoInterval is how often HAProxy is asked on its runtime socket, too, when it
// answers through its listeners.
const infoInterval = time.Second

// A prober asks HAProxy for signs of life.
type prober struct {
	*supervisor
	detector hangDetector
	subject  *proc
	hungFrom time.Time
	reason   string
	deaf     bool // the runtime socket is silent too
	busy     bool // HAProxy was, in the last try, and did not answer
	told     bool // that a socket is lost
	resting  bool // the last try found it well, and no client that could miss it
	toldBy   Sign // what the runtime socket gave when it was asked last
	infoAt   time.Time
}

// probe asks for a sign of life several times a second until ctx ends, and
// hands on what HAProxy says in its log meanwhile.
func (s *supervisor) probe() {
	interval := s.opt.ProbeInterval
	p := &prober{supervisor: s, detector: hangDetector{
		after: s.opt.HungAfter, busy: s.opt.BusyAfter, tries: 3, back: 3, slack: interval / 2,
	}}
	planned := time.Now()
	for {
		pause := interval
		if p.resting {
			pause *= restFactor
		}
		planned = planned.Add(pause)
		if late := time.Since(planned); late > interval {
			planned = planned.Add(late) // those that were missed are not made up for
		}
		select {
		case <-s.ctx.Done():
			return
		case <-s.taken:
			planned = time.Now()
		case <-time.After(time.Until(planned)):
		}
		s.relay()
		p.once(planned)
	}
}

// once makes one try, and acts on what the tries say together.
func (p *prober) once(planned time.Time) {
	subject := p.current()
	if subject != p.subject {
		p.subject = subject
		p.detector.reset()
		p.busy, p.resting, p.toldBy = false, false, NoSign
		p.WorkerSocket.Hears(true)
	}
	if subject == nil || subject.over() {
		return
	}
	reloading := subject.isReloading()
	t := try{planned: planned, started: time.Now(), limit: p.opt.ProbeInterval}
	if p.busy { // it may answer late
		t.limit *= busyPatience
	}
	pid := subject.serving().PID
	// What a HAProxy does that answers at once nobody needs to know.
	before := make(chan activity, 1)
	slow := time.AfterFunc(t.limit/5, func() { before <- activityOf(pid) })
	found := p.try(t.limit)
	found.reloading = reloading || subject.isReloading()
	t.gave = found.judge()
	p.busy = false
	if !slow.Stop() && t.gave == silent {
		p.busy = found.atWork(activityOf(pid), <-before, t.limit)
	}
	t.busy = p.busy
	p.resting = t.gave == alive && found.listeners == NoSign
	p.deaf = found.runtime == Silent
	t.ended = time.Now()
	if p.ctx.Err() != nil {
		return
	}
	switch p.detector.see(t) {
	case silent:
		p.hangs(subject)
	case alive:
		p.lives(subject)
	case unsure:
		if p.detector.hung && found.nothing() && !found.reloading { // and there is no way left to find out
			p.hangs(subject)
		}
	}
	if !found.unasked {
		p.lookAtSockets(found)
	}
}

// atWork reports whether a HAProxy that did not answer within limit was busy
// meanwhile. One that answers on its socket does something anyway; it has more to
// do than it can where it is at it most of the time.
func (a asked) atWork(now, before activity, limit time.Duration) bool {
	return a.runtime != Answered && now.busySince(before) || now.since(before) > 2*limit/5
}

// try asks through the listeners and on the runtime socket at the same time. Where
// the listeners answer at once, the socket is asked now and then only.
func (p *prober) try(limit time.Duration) asked {
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	var found asked
	var probeErr error
	through := make(chan struct{})
	if p.opt.Probe == nil {
		close(through)
	} else {
		go func() {
			defer close(through)
			found.listeners, probeErr = p.opt.Probe(ctx)
		}()
	}
	p.reason = ""
	if p.toldBy == Answered && time.Since(p.infoAt) < infoInterval && closedWithin(through, limit/5) && found.listeners == Answered {
		found.unasked = true
		return found
	}
	p.infoAt = time.Now()
	info, err := p.Info(ctx)
	<-through
	found.runtime, found.full = signOf(err), full(info)
	p.toldBy = found.runtime
	if err == nil {
		p.note(info)
	}
	if found.runtime != Answered {
		p.reason = fmt.Sprintf("no answer on its runtime socket: %v", inWords(err, limit))
	}
	if probeErr != nil && found.runtime != Silent {
		p.reason = fmt.Sprintf("no answer through its listeners: %v", inWords(probeErr, limit))
	}
	return found
}

// closedWithin reports whether done is closed within d.
func closedWithin(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// inWords says what err means to a person.
func inWords(err error, limit time.Duration) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Sprintf("nothing within %v", limit)
	}
	return err.Error()
}

// full reports whether HAProxy has all the connections that it may have, or
// almost: then it accepts no more, and that is no hang.
func full(i output.Info) bool { return i.MaxConn > 0 && i.Conns >= i.MaxConn-i.MaxConn/50 }

// hangs records that subject hangs, and has it replaced after a while.
func (p *prober) hangs(subject *proc) {
	p.mu.Lock()
	if p.proc != subject || subject.over() {
		p.mu.Unlock()
		return
	}
	first := p.state.State != status.HAProxyHung
	if first {
		p.hungFrom = time.Now()
	}
	p.setLocked(status.HAProxyHung, p.reason)
	p.mu.Unlock()
	if first {
		p.log.Error("HAProxy hangs", "reason", p.reason)
	}
	patience := p.opt.KillAfter
	if !p.deaf {
		patience *= listenersPatience
	}
	if time.Since(p.hungFrom) < patience {
		return
	}
	select {
	case p.replace <- subject:
	default: // asked for already
	}
}

// lives records that subject answers.
func (p *prober) lives(subject *proc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == subject && !subject.over() && p.state.State == status.HAProxyHung {
		p.log.Info("HAProxy answers again", "after", time.Since(p.hungFrom).Round(time.Millisecond))
		p.setLocked(status.HAProxyRunning, "")
	}
}
