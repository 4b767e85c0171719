package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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

// serveClients tells what clients got of this controller's HAProxy. The disk that keeps it may
// stand still: it is read before the turn, by one for all who ask, and nobody else waits.
func (s *Server) serveClients(w http.ResponseWriter, r *http.Request) {
	if s.opt.History == nil {
		http.NotFound(w, r)
		return
	}
	span := cmp.Or(r.URL.Query().Get("span"), "hour")
	kept := s.past.of(span)
	if kept == nil {
		writeError(w, Wrong("span is %q, want hour, day or month", span))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookTimeout)
	defer cancel()
	told := kept.get(ctx)
	s.inTurn(s.signed(func(w http.ResponseWriter, _ *http.Request) { s.writePast(w, told) }))(w, r)
}

// writePast answers what clients got.
func (s *Server) writePast(w http.ResponseWriter, told past) {
	if told.err == nil && told.history == nil {
		told.err = errors.New("what clients got is not read yet: the disk that keeps it stands still")
	}
	if told.err != nil {
		writeError(w, told.err)
		return
	}
	body, err := json.Marshal(Clients{Schema: 1, Controller: s.opt.Self, History: *told.history}) // not indented: it is long
	if err != nil {
		writeError(w, fmt.Errorf("encode the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n')) //nolint:errcheck // the client is gone
}
