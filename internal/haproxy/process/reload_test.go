package process

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/status"
)

// inReload has cfg applied, and calls work once that is a reload under way.
func (b *bench) inReload(m *Manager, work func()) error {
	b.t.Helper()
	applied := make(chan error, 1)
	go func() {
		_, err := m.Apply(b.t.Context(), b.cfg())
		applied <- err
	}()
	eventually(b.t, "the reload is under way", func() bool { return m.current().isReloading() })
	work()
	return <-applied
}

// HAProxy answers nothing for a while in the middle of a reload, as on a machine
// that has no time for it: that is no hang.
func TestReloadThatTakesLong(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager(b.probe)
	b.apply(m, Started)
	before := m.State()
	states := b.follow(m)
	b.spec.Services[0].Timeout.Server = time.Minute
	err := b.inReload(m, func() {
		for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
			if err := syscall.Kill(before.PID, sig); err != nil {
				t.Error(err)
			}
			for _, pid := range children(t, before.PID) { // there come no more
				if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
					t.Error(err)
				}
			}
			time.Sleep(time.Second) // of silence
		}
	})
	if err != nil {
		t.Errorf("Apply: %v", err)
	}
	if got := states(); !slices.Equal(got, []status.HAProxyState{status.HAProxyRunning}) {
		t.Errorf("it was %v", got)
	}
	if s := m.State(); s.PID != before.PID || s.Restarts != 0 || s.Reloads != 1 {
		t.Errorf("after the reload: %+v", s)
	}
}

// A master that says too late what has become of a reload has reloaded, whether
// the old worker has ended by then or ends later.
func TestReloadThatIsLate(t *testing.T) {
	for _, limit := range []time.Duration{300 * time.Millisecond, time.Second} {
		t.Run(limit.String(), func(t *testing.T) {
			b := newBench(t)
			m, _ := b.manager(b.probe)
			b.apply(m, Started)
			before := m.State()
			workers := children(t, before.PID)
			m.opt.ReadyTimeout = limit
			states := b.follow(m)
			b.spec.Services[0].Timeout.Server = time.Minute
			err := b.inReload(m, func() {
				// The old one may end at once, with no connection to finish.
				eventually(t, "another worker", func() bool {
					return slices.ContainsFunc(children(t, before.PID), func(pid int) bool { return !slices.Contains(workers, pid) })
				})
				if err := syscall.Kill(before.PID, syscall.SIGSTOP); err != nil {
					t.Error(err)
				}
				time.Sleep(limit + limit/3)
				if err := syscall.Kill(before.PID, syscall.SIGCONT); err != nil {
					t.Error(err)
				}
			})
			m.opt.ReadyTimeout = patience
			t.Logf("Apply: %v", err)
			if _, err := m.Apply(t.Context(), b.cfg()); err != nil {
				t.Error(err)
			}
			if got := states(); !slices.Equal(got, []status.HAProxyState{status.HAProxyRunning}) {
				t.Errorf("it was %v", got)
			}
			if s := m.State(); s.PID != before.PID || s.Restarts != 0 {
				t.Errorf("after the reload: %+v", s)
			}
			if code, _ := b.get("/"); code != 200 {
				t.Errorf("GET / = %d", code)
			}
		})
	}
}

// children gives the processes that pid has started.
func children(t *testing.T, pid int) []int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Skip("this kernel does not tell of children: ", err)
	}
	var all []int
	for word := range strings.FieldsSeq(string(data)) {
		child, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, child)
	}
	return all
}
