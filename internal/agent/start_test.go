package agent

import (
	"errors"
	"strings"
	"testing"

	"holdfast/internal/rollout"
	"holdfast/internal/status"
)

// TestStartIsNoFault reads what an operator reads who starts the agent of a host where
// nothing runs yet: that it has started, first, and no warning.
func TestStartIsNoFault(t *testing.T) {
	h := newHost(t)
	h.keystone()
	d := h.start()
	d.awaitActive()
	events := d.journal.Last(100)
	if len(events) < 3 || events[0].Kind != "agent-started" {
		t.Fatalf("the first events are %v, want agent-started first", events)
	}
	for i, e := range events {
		if e.Kind == "haproxy-down" || e.Time.Before(events[0].Time) {
			t.Errorf("event %d of a start is %q, %v", i, e.Text, e.Time)
		}
	}
	if line, _, _ := strings.Cut(h.logs.String(), "\n"); !strings.Contains(line, `level=INFO msg="agent test started"`) {
		t.Errorf("the log begins with %s", line)
	}
}

// TestOneHostIsOneLine takes the only host of a service away. HAProxy has it in five
// backends, and says so of each.
func TestOneHostIsOneLine(t *testing.T) {
	h := newHost(t)
	server := h.keystone()
	d := h.start()
	d.awaitActive()
	h.awaitAnswer("http://192.0.2.10:5000/v3", "200 keystone")
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	h.await("the host is down", func() bool { return hasEvent(d, "host-down") })
	h.await("HAProxy has said so", func() bool { return strings.Contains(h.logs.String(), "no server available") })
	var lines []string
	for line := range strings.Lines(h.logs.String()) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, "keystone") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 || !strings.Contains(lines[0], "keystone on ctl1 went from up to down") || !strings.Contains(lines[0], "refused") {
		t.Errorf("one host that goes is %d warnings, want one with the cause:\n%s", len(lines), strings.Join(lines, ""))
	}
	if n := strings.Count(h.logs.String(), "no server available"); n != 1 {
		t.Errorf("that keystone has no host is said %d times", n)
	}
}

// TestNamedProgramThatIsNotThere names a HAProxy that there is not: an agent does not
// begin with it, but where one runs it adopts that.
func TestNamedProgramThatIsNotThere(t *testing.T) {
	h := newHost(t)
	h.keystone()
	installed := h.opt.HAProxy
	h.opt.HAProxy, h.opt.HAProxyNamed = "/nonexist/haproxy", true
	wrong := h.start()
	if _, ok := errors.AsType[*rollout.UsageError](<-wrong.ended); !ok {
		t.Error("an agent runs with a HAProxy that is not there")
	}
	wrong.ended <- nil

	h.opt.HAProxy = installed
	first := h.start()
	first.awaitActive()
	pid := first.Snapshot().HAProxy.PID
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	h.opt.HAProxy = "/nonexist/haproxy"
	second := h.start()
	h.await("the next agent has adopted it", func() bool {
		s := second.Snapshot().HAProxy
		return s.State == status.HAProxyRunning && s.Adopted && s.PID == pid
	})
}
