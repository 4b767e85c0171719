package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/haproxy/ports"
	"holdfast/internal/haproxy/runtime"
	"holdfast/internal/status"
)

// Action is what an Apply did to HAProxy.
type Action string

// The actions.
const (
	Unchanged Action = "unchanged" // it runs with this very configuration
	Changed   Action = "changed"   // through the runtime API, by the same worker
	Started   Action = "started"
	Reloaded  Action = "reloaded"
)

// A Result says what an Apply did.
type Result struct {
	Action Action
	Took   time.Duration // from the request to HAProxy serving
	// Why says in words why it was reloaded, or what was changed without a
	// reload; empty where there is nothing to say.
	Why string
}

// String says it in words.
func (r Result) String() string {
	why := ""
	if r.Why != "" {
		why = ": " + r.Why
	}
	switch r.Action {
	case Started:
		return "HAProxy was started"
	case Changed:
		return "HAProxy was changed without a reload" + why
	case Reloaded:
		return "HAProxy was reloaded" + why
	case Unchanged:
		return "HAProxy's configuration is the same"
	}
	return "HAProxy was not touched"
}

// A request asks the supervisor to bring a configuration, that was checked,
// into force.
type request struct {
	cfg    *haproxy.Config
	always bool           // also when HAProxy runs with it already
	reply  chan<- outcome // with room for one
}

type outcome struct {
	result Result
	err    error
}

// Apply brings cfg into force: it has HAProxy check it, and then tells the
// running worker what changed, where HAProxy can be told. Else it looks for
// ports that are taken, puts cfg in place and starts or reloads HAProxy. It
// returns when that serves. When any of that fails the configuration before stays in force,
// and its process goes on. Run must be running. Once the check is done ctx does
// not end it: a reload that has begun is carried through.
//
// Errors: *CheckError, *ports.TakenError, or another.
func (m *Manager) Apply(ctx context.Context, cfg *haproxy.Config) (Result, error) {
	return m.bring(ctx, cfg, false)
}

// Reload has HAProxy read the configuration in force again, unchanged: for a
// certificate that was renewed, or a HAProxy that was upgraded, whose master
// becomes the new program. It goes as Apply does.
func (m *Manager) Reload(ctx context.Context) (Result, error) {
	cfg := m.config()
	if cfg == nil {
		return Result{}, errors.New("reload HAProxy: there is no configuration in force yet")
	}
	return m.bring(ctx, cfg, true)
}

// bring brings cfg into force, also when it is so already and always is set.
func (m *Manager) bring(ctx context.Context, cfg *haproxy.Config, always bool) (Result, error) {
	begun := time.Now()
	select {
	case m.applying <- struct{}{}:
		defer func() { <-m.applying }()
	case <-ctx.Done():
		return Result{}, fmt.Errorf("apply: another one is under way: %w", ctx.Err())
	}
	same := !always && m.runsWith(cfg)
	if same && m.config().Known() {
		return Result{Action: Unchanged, Took: time.Since(begun)}, nil
	}
	if !same {
		if err := m.check(ctx, cfg); err != nil {
			return Result{}, err
		}
	}
	reply := make(chan outcome, 1)
	select {
	case m.requests <- request{cfg, always, reply}:
	case <-ctx.Done():
		return Result{}, fmt.Errorf("apply: HAProxy's supervisor is busy, or not running: %w", ctx.Err())
	}
	select {
	case o := <-reply:
		o.result.Took = time.Since(begun)
		return o.result, o.err
	case <-ctx.Done():
		return Result{}, fmt.Errorf("apply: under way still: %w", ctx.Err())
	}
}

// runsWith reports whether HAProxy runs with cfg.
func (m *Manager) runsWith(cfg *haproxy.Config) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proc != nil && !m.proc.over() && !m.half && m.cfg != nil && bytes.Equal(m.cfg.Bytes(), cfg.Bytes())
}

// ErrHung says why there is no reload: HAProxy hangs, which ends soon, or is ended.
var ErrHung = errors.New("HAProxy hangs, and is started again soon if it goes on; try again then")

// errNoOutcome says that a reload neither succeeded nor failed in time.
var errNoOutcome = errors.New("no new worker")

// hung reports whether HAProxy is known to hang.
func (s *supervisor) hung() bool { return s.State().State == status.HAProxyHung }

// apply brings cfg, which was checked, into force.
func (s *supervisor) apply(cfg *haproxy.Config, always bool) (Result, error) {
	if !always && s.runsWith(cfg) { // since it was asked: adopted, or started again
		s.know(cfg)
		return Result{Action: Unchanged}, nil
	}
	before, err := s.readConfig()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Result{}, fmt.Errorf("read the configuration before: %w", err)
	}
	p := s.current()
	if p != nil && p.over() {
		s.died()
		p = nil
	}
	if p == nil {
		return Result{Action: Started}, s.applyStart(before, cfg)
	}
	why := ""
	if !always {
		done, reason := s.applyChange(p, cfg)
		if reason == "" {
			return Result{Action: Changed, Why: done}, nil
		}
		why = reason
	}
	err = s.applyReload(p, before, cfg)
	if err != nil && before != nil && s.halfChanged() {
		err = errors.Join(err, s.put(before))
	}
	return Result{Action: Reloaded, Why: why}, err
}

// know keeps cfg, which HAProxy runs with, where only its text was known.
func (s *supervisor) know(cfg *haproxy.Config) {
	if s.config().Known() {
		return
	}
	s.remember(cfg, s.current())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg = cfg
}

// applyStart starts HAProxy with cfg. Where that fails, what was there before
// is tried again from now on, or cfg where nothing was. Where cfg cannot be
// written, as on a disk that is full or read-only, HAProxy runs with what was there.
func (s *supervisor) applyStart(before, cfg *haproxy.Config) error {
	same := before != nil && bytes.Equal(before.Bytes(), cfg.Bytes())
	if same {
		s.written = cfg
	} else if err := s.put(cfg); err != nil {
		return s.startUnwritten(before, err)
	}
	s.restart = nil
	err := s.start("")
	if err == nil {
		s.log.Info("started HAProxy", "pid", s.State().PID)
		return nil
	}
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	if before != nil && !same {
		err = errors.Join(err, s.put(before))
	}
	s.failed(err)
	return err
}

// startUnwritten starts HAProxy with what was there before, if anything was, and
// says that it is not what it was to run with, which could not be written: why.
func (s *supervisor) startUnwritten(before *haproxy.Config, why error) error {
	if before == nil {
		return why
	}
	if err := s.applyStart(before, before); err != nil {
		return fmt.Errorf("%w; that was with the configuration of before: %w", err, why)
	}
	return fmt.Errorf("HAProxy was started with the configuration of before: %w", why)
}

// applyReload reloads p with cfg, and puts the configuration before back when
// that fails.
func (s *supervisor) applyReload(p *proc, before, cfg *haproxy.Config) error {
	if s.hung() {
		return ErrHung
	}
	if since, mute := s.WorkerSocket.MuteFor(s.opt.BusyAfter); mute {
		return fmt.Errorf("HAProxy serves, and has not answered on %s since %s: it would not hand its listeners on, and connections would be lost; see with ss -xp who has connections there",
			s.WorkerSocket.Path, since.Format(time.TimeOnly))
	}
	if err := s.checkNewPorts(cfg); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opt.ReadyTimeout)
	defer cancel()
	only := []*haproxy.Config{cfg}
	if from := s.config(); from.Known() {
		only = append(only, from) // of what was left over, or is half there, no state is worth keeping
	}
	if err := s.saveStates(ctx, only...); err != nil {
		s.log.Warn("servers begin afresh after this reload", "error", err)
		if err := replace(s.stateFile(), []byte(haproxy.EmptyState)); err != nil {
			return err
		}
	}
	if err := s.put(cfg); err != nil {
		return err
	}
	if err := s.reload(ctx, p); err != nil {
		if before != nil {
			err = errors.Join(err, s.put(before))
		}
		return err
	}
	s.remember(cfg, p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg, s.half = cfg, false
	s.state.Reloads++
	s.tellLocked()
	return nil
}

// checkNewPorts looks for ports of cfg that someone other than our HAProxy has.
func (s *supervisor) checkNewPorts(cfg *haproxy.Config) error {
	all, err := s.ours()
	if err != nil {
		return err
	}
	pids := make([]int, len(all))
	for i, f := range all {
		pids[i] = f.PID
	}
	return ports.Check(cfg.Binds(), pids)
}

// reload has p read the configuration file again, and returns when a new
// worker serves. Until HAProxy 2.6 the master says nothing of the outcome; then
// it is told from its processes: a new worker, or one more failed reload.
func (s *supervisor) reload(ctx context.Context, p *proc) error {
	restore, err := s.readySockets(ctx, p.master.PID)
	if err != nil {
		return fmt.Errorf("reload HAProxy: %w", err)
	}
	defer restore()
	before, err := s.Processes(ctx)
	ask := s.askReload
	if runtime.LeadsNowhere(err) { // whatever answers there then is the master after it
		before = output.Processes{Master: output.Process{PID: p.master.PID, Reloads: -1}, Workers: []output.Process{{PID: p.serving().PID}}}
		ask, err = func(context.Context) (string, error) { return "", p.master.Signal(syscall.SIGUSR2) }, nil
	}
	if err != nil {
		return fmt.Errorf("reload HAProxy: %w", err)
	}
	s.relay()
	s.logFile.forget()
	p.reloads(true, false)
	worker, err := s.reloaded(ctx, p, before, ask)
	if err == nil {
		err = s.serveBy(p, worker)
	}
	pending := errors.Is(err, errNoOutcome) || errors.Is(err, ErrHung)
	p.reloads(false, pending)
	if err != nil {
		err = s.reloadedAllTheSame(p, err)
	}
	if err != nil && pending {
		s.setHalf(true) // it may run with either
	}
	if err == nil {
		s.closingAgain(ctx)
		s.boundOldWorkers(ctx)
	}
	return err
}

// reloadedAllTheSame looks what has become of p after a reload that went wrong by
// err. One whose old worker is gone and whose new one is there was reloaded, late.
func (s *supervisor) reloadedAllTheSame(p *proc, err error) error {
	was := p.serving()
	if !was.HasEnded() {
		return err
	}
	if next, ok := s.successor(p, was.PID, s.opt.BusyAfter); ok && s.serveBy(p, next) == nil {
		s.log.Warn("HAProxy was reloaded, and took long to say so", "worker", next, "error", err)
		return nil
	}
	s.end(p, "the worker ended in a reload that failed")
	return err
}

// askReload asks the master for a reload, and gives its reply.
func (s *supervisor) askReload(ctx context.Context) (string, error) {
	return s.MasterSocket.Converse(ctx, "reload\n")
}

// reloaded asks for the reload and waits for its outcome: the new worker.
func (s *supervisor) reloaded(ctx context.Context, p *proc, before output.Processes, ask func(context.Context) (string, error)) (int, error) {
	reply, err := ask(ctx)
	if err != nil {
		// The master closes the connection to execute itself anew; how that
		// looks from here depends on when it does.
		s.log.Debug("asked HAProxy's master for a reload", "error", err)
	}
	if strings.HasPrefix(reply, "Success=0") { // HAProxy 2.7 and later
		return 0, s.whyNot("reload HAProxy")
	}
	for {
		switch {
		case p.over() || p.master.HasEnded():
			return 0, s.whyNot("reload HAProxy")
		case s.hung(): // to be killed, by the goroutine that waits here
			return 0, ErrHung
		}
		now, err := s.Processes(ctx)
		if err == nil && now.Master.Reloads > before.Master.Reloads {
			worker, err := s.outcome(ctx, before, now)
			if worker != 0 || err != nil {
				return worker, err
			}
		}
		if !s.sleep(5 * time.Millisecond) {
			return 0, s.ctx.Err()
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("reload HAProxy: %w after %v", errNoOutcome, s.opt.ReadyTimeout)
		}
	}
}

// outcome tells how a reload went by the processes before and now: the new
// worker, or 0 while it does not serve yet, or why it failed.
func (s *supervisor) outcome(ctx context.Context, before, now output.Processes) (int, error) {
	isOld := func(w output.Process) bool {
		return slices.ContainsFunc(before.Workers, func(o output.Process) bool { return o.PID == w.PID })
	}
	if now.Master.Failed > 0 || len(now.Workers) > 0 && isOld(now.Workers[0]) {
		return 0, s.whyNot("reload HAProxy")
	}
	if worker, ok := s.serves(ctx, now.Master.PID); ok && !isOld(output.Process{PID: worker}) {
		return worker, nil
	}
	return 0, nil
}

// SaveServerState saves the states of the servers, so that the next worker
// begins with them. It is done before each reload, and within 2 s of a change.
func (m *Manager) SaveServerState(ctx context.Context) error {
	return m.saveStates(ctx, m.config())
}

// saveStates saves the states of the servers that all of cfgs have, with the
// weights of the first. With no cfg none can be compared, and none are saved.
func (m *Manager) saveStates(ctx context.Context, cfgs ...*haproxy.Config) error {
	reply, err := m.Runtime(ctx, "show servers state")
	if err != nil {
		return err
	}
	states := []byte(reply)
	for _, cfg := range slices.Backward(cfgs) {
		if states, err = haproxy.ServerStates(states, cfg); err != nil {
			return err
		}
	}
	return replace(m.stateFile(), states)
}
