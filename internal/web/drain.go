package web

import (
	"context"
	"net/http"
	"time"

	"holdfast/internal/status"
)

// A DrainRequest asks for a controller, or services on it, to be taken out for
// maintenance, or to be put back.
type DrainRequest struct {
	Controller string `json:"controller"`
	// Services are those to take out or put back; none stands for the whole
	// controller, and in undrain for all that is drained on it.
	Services []string `json:"services,omitempty"`
	// For is after how long the drain ends by itself; 0 for never. In JSON
	// nanoseconds. Not of undrain, as is Force.
	For    time.Duration `json:"for_ns,omitempty"`
	Reason string        `json:"reason,omitempty"` // in the operator's words
	// By is who asks, and where; the agent that is asked on its socket sets it.
	By string `json:"by,omitempty"`
	// Force drains although a service is left without a host.
	Force bool `json:"force,omitempty"`
}

// A DrainResult tells what has become of a DrainRequest.
type DrainResult struct {
	Controller string `json:"controller"`
	// Changed is false when there was nothing to put back.
	Changed bool `json:"changed"`
	// Services are those with a host on the controller that were taken out or put back.
	Services []string `json:"services"`
	// Drains is all that is drained on the controller now.
	Drains []status.Drained `json:"drains"`
	// Notes say what the operator ought to know of how it went.
	Notes []string `json:"notes"`
}

// Drain has a controller, or services on it, taken out. What is refused is a
// *ControlError: 400 for names and values that are wrong, 409 when a service
// would be left without a host, 502 when the controller's agent does not answer.
func (c *Control) Drain(ctx context.Context, req DrainRequest) (DrainResult, error) {
	var r DrainResult
	return r, c.Do(ctx, http.MethodPost, "/drain", req, &r)
}

// Undrain has a controller, or services on it, put back.
func (c *Control) Undrain(ctx context.Context, req DrainRequest) (DrainResult, error) {
	var r DrainResult
	return r, c.Do(ctx, http.MethodPost, "/undrain", req, &r)
}
