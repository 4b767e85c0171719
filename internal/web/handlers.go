package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

// Bounds of the number of events in one answer.
const (
	defaultEvents = 100
	maxEvents     = 4000
)

func (s *Server) serveStatus(w http.ResponseWriter, _ *http.Request) {
	snap := s.snapshot()
	w.Header().Set(clockHeader, s.opt.Now().UTC().Format(time.RFC3339Nano))
	writeJSON(w, http.StatusOK, snap)
}

func (s *Server) serveCloud(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, s.Cloud(r.Context()))
}

func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	n, after, err := whichEvents(r)
	if err != nil {
		writeError(w, Wrong("%v", err))
		return
	}
	answer := eventsAnswer(s.opt.Self, Newer(s.opt.Events(n), after))
	answer.ClockAhead, answer.Cloud = s.opt.ClockAhead(), s.opt.Snapshot().Cloud
	writeJSON(w, http.StatusOK, answer)
}

func eventsAnswer(controller string, events []status.Event) Events {
	if events == nil {
		events = []status.Event{}
	}
	return Events{Schema: 1, Controller: controller, Events: events}
}

// whichEvents reads the parameters n, how many of the newest events are wanted, and after,
// the number of the last one that is known already.
func whichEvents(r *http.Request) (n int, after uint64, err error) {
	query := r.URL.Query()
	n = defaultEvents
	if text := query.Get("n"); text != "" {
		n, err = strconv.Atoi(text)
		if err != nil || n < 0 {
			return 0, 0, fmt.Errorf("n is %q, want a number from 0 to %d", text, maxEvents)
		}
	}
	if text := query.Get("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 0, 0, fmt.Errorf("after is %q, want the seq of an event", text)
		}
	}
	return min(n, maxEvents), after, nil
}

// serveHealth answers 200 when the agent's loop turns and HAProxy runs: when
// this controller can serve. Whether the cloud is well is not asked here, so
// that a supervisor does not restart one controller for the fault of another.
func (s *Server) serveHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if why := s.unhealthy(); why != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, why) //nolint:errcheck // the client is gone
		return
	}
	fmt.Fprintln(w, "ok") //nolint:errcheck // the client is gone
}

// unhealthy says why this controller cannot serve; "" when it can.
func (s *Server) unhealthy() string {
	if err := s.opt.Alive(); err != nil {
		return "the agent stands still: " + err.Error()
	}
	snap := s.opt.Snapshot()
	if age := s.opt.Now().Sub(snap.Time); age > cloud.StaleAfter {
		return fmt.Sprintf("the agent stands still: what it says is %s old", age.Round(time.Second))
	}
	if h := snap.HAProxy; h.State != status.HAProxyRunning {
		why := "haproxy is " + string(h.State)
		if h.Reason != "" {
			why += ": " + h.Reason
		}
		return why
	}
	return ""
}

// writeJSON answers v, indented: people read it with curl.
func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		writeError(w, fmt.Errorf("encode the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(body, '\n')) //nolint:errcheck // the client is gone
}
