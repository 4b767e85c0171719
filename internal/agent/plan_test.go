package agent

import (
	"strings"
	"testing"

	"holdfast/internal/status"
)

// What a plan says comes to pass.
func TestPlanSaysWhatAReloadDoes(t *testing.T) {
	h := newHost(t)
	h.keystone()
	hosts := "{hosts: [{name: ctl1, address: 192.0.2.1}, {name: ctl2, address: 192.0.2.2, weight: 8}]}"
	d := h.start()
	d.awaitActive()
	d.awaitKeystone(status.Degraded)
	for _, tt := range []struct{ name, text, action, done string }{
		{"the same", testSpec + "# more\n", "unchanged", "HAProxy's configuration is the same"},
		{"a weight", strings.Replace(testSpec, "keystone: {}", "keystone: "+hosts, 1), "changed", "HAProxy was changed without a reload"},
		{"a service", testSpec + "  glance: {}\n", "reloaded", "HAProxy was reloaded: "},
	} {
		plan, err := d.rollout.Plan(t.Context(), []byte(tt.text))
		if err != nil || plan.Action != tt.action {
			t.Fatalf("%s: plan %+v, %v, want %s", tt.name, plan, err, tt.action)
		}
		h.write(tt.text)
		done, err := d.rollout.Reload(t.Context(), "test")
		if err != nil || !strings.HasPrefix(done.HAProxy, tt.done) || !strings.Contains(done.HAProxy, plan.Why) {
			t.Errorf("%s: planned %+v, done %q, %v", tt.name, plan, done.HAProxy, err)
		}
	}
	if _, err := d.rollout.Plan(t.Context(), []byte("cloud: [")); err == nil {
		t.Error("a bad spec has a plan")
	}
}
