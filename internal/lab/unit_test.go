package lab

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testUnit runs script as a unit on this machine, without a node.
func testUnit(t *testing.T, script string) *unit {
	t.Helper()
	dir, err := os.MkdirTemp("", "unit") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	u := newUnit("test", (*exec.Cmd).Start, []string{"sh", "-c", script}, os.Environ(),
		filepath.Join(dir, "log"), filepath.Join(dir, "notify"), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := u.run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		if p, runs := u.current(); runs {
			if err := p.kill(); err != nil {
				t.Error(err)
			}
		}
		running.Wait()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return u
}

// tell sends the unit a message of sd_notify(3).
func tell(t *testing.T, u *unit, message string) {
	t.Helper()
	conn, err := net.Dial("unixgram", u.notify)
	if err == nil {
		_, err = conn.Write([]byte(message))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func running(u *unit) bool {
	_, runs := u.current()
	return runs
}

func TestUnitStartsAgain(t *testing.T) {
	u := testUnit(t, `echo "$NOTIFY_SOCKET $WATCHDOG_USEC"; exec sleep 1000`)
	waitFor(t, "the first start", func() bool { return running(u) })
	tell(t, u, "READY=1\nSTATUS=all is well")
	waitFor(t, "readiness", func() bool { return u.state().ready && u.state().text == "all is well" })
	first, _ := u.current()
	if err := first.signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the second start", func() bool { return running(u) && u.state().restarts == 1 })
	if s := u.state(); s.ready || s.lastEnd != "signal: killed" {
		t.Errorf("after the second start: %+v", s)
	}
	waitFor(t, "its output", func() bool {
		data, err := os.ReadFile(u.log)
		return err == nil && strings.Count(string(data), u.notify+" 5000000\n") == 2
	})
}

func TestUnitStops(t *testing.T) {
	u := testUnit(t, `exec sleep 1000`)
	waitFor(t, "the start", func() bool { return running(u) })
	if err := u.command(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end", func() bool { return !running(u) })
	if got := u.status().State; got != "stopped" {
		t.Errorf("state %q, want stopped", got)
	}
	if err := u.command(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the start after it", func() bool { return running(u) })
}

// TestUnitWatchdog has a service that pings once and then hangs.
func TestUnitWatchdog(t *testing.T) {
	u := testUnit(t, `exec sleep 1000`)
	waitFor(t, "the start", func() bool { return running(u) })
	tell(t, u, "READY=1\nWATCHDOG=1")
	waitFor(t, "readiness", func() bool { return u.state().ready })
	p, _ := u.current()
	if err := p.signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if got := u.status().State; got != "hung" {
		t.Errorf("state %q, want hung", got)
	}
	waitFor(t, "the watchdog", func() bool { return u.state().watchdogs == 1 && running(u) && u.state().restarts == 1 })
}

// TestUnitHopeless counts the deaths of a service that never gets ready.
func TestUnitHopeless(t *testing.T) {
	u := testUnit(t, `exit 3`)
	waitFor(t, "three deaths", func() bool { return u.state().failures >= 3 })
	if s := u.state(); s.lastEnd != "exit status 3" {
		t.Errorf("ended with %q", s.lastEnd)
	}
}

// TestUnitStoodStill has a lab that did not run for longer than the watchdog
// waits: a service that could not tell it anything is not killed for that.
func TestUnitStoodStill(t *testing.T) {
	u := testUnit(t, `exec sleep 1000`)
	waitFor(t, "the start", func() bool { return running(u) })
	tell(t, u, "READY=1\nWATCHDOG=1")
	waitFor(t, "readiness", func() bool { return u.state().ready })
	u.mu.Lock()
	u.pinged = time.Now().Add(-time.Hour)
	u.mu.Unlock()
	u.stoodStill()
	p, _ := u.current()
	u.checkWatchdog(p)
	if n := u.state().watchdogs; n > 0 || !p.running() {
		t.Errorf("killed by the watchdog %d times", n)
	}
}
