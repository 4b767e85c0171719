package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"holdfast/internal/onlyone"
	"holdfast/internal/vip"
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
	kept, err := a.moves.read()
	if err != nil {
		return result, err
	}
	differ := slices.DeleteFunc(slices.Concat(kept.Settings, kept.Devices), func(c vip.Setting) bool { return !c.Differs() })
	a.rollout.Use(s)
	a.resumeMoves(ctx, s)
	cut, err := a.endMoves(ctx)
	result.Changes = append(result.Changes, cut...)
	err = errors.Join(err, vip.Cleanup(ctx, a.log.With("component", "vip")))
	_, noteErr := a.moves.devices.Note()
	err = errors.Join(err, noteErr, a.moves.write())
	for _, c := range differ {
		if c.Differs() {
			err = errors.Join(err, fmt.Errorf("put a setting back: it is not so that %s, as it was; write it there", c))
			continue
		}
		result.Changes = append(result.Changes, c.String()+" again")
	}
	return result, err
}

// endMoves ends all planned moves at once, and gives what that was in words.
func (a *Agent) endMoves(ctx context.Context) (done []string, err error) {
	given, taken := a.moves.names()
	for _, name := range given {
		a.moves.mu.Lock()
		g := a.moves.giving[name]
		a.moves.mu.Unlock()
		cut := 0
		_, one := a.moves.rid(name, g, func() (err error) {
			cut, err = g.copy.End(ctx)
			return err
		})
		done = append(done, fmt.Sprintf("vip %s, which %s took: %d connections cut", name, g.To, cut))
		err = errors.Join(err, one)
	}
	for _, name := range taken {
		t := a.moves.takes(name)
		a.moves.kernel.Lock()
		err = errors.Join(err, t.detour.Remove(ctx), a.moves.change(func() { delete(a.moves.taking, name) }))
		a.moves.kernel.Unlock()
		done = append(done, fmt.Sprintf("vip %s: nothing is sent on to %s any more", name, t.From))
	}
	return done, err
}
