package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/ours"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/haproxy/ports"
	"holdfast/internal/pidfd"
	"holdfast/internal/status"
)

const (
	// maxSocketPath is the longest path of a socket that HAProxy can bind:
	// sun_path has 108 bytes, and it binds under a temporary name first.
	maxSocketPath = 90
	// maxStateAge is how old the state file may be: what was known of the
	// servers longer ago is not worth more than nothing.
	maxStateAge = 30 * time.Second
	// sweepTimeout is how long killed processes may take to be gone.
	sweepTimeout = 5 * time.Second
)

// start starts HAProxy with the configuration file as it is, and returns once
// it serves. Meanwhile the state's reason is why it must be started.
func (s *supervisor) start(why string) error {
	cfg, err := s.configToStart()
	if err != nil {
		return fmt.Errorf("start HAProxy: %w", err)
	}
	if s.State().State != status.HAProxyFailed { // that stays so until a start succeeds
		s.set(status.HAProxyStarting, why)
	}
	if err := s.prepare(cfg); err != nil {
		return err
	}
	p, err := s.launch()
	if err != nil {
		return err
	}
	worker, err := s.ready(p)
	if err != nil {
		return errors.Join(err, s.discard(p))
	}
	s.remember(cfg, p)
	if err := s.follow(p, worker, cfg); err != nil {
		return errors.Join(err, s.discard(p))
	}
	s.closingAgain(s.ctx)
	return nil
}

// configToStart reads the configuration file. One that was taken away is made anew, with
// what was in force last.
func (s *supervisor) configToStart() (*haproxy.Config, error) {
	cfg, err := s.readConfig()
	last := s.config()
	if !errors.Is(err, os.ErrNotExist) || last == nil {
		return cfg, err
	}
	if err := s.makeStateDir(); err != nil {
		return nil, err
	}
	if err := s.put(last); err != nil {
		return nil, fmt.Errorf("the configuration was taken away, and cannot be written anew: %w", err)
	}
	s.log.Warn("the configuration of HAProxy was taken away; it was written anew", "file", s.configFile())
	return last, nil
}

// prepare clears the way for a HAProxy with configuration cfg.
func (s *supervisor) prepare(cfg *haproxy.Config) error {
	if n := len(s.MasterSocket.Path); n > maxSocketPath {
		return fmt.Errorf("the run directory's name is too long: %s has %d bytes, and a socket's path may have %d", s.MasterSocket.Path, n, maxSocketPath)
	}
	if err := s.sweep(); err != nil {
		return err
	}
	if err := s.makeRunDir(); err != nil {
		return err
	}
	if err := s.freshState(cfg); err != nil {
		return err
	}
	if err := s.keepClosing(); err != nil {
		return err
	}
	return s.freePorts(cfg)
}

// sweep ends every process of ours: after a death, to leave no port bound.
func (s *supervisor) sweep() error { return s.sweepBut(0) }

// sweepBut ends every process of ours that is not of the HAProxy of master.
func (s *supervisor) sweepBut(master int) error {
	ctx, cancel := context.WithTimeout(s.ctx, sweepTimeout)
	defer cancel()
	for {
		left, err := s.ours()
		left = slices.DeleteFunc(left, func(f ours.Process) bool { return f.Belongs(master) })
		if err != nil || len(left) == 0 {
			return err
		}
		for _, f := range left {
			if err := finish(ctx, f); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("an earlier HAProxy (pid %d and others) is started again and again; see who does: %w", left[0].PID, ctx.Err())
		}
	}
}

// finish kills the process f, if it is still that one, and waits for its end.
func finish(ctx context.Context, f ours.Process) error {
	w, err := pidfd.Open(f.PID)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer w.Close()
	if now, ok := ours.Look(f.PID); !ok || now.Identity != f.Identity {
		return nil
	}
	return kill(ctx, w)
}

// kill kills w and waits for its end: only then are its ports free.
func kill(ctx context.Context, w *pidfd.Process) error {
	if err := w.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill an earlier HAProxy (pid %d): %w", w.PID, err)
	}
	if err := w.Wait(ctx); err != nil {
		return fmt.Errorf("an earlier HAProxy (pid %d) was killed and does not end; see what it waits for in /proc/%d/stack: %w", w.PID, w.PID, err)
	}
	return nil
}

// freePorts looks whether HAProxy could bind what cfg wants. A port whose owner
// is not to be seen may be that of a process that is ending, which is waited for.
func (s *supervisor) freePorts(cfg *haproxy.Config) error {
	for range 20 {
		err := ports.Check(cfg.Binds(), nil)
		taken, ok := errors.AsType[*ports.TakenError](err)
		if !ok || !slices.ContainsFunc(taken.Conflicts, func(c ports.Conflict) bool { return c.PID == 0 }) {
			return err
		}
		if !s.sleep(20 * time.Millisecond) {
			return s.ctx.Err()
		}
	}
	return ports.Check(cfg.Binds(), nil)
}

// freshState sees to a state file that HAProxy can read without a warning,
// that is of cfg, and not too old to be worth reading.
func (s *supervisor) freshState(cfg *haproxy.Config) error {
	states := []byte(haproxy.EmptyState)
	if info, err := os.Stat(s.stateFile()); err == nil && isFresh(time.Since(info.ModTime())) {
		kept, err := os.ReadFile(s.stateFile())
		if err == nil {
			kept, err = haproxy.ServerStates(kept, cfg)
		}
		if err == nil {
			states = kept
		} else {
			s.log.Warn("servers begin afresh", "error", err)
		}
	}
	return replace(s.stateFile(), states)
}

// isFresh reports whether states of that age are worth reading. One below 0 is
// that of a clock that was set back: nothing is known of it.
func isFresh(age time.Duration) bool { return age >= 0 && age < maxStateAge }

// launch starts the process: detached, in a session of its own, so that it
// outlives the agent and gets none of its signals.
func (s *supervisor) launch() (*proc, error) {
	path, err := exec.LookPath(s.opt.HAProxy)
	if err != nil {
		return nil, fmt.Errorf("start HAProxy: %w; install HAProxy 2.4 or later, or say where it is with --haproxy", err)
	}
	output, err := s.logFile.open()
	if err != nil {
		return nil, err
	}
	defer output.Close() //nolint:errcheck // HAProxy has it now
	// No context: HAProxy is to outlive the agent.
	cmd := exec.Command(path, "-W", "-S", s.MasterSocket.Path+",mode,600,level,admin", "-p", s.pidFile(), "-f", s.configFile()) //nolint:noctx // see above
	cmd.Dir = "/"
	cmd.Env = environment(os.Environ())
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start HAProxy: %w", err)
	}
	master, err := pidfd.Open(cmd.Process.Pid)
	if err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	s.identify(master)
	// The one goroutine that may outlive Run: it reaps the child, which may
	// outlive the agent too.
	go cmd.Wait() //nolint:errcheck // how it ended, HAProxy's own log tells better
	return &proc{master: master, child: cmd, started: time.Now()}, nil
}

// ready waits until the HAProxy that was launched serves, and gives its worker.
func (s *supervisor) ready(p *proc) (int, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.opt.ReadyTimeout)
	defer cancel()
	for {
		if p.master.HasEnded() {
			return 0, s.whyNot("start HAProxy")
		}
		if worker, ok := s.serves(ctx, p.master.PID); ok {
			return worker, nil
		}
		if !s.sleep(5 * time.Millisecond) {
			return 0, s.ctx.Err()
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("%w: it does not answer after %v", s.whyNot("start HAProxy"), s.opt.ReadyTimeout)
		}
	}
}

// serves gives the worker of the master, if the runtime socket is that worker's.
func (s *supervisor) serves(ctx context.Context, master int) (int, bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	procs, err := s.Processes(ctx)
	if err != nil || procs.Master.PID != master || len(procs.Workers) == 0 {
		return 0, false
	}
	info, err := s.Info(ctx)
	if err != nil || info.PID != procs.Workers[0].PID {
		return 0, false
	}
	s.note(info)
	return info.PID, true
}

// identify keeps who the master is, for when its socket leads nowhere, and for
// the next agent.
func (s *supervisor) identify(master *pidfd.Process) {
	p, ok := ours.Look(master.PID)
	if !ok {
		return // it has ended
	}
	s.masterID = p.Identity
	if err := replace(filepath.Join(s.opt.RunDir, ours.IdentityFile), []byte(p.Identity.String()+"\n")); err != nil {
		s.log.Warn("which process HAProxy is is not written down", "error", err)
	}
}

// ours finds the processes of our HAProxy.
func (s *supervisor) ours() ([]ours.Process, error) {
	return ours.Find(s.opt.RunDir, s.opt.HAProxy, s.masterID)
}

// note keeps what is told of HAProxy from info.
func (m *Manager) note(info output.Info) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Version, m.state.Connections = info.Version, info.Conns
}

// whyNot makes an error of what HAProxy complained of.
func (s *supervisor) whyNot(doing string) error {
	s.relay()
	if why := s.logFile.why(); why != "" {
		return fmt.Errorf("%s: %s", doing, why)
	}
	return fmt.Errorf("%s: it ended, and did not say why; see %s", doing, s.logFile.path)
}

// discard ends a HAProxy that did not come up.
func (s *supervisor) discard(p *proc) error {
	err := p.master.Signal(syscall.SIGKILL)
	p.close()
	return errors.Join(err, s.sweep())
}

// remember records that p runs with cfg, and what is in cfg, for a Manager that
// adopts p later.
func (s *supervisor) remember(cfg *haproxy.Config, p *proc) {
	model, err := json.Marshal(cfg)
	if err == nil {
		err = replace(s.modelFile(), model)
	}
	line := fmt.Sprintf("%d %s\n", p.master.PID, digest(cfg))
	if err := errors.Join(err, os.WriteFile(s.runningFile(), []byte(line), 0o600)); err != nil {
		s.log.Warn("the next agent will reload HAProxy once for nothing", "error", err)
	}
}

// sayNoSyslog says, once, that HAProxy has nowhere to log requests to.
func (s *supervisor) sayNoSyslog() {
	if s.saidNoSyslog.CompareAndSwap(false, true) {
		s.log.Warn("HAProxy's log is lost: nothing takes it at /dev/log, or where log: in the spec says; install rsyslog, run systemd-journald, or name another target")
	}
}

// loudness says how loud the agent's log is about m. A host that comes or goes is so in
// each backend that has it, up to ten times: the agent's journal says it once.
func loudness(m output.Message) slog.Level {
	switch {
	case isServerChange(m), isChatter(m), isHelperEmpty(m):
		return slog.LevelDebug
	case m.Severity == "ALERT":
		return slog.LevelError
	}
	return slog.LevelWarn
}

// relay hands on what HAProxy has written to its log.
func (s *supervisor) relay() {
	said, err := s.logFile.read()
	if err != nil {
		s.log.Warn("HAProxy's log cannot be read", "error", err)
	}
	changed := false
	for _, one := range said {
		changed = changed || isServerChange(one)
		if isNoSyslog(one) {
			s.sayNoSyslog()
			continue
		}
		s.log.Log(s.ctx, loudness(one), "haproxy: "+strings.TrimSuffix(one.Text, "."))
	}
	if changed {
		s.serversChanged()
	}
}
