package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

	"holdfast/internal/onlyone"
)

// A CleanupResult says what an agent had left on this host, and was taken away.
type CleanupResult struct {
	// Changes are in words, one a line. Empty when nothing was left.
	Changes []string `json:"changes"`
}

// CleanUp takes away what agents of this controller have left in the kernel, and puts
// its settings back, for a host that holdfast leaves for good: while an agent runs it
// is refused. Connections of a planned move that go on without the agent are cut.
// HAProxy is left alone.
func (a *Agent) CleanUp(ctx context.Context) (result CleanupResult, err error) {
	result.Changes = []string{}
	if err := os.MkdirAll(a.opt.RunDir, 0o750); err != nil {
		return result, fmt.Errorf("use the run directory: %w; run it as root, or name another with --run-dir", err)
	}
	held, err := onlyone.Acquire(ctx, a.opt.RunDir, a.opt.Controller)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, held.Release()) }()
	s, err := a.rollout.Recall()
	if err != nil {
		return result, err
	}
	if err := checkCapabilities(); err != nil {
		return result, err
	}
	a.rollout.Use(s)
	done, err := a.moves.CleanUp(ctx, s)
	result.Changes = append(result.Changes, done...)
	return result, err
}
