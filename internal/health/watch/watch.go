// Package watch watches how the services fare behind HAProxy. It asks HAProxy, the
// kernel and the hosts, has the judgement on hosts made of that, and has HAProxy act
// by it: take a host out, keep one, or give up connections on which nothing moves. It
// knows no VIP, and moves none.
package watch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/health"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
)

// pollTimeout is how long HAProxy may take to tell of its servers.
const pollTimeout = 500 * time.Millisecond

// Options is what a Watch is made of.
type Options struct {
	HAProxy *process.Manager
	Log     *slog.Logger
	Spec    func() *spec.Spec // the one in force; nil: none is
	Holds   func() bool       // whether clients come to this controller
	// Seen is told how the services of a spec are, and how many connections are open,
	// at each change and every second or so; one goroutine calls it.
	Seen func(s *spec.Spec, services []status.Service, connections int)
	// Event writes into the journal.
	Event func(status.Event)
	// SetFinding records what is so under key, nil for no more; Report also journals
	// when it begins and ends.
	SetFinding, Report func(key string, f *status.Finding)
}

// A Watch watches the services of the spec in force.
type Watch struct {
	opt Options
	log *slog.Logger

	// taken is sent to when this controller begins to hold a VIP.
	taken chan struct{}
	// read is sent to when rows were read.
	read chan struct{}

	mu       sync.Mutex // guards following
	verdicts map[health.Key]health.Verdict
	rows     []output.Row // that were read last, of backends and servers; none of them is written to
	readAt   time.Time
}

// New makes a Watch. It touches nothing until Run.
func New(opt Options) *Watch {
	return &Watch{opt: opt, log: opt.Log, taken: make(chan struct{}, 1), read: make(chan struct{}, 1)}
}

// Taken has hosts watched closely at once: clients come to this controller from now on.
func (w *Watch) Taken() {
	tick.Wake(w.taken)
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, part := range []func(context.Context){w.watchServices, w.watchHosts, w.watchRefused} {
		all.Go(func() { part(ctx) })
	}
	all.Wait()
}
