package rollout

import (
	"context"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// A Planned tells what bringing a spec into force would do to HAProxy.
type Planned struct {
	// Action is "unchanged", "changed" (while it runs), "reloaded" or "started".
	Action string
	Why    string // it takes a reload, or what would be changed
}

// Plan tells what bringing the spec with that text into force would do to HAProxy.
// Nothing is done. A bad spec is an error with a method Findings.
func (r *Rollout) Plan(ctx context.Context, text []byte) (Planned, error) {
	s, findings := spec.Parse("the spec", text)
	if s == nil {
		return Planned{}, &rejectedError{"the spec", status.Errors(findings)}
	}
	if r.opt.HAProxy.State().State != status.HAProxyRunning {
		return Planned{Action: "started", Why: "it does not run"}, nil
	}
	local, err := r.local(s)
	if err != nil {
		return Planned{}, err
	}
	change := r.opt.HAProxy.Plan(ctx, haproxy.Render(s, local))
	switch {
	case change.Reload != "":
		return Planned{Action: "reloaded", Why: change.Reload}, nil
	case change.Done != "":
		return Planned{Action: "changed", Why: change.Done}, nil
	}
	return Planned{Action: "unchanged"}, nil
}
