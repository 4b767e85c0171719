package agent

import (
	"strings"
	"testing"

	"holdfast/internal/status"
)

// Without a user for its workers HAProxy is not started, and status says what to do.
// Whoever insists gets a finding.
func TestNoUserForHAProxy(t *testing.T) {
	h := newHost(t)
	h.opt.HAProxyUser = "holdfast-no-such-user"
	d := h.start()
	h.await("it is said", func() bool {
		f := d.wrong()
		return len(f) == 1 && f[0].Code == status.CodeNotInForce && strings.Contains(f[0].Text, "would run as root") && strings.Contains(f[0].Text, "--haproxy-user")
	})
	if s := d.Snapshot(); s.HAProxy.PID != 0 || s.VIPs[0].State == status.Active {
		t.Errorf("HAProxy is %+v, the VIP %+v", s.HAProxy, s.VIPs[0])
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	h.opt.HAProxyUser = "root"
	d = h.start()
	d.awaitActive()
	if !hasFinding(d.Snapshot(), status.CodeHAProxyAsRoot, status.Warning) {
		t.Errorf("findings: %+v", d.Snapshot().Findings)
	}
}
