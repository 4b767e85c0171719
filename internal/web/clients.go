package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"

	"holdfast/internal/traffic"
)

// A History keeps what clients got.
type History interface {
	Hour() (traffic.History, error)  // by ten seconds
	Day() (traffic.History, error)   // by five minutes
	Month() (traffic.History, error) // by hours
}

// Clients is the answer of /clients.
type Clients struct {
	Schema     int    `json:"schema"` // always 1
	Controller string `json:"controller"`
	traffic.History
}

// lookAt gives what looks at a span of h: hour, day or month; nil for any other.
func lookAt(h History, span string) func() (traffic.History, error) {
	switch span {
	case "hour":
		return h.Hour
	case "day":
		return h.Day
	case "month":
		return h.Month
	}
	return nil
}

// serveClients tells what clients got of this controller's HAProxy.
func (s *Server) serveClients(w http.ResponseWriter, r *http.Request) {
	if s.opt.History == nil {
		http.NotFound(w, r)
		return
	}
	span := r.URL.Query().Get("span")
	look := lookAt(s.opt.History, cmp.Or(span, "hour"))
	if look == nil {
		writeError(w, Wrong("span is %q, want hour, day or month", span))
		return
	}
	history, err := look()
	if err != nil {
		writeError(w, err)
		return
	}
	body, err := json.Marshal(Clients{Schema: 1, Controller: s.opt.Self, History: history}) // not indented: it is long
	if err != nil {
		writeError(w, fmt.Errorf("encode the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n')) //nolint:errcheck // the client is gone
}
