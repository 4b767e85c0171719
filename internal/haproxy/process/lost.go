package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"holdfast/internal/file"
	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/haproxy/runtime"
	"holdfast/internal/pidfd"
	"holdfast/internal/status"
)

const (
	// healAfter is for how long a socket must have been lost before HAProxy is
	// reloaded for it: a reload of somebody else's is over by then.
	healAfter = time.Second
	// healStable is how long no socket must have been lost for the next one to
	// be healed at once. Between others is a pause of healFirst, then twice that
	// and so on, to healMost.
	healStable = 10 * time.Minute
	healFirst  = 5 * time.Second
	healMost   = 5 * time.Minute
)

// A LostSocket tells of a socket of HAProxy's that is not to be used, while
// HAProxy itself serves.
type LostSocket struct {
	Path  string
	Since time.Time
	// Mute says that the name leads to HAProxy, which does not answer there. The
	// agent leaves that alone: a worker that does not answer does not hand its
	// listeners on to the next one either. Whatever else is lost it heals.
	Mute bool
	Why  string // empty when it is mute
	// Trouble says why the last attempt to heal it failed; empty for none.
	Trouble string
}

// LostSocket tells of a socket that is lost; nil for none.
func (m *Manager) LostSocket() *LostSocket {
	p := m.current()
	if p == nil || p.over() || p.isReloading() || m.State().State != status.HAProxyRunning {
		return nil
	}
	for _, d := range []*runtime.Socket{m.WorkerSocket, m.MasterSocket} {
		if since, why := d.LostFor(m.opt.HungAfter); why != "" {
			m.mu.Lock()
			defer m.mu.Unlock()
			return &LostSocket{Path: d.Path, Since: since, Why: why, Trouble: m.unhealed}
		}
	}
	if since, mute := m.WorkerSocket.MuteFor(m.opt.BusyAfter); mute {
		return &LostSocket{Path: m.WorkerSocket.Path, Since: since, Mute: true}
	}
	return nil
}

// lookAtSockets tells whoever waits for a change when a socket is lost, and when it is back.
func (p *prober) lookAtSockets(found asked) {
	if found.reloading {
		return
	}
	p.WorkerSocket.Hears(found.runtime != Silent || found.listeners != Answered)
	lost := p.LostSocket()
	if (lost != nil) == p.told {
		return
	}
	p.told = lost != nil
	if lost != nil {
		p.log.Debug("a socket of HAProxy's is lost, and HAProxy serves", "socket", lost.Path, "mute", lost.Mute, "reason", lost.Why)
	} else {
		p.log.Debug("HAProxy's sockets are there again")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tellLocked()
}

// healSockets has HAProxy make its sockets anew, when one has been lost for a
// while: by a reload, which loses no connection. That is not done often: of
// workers that finish what they have, too many reloads end the oldest.
func (s *supervisor) healSockets() {
	if time.Now().Before(s.healAt) {
		return
	}
	lost := s.LostSocket()
	if lost == nil || lost.Mute || time.Since(lost.Since) < healAfter {
		return
	}
	p := s.current()
	err := s.heal(p)
	s.healAt = time.Now().Add(s.healing.pause(time.Since(s.healed)))
	s.healed = time.Now()
	trouble := ""
	switch {
	case s.ctx.Err() != nil:
		return
	case err != nil:
		trouble = err.Error()
		s.log.Warn("HAProxy's sockets are lost still", "error", err, "next_try_in", time.Until(s.healAt).Round(time.Second))
	default:
		s.log.Info("HAProxy was reloaded to make its sockets anew", "socket", lost.Path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unhealed = trouble
	s.tellLocked()
}

// heal reloads p with the configuration that it has.
func (s *supervisor) heal(p *proc) error {
	cfg := s.config()
	known := cfg != nil
	if !known {
		var err error
		if cfg, err = s.readConfig(); err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
	}
	if err := s.makeRunDir(); err != nil {
		return err
	}
	if err := s.within(askTimeout, func(ctx context.Context) error { return s.saveStates(ctx, cfg) }); err != nil {
		if err := s.freshState(cfg); err != nil { // those of a moment ago
			return err
		}
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opt.ReadyTimeout)
	defer cancel()
	if err := s.reload(ctx, p); err != nil {
		return err
	}
	if known {
		s.remember(cfg, p)
	}
	s.identify(p.master)
	err := errors.Join(s.WorkerSocket.Leads(ctx), s.MasterSocket.Leads(ctx))
	if err != nil {
		err = fmt.Errorf("the reload has not brought the socket back: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Reloads++
	return err
}

// readySockets sees to it that HAProxy can bind its sockets in a reload, and
// that it does. The function it gives undoes that, after the reload.
//
// A master binds its own anew in each. Where it cannot, because the directory is
// gone, it ends, and all connections with it. The worker gets its runtime
// socket from the one before, with the name it was bound to, and does not bind
// where the configuration has that name: it needs another spelling of it.
func (s *supervisor) readySockets(ctx context.Context, master int) (func(), error) {
	if err := s.makeRunDir(); err != nil {
		return nil, err
	}
	if err := s.keepClosing(); err != nil {
		return nil, err
	}
	if _, err := s.configToStart(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := s.canBind(master); err != nil {
		return nil, fmt.Errorf("HAProxy would end in a reload: it cannot make its sockets in %s: %w", s.opt.RunDir, err)
	}
	nothing := func() {}
	if s.WorkerSocket.Leads(ctx) == nil {
		return nothing, nil
	}
	cfg, err := readIfThere(s.configFile())
	if err != nil || cfg == nil {
		return nothing, err
	}
	s.spelled++
	if err := file.Write(s.configFile(), respell(cfg, s.spelled), 0o600); err != nil {
		return nil, err
	}
	return func() {
		if err := file.Write(s.configFile(), cfg, 0o600); err != nil {
			s.log.Warn("the next agent will reload HAProxy once for nothing", "error", err)
		}
	}, nil
}

// respell gives cfg with another spelling of the runtime socket's path: of two,
// by turns, so that it is never that of the last time.
func respell(cfg []byte, n int) []byte {
	separator := []string{"/./", "//"}[n%2]
	before, after, ok := bytes.Cut(cfg, []byte("\n    stats socket "))
	if !ok {
		return cfg
	}
	line, rest, _ := bytes.Cut(after, []byte("\n"))
	i := bytes.LastIndex(line, []byte("/"+haproxy.RuntimeSocket))
	if i < 0 {
		return cfg
	}
	return slices.Concat(before, []byte("\n    stats socket "), line[:i], []byte(separator), line[i+1:], []byte("\n"), rest)
}

// canBind says why the process master could not bind a socket in the run
// directory, as that is to it: the agent's unit may have another view of it.
func (s *supervisor) canBind(master int) error {
	dir := filepath.Join(fmt.Sprintf("/proc/%d/root", master), s.opt.RunDir)
	file, err := os.CreateTemp(dir, "bind-")
	if errors.Is(err, os.ErrPermission) {
		return nil // of /proc, most likely: it is not known
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString("is there room?\n")
	if err := errors.Join(err, file.Close(), os.Remove(file.Name())); err != nil {
		return err
	}
	for _, d := range []*runtime.Socket{s.WorkerSocket, s.MasterSocket} {
		if info, err := os.Lstat(d.Path); err == nil && info.IsDir() {
			return fmt.Errorf("%s is a directory; remove it", d.Path)
		}
	}
	return nil
}

// revive has a HAProxy whose master's socket leads to nobody make it anew, by the
// signal that is a reload, and gives its processes.
func (s *supervisor) revive(master *pidfd.Process) (output.Processes, error) {
	s.log.Warn("a HAProxy runs whose sockets are lost; telling it to make them anew, by a reload", "pid", master.PID)
	ctx, cancel := context.WithTimeout(s.ctx, s.opt.ReadyTimeout)
	defer cancel()
	restore, err := s.readySockets(ctx, master.PID)
	if err != nil {
		return output.Processes{}, err
	}
	defer restore()
	if cfg, err := s.readConfig(); err == nil {
		if err := s.freshState(cfg); err != nil {
			return output.Processes{}, err
		}
	}
	if err := master.Signal(syscall.SIGUSR2); err != nil {
		return output.Processes{}, err
	}
	for {
		procs, err := s.Processes(ctx)
		_, serves := s.serves(ctx, master.PID)
		switch {
		case err == nil && (serves || procs.Master.Failed > 0): // then the worker before it serves
			return procs, nil
		case master.HasEnded():
			return procs, errors.New("it ended when it was told to")
		case ctx.Err() != nil:
			return procs, fmt.Errorf("it has not done so after %v", s.opt.ReadyTimeout)
		case !s.sleep(5 * time.Millisecond):
			return procs, s.ctx.Err()
		}
	}
}
