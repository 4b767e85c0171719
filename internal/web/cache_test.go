package web

import (
	"context"
	"testing"
	"time"
)

// TestCacheOutlivesAPanic: what another machine has told may break a view, and not the agent.
func TestCacheOutlivesAPanic(t *testing.T) {
	now, broke := time.Unix(1_800_000_000, 0), 0
	load := func() string { return "the first" }
	c := cache[string]{age: time.Second, now: func() time.Time { return now }, broke: func(any) { broke++ }}
	c.load = func(context.Context) string { return load() }
	for _, then := range []struct {
		load  func() string
		want  string
		broke int
	}{
		{load, "the first", 0},
		{func() string { panic("an odd Snapshot") }, "the first", 1},
		{func() string { return "the next" }, "the next", 1},
	} {
		load = then.load
		if got := c.get(t.Context()); got != then.want || broke != then.broke {
			t.Errorf("got %q, broke %d times; want %q and %d", got, broke, then.want, then.broke)
		}
		now = now.Add(time.Minute)
	}
}
