package agent

import (
	"slices"
	"testing"
	"time"

	"holdfast/internal/haproxy/process"
	"holdfast/internal/status"
)

// While a spec is brought into force HAProxy may have left the port that is
// pinged: that is no hang. At any other time it is.
func TestRefusedPing(t *testing.T) {
	h := newHost(t)
	d := h.start()
	d.awaitActive()
	d.forcing.Store(true)
	next := *d.currentSpec()
	next.Services = slices.Clone(next.Services)
	next.Services[0].Port = 4
	d.rollout.Use(&next)
	for begun := time.Now(); time.Since(begun) < time.Second; time.Sleep(20 * time.Millisecond) {
		if sign, err := d.probeVIPs(t.Context()); sign != process.NoSign || err != nil {
			t.Fatalf("the ping gives %v, %v", sign, err)
		}
	}
	if s := d.Snapshot(); s.HAProxy.State != status.HAProxyRunning || hasEvent(d, "haproxy-hung") {
		t.Errorf("HAProxy is %+v", s.HAProxy)
	}
	d.forcing.Store(false)
	h.await("HAProxy hangs", func() bool { return hasEvent(d, "haproxy-hung") })
}
