package agent

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// endPatience is how long the parts of an agent that ends may take, until it is said
// which have not ended.
const endPatience = 10 * time.Second

// tasks are the parts of the agent that live as long as it does, each by the name
// that a log line has for it.
type tasks struct {
	group *errgroup.Group
	log   *slog.Logger

	mu    sync.Mutex // guards following
	alive []string   // in the order in which they began
}

// newTasks gives none yet, and the context of all: it ends with ctx, or with the first
// that fails.
func newTasks(ctx context.Context, log *slog.Logger) (*tasks, context.Context) {
	group, ctx := errgroup.WithContext(ctx)
	return &tasks{group: group, log: log}, ctx
}

// start begins a task. What it returns before ctx ends is why the agent ends.
func (t *tasks) start(name string, run func() error) {
	t.mu.Lock()
	t.alive = append(t.alive, name)
	t.mu.Unlock()
	t.group.Go(func() error {
		err := run()
		t.mu.Lock()
		i := slices.Index(t.alive, name)
		t.alive = slices.Delete(t.alive, i, i+1)
		t.mu.Unlock()
		if err != nil {
			t.log.Error("a part of the agent failed", "part", name, "error", err)
		}
		return err
	})
}

// wait returns when all have ended, with the first error. Once ctx, that of all, has
// ended it says now and then which have not.
func (t *tasks) wait(ctx context.Context) error {
	ended := make(chan struct{})
	context.AfterFunc(ctx, func() {
		ticker := time.NewTicker(endPatience)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
				t.mu.Lock()
				t.log.Warn("the agent waits for parts of it to end", "parts", slices.Clone(t.alive))
				t.mu.Unlock()
			}
		}
	})
	defer close(ended)
	return t.group.Wait()
}
