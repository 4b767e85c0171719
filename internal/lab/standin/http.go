package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/lab/busy"
	"holdfast/internal/spec"
)

// Headers of requests and answers.
const (
	headerServedBy = "X-Served-By"     // answer: the host's name
	headerService  = "X-Service"       // answer: the service's name
	headerPeer     = "X-Peer"          // answer: who connected, address:port
	headerClient   = "X-Forwarded-For" // answer: the client as the load balancer tells it
	headerKey      = "X-Lab-Key"       // request: counted under this
)

// maxBytes is the longest body that GET /bytes/N gives.
const maxBytes = 1 << 30

// ServeHTTP answers as the service would, and what only a stand-in can:
//
//	GET /bytes/N        N bytes
//	GET /stream/N?s=5   N bytes over 5 seconds, with their checksum in a header
//	GET /slow?s=5       after 5 seconds (fractions are fine)
//	GET /echo           the request's headers, as JSON
//	GET /seen/KEY       how many requests came with that X-Lab-Key
//	GET /seen/          the same for every key
//	GET /requests       how many came in all, by method
//	PUT, POST, PATCH    how many bytes there were, on any path
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set(headerServedBy, s.host.Name)
	h.Set(headerService, s.service.Name)
	h.Set(headerPeer, r.RemoteAddr)
	if from := r.Header.Get(headerClient); from != "" {
		h.Set(headerClient, from)
	}
	check := s.isCheck(r)
	if err := errors.Join(s.behave(), s.saw(r, check)); err != nil {
		s.json(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
		return
	}
	switch {
	case s.pool.Behaviour().Closes && headerBytes(r) > busy.MaxHeaders:
		panic(http.ErrAbortHandler)
	case s.failing():
		s.json(w, http.StatusServiceUnavailable, map[string]string{"error": "failing on command"})
		return
	case !check && !s.pool.Admits():
		h.Set("Retry-After", "1")
		s.json(w, http.StatusServiceUnavailable, map[string]string{"error": "too many requests"})
		return
	}
	s.work(w, r, check)
}

// work answers r when a worker is there for it.
func (s *Server) work(w http.ResponseWriter, r *http.Request, check bool) {
	if !check {
		s.count(r)
		if err := s.writeDown(r); err != nil {
			s.json(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
			return
		}
	}
	leave := s.pool.Enter()
	defer leave()
	if check {
		s.answerCheck(w, r)
		return
	}
	s.answer(w, r)
}

// saw counts r, whatever will be answered.
func (s *Server) saw(r *http.Request, check bool) error {
	switch {
	case s.counter == nil:
		return nil
	case check:
		return s.counter.Count(busy.Counts{Checks: 1})
	case r.Header.Get(headerKey) != "":
		return s.counter.Count(busy.Counts{Requests: 1, Keyed: 1})
	}
	return s.counter.Count(busy.Counts{Requests: 1})
}

// headerBytes gives how long r's request line and headers are, as they came.
func headerBytes(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len(r.Proto) + len("  \r\nHost: \r\n") + len(r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(": \r\n") + len(v)
		}
	}
	return n
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case upgrades(r):
		s.echo(w, r)
	case r.Method == http.MethodPut || r.Method == http.MethodPost || r.Method == http.MethodPatch:
		s.takeBody(w, r)
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS, PATCH, POST, PUT, DELETE")
		w.WriteHeader(http.StatusOK)
	case strings.HasPrefix(path, "/bytes/"):
		s.giveBytes(w, path[len("/bytes/"):])
	case strings.HasPrefix(path, "/stream/"):
		s.giveStream(w, r)
	case path == "/slow":
		s.answerSlowly(w, r)
	case path == "/echo":
		s.json(w, http.StatusOK, map[string]any{"host": s.host.Name, "method": r.Method, "peer": r.RemoteAddr, "headers": r.Header})
	case path == "/seen/":
		s.json(w, http.StatusOK, s.copyOf(s.counts))
	case strings.HasPrefix(path, "/seen/"):
		s.json(w, http.StatusOK, map[string]int{"count": s.seen(path[len("/seen/"):])})
	case path == "/requests":
		s.json(w, http.StatusOK, s.copyOf(s.total))
	case path == "/":
		status, body := discovery(s.service.Type, r.Host)
		s.json(w, status, body)
	case path == "/healthcheck":
		s.healthy(w)
	case s.isEndpoint(path):
		s.json(w, http.StatusOK, map[string]any{"version": map[string]string{"status": "CURRENT", "path": path}})
	default:
		s.json(w, http.StatusNotFound, map[string]any{"error": map[string]any{"code": 404, "message": "The resource could not be found."}})
	}
}

// isCheck reports whether r is the service's health check; what comes from a load
// generator is none.
func (s *Server) isCheck(r *http.Request) bool {
	c := s.service.Check
	path, _, _ := strings.Cut(c.Path, "?")
	return c.Layer == 7 && r.Method == c.Method && r.URL.Path == path && r.Header.Get(headerKey) == ""
}

// answerCheck answers the health check as r would be answered without it, if
// that passes, else with a code that does.
func (s *Server) answerCheck(w http.ResponseWriter, r *http.Request) {
	code := passing(s.service.Check.Expect)
	status, body := discovery(s.service.Type, r.Host)
	switch {
	case r.URL.Path == "/" && accepts(s.service.Check.Expect, status):
		s.json(w, status, body)
	case r.URL.Path == "/healthcheck" && code == http.StatusOK:
		s.healthy(w)
	default:
		s.json(w, code, map[string]string{"host": s.host.Name})
	}
}

// healthy answers as oslo.middleware's healthcheck does.
func (s *Server) healthy(w http.ResponseWriter) {
	_, _ = io.WriteString(w, "OK") //nolint:errcheck // the client has gone
}

func accepts(expect []spec.CodeRange, code int) bool {
	return slices.ContainsFunc(expect, func(c spec.CodeRange) bool { return c.From <= code && code <= c.To })
}

// passing gives a code that a health check accepts, 200 if that is one.
func passing(expect []spec.CodeRange) int {
	if len(expect) == 0 || accepts(expect, http.StatusOK) {
		return http.StatusOK
	}
	return max(http.StatusOK, expect[0].From)
}

// isEndpoint reports whether path is the endpoint's or below it, whatever
// stands for its templates.
func (s *Server) isEndpoint(path string) bool {
	fixed := s.service.Path
	for _, mark := range []string{"$(", "%("} {
		fixed, _, _ = strings.Cut(fixed, mark)
	}
	fixed = strings.TrimRight(fixed, "/")
	return fixed != "" && (path == fixed || strings.HasPrefix(path, fixed+"/"))
}

func (s *Server) takeBody(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		s.json(w, http.StatusBadRequest, map[string]any{"error": err.Error(), "bytes": n})
		return
	}
	s.json(w, http.StatusCreated, map[string]any{"host": s.host.Name, "bytes": n, "count": s.seen(r.Header.Get(headerKey))})
}

func (s *Server) giveBytes(w http.ResponseWriter, count string) {
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 0 || n > maxBytes {
		s.json(w, http.StatusBadRequest, map[string]string{"error": fmt.Sprintf("write /bytes/N with N from 0 to %d", maxBytes)})
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = io.CopyN(w, zeros{}, n) //nolint:errcheck // the client has gone
}

// zeros is an endless reader of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func (s *Server) answerSlowly(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.ParseFloat(r.URL.Query().Get("s"), 64)
	if err != nil || seconds < 0 || seconds > 3600 {
		s.json(w, http.StatusBadRequest, map[string]string{"error": "write /slow?s=SECONDS, up to 3600"})
		return
	}
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		s.json(w, http.StatusOK, map[string]any{"host": s.host.Name, "slept": seconds})
	case <-r.Context().Done():
	}
}

// count counts r, under its key if it has one.
func (s *Server) count(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total[r.Method]++
	if key := r.Header.Get(headerKey); key != "" {
		if len(s.counts) >= maxKeys {
			clear(s.counts)
		}
		s.counts[key]++
	}
}

func (s *Server) seen(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[key]
}

func (s *Server) copyOf(counts map[string]int) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(counts)
}

func (s *Server) json(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errcheck // the client has gone
}
