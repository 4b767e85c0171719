package process

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/haproxy/ours"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/status"
)

func TestHang(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager(func(o *Options) { o.KillAfter = 300 * time.Millisecond })
	b.apply(m, Started)
	before := m.State()
	stopped := time.Now()
	b.signalAll(syscall.SIGSTOP)
	s := awaitState(t, m, status.HAProxyHung)
	t.Logf("hung after %v: %s", time.Since(stopped), s.Reason)
	s = awaitState(t, m, status.HAProxyRunning)
	t.Logf("replaced after %v", time.Since(stopped))
	if s.PID == before.PID || s.Restarts != 1 {
		t.Errorf("after the hang: %+v; before: pid %d", s, before.PID)
	}
	if code, _ := b.get("/"); code != 200 {
		t.Errorf("GET / = %d", code)
	}
}

func TestHangThatPasses(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager(func(o *Options) { o.KillAfter = time.Hour })
	b.apply(m, Started)
	before := m.State()
	b.signalAll(syscall.SIGSTOP)
	awaitState(t, m, status.HAProxyHung)
	b.signalAll(syscall.SIGCONT)
	if s := awaitState(t, m, status.HAProxyRunning); s.PID != before.PID || s.Restarts != 0 {
		t.Errorf("after the hang: %+v; before: pid %d", s, before.PID)
	}
}

// signalAll signals the master and the worker.
func (b *bench) signalAll(sig syscall.Signal) {
	b.t.Helper()
	all, err := ours.Find(b.run, "haproxy", ours.Identity{})
	if err != nil || len(all) < 2 {
		b.t.Fatalf("found %v, %v; want a master and a worker", all, err)
	}
	for _, p := range all {
		if err := syscall.Kill(p.PID, sig); err != nil {
			b.t.Fatal(err)
		}
	}
}

// A HAProxy that answers on its socket and not through its listeners is hung,
// but is not killed for it soon: the fault may be on the way to it.
func TestDeafListeners(t *testing.T) {
	b := newBench(t)
	var deaf atomic.Bool
	m, _ := b.manager(func(o *Options) {
		o.KillAfter = time.Hour
		o.Probe = func(context.Context) (Sign, error) {
			if deaf.Load() {
				return Silent, errors.New("no way")
			}
			return Answered, nil
		}
	})
	b.apply(m, Started)
	pid := m.State().PID
	deaf.Store(true)
	if s := awaitState(t, m, status.HAProxyHung); !strings.Contains(s.Reason, "through its listeners: no way") {
		t.Errorf("reason %q", s.Reason)
	}
	deaf.Store(false)
	if s := awaitState(t, m, status.HAProxyRunning); s.PID != pid {
		t.Errorf("it was replaced: %+v", s)
	}
}

// One that hangs as a whole cannot be adopted, and must not stay beside a new
// one: it would take its share of the connections.
func TestHungIsNotAdopted(t *testing.T) {
	b := newBench(t)
	m, stop := b.manager()
	b.apply(m, Started)
	pid := m.State().PID
	stop()
	b.signalAll(syscall.SIGSTOP)
	m, _ = b.manager()
	if s := awaitState(t, m, status.HAProxyRunning); s.PID == pid || s.Adopted {
		t.Errorf("runs as %+v, and pid %d hung", s, pid)
	}
	for range 20 {
		if code, _ := b.get("/"); code != 200 {
			t.Errorf("GET / = %d", code)
		}
	}
}

func TestFull(t *testing.T) {
	for conns, want := range map[int]bool{0: false, 979: false, 980: true, 1000: true} {
		if got := full(output.Info{Conns: conns, MaxConn: 1000}); got != want {
			t.Errorf("%d of 1000: %t", conns, got)
		}
	}
	if full(output.Info{}) {
		t.Error("nothing is known, and it is full")
	}
}
