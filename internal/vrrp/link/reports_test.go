package link

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/vrrp"
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

// TestFloodIsLoggedSeldom has a hundred thousand sources, all of them made up, send
// something each within a second: the log has a line for the first ones, and later how
// many more there were.
func TestFloodIsLoggedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := startReports(&Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		now := time.Now()
		of := func(at time.Duration, n int) {
			src := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
			r.warnOf(now.Add(at), topic{"reject", vrrp.ForeignSource, src}, func() (string, []any) { return "dropped", []any{"source", src} })
		}
		const flood = 100_000
		for i := range flood {
			of(time.Duration(i)*time.Second/flood, i)
			if i%64 == 0 {
				synctest.Wait() // the log keeps up
			}
		}
		r.warn(now.Add(time.Second), "late", "held up")
		of(10*time.Second, flood)
		of(3*time.Minute, flood+1)
		r.stop()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 66 || !strings.Contains(lines[64], "held up") || !strings.Contains(lines[65], fmt.Sprintf(`"not logged of others"=%d`, flood-64+1)) {
			t.Errorf("%d lines, the last ones\n%s", len(lines), strings.Join(lines[max(0, len(lines)-3):], "\n"))
		}
		if len(r.heard) > 64 {
			t.Errorf("%d sources are kept", len(r.heard))
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
