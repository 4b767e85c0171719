// Package web is how an agent is asked: the read-only page, JSON and metrics on
// the controller's address, the control socket in the run directory, and the
// clients of both.
//
// It shows and it passes on, and decides nothing. All that it tells of an agent
// comes from one status.Snapshot, and all that it tells of the cloud from
// cloud.Merge of the Snapshots of all controllers, so page, JSON, metrics and
// command line cannot disagree.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/connlimit"
	"holdfast/internal/status"
	"holdfast/internal/traffic"
	"holdfast/internal/web/page"
)

// Bounds of what a client may take of the agent.
const (
	maxHeaderBytes = 16 << 10
	headerTimeout  = 2 * time.Second
	readTimeout    = 5 * time.Second
	writeTimeout   = 10 * time.Second
	// leaveTime is how long running requests may take to end with the agent.
	leaveTime = 2 * time.Second
)

// Options is what a Server shows.
type Options struct {
	// Self is the name of this controller.
	Self string
	// Snapshot gives the agent's Snapshot of this moment.
	Snapshot func() status.Snapshot
	// Events gives the newest n events of the journal, oldest first.
	Events func(n int) []status.Event
	// ClockAhead gives how far this controller's clock is ahead of the middle one; nil
	// where nobody knows.
	ClockAhead func() time.Duration
	// Controllers gives those of the spec in use, in its order, this one too.
	Controllers func() []Target
	// Clients gives what clients got since the agent began; nil: nothing is known.
	Clients func() traffic.Account
	// History keeps what clients got; nil: nobody does.
	History History
	// Alive says why the agent's loop stands still; nil when it turns. A nil
	// Alive stands for a loop that always does.
	Alive func() error
	// Asker asks the other agents, and has the keys with which answers to them are
	// signed; nil: nothing is signed.
	Asker *Asker
	Log   *slog.Logger
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// A Server answers read-only HTTP on the controller's address.
type Server struct {
	opt     Options
	metrics http.Handler
	views   cache[view]
	page    page.Page
	live    live
	crowd   crowd
	past    *pastCache    // of this controller
	turns   chan struct{} // one element for each that is taken
	sends   chan struct{} // the same of streams

	mu     sync.Mutex // guards following
	others []*other
}

// New makes a Server. It starts nothing.
func New(opt Options) *Server {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Clients == nil {
		opt.Clients = func() traffic.Account { return traffic.Account{} }
	}
	if opt.Alive == nil {
		opt.Alive = func() error { return nil }
	}
	if opt.ClockAhead == nil {
		opt.ClockAhead = func() time.Duration { return 0 }
	}
	if opt.Controllers == nil {
		opt.Controllers = func() []Target { return nil }
	}
	s := &Server{opt: opt, page: page.New(), turns: make(chan struct{}, turns), sends: make(chan struct{}, turns)}
	s.views.age, s.views.now, s.views.load, s.views.broke = viewAge, opt.Now, s.look, s.broke
	s.past = newPastCache(opt.Now, s.broke, s.ownPast)
	s.live.look = func(ctx context.Context) view { return s.lookFor(ctx, patience) }
	s.metrics = metricsHandler(s.snapshot, opt.Clients, opt.Log)
	return s
}

// Handler gives what answers the requests; GET and HEAD only.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.afterLook(s.inTurn(s.servePage)))
	mux.HandleFunc("GET /stream", s.serveStream)
	mux.HandleFunc("GET /status", s.inTurn(s.signed(s.serveStatus)))
	mux.HandleFunc("GET /cloud", s.afterLook(s.inTurn(s.serveCloud)))
	mux.HandleFunc("GET /events", s.inTurn(s.signed(s.serveEvents)))
	mux.HandleFunc("GET /incidents", s.afterLook(s.inTurn(s.serveIncidents)))
	mux.HandleFunc("GET /clients", s.serveClients)
	mux.HandleFunc("GET /healthz", s.serveHealth)
	mux.HandleFunc("GET /metrics", s.inTurn(s.metrics.ServeHTTP))
	mux.HandleFunc("GET /assets/{name}", serveAsset)
	return secured(mux)
}

// Serve answers on listener, which it closes, until ctx ends; then it lets
// running requests end for a short while.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	listener = connlimit.Listen(listener, connlimit.Options{Classify: s.class, Refused: s.tooMany})
	listener = paceConnections(listener, s.isController)
	return serve(ctx, listener, s.Handler(), s.opt.Log, writeTimeout)
}

// Cloud gives the cloud as this controller finds it: its own Snapshot and what
// the others answer. An answer of the last second is given again.
func (s *Server) Cloud(ctx context.Context) cloud.Cloud { return s.views.get(ctx).cloud }

// broke logs what went wrong in this program while a view was made: the agent goes on, and
// VRRP with it, whatever another machine has told.
func (s *Server) broke(why any) {
	s.opt.Log.Error("a view of the cloud cannot be made: please report this", "panic", fmt.Sprint(why), "stack", string(debug.Stack()))
}

// snapshot gives the agent's Snapshot, which says so when its loop stands still.
func (s *Server) snapshot() status.Snapshot {
	snap := s.opt.Snapshot()
	if err := s.opt.Alive(); err != nil {
		snap.Findings = append([]status.Finding{{
			Severity: status.Error,
			Code:     status.CodeAgentStalled,
			Subject:  "controller " + snap.Controller,
			Text:     "its agent stands still: " + err.Error(),
			Remedy:   "systemctl restart holdfast there; HAProxy goes on serving meanwhile",
		}}, snap.Findings...)
	}
	if f := s.crowd.finding(snap.Controller, s.opt.Now()); f != nil {
		snap.Findings = append(slices.Clone(snap.Findings), *f)
	}
	return snap
}

// serve runs an HTTP server on listener until ctx ends. Requests end with ctx
// too, so that streams do not hold it up. A connection is for one request: none
// that is idle takes a slot from somebody who has something to ask.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger, write time.Duration) error {
	server := &http.Server{
		Handler:           handler,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       func(ctx context.Context, conn net.Conn) context.Context { return withConn(withCaller(ctx, conn), conn) },
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      write,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	server.SetKeepAlivesEnabled(false)
	left := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { left <- leave(server) })
	err := server.Serve(listener)
	if stop() { // it failed by itself
		return fmt.Errorf("answer on %s: %w", listener.Addr(), err)
	}
	return <-left
}

// leave ends server, and what still runs after a while with it.
func leave(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if err != nil {
		return fmt.Errorf("stop answering: %w", err)
	}
	return nil
}

// secured sets the headers that keep a browser from doing more with an answer
// than to show it.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy(nil))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
