package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"holdfast/internal/haproxy"
)

const (
	// changeTimeout is how long a change without a reload may take. What it
	// has not done by then, a reload does.
	changeTimeout = 5 * time.Second
	// settleTime is how long the worker may take to be what it was made, and
	// an agent check to end, which once it is disabled it may do only by its
	// timeout.
	settleTime = 2 * time.Second
)

// applyChange brings cfg into force without a reload, and says what it did. Where
// that takes a reload it says why; the file has cfg then, or what it had, and
// the worker may be half changed, which m.half tells of.
func (s *supervisor) applyChange(p *proc, cfg *haproxy.Config) (done, why string) {
	from := s.config()
	switch {
	case !from.Known():
		return "", haproxy.Unknown
	case s.halfChanged():
		return "", "an earlier change was left half done"
	case s.hung():
		return "", "it hangs"
	}
	ctx, cancel := context.WithTimeout(s.ctx, changeTimeout)
	defer cancel()
	worker, err := s.worker(ctx)
	if err != nil {
		return "", err.Error()
	}
	change := haproxy.PlanChange(from, cfg, worker)
	if change.Reload != "" {
		return "", change.Reload
	}
	if err := s.carryOut(ctx, p, change, cfg); err != nil {
		return "", "a change without one failed: " + err.Error()
	}
	if change.Done == "" {
		return "nothing that it has to be told", ""
	}
	return change.Done, ""
}

// carryOut puts cfg in place and does the steps to it. An agent or an HAProxy
// that ends within it is reloaded, or started, with the whole of cfg.
func (s *supervisor) carryOut(ctx context.Context, p *proc, change haproxy.Change, cfg *haproxy.Config) error {
	if err := os.Remove(s.runningFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := s.put(cfg); err != nil {
		return err
	}
	s.setHalf(true)
	for _, step := range change.Steps {
		if err := s.step(ctx, step); err != nil {
			return err
		}
	}
	if err := s.await(ctx, func(w haproxy.Worker) string { return w.Differs(cfg, change.Fresh...) }); err != nil {
		return err
	}
	if p.over() {
		return errors.New("it ended meanwhile")
	}
	s.mu.Lock()
	s.cfg, s.half = cfg, false
	s.mu.Unlock()
	s.remember(cfg, p)
	if err := s.saveStates(ctx, cfg); err != nil {
		s.log.Warn("the states of the servers were not saved", "error", err)
	}
	return nil
}

// step does one step.
func (s *supervisor) step(ctx context.Context, step haproxy.Step) error {
	if quiet := step.Quiet; quiet != nil {
		return s.await(ctx, func(w haproxy.Worker) string {
			if w.Quiet(quiet.Backend, quiet.Name) {
				return ""
			}
			return "the agent check of " + quiet.Backend + "/" + quiet.Name + " does not end"
		})
	}
	_, err := s.Runtime(ctx, step.Command)
	return err
}

// await waits until differs finds nothing in the worker, for a short time.
func (s *supervisor) await(ctx context.Context, differs func(haproxy.Worker) string) error {
	for deadline := time.Now().Add(settleTime); ; {
		w, err := s.worker(ctx)
		if err != nil {
			return err
		}
		why := differs(w)
		if why == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New(why)
		}
		if !s.sleep(2 * time.Millisecond) {
			return s.ctx.Err()
		}
	}
}

// worker asks the worker for its servers.
func (m *Manager) worker(ctx context.Context) (haproxy.Worker, error) {
	reply, err := m.Runtime(ctx, "show servers state")
	if err != nil {
		return haproxy.Worker{}, err
	}
	servers, err := haproxy.ParseServerStates([]byte(reply))
	if err != nil {
		return haproxy.Worker{}, fmt.Errorf("ask HAProxy for its servers: %w", err)
	}
	return haproxy.Worker{Version: m.State().Version, Servers: servers}, nil
}

// halfChanged reports whether the worker may be between two configurations.
func (m *Manager) halfChanged() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.half
}

func (m *Manager) setHalf(half bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.half = half
}
