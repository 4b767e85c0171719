package agent

import (
	"context"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// Plan tells what bringing a spec into force would do to HAProxy. A bad spec is
// an error with a method Findings.
func (a *Agent) Plan(ctx context.Context, req web.PlanRequest) (web.PlanResult, error) {
	s, findings := spec.Parse("the spec", []byte(req.Text))
	if s == nil {
		return web.PlanResult{}, &rejectedError{"the spec", errorsAmong(findings)}
	}
	if a.haproxy.State().State != status.HAProxyRunning {
		return web.PlanResult{Action: "started", Why: "it does not run"}, nil
	}
	local, err := a.local(s)
	if err != nil {
		return web.PlanResult{}, err
	}
	change := a.haproxy.Plan(ctx, haproxy.Render(s, local))
	switch {
	case change.Reload != "":
		return web.PlanResult{Action: "reloaded", Why: change.Reload}, nil
	case change.Done != "":
		return web.PlanResult{Action: "changed", Why: change.Done}, nil
	}
	return web.PlanResult{Action: "unchanged"}, nil
}
