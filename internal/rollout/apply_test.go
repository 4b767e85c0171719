package rollout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/haproxy/process"
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

// TestRefusedWithoutRawLines does the same for what HAProxy says of a raw line, and keeps what
// it says of others.
func TestRefusedWithoutRawLines(t *testing.T) {
	r, b := newRollout(t.TempDir())
	err := fmt.Errorf("apply the configuration of HAProxy: %w", &process.CheckError{
		Messages: []output.Message{{Severity: "ALERT", Line: 70, Text: "unknown keyword 'secret' in section 'frontend'"}, {Severity: "ALERT", Line: 80, Text: "no such user"}},
		Lines:    []string{"secret", "user haproxy"}, Spec: []int{12, 0},
	})
	if got := r.reject(err, "test"); !strings.Contains(got.Error(), "(line 12 of the spec: secret)") {
		t.Errorf("who reloads is told %v", got)
	}
	b.mu.Lock()
	shown := fmt.Sprintf("%+v %+v", r.InForce().Config.Rejected, b.events)
	b.mu.Unlock()
	if strings.Contains(shown, "secret") || strings.Count(shown, "line 12 of the spec is refused; holdfast reload says why; ") != 2 || !strings.Contains(shown, "no such user") {
		t.Errorf("everybody is shown %s", shown)
	}
}

// TestGoesBackWithoutItsFiles takes the spec that served before although a list that it names
// is gone: HAProxy has the copy. A new spec that names such a one is refused.
func TestGoesBackWithoutItsFiles(t *testing.T) {
	s, findings := spec.Parse("test.yaml", []byte(testSpec))
	if s == nil {
		t.Fatal(findings)
	}
	r, _ := newRollout(t.TempDir())
	list := filepath.Join(r.opt.StateDir, "deny.list")
	s.Services[0].Access.DenyFile = list
	if err := r.writeCopy(list, fileContent{data: []byte("192.0.2.66/32\n")}); err != nil {
		t.Fatal(err)
	}
	further := errors.New("as far as the certificates")
	r.opt.Certificates = func(*spec.Spec, bool) ([]status.Event, error) { return nil, further }
	if _, err := r.force(t.Context(), candidate{spec: s}); err == nil || errors.Is(err, further) {
		t.Errorf("a new spec: %v", err)
	}
	if _, err := r.force(t.Context(), candidate{spec: s, rejected: []status.Finding{{Code: status.CodeConfigRolledBack}}}); !errors.Is(err, further) {
		t.Errorf("going back: %v", err)
	}
}
