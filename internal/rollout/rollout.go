// Package rollout brings a spec into force: it reads the file, takes the steps in the
// one safe order, watches what comes of them, and goes back where it must. It keeps
// the last good spec in the state directory, and notes there what is on trial.
//
// It knows what a spec does to HAProxy. Who holds a VIP, what is drained and which
// move is under way it does not know: what it needs of the rest of the agent is in
// Options.
package rollout

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// Options is what a Rollout is made of.
type Options struct {
	File        string // of the spec
	Controller  string // this one's name in the spec
	StateDir    string
	RunDir      string // which HAProxy's configuration names
	HAProxyUser string // that its workers become; default "haproxy"
	Log         *slog.Logger
	// Reload asks, with each value, for the file to be read again.
	Reload  <-chan os.Signal
	HAProxy *process.Manager
	// Servers asks HAProxy for its backends and servers.
	Servers func(context.Context) ([]output.Row, error)

	// VIPs makes what the VIPs of a spec need, and touches nothing: what it gives takes
	// that into use. The error says why the spec cannot have its VIPs.
	VIPs func(*spec.Spec) (use func(context.Context), err error)
	// Rekey reads the keys of the controllers again where the spec stays what it is, and
	// says what came of it; "" for nothing. An error says why those in force stay.
	Rekey func() (string, error)
	// Held gives the VIPs that this controller holds.
	Held func() []spec.VIP
	// Certificates sees to it that HAProxy can read those of a spec, and gives what is
	// to be journaled; first says that nothing is in force yet. Sweep forgets those that a
	// spec in force does not have.
	Certificates func(s *spec.Spec, first bool) ([]status.Event, error)
	Sweep        func(*spec.Spec)
	// Applying is told when HAProxy begins to change, and when that is done.
	Applying func(bool)

	// Event writes into the journal.
	Event func(status.Event)
	// SetFinding records what is so under key, nil for no more; Report also journals
	// when it begins and ends.
	SetFinding, Report func(key string, f *status.Finding)
}

// A Rollout brings specs into force. Its methods may be called by any goroutine.
type Rollout struct {
	opt     Options
	log     *slog.Logger
	reloads chan reloadRequest
	// sightings has the newest state of the services.
	sightings chan sighting
	// tried is closed once the first spec was in force or could not be.
	tried chan struct{}

	// What it asks of HAProxy and through it, and a test has of its own.
	bringIntoForce func(context.Context, candidate) (process.Result, error)
	healthy        func(context.Context, candidate) []string
	// answers gives those of services that answer through HAProxy, and asks asks
	// them in a trial; nil: nobody is asked.
	answers func(context.Context, *spec.Spec, []string) []string
	asks    func(context.Context, *spec.Spec, []string, chan<- broken)

	// The goroutine of Run alone has the following. It alone brings specs into force,
	// so no two ever cross.
	first  candidate  // to begin with
	good   candidate  // the last one that passed its trial; without a spec: none yet
	retry  *candidate // that could not be brought into force, and is tried again; nil: none
	said   string     // what stood in its way
	lacks  bool       // there is the finding status.CodeNotInForce
	trial  *trial     // of what is in force; nil: it is good
	relief *relief    // what going back is to bring; nil: nothing is waited for

	keeping sync.Mutex // held while the last good spec is written down

	mu     sync.Mutex // guards following
	spec   *spec.Spec
	text   []byte // of the spec
	config status.Config
	kept   bool   // a last good spec was written, or found
	unkept []byte // the last good spec, when it could not be written
}

// New makes a Rollout. It touches nothing until Begin.
func New(opt Options) *Rollout {
	opt.HAProxyUser = cmp.Or(opt.HAProxyUser, haproxyUser)
	r := &Rollout{
		opt: opt, log: opt.Log,
		reloads: make(chan reloadRequest), sightings: make(chan sighting, 1), tried: make(chan struct{}),
	}
	r.bringIntoForce, r.healthy, r.answers, r.asks = r.force, r.healthyServices, r.answering, r.askThrough
	return r
}

// Begin reads the spec to begin with, and gives it: that of the file or, where the file
// is bad, the last one that was in force. The error says why neither can be used; one of
// a bad file has a method Findings, one of a file that cannot be read is a UsageError.
func (r *Rollout) Begin() (*spec.Spec, error) {
	first, err := r.firstSpec()
	if err != nil {
		return nil, err
	}
	r.first = first
	r.use(first)
	return first.spec, nil
}

// Recall reads the spec of the file or, where that is bad, the last one that was in
// force: for who only takes away what was there. It minds no trial.
func (r *Rollout) Recall() (*spec.Spec, error) {
	s, _, _, err := readSpec(r.opt.File, r.opt.Controller)
	if err == nil {
		return s, nil
	}
	last, _, _, lastErr := readSpec(r.lastGood(), r.opt.Controller)
	if lastErr != nil {
		return nil, err
	}
	return last, nil
}

// Run is the life of a Rollout: until ctx ends it brings the first spec into force,
// trying again until it is, and then the file at each reload asked for. It tells when
// HAProxy's program was replaced meanwhile.
func (r *Rollout) Run(ctx context.Context) {
	var watch sync.WaitGroup
	watch.Go(func() { r.watchProgram(ctx) })
	watch.Go(func() { r.watchFiles(ctx) })
	defer watch.Wait()
	r.recallGood()
	r.again(ctx, r.first)
	close(r.tried)
	r.serve(ctx)
}

// Tried is closed once the first spec was in force, or could not be.
func (r *Rollout) Tried() <-chan struct{} { return r.tried }

// Reload asks for the file to be read again, and waits for the outcome. On any error
// what was in force stays so. One of a bad file has a method Findings.
func (r *Rollout) Reload(ctx context.Context, cause string) (Result, error) {
	reply := make(chan reloadReply, 1)
	select {
	case r.reloads <- reloadRequest{cause, reply}:
	case <-ctx.Done():
		return Result{}, fmt.Errorf("reload: the agent is busy: %w", ctx.Err())
	}
	select {
	case r := <-reply:
		return r.done, r.err
	case <-ctx.Done():
		return Result{}, fmt.Errorf("reload: no outcome in time; see the events: %w", ctx.Err())
	}
}

// Sight tells what was seen of the services of s. Only the newest is kept; one
// goroutine calls this.
func (r *Rollout) Sight(s *spec.Spec, services []status.Service) {
	select {
	case <-r.sightings:
	default:
	}
	r.sightings <- sighting{s, services}
}

// InForce is the spec in force. While none is, as before the first one could be, it is
// the one to come.
type InForce struct {
	Spec   *spec.Spec // nil: none was read yet
	Text   []byte     // as it was read; nobody changes it
	Config status.Config
}

// InForce gives the spec in force.
func (r *Rollout) InForce() InForce {
	r.mu.Lock()
	defer r.mu.Unlock()
	return InForce{r.spec, r.text, r.config}
}

// Spec gives the one in force, as InForce does.
func (r *Rollout) Spec() *spec.Spec {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spec
}

// Use records s as the spec in use, and does nothing with it.
func (r *Rollout) Use(s *spec.Spec) { r.use(candidate{spec: s}) }

func (r *Rollout) use(c candidate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spec, r.text = c.spec, c.data
	r.config = status.Config{File: r.opt.File, Digest: c.spec.Digest, Loaded: time.Now(), Rejected: c.rejected, RawLines: c.spec.RawCount()}
}
