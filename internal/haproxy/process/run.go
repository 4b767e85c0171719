package process

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/ours"
	"holdfast/internal/pidfd"
	"holdfast/internal/status"
)

// maintainInterval is how often sockets are looked at, and server states saved that have
// changed; saveInterval how often the others are.
const (
	maintainInterval = 2 * time.Second
	saveInterval     = 30 * time.Second
)

// askTimeout is how long HAProxy may take to answer what is asked from time to time.
const askTimeout = time.Second

// masterTimeout is how long a master may take to answer that is to be adopted.
const masterTimeout = 2 * time.Second

// A supervisor is the run of a Manager: what only its own goroutines need.
type supervisor struct {
	*Manager
	ctx     context.Context
	wg      sync.WaitGroup
	backoff backoff
	restart <-chan time.Time // nil: none is due
	replace chan *proc       // hung for too long
	healing backoff          // of sockets that are lost
	healed  time.Time        // they were, or it was tried
	healAt  time.Time        // not before
	spelled int              // times that the runtime socket's path was spelled in another way
	// masterID is the master that was started or adopted last.
	masterID ours.Identity
	// unsaved is closed when a server has changed since the states were saved last; nil:
	// they never were.
	unsaved <-chan struct{}
	saved   time.Time

	// written is the configuration that the file has, as far as known.
	written *haproxy.Config

	saidNoSyslog atomic.Bool
}

// Run supervises HAProxy until ctx ends, and then leaves it running. The one
// that runs already is adopted; where none does, one is started by the first
// Apply. It returns nil, or an error when it cannot begin.
func (m *Manager) Run(ctx context.Context) error {
	s := &supervisor{
		Manager: m, ctx: ctx, replace: make(chan *proc, 1),
		backoff: backoff{first: m.opt.RestartFirst, most: m.opt.RestartMost, stable: m.opt.Stable},
		healing: backoff{first: healFirst, most: healMost, stable: healStable},
	}
	defer m.WorkerSocket.Close()
	defer m.MasterSocket.Close()
	defer s.wg.Wait()
	m.runMode = modeOf(m.opt.RunDir)
	m.logFile.skip()
	if err := s.adopt(); err != nil {
		return err
	}
	s.wg.Go(s.probe)
	s.loop()
	if p := m.current(); p != nil {
		p.close()
	}
	return nil
}

// loop is the one goroutine that starts, reloads and ends HAProxy.
func (s *supervisor) loop() {
	tick := time.NewTicker(maintainInterval)
	defer tick.Stop()
	for {
		var gone <-chan struct{}
		if p := s.current(); p != nil {
			gone = p.gone
		}
		s.turned.Store(int64(time.Since(s.begun)))
		select {
		case <-s.ctx.Done():
			return
		case <-gone:
			s.died()
		case <-s.restart:
			s.startAgain()
		case p := <-s.replace:
			s.endHung(p)
		case r := <-s.requests:
			result, err := s.apply(r.cfg, r.always)
			r.reply <- outcome{result, err}
		case <-tick.C:
			s.maintain()
		}
	}
}

// died sees to the restart of a HAProxy that has ended.
func (s *supervisor) died() {
	p := s.current()
	s.mu.Lock()
	s.proc = nil
	s.state.PID, s.state.Connections = 0, 0
	reason := s.state.Reason
	s.mu.Unlock()
	s.bury(p)
	s.relay()
	if why := s.logFile.why(); why != "" {
		reason += ": " + why
		s.set(status.HAProxyDown, reason)
	}
	pause := s.backoff.pause(time.Since(p.started))
	s.log.Error("HAProxy is down", "reason", reason, "restart_in", pause)
	s.restart = time.After(pause)
}

// bury sees to it that both the master and the worker of p have ended. One
// that has lost the other is about to, and until then it may have the ports.
func (s *supervisor) bury(p *proc) {
	ctx, cancel := context.WithTimeout(s.ctx, sweepTimeout)
	defer cancel()
	for _, w := range []*pidfd.Process{p.serving(), p.master} {
		if err := kill(ctx, w); err != nil {
			s.log.Error("what is left of HAProxy is in the way", "error", err)
		}
	}
	p.close()
}

// startAgain starts HAProxy after it died, or could not be started.
func (s *supervisor) startAgain() {
	s.restart = nil
	s.mu.Lock()
	s.state.Restarts++
	s.mu.Unlock()
	err := s.start(s.State().Reason)
	if s.ctx.Err() != nil {
		return
	}
	if err != nil {
		s.failed(err)
		return
	}
	s.log.Info("HAProxy runs again", "pid", s.State().PID)
}

// failed records that HAProxy could not be started, and when it is tried again.
func (s *supervisor) failed(err error) {
	pause := max(s.backoff.pause(0), s.opt.RestartFirst)
	if s.State().Reason != err.Error() {
		s.log.Error("HAProxy cannot be started", "error", err, "next_try_in", pause)
	}
	s.set(status.HAProxyFailed, err.Error())
	s.restart = time.After(pause)
}

// endHung kills a HAProxy that has hung for too long; its death starts the next one.
func (s *supervisor) endHung(p *proc) {
	if p != s.current() || s.State().State != status.HAProxyHung {
		return
	}
	s.log.Error("HAProxy hangs; killing it", "pid", p.master.PID, "reason", s.State().Reason)
	for _, w := range []*pidfd.Process{p.master, p.serving()} {
		if err := w.Signal(syscall.SIGKILL); err != nil {
			s.log.Error("HAProxy hangs and cannot be killed", "error", err)
		}
	}
}

// maintain does what is to be done from time to time.
func (s *supervisor) maintain() {
	if s.current() == nil || s.State().State != status.HAProxyRunning {
		return
	}
	s.healSockets()
	s.saveChanges()
	// It is asked nothing: this is how it is noticed that its name is gone.
	if conn, err := s.MasterSocket.Dial(s.ctx); err == nil {
		_ = conn.Close() // nothing was written
	}
}

// saveChanges saves the states of servers, of which one has changed since.
func (s *supervisor) saveChanges() {
	select {
	case <-s.unsaved:
	default:
		if s.unsaved != nil && time.Since(s.saved) < saveInterval {
			return
		}
	}
	s.unsaved, s.saved = s.ServerChanges(), time.Now()
	if err := s.within(askTimeout, s.SaveServerState); err != nil && s.ctx.Err() == nil {
		s.unsaved = nil // at once again
		s.log.Warn("the states of the servers were not saved", "error", err)
	}
}

// within calls f with a context that ends after d.
func (s *supervisor) within(d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(s.ctx, d)
	defer cancel()
	return f(ctx)
}

// sleep waits for d; it reports false when ctx ended.
func (s *supervisor) sleep(d time.Duration) bool {
	select {
	case <-s.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// hasConfig reports whether there is a configuration to start with.
func (s *supervisor) hasConfig() bool {
	_, err := os.Stat(s.configFile())
	return err == nil
}
