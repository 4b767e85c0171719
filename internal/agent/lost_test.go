package agent

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"holdfast/internal/status"
	"holdfast/internal/web"
)

// The run directory goes, with all that is in it: the VIP stays, HAProxy stays,
// the finding says so until all is there again, the agent's own socket too.
func TestRunDirectoryLost(t *testing.T) {
	h := newHost(t)
	h.keystone()
	d := h.start()
	d.awaitActive()
	d.awaitKeystone(status.Degraded)
	before := d.Snapshot()
	if err := os.RemoveAll(h.run); err != nil {
		t.Fatal(err)
	}
	h.await("the finding", func() bool { return hasFinding(d.Snapshot(), status.CodeHAProxySocketLost, status.Warning) })
	for _, f := range d.Snapshot().Findings {
		t.Logf("%s: %s; %s", f.Code, f.Text, f.Remedy)
	}
	h.await("the sockets are back", func() bool {
		_, err := os.Lstat(filepath.Join(h.run, "agent.sock"))
		return err == nil && !hasFinding(d.Snapshot(), status.CodeHAProxySocketLost, status.Warning) && d.Snapshot().HAProxy.Reloads == 1
	})
	h.awaitAnswer("http://192.0.2.10:5000/v3", "200 keystone")
	s := d.Snapshot()
	if s.HAProxy.PID != before.HAProxy.PID || s.HAProxy.Restarts != 0 || s.VIPs[0].Transitions != before.VIPs[0].Transitions {
		t.Errorf("now %+v, %+v; before %+v, %+v", s.HAProxy, s.VIPs[0], before.HAProxy, before.VIPs[0])
	}
	if _, err := web.NewControl(filepath.Join(h.run, "agent.sock")).Snapshot(t.Context()); err != nil {
		t.Errorf("the control socket: %v", err)
	}
	if !hasEvent(d, status.CodeHAProxySocketLost) || hasEvent(d, "haproxy-hung") {
		t.Errorf("the events are %+v", d.journal.Last(20))
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
	if strings.Contains(h.logs.String(), "VRRP loop ended") {
		t.Error("a VRRP loop ended")
	}
}

// An agent that was away while the sockets went adopts HAProxy.
func TestStartsBesideLostSockets(t *testing.T) {
	h := newHost(t)
	h.keystone()
	first := h.start()
	first.awaitActive()
	pid := first.Snapshot().HAProxy.PID
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(h.run); err != nil {
		t.Fatal(err)
	}
	next := h.start()
	next.awaitActive()
	h.await("it is well", func() bool { return !hasFinding(next.Snapshot(), status.CodeHAProxySocketLost, status.Warning) })
	if s := next.Snapshot().HAProxy; s.PID != pid || !s.Adopted || s.Restarts != 0 {
		t.Errorf("HAProxy is %+v, want pid %d adopted", s, pid)
	}
}

// The state directory goes, with all that is in it: it is made anew, HAProxy that dies
// then is started again, and the next agent finds the last good spec.
func TestStateDirectoryLost(t *testing.T) {
	h := newHost(t)
	h.keystone()
	d := h.start()
	d.awaitActive()
	d.awaitKeystone(status.Degraded)
	pid := d.Snapshot().HAProxy.PID
	h.await("the directory is gone", func() bool { return os.RemoveAll(h.opt.StateDir) == nil }) // while the agent writes there
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.await("another HAProxy runs", func() bool {
		s := d.Snapshot().HAProxy
		return s.State == status.HAProxyRunning && s.PID != pid
	})
	h.awaitAnswer("http://192.0.2.10:5000/v3", "200 keystone")
	h.await("the last good spec is kept", func() bool {
		_, err := os.Stat(filepath.Join(h.opt.StateDir, "last-good.yaml"))
		return err == nil && hasEvent(d, "state-made-anew")
	})
	h.write(testSpec + "  glance: {}\n")
	if _, err := d.rollout.Reload(t.Context(), "test"); err != nil {
		t.Error(err)
	}
}
