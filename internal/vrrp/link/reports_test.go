package link

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWarningsAreBounded checks that keys from the network do not fill the memory.
func TestWarningsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := startReports(&Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		now := time.Now()
		for i := range 100 {
			r.warn(now.Add(time.Duration(i)), fmt.Sprint("key", i), "once")
		}
		if len(r.said) > 64 {
			t.Errorf("%d keys are kept", len(r.said))
		}
		r.warn(now.Add(time.Second), "key99", "again")
		r.warn(now.Add(2*time.Minute), "key99", "much later")
		r.stop()
		if strings.Contains(log.String(), "again") || !strings.Contains(log.String(), `"not logged since"=1`) {
			t.Errorf("log:\n%s", log.String())
		}
	})
}

// TestFullQueue checks that lines that do not fit are counted.
func TestFullQueue(t *testing.T) {
	var log strings.Builder
	r := &reports{log: slog.New(slog.NewTextHandler(&log, nil)), queue: make(chan report, 1)}
	r.info("kept")
	r.info("lost")
	r.wg.Go(r.run)
	r.stop()
	if got := log.String(); !strings.Contains(got, "lines=1") || !strings.Contains(got, "kept") || strings.Contains(got, `"lost"`) {
		t.Errorf("log:\n%s", got)
	}
}
