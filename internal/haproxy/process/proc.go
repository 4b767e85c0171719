package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/pidfd"
	"holdfast/internal/status"
)

// successorTimeout is how long a master may take to have another worker in
// place of one that ended.
const successorTimeout = 250 * time.Millisecond

// A proc is one HAProxy that runs: its master, and the worker that serves.
type proc struct {
	master  *pidfd.Process
	child   *exec.Cmd // nil when it was adopted
	adopted bool
	started time.Time     // or adopted
	gone    chan struct{} // closed when the master has ended, or the worker that served

	mu        sync.Mutex // guards following
	worker    *pidfd.Process
	reloading bool // workers come and go
	pending   bool // what has become of the last reload was not known in time
	closed    bool
}

// reloads marks the beginning and the end of a reload, which is pending when it
// has ended and nobody knows how.
func (p *proc) reloads(yes, pending bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reloading, p.pending = yes, pending
}

// isReloading reports whether a reload is under way.
func (p *proc) isReloading() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reloading
}

// serving gives the worker that serves.
func (p *proc) serving() *pidfd.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.worker
}

// over reports whether p has ended.
func (p *proc) over() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// close lets go of the processes.
func (p *proc) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.master.Close()
	p.worker.Close()
}

// follow makes p the current HAProxy, which runs with cfg (nil: not known) and
// has worker serving, and watches both until they end or ctx does.
func (s *supervisor) follow(p *proc, worker int, cfg *haproxy.Config) error {
	p.gone = make(chan struct{})
	s.wg.Go(func() {
		if p.master.Wait(s.ctx) == nil {
			s.end(p, fmt.Sprintf("the master (pid %d) ended", p.master.PID))
		}
	})
	if err := s.serveBy(p, worker); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc, s.cfg, s.half = p, cfg, false
	s.state.PID, s.state.Adopted = p.master.PID, p.adopted
	s.logFile.of(p.master.PID)
	if p.over() {
		s.setLocked(status.HAProxyDown, "it ended as soon as it ran")
		return nil
	}
	s.setLocked(status.HAProxyRunning, "")
	return nil
}

// serveBy makes the process pid the worker of p that serves.
func (s *supervisor) serveBy(p *proc, pid int) error {
	w, err := pidfd.Open(pid)
	if err != nil {
		return fmt.Errorf("watch HAProxy's worker: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		w.Close()
		return os.ErrProcessDone
	}
	p.worker.Close()
	p.worker = w
	s.wg.Go(func() {
		if w.Wait(s.ctx) == nil {
			s.workerEnded(p, w)
		}
	})
	return nil
}

// workerEnded is called when worker w of p has ended: by a reload, of ours or
// of someone else's, or by death, which ends the master too a moment later.
func (s *supervisor) workerEnded(p *proc, w *pidfd.Process) {
	p.mu.Lock()
	past := p.worker != w || p.reloading || p.closed
	limit := successorTimeout
	if p.pending {
		limit = s.opt.BusyAfter
	}
	p.mu.Unlock()
	if past {
		return
	}
	if next, ok := s.successor(p, w.PID, limit); ok && s.serveBy(p, next) == nil {
		s.log.Warn("HAProxy was reloaded by someone else", "worker", next)
		return
	}
	s.end(p, fmt.Sprintf("the worker (pid %d) ended", w.PID))
}

// successor finds, within limit, the worker that serves in place of the one that was pid. A
// master that executes itself anew takes a moment to answer. One whose worker
// has died ends itself at once, and that is noticed apart from this.
func (s *supervisor) successor(p *proc, pid int, limit time.Duration) (int, bool) {
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	for {
		procs, err := s.Processes(ctx)
		if err == nil && procs.Master.PID == p.master.PID && len(procs.Workers) > 0 && procs.Workers[0].PID != pid {
			return procs.Workers[0].PID, true
		}
		select {
		case <-p.gone:
			return 0, false
		case <-ctx.Done():
			return 0, false
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// end records, once, that p has ended, and tells so before anything else is done.
func (s *supervisor) end(p *proc, cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.over() {
		return
	}
	close(p.gone)
	if s.proc == p {
		s.setLocked(status.HAProxyDown, cause)
	}
}
