package agent

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A part that does not end is named, and one that fails ends the others.
func TestTasksThatDoNotEndAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := &syncBuffer{}
		all, ctx := newTasks(t.Context(), slog.New(slog.NewTextHandler(logs, nil)))
		all.start("one that ends", func() error { <-ctx.Done(); return nil })
		all.start("the slow one", func() error { <-ctx.Done(); time.Sleep(endPatience + time.Second); return nil })
		failed := errors.New("no room")
		all.start("one that fails", func() error { return failed })
		if err := all.wait(ctx); !errors.Is(err, failed) || !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("got %v, %v", err, ctx.Err())
		}
		synctest.Wait()
		said := logs.String()
		for _, want := range []string{`msg="a part of the agent failed" part="one that fails" error="no room"`, `parts="[the slow one]"`} {
			if strings.Count(said, want) != 1 {
				t.Errorf("the log has not once %s:\n%s", want, said)
			}
		}
	})
}
