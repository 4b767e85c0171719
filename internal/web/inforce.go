package web

import (
	"context"
	"net/http"
	"time"
)

// InForce is the spec that an agent has in force.
type InForce struct {
	Controller string `json:"controller"`
	// Digest is that of Text.
	Digest string    `json:"digest"`
	Loaded time.Time `json:"loaded"` // into force
	// Text is the file as it was read.
	Text string `json:"spec"`
}

// HandleGet adds the question GET path, which is answered as a command of Handle is.
func HandleGet[Resp any](s *ControlServer, path string, answer func(context.Context) (Resp, error)) {
	s.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		resp, err := answer(r.Context())
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, resp)
	})
}

// InForce gives the spec that the agent has in force.
func (c *Control) InForce(ctx context.Context) (InForce, error) {
	var f InForce
	return f, c.quick(ctx, "/spec", &f)
}
