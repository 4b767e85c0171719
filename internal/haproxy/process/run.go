package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/ours"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/haproxy/runtime"
	"holdfast/internal/pidfd"
	"holdfast/internal/status"
)

// maintainInterval is how often server states are saved, and sockets looked at.
const maintainInterval = 2 * time.Second

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
	if err := s.within(askTimeout, s.SaveServerState); err != nil && s.ctx.Err() == nil {
		s.log.Warn("the states of the servers were not saved", "error", err)
	}
	// It is asked nothing: this is how it is noticed that its name is gone.
	if conn, err := s.MasterSocket.Dial(s.ctx); err == nil {
		_ = conn.Close() // nothing was written
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

// adopt takes over the HAProxy that runs with this run directory, if one does.
// One whose master does not answer is ended: beside a second one, it would
// take half of the connections and answer none.
func (s *supervisor) adopt() error {
	all, err := s.ours()
	if err != nil || len(all) == 0 {
		return err
	}
	peer := ours.Peer(s.MasterSocket.Path)
	candidates := ours.Masters(all, peer)
	p, worker, err := s.adoptable(candidates, peer)
	if err == nil {
		err = s.follow(p, worker, s.recall(p))
	}
	if err != nil {
		s.log.Warn("a HAProxy that cannot be adopted runs; ending it", "pid", all[0].PID, "error", err)
		if err := s.sweep(); err != nil { // the next start tries again, and says so
			s.log.Error("an earlier HAProxy is in the way", "error", err)
		}
		if s.hasConfig() {
			s.restart = time.After(0)
		}
		return nil
	}
	s.log.Info("adopted the running HAProxy", "pid", p.master.PID, "worker", worker)
	s.identify(p.master)
	if s.config() != nil {
		s.closingAgain(s.ctx)
	}
	if len(candidates) > 1 {
		s.log.Warn("another HAProxy runs with the same run directory; ending it")
		if err := s.sweepBut(p.master.PID); err != nil {
			s.log.Error("a second HAProxy is in the way", "error", err)
		}
	}
	return nil
}

// adoptable takes hold of the master, and finds its worker.
func (s *supervisor) adoptable(masters []ours.Process, peer int) (*proc, int, error) {
	pid, err := ours.Choose(masters, peer)
	if err != nil {
		return nil, 0, err
	}
	w, err := pidfd.Open(pid)
	if err != nil {
		return nil, 0, err
	}
	s.logFile.of(w.PID)
	s.logFile.skip()
	procs, err := s.awaitMaster(w)
	if runtime.LeadsNowhere(err) {
		procs, err = s.revive(w)
	}
	switch {
	case err != nil:
	case procs.Master.PID != w.PID:
		err = fmt.Errorf("pid %d answers on its socket", procs.Master.PID)
	case len(procs.Workers) == 0:
		err = errors.New("it has no worker")
	default:
		ctx, cancel := context.WithTimeout(s.ctx, masterTimeout)
		defer cancel()
		if info, err := s.Info(ctx); err == nil {
			s.note(info)
		}
		return &proc{master: w, adopted: true, started: time.Now()}, procs.Workers[0].PID, nil
	}
	w.Close()
	return nil, 0, err
}

// awaitMaster asks the master for its processes. One that is busy, as in a reload
// or on a machine whose processors are all taken, gets more time.
func (s *supervisor) awaitMaster(master *pidfd.Process) (output.Processes, error) {
	begun := time.Now()
	for {
		before := activityOf(master.PID)
		ctx, cancel := context.WithTimeout(s.ctx, masterTimeout)
		procs, err := s.Processes(ctx)
		cancel()
		busy := activityOf(master.PID).busySince(before)
		if !runtime.TimedOut(err) || !busy || time.Since(begun) > s.opt.BusyAfter {
			return procs, err
		}
	}
}

// recall finds out which configuration the adopted p runs with: nil when that
// cannot be told, and then the first Apply reloads.
func (s *supervisor) recall(p *proc) *haproxy.Config {
	cfg, err := s.readConfig()
	note, err2 := readIfThere(s.runningFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) || err2 != nil {
		s.log.Warn("the configuration that HAProxy runs with is not known", "error", errors.Join(err, err2))
	}
	if strings.TrimSpace(string(note)) != fmt.Sprintf("%d %s", p.master.PID, digest(cfg)) {
		return nil
	}
	return cfg
}

// hasConfig reports whether there is a configuration to start with.
func (s *supervisor) hasConfig() bool {
	_, err := os.Stat(s.configFile())
	return err == nil
}
