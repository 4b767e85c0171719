package agent

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"holdfast/internal/status"
)

// A check that the service does not pass, with a real HAProxy: the agent goes
// back by itself, and the next one does not run into it again.
func TestCheckThatNothingPassesIsTakenBack(t *testing.T) {
	h := newHost(t)
	h.listen("192.0.2.1:5000", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/nope" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, "keystone\n") // the client says what it misses
	})
	bad := strings.Replace(testSpec, "keystone: {}", "keystone: {check: {path: /nope}}", 1)
	d := h.start()
	d.awaitActive()
	d.awaitKeystone(status.Degraded)
	good, transitions := d.Snapshot().Config.Digest, d.Snapshot().VIPs[0].Transitions

	h.write(bad)
	done, err := d.rollout.Reload(t.Context(), "test")
	if err != nil || done.Trial == 0 {
		t.Fatalf("reload: %+v, %v", done, err)
	}
	h.await("the agent has gone back", func() bool { return hasEvent(d, "reload-rolled-back") })
	h.await("that has helped", func() bool { return hasEvent(d, "rollback-helped") })
	s := d.Snapshot()
	if s.Config.Digest != good || len(s.Config.Rejected) != 1 || !strings.Contains(s.Config.Rejected[0].Text, "ctl1: GET /nope answered 404") {
		t.Errorf("config is %+v, want %s and why", s.Config, good)
	}
	if s.VIPs[0].Transitions != transitions && !hasEvent(d, "haproxy-hung") { // as on a machine that is busy
		t.Error("the VIP was moved")
	}
	h.awaitAnswer("http://192.0.2.10:5000/v3", "200 keystone")
	for _, e := range d.journal.Last(20) {
		t.Logf("%s: %s; %s; %v", e.Kind, e.Text, e.Cause, e.Took)
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}

	again := h.start()
	again.awaitActive()
	again.awaitKeystone(status.Degraded)
	if s := again.Snapshot(); s.Config.Digest != good || len(s.Config.Rejected) != 1 || s.HAProxy.Reloads != 0 {
		t.Errorf("the next agent has %+v, after %d reloads", s.Config, s.HAProxy.Reloads)
	}
}

// With a real HAProxy: the host answers its own check on the new path, and what comes
// through HAProxy with no HTTP. Every check is green.
func TestRequestsThatDoNotPassAreFound(t *testing.T) {
	h := newHost(t)
	h.listen("192.0.2.1:5000", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/new" || r.Header.Get("X-Forwarded-For") == "" {
			_, _ = io.WriteString(w, "keystone\n") // the client says what it misses
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "\x15\x03\x01 this is no HTTP") // as from a host that speaks TLS
		_ = conn.Close()
	})
	d := h.start()
	d.awaitActive()
	d.awaitKeystone(status.Degraded)
	good := d.Snapshot().Config.Digest
	h.write(strings.Replace(testSpec, "keystone: {}", "keystone: {check: {path: /new}}", 1))
	if _, err := d.rollout.Reload(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	h.await("the agent has gone back", func() bool { return hasEvent(d, "reload-rolled-back") })
	s := d.Snapshot()
	if s.Config.Digest != good || len(s.Config.Rejected) != 1 || !strings.Contains(s.Config.Rejected[0].Text, "answered 502") {
		t.Errorf("config is %+v, want %s and why", s.Config, good)
	}
	h.awaitAnswer("http://192.0.2.10:5000/v3", "200 keystone")
}

// An agent that is started with another check than before finds out as well.
func TestChangedFileAtTheStartIsTakenBack(t *testing.T) {
	h := newHost(t)
	h.keystone()
	first := h.start()
	first.awaitActive()
	first.awaitKeystone(status.Degraded)
	good := first.Snapshot().Config.Digest
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	h.write(strings.Replace(testSpec, "keystone: {}", "keystone: {check: {expect: 204}}", 1))
	next := h.start()
	next.awaitActive()
	h.await("the agent has gone back", func() bool { return hasEvent(next, "reload-rolled-back") })
	next.awaitKeystone(status.Degraded)
	if got := next.Snapshot().Config.Digest; got != good {
		t.Errorf("%s is in force, want %s", got, good)
	}
}

// A reload that is asked for while HAProxy hangs is done when it no longer does.
func TestReloadWaitsForAHAProxyThatHangs(t *testing.T) {
	h := newHost(t)
	d := h.start()
	d.awaitActive()
	worker, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", d.Snapshot().HAProxy.PID))
	if err != nil {
		t.Skip("this kernel does not tell of children: ", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(worker)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	h.await("HAProxy hangs", func() bool { return d.Snapshot().HAProxy.State == status.HAProxyHung })
	h.write(testSpec + "  glance: {}\n")
	if _, err := d.rollout.Reload(t.Context(), "test"); err != nil {
		t.Errorf("reload: %v", err)
	}
	if s := d.Snapshot(); s.HAProxy.State != status.HAProxyRunning || len(s.Config.Rejected) > 0 || s.HAProxy.Restarts != 1 {
		t.Errorf("HAProxy is %+v, config %+v", s.HAProxy, s.Config)
	}
	h.awaitAnswer("http://192.0.2.1:9470/healthz", "200")
}

// awaitKeystone waits until Keystone, which runs on one of two hosts, is in state.
func (d *running) awaitKeystone(state status.ServiceState) {
	d.h.t.Helper()
	d.h.await("Keystone is "+string(state), func() bool {
		s := d.Snapshot().Services
		return len(s) == 1 && s[0].State == state
	})
}
