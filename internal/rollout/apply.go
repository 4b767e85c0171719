package rollout

import (
	"context"
	"fmt"
	"os"
	"strings"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// A candidate is a spec that was read, and may be brought into force.
type candidate struct {
	spec *spec.Spec
	data []byte
	// rejected says why the spec file itself is not this candidate: empty
	// unless it is the last good one in place of a bad file.
	rejected []status.Finding
	// first says that nothing is in force before it.
	first bool
}

// firstSpec gives the spec to begin with: that of the file, or, where the file
// is bad, the last one that was in force.
func (r *Rollout) firstSpec() (candidate, error) {
	s, data, _, err := readSpec(r.opt.File, r.opt.Controller)
	failed := r.failedTrial(s)
	if err == nil && failed == nil {
		return candidate{spec: s, data: data, first: true}, nil
	}
	last, lastData, _, lastErr := readSpec(r.lastGood(), r.opt.Controller)
	switch {
	case lastErr == nil && failed != nil:
		r.opt.Event(status.Event{
			Kind: status.EventReloadRejected, Subject: "spec", Cause: failed.Text,
			Text: fmt.Sprintf("spec %s was taken back before, and is not tried again by itself; starting with the last good one, %s", s.Digest, last.Digest),
		})
		return candidate{last, lastData, []status.Finding{*failed}, true}, nil
	case lastErr == nil:
		r.log.Error("the spec is bad; starting with the last good one", "error", err, "last_good", r.lastGood())
		return candidate{last, lastData, asFindings(r.opt.File, err), true}, nil
	case err != nil:
		return candidate{}, err
	}
	r.log.Error("the last good spec cannot be read; trying the one that was taken back before", "error", lastErr)
	return candidate{spec: s, data: data, first: true}, nil
}

// rawFinding says how many raw lines s has; nil for none.
func rawFinding(s *spec.Spec) *status.Finding {
	n := s.RawCount()
	if n == 0 {
		return nil
	}
	words := fmt.Sprintf("%d raw lines of HAProxy's configuration are", n)
	if n == 1 {
		words = "one raw line of HAProxy's configuration is"
	}
	return &status.Finding{
		Severity: status.Info, Code: status.CodeRawLines, Subject: "spec",
		Text:   words + " in force, which HAProxy has checked and holdfast does not understand",
		Remedy: "where the spec has a key for the same by now, write that instead",
	}
}

// maintenanceFinding says which services of s are closed; nil for none.
func maintenanceFinding(s *spec.Spec) *status.Finding {
	var names []string
	for _, svc := range s.Services {
		if svc.Maintenance.On {
			names = append(names, svc.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &status.Finding{
		Severity: status.Info, Code: status.CodeMaintenance, Subject: "spec",
		Text: "in maintenance, as the spec says: " + strings.Join(names, ", "), Remedy: "remove maintenance from the spec when the work is done",
	}
}

// force brings c into force in the order that docs/architecture.md has: it was parsed;
// it is rendered and checked by HAProxy, and only then is anything live touched.
// What could fail for the VIPs has been made before that.
func (r *Rollout) force(ctx context.Context, c candidate) (process.Result, error) {
	useVIPs, err := r.opt.VIPs(c.spec)
	if err != nil {
		return process.Result{}, err
	}
	local, err := r.local(c.spec)
	if err != nil {
		return process.Result{}, err
	}
	// What served before serves on with the copies of then: it must come back whatever became of its files.
	if err := r.keepFiles(c.spec, c.first || len(c.rejected) > 0); err != nil {
		return process.Result{}, fmt.Errorf("a file that the spec names: %w", err)
	}
	events, err := r.opt.Certificates(c.spec, c.first)
	if err != nil {
		return process.Result{}, err
	}
	for _, e := range events {
		r.opt.Event(e)
	}
	r.opt.Applying(true)
	defer r.opt.Applying(false)
	applied, err := r.opt.HAProxy.Apply(ctx, haproxy.Render(c.spec, local))
	if err != nil {
		return applied, fmt.Errorf("apply the configuration of HAProxy: %w", err)
	}
	r.use(c)
	r.opt.SetFinding(status.CodeHAProxyAsRoot, rootFinding(r.opt.HAProxyUser, os.Geteuid(), onlyUser()))
	r.opt.SetFinding(status.CodeRawLines, rawFinding(c.spec))
	r.opt.SetFinding(status.CodeMaintenance, maintenanceFinding(c.spec))
	useVIPs(ctx)
	return applied, nil
}
