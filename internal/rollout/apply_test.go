package rollout

import (
	"context"
	"errors"
	"os"
	"testing"

	"holdfast/internal/spec"
)

// TestForceMakesTheVIPsFirst refuses a spec whose VIPs cannot be before anything
// else has it: neither HAProxy nor the agent.
func TestForceMakesTheVIPsFirst(t *testing.T) {
	s, findings := spec.Parse("test.yaml", []byte(testSpec))
	if s == nil {
		t.Fatal(findings)
	}
	dir := t.TempDir()
	r, b := newRollout(dir)
	cannot := errors.New("vip api: no")
	r.opt.VIPs = func(*spec.Spec) (func(context.Context), error) { return nil, cannot }
	if _, err := r.force(t.Context(), candidate{spec: s}); !errors.Is(err, cannot) {
		t.Errorf("force: %v", err)
	}
	if r.Spec() != nil || len(b.kinds()) > 0 || len(b.found()) > 0 {
		t.Errorf("the spec is in use: %v, events %v, findings %v", r.Spec(), b.kinds(), b.found())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("something was written: %v, %v", left, err)
	}
}
