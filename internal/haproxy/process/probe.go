package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
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
	own      bool // the agent could not ask: it is out of descriptors
	busy     bool // HAProxy was, in the last try, and did not answer
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
	}
	if subject == nil || subject.over() {
		return
	}
	t := try{planned: planned, started: time.Now(), limit: p.opt.ProbeInterval}
	if p.busy { // it may answer late
		t.limit *= busyPatience
	}
	before := activityOf(subject.serving().pid)
	t.ok = p.try(t.limit)
	t.own = p.own
	now := activityOf(subject.serving().pid)
	// One that answers on its socket does something anyway; it has more to do
	// than it can where it is at it most of the time.
	p.busy = !t.ok && (p.deaf && now.busySince(before) || now.since(before) > t.limit/2)
	t.busy = p.busy
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
	}
}

// try asks on the runtime socket, and through the listeners at the same time.
func (p *prober) try(limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	var wg sync.WaitGroup
	var probeErr error
	if p.opt.Probe != nil {
		wg.Go(func() { probeErr = p.opt.Probe(ctx) })
	}
	info, err := p.info(ctx)
	wg.Wait()
	p.deaf = err != nil
	p.own = outOfFiles(err) || outOfFiles(probeErr)
	switch {
	case err != nil:
		p.reason = fmt.Sprintf("no answer on its runtime socket: %v", inWords(err, limit))
		return false
	case probeErr != nil && !full(info):
		p.reason = fmt.Sprintf("no answer through its listeners: %v", inWords(probeErr, limit))
		p.note(info)
		return false
	}
	p.note(info)
	return true
}

// outOfFiles reports whether err says that the agent, or the whole host, has no
// descriptor to spare.
func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
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
