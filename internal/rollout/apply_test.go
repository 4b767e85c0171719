package rollout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/spec"
	"holdfast/internal/status"
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

// TestRefusedWithoutItsLines tells everybody why a spec was refused, and not what its lines
// have: a webhook may be a secret. Who reloads gets them.
func TestRefusedWithoutItsLines(t *testing.T) {
	text := strings.Replace(testSpec, "services:", "notify: {webhok: https://alerts.example.org/secret}\nservices:", 1)
	_, findings := spec.Parse("test.yaml", []byte(text))
	err := error(&rejectedError{"test.yaml", findings})
	shown := fmt.Sprintf("%#v", asFindings("test.yaml", err))
	if !strings.Contains(shown, "webhok") || strings.Contains(shown, "secret") {
		t.Errorf("everybody is shown %s", shown)
	}
	if !slices.ContainsFunc(findings, func(f status.Finding) bool { return strings.Contains(f.Line, "secret") }) {
		t.Errorf("who reloads is told %#v, without the line", findings)
	}
}
