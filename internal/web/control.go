package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

const (
	// maxRequest is the largest body that the control socket reads, in bytes.
	maxRequest = 1 << 20
	// controlTimeout is how long a command may take to be answered: a reload
	// waits for "haproxy -c", a handover for connections to end.
	controlTimeout = 2 * time.Minute
)

// Controls is what the control socket can ask of the agent. More commands are
// added with Handle.
type Controls interface {
	// Snapshot gives the agent's Snapshot of this moment.
	Snapshot() status.Snapshot
	// Cloud gives the cloud as this controller finds it.
	Cloud(ctx context.Context) cloud.Cloud
	// Events gives the newest n events of the journal, oldest first.
	Events(n int) []status.Event
	// Journals gives the newest n events of each controller.
	Journals(ctx context.Context, n int) []Journal
	// Follow gives the events from now on, and what ends that.
	Follow() (events <-chan status.Event, stop func())
	// Reload reads the spec again and brings it into force. An error may have
	// a method Findings() []status.Finding: what is wrong with the file.
	Reload(ctx context.Context) (ReloadResult, error)
}

// A ReloadResult tells what a reload did.
type ReloadResult struct {
	// Changed is false when the file is the spec in use already.
	Changed bool `json:"changed"`
	// Digest is that of the spec now in use.
	Digest string `json:"digest"`
	// Findings are warnings about the file.
	Findings []status.Finding `json:"findings,omitempty"`
	// Took is in nanoseconds in JSON.
	Took time.Duration `json:"took_ns"`
	// HAProxy says what was done to it, and why.
	HAProxy string `json:"haproxy"`
	// Trial is how long the agent watches, from now on, whether the spec takes
	// a service down, and would go back to the one before it. 0: it does not.
	Trial time.Duration `json:"trial_ns,omitempty"`
}

// A ControlError is how the control socket says no.
type ControlError struct {
	// Status is the HTTP status code.
	Status   int              `json:"-"`
	Message  string           `json:"error"`
	Findings []status.Finding `json:"findings,omitempty"`
}

func (e *ControlError) Error() string { return e.Message }

// Wrong refuses what makes no sense, whatever the cloud is like.
func Wrong(format string, args ...any) *ControlError {
	return &ControlError{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

// Refused refuses what cannot be done as the cloud is now.
func Refused(format string, args ...any) *ControlError {
	return &ControlError{Status: http.StatusConflict, Message: fmt.Sprintf(format, args...)}
}

// Unanswered says that another agent, which has to do it, does not answer.
func Unanswered(format string, args ...any) *ControlError {
	return &ControlError{Status: http.StatusBadGateway, Message: fmt.Sprintf(format, args...)}
}

// withFindings is an error that knows what is wrong with a file.
type withFindings interface {
	error
	Findings() []status.Finding
}

// asControlError gives err the status that fits it.
func asControlError(err error) *ControlError {
	if e, ok := errors.AsType[*ControlError](err); ok {
		return e
	}
	if e, ok := errors.AsType[withFindings](err); ok {
		return &ControlError{http.StatusUnprocessableEntity, err.Error(), e.Findings()}
	}
	return &ControlError{Status: http.StatusInternalServerError, Message: err.Error()}
}

func writeError(w http.ResponseWriter, err error) {
	e := asControlError(err)
	if e.Status < 400 {
		e = &ControlError{http.StatusInternalServerError, e.Message, e.Findings}
	}
	writeJSON(w, e.Status, e)
}

// A ControlServer answers HTTP on the control socket.
type ControlServer struct {
	controls Controls
	log      *slog.Logger
	mux      *http.ServeMux
}

// NewControlServer makes a ControlServer. It starts nothing.
func NewControlServer(controls Controls, log *slog.Logger) *ControlServer {
	s := &ControlServer{controls: controls, log: log, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, controls.Snapshot()) })
	s.mux.HandleFunc("GET /cloud", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, http.StatusOK, controls.Cloud(r.Context())) })
	s.mux.HandleFunc("GET /events", s.serveEvents)
	s.mux.HandleFunc("GET /journals", s.serveJournals)
	Handle(s, "/reload", func(ctx context.Context, _ struct{}) (ReloadResult, error) { return controls.Reload(ctx) })
	return s
}

// Handle adds the command POST path. The request's body is a JSON object
// decoded into Req, strictly; an empty body stands for {}. The answer is Resp
// as JSON, or an error as a ControlError: one of the command's own choice, or
// 422 for one with a method Findings() []status.Finding, or 500.
func Handle[Req, Resp any](s *ControlServer, path string, command func(context.Context, Req) (Resp, error)) {
	s.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var req Req
		if err := decodeRequest(r.Body, &req); err != nil {
			writeError(w, err)
			return
		}
		resp, err := command(r.Context(), req)
		if err != nil {
			s.log.Info("control command failed", "command", path, "error", err)
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, resp)
	})
}

// decodeRequest reads one JSON object and nothing after it.
func decodeRequest(body io.Reader, into any) error {
	bad := func(text string) error { return Wrong("%s", text) }
	data, err := io.ReadAll(io.LimitReader(body, maxRequest+1))
	switch {
	case err != nil:
		return bad("the request's body could not be read: " + err.Error())
	case len(data) > maxRequest:
		return &ControlError{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the request's body has more than %d bytes", maxRequest)}
	case len(data) == 0:
		return nil
	}
	return decodeStrictly(data, into, bad)
}

// ServeHTTP answers one request. What no pattern fits is an error in JSON too.
func (s *ControlServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	refusal := swallow{header: http.Header{}, code: http.StatusOK}
	handler.ServeHTTP(&refusal, r)
	e := &ControlError{Status: refusal.code, Message: fmt.Sprintf("the control socket has no %s", r.URL.Path)}
	if allow := refusal.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		e.Message = fmt.Sprintf("%s takes %s, not %s", r.URL.Path, allow, r.Method)
	}
	writeError(w, e)
}

// swallow keeps the header of an answer and drops its body.
type swallow struct {
	header http.Header
	code   int
}

func (s *swallow) Header() http.Header         { return s.header }
func (s *swallow) WriteHeader(code int)        { s.code = code }
func (s *swallow) Write(p []byte) (int, error) { return len(p), nil }

// Serve answers on listener, which it closes, until ctx ends.
func (s *ControlServer) Serve(ctx context.Context, listener net.Listener) error {
	return serve(ctx, listener, s, s.log, controlTimeout)
}

// AllJournals is the answer of /journals.
type AllJournals struct {
	Schema   int       `json:"schema"` // always 1
	Journals []Journal `json:"journals"`
}

func (s *ControlServer) serveJournals(w http.ResponseWriter, r *http.Request) {
	n, _, err := whichEvents(r)
	if err != nil {
		writeError(w, Wrong("%v", err))
		return
	}
	writeJSON(w, http.StatusOK, AllJournals{Schema: 1, Journals: s.controls.Journals(r.Context(), n)})
}

func (s *ControlServer) serveEvents(w http.ResponseWriter, r *http.Request) {
	n, after, err := whichEvents(r)
	if err != nil {
		writeError(w, Wrong("%v", err))
		return
	}
	switch follow := r.URL.Query().Get("follow"); follow {
	case "", "0":
		writeJSON(w, http.StatusOK, eventsAnswer(s.controls.Snapshot().Controller, Newer(s.controls.Events(n), after)))
	case "1":
		s.follow(w, r, n)
	default:
		writeError(w, Wrong("follow is %q, want 1", follow))
	}
}

// follow streams the newest n events and then each as it happens, one a line.
// It subscribes first, so that no event falls between the two.
func (s *ControlServer) follow(w http.ResponseWriter, r *http.Request, n int) {
	events, stop := s.controls.Follow()
	defer stop()
	past := s.controls.Events(n)
	out := stream{w, http.NewResponseController(w), writeTimeout}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if out.flush() != nil {
		return
	}
	for _, e := range past {
		if out.event(e) != nil {
			return
		}
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			if i := slices.Index(past, e); i >= 0 { // happened between the two
				past = past[i+1:]
				continue
			}
			if out.event(e) != nil {
				return
			}
		}
	}
}

// A stream is an answer without an end.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
	// patience is how long a client may take nothing before it is lost.
	patience time.Duration
}

// event sends e as one line of JSON.
func (s stream) event(e status.Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	return s.send(append(line, '\n'))
}

// send writes and flushes.
func (s stream) send(p []byte) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(s.patience)); err != nil {
		return err
	}
	if _, err := s.w.Write(p); err != nil {
		return err
	}
	return s.flush()
}

func (s stream) flush() error { return s.rc.Flush() }
