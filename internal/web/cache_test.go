package web

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
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

// TestViewThatPanics has the making of a view panic: who asks gets the view before it, the log
// says what to report, and the agent goes on.
func TestViewThatPanics(t *testing.T) {
	now, log := demoNow, &bytes.Buffer{}
	s := demoServer(view{})
	s.opt.Now, s.views.now = func() time.Time { return now }, func() time.Time { return now }
	s.opt.Log = slog.New(slog.NewTextHandler(log, nil))
	url := start(t, s)
	odd := false
	s.views.load = func(context.Context) view {
		if odd {
			var services []string
			_ = services[len(demoName(0))] // as of what another machine has told
		}
		return demoViews()["healthy"]
	}
	_, before := get(t, "GET", url+"/cloud")
	odd, now = true, now.Add(time.Minute)
	for _, path := range []string{"/cloud", "/", "/incidents"} {
		if resp, body := get(t, "GET", url+path); resp.StatusCode != 200 || path == "/cloud" && body != before {
			t.Errorf("%s: %d\n%s", path, resp.StatusCode, body)
		}
	}
	if text := log.String(); !strings.Contains(text, "please report this") || !strings.Contains(text, "index out of range") || !strings.Contains(text, "cache_test.go") {
		t.Errorf("the log says %q", text)
	}
}
