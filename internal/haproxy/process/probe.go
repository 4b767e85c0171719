package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/status"
)

// listenersPatience is how many times longer a HAProxy may hang that answers on
// its runtime socket, but not through its listeners, before it is killed: the
// fault may be on the way to it.
const listenersPatience = 10

// busyPatience is how many times longer a try waits for a HAProxy that was busy
// in the last one.
const busyPatience = 10

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
		planned = planned.Add(interval)
		if late := time.Since(planned); late > interval {
			planned = planned.Add(late) // those that were missed are not made up for
		}
		if !s.sleep(time.Until(planned)) {
			return
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
		p.busy = false
		p.runtime.hears(true)
	}
	if subject == nil || subject.over() {
		return
	}
	reloading := subject.isReloading()
	t := try{planned: planned, started: time.Now(), limit: p.opt.ProbeInterval}
	if p.busy { // it may answer late
		t.limit *= busyPatience
	}
	before := activityOf(subject.serving().pid)
	found := p.try(t.limit)
	now := activityOf(subject.serving().pid)
	found.reloading = reloading || subject.isReloading()
	t.gave = found.judge()
	// One that answers on its socket does something anyway; it has more to do
	// than it can where it is at it most of the time.
	p.busy = t.gave == silent && (found.runtime != Answered && now.busySince(before) || now.since(before) > t.limit/2)
	t.busy = p.busy
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
	p.lookAtSockets(found)
}

// try asks on the runtime socket, and through the listeners at the same time.
func (p *prober) try(limit time.Duration) asked {
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	var found asked
	var wg sync.WaitGroup
	var probeErr error
	if p.opt.Probe != nil {
		wg.Go(func() { found.listeners, probeErr = p.opt.Probe(ctx) })
	}
	info, err := p.info(ctx)
	wg.Wait()
	found.runtime, found.full = signOf(err), full(info)
	if err == nil {
		p.note(info)
	}
	p.reason = ""
	if found.runtime != Answered {
		p.reason = fmt.Sprintf("no answer on its runtime socket: %v", inWords(err, limit))
	}
	if probeErr != nil && found.runtime != Silent {
		p.reason = fmt.Sprintf("no answer through its listeners: %v", inWords(probeErr, limit))
	}
	return found
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
func full(i haproxy.Info) bool { return i.MaxConn > 0 && i.Conns >= i.MaxConn-i.MaxConn/50 }

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
