package web

import (
	"context"
	"net/http"
)

// A PlanRequest asks what bringing a spec into force would do. Nothing is done.
type PlanRequest struct {
	Text string `json:"spec"` // of the file
}

// A PlanResult tells what it would do to HAProxy.
type PlanResult struct {
	// Action is "unchanged", "changed" (while it runs), "reloaded" or "started".
	Action string `json:"action"`
	// Why says why it takes a reload, or what would be changed.
	Why string `json:"why,omitempty"`
}

// Plan asks the agent what bringing a spec into force would do to HAProxy.
func (c *Control) Plan(ctx context.Context, req PlanRequest) (PlanResult, error) {
	var r PlanResult
	return r, c.Do(ctx, http.MethodPost, "/plan", req, &r)
}
