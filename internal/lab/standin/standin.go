// Package standin plays one host of a service: it binds where the real one
// does and answers as that does to whoever only knocks: version discovery,
// /healthcheck, the endpoint's own path, and whatever the service's health
// check wants to see. Beyond that it answers what a test needs to know: who
// answered, which client it saw, how often a request arrived.
//
// Requests, health checks among them, go through one pool of workers, which can
// be as small and as slow as that of a real service (package busy).
//
// It has no API behind it: no tokens, no database, no state but counters.
package standin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"holdfast/internal/lab/busy"
	"holdfast/internal/spec"
)

// maxKeys is how many distinct request ids are counted; after that the counts
// begin anew.
const maxKeys = 1 << 18

// A Server is one host of a service.
type Server struct {
	service spec.Service
	host    spec.Host
	opt     Options
	pool    busy.Pool
	counter *busy.Counter // nil: none
	finish  chan struct{} // closed by Finish

	mu     sync.Mutex // guards following
	counts map[string]int
	total  map[string]int
	told   os.FileInfo // of the behaviour in force; nil: that of Options
}

// Options is what can be asked of a stand-in beside its service.
type Options struct {
	// Start is how it behaves unless BehaviourFile says otherwise.
	Start busy.Behaviour
	// BehaviourFile is the path of a file: while it exists, it says how the
	// service behaves. Each request looks.
	BehaviourFile string
	// FailFile is the path of a file: while it exists, the service answers 503
	// to everything.
	FailFile string
	// Arrivals is the path of a file to which the X-Lab-Key of each request
	// that is not safe to repeat is added; it outlives this process, which the
	// counts do not. Empty: none.
	Arrivals string
	// Counts is the path of a file that says how many requests came, also to
	// the processes before this one. Empty: none.
	Counts string
}

// New makes the stand-in for service on host.
func New(service spec.Service, host spec.Host, opt Options) *Server {
	s := &Server{
		service: service, host: host, opt: opt, finish: make(chan struct{}),
		counts: map[string]int{}, total: map[string]int{},
	}
	s.pool.Set(opt.Start)
	return s
}

func (s *Server) failing() bool {
	if s.opt.FailFile == "" {
		return false
	}
	_, err := os.Stat(s.opt.FailFile)
	return err == nil
}

// behave reads how the service is to behave, if that has changed.
func (s *Server) behave() error {
	if s.opt.BehaviourFile == "" {
		return nil
	}
	now, err := os.Stat(s.opt.BehaviourFile)
	if err != nil {
		now = nil // it behaves as at its start
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if same(s.told, now) {
		return nil
	}
	b := s.opt.Start
	if now != nil {
		if b, err = busy.ReadFile(s.opt.BehaviourFile); err != nil {
			return err
		}
	}
	s.pool.Set(b)
	s.told = now
	return nil
}

// same reports whether two looks at a file, which need not be there, found the
// same.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime())
}

// Run serves on the host's address and the service's port until ctx ends, or
// until it has finished what it had when Finish was called. Where its check asks at another
// port it answers there, too.
func (s *Server) Run(ctx context.Context) error {
	l, err := s.listen(ctx, s.service.At(s.host))
	if err != nil {
		return err
	}
	if at := s.service.CheckedAt(s.host); at != s.service.At(s.host) {
		checked, err := s.listen(ctx, at)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		checks := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
		var running sync.WaitGroup
		defer running.Wait()
		defer checks.Close()                             //nolint:errcheck // it ends, and nobody waits for an answer
		running.Go(func() { _ = checks.Serve(checked) }) //nolint:errcheck // it ends with what it is beside
	}
	return s.Serve(ctx, l)
}

func (s *Server) listen(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("service %s on %s: %w", s.service.Name, s.host.Name, err)
	}
	return l, nil
}

// Finish ends the stand-in as a graceful stop does: its listener closes first,
// and it ends when all that it has was answered, however long that takes.
func (s *Server) Finish() { close(s.finish) }

// Serve is Run on l.
func (s *Server) Serve(ctx context.Context, l net.Listener) (err error) {
	if s.opt.Counts != "" {
		if s.counter, err = busy.OpenCounter(s.opt.Counts); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.counter.Close()) }()
	}
	if s.service.Mode == spec.TCP {
		return s.serveLines(ctx, l)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) //nolint:errcheck // Serve tells
	defer stop()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err = <-served:
	case <-s.finish:
		err = errors.Join(server.Shutdown(ctx), <-served)
	}
	if ctx.Err() == nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("service %s on %s: %w", s.service.Name, s.host.Name, err)
	}
	return nil
}
