// Package standin plays one host of a service: it binds where the real one
// does and answers as that does to whoever only knocks: version discovery,
// /healthcheck, the endpoint's own path, and whatever the service's health
// check wants to see. Beyond that it answers what a test needs to know: who
// answered, which client it saw, how often a request arrived.
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

	mu     sync.Mutex // guards following
	counts map[string]int
	total  map[string]int
}

// Options is what can be asked of a stand-in beside its service.
type Options struct {
	Latency time.Duration // that every answer takes longer
	// FailFile is the path of a file: while it exists, the service answers 503
	// to everything.
	FailFile string
	// Arrivals is the path of a file to which the X-Lab-Key of each request
	// that is not safe to repeat is added; it outlives this process, which the
	// counts do not. Empty: none.
	Arrivals string
}

// New makes the stand-in for service on host.
func New(service spec.Service, host spec.Host, opt Options) *Server {
	return &Server{service: service, host: host, opt: opt, counts: map[string]int{}, total: map[string]int{}}
}

func (s *Server) failing() bool {
	if s.opt.FailFile == "" {
		return false
	}
	_, err := os.Stat(s.opt.FailFile)
	return err == nil
}

// Run serves on the host's address and the service's port until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	addr := netip.AddrPortFrom(s.host.Address, uint16(s.service.Port))
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr.String())
	if err != nil {
		return fmt.Errorf("service %s on %s: %w", s.service.Name, s.host.Name, err)
	}
	return s.Serve(ctx, l)
}

// Serve serves on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.service.Mode == spec.TCP {
		return s.serveLines(ctx, l)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) //nolint:errcheck // Serve tells
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("service %s on %s: %w", s.service.Name, s.host.Name, err)
	}
	return nil
}
