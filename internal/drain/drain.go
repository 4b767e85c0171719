// Package drain takes a controller, or services on it, out for maintenance: it says
// whether that may be, keeps what is drained in a file, so that it outlives the agent
// and the host, ends it in time, and tells HAProxys of it: at once by the agents beside
// them, and whom that does not reach by the agent-check.
//
// It moves no VIP and speaks to no other controller: its Options say who does.
package drain

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"

	"holdfast/internal/cloud"
	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// Options is what Drains are made of. None of the functions is nil.
type Options struct {
	Controller string // this one's name in the spec
	StateDir   string // where the drains are kept, in a file of their own
	Log        *slog.Logger
	// Spec gives the spec in force; nil while there is none.
	Spec func() *spec.Spec
	// Snapshot gives what this controller says of itself.
	Snapshot func() status.Snapshot
	// Gather asks controllers for what they say of themselves, now. The answers are
	// in the order of the spec.
	Gather func(ctx context.Context, controllers []string) []cloud.Answer
	// Ask has the agent of another controller carry out a command, and decodes its
	// answer into resp, unless that is nil. Where that agent has said no, or could
	// not be asked, the error is a *peer.Error.
	Ask func(ctx context.Context, controller, command string, req, resp any) error
	// Holds reports whether this controller holds a VIP.
	Holds func() bool
	// HandOver gives every VIP that this controller holds to another one, and gives
	// what is to be said of these moves. With waits set, what can wait comes later, and
	// nothing is tried where no other controller looks fit; neither is an error.
	HandOver func(ctx context.Context, req web.HandoverRequest, waits bool) (warnings []string, err error)
	// Settle is called whenever Last may say something else than before.
	Settle func()
	// Event is told what has happened.
	Event func(status.Event)
	// Carry has the HAProxy of this controller take the hosts of services on a controller
	// as "ready", "drain" or "maint", by the services' names.
	Carry func(ctx context.Context, controller string, states map[string]string) error
	// HAProxy gives the process of that HAProxy; 0 for none.
	HAProxy func() int
	// Report is told the finding of a code, nil when there is none.
	Report func(code string, f *status.Finding)
}

// Drains are what of this controller is taken out.
type Drains struct {
	opt   Options
	state *state

	exchanges exchanges

	commands sync.Mutex // held while a drain or undrain is carried out
}

// New makes Drains. Nothing is drained until Load.
func New(opt Options) *Drains {
	return &Drains{opt: opt, state: newState(filepath.Join(opt.StateDir, "drain.json"), opt.Controller)}
}

// List gives what is drained, and what is about to be.
func (d *Drains) List() []status.Drained { return d.state.list() }

// Whole reports whether this whole controller is taken out: then it takes a VIP only
// if nobody else can.
func (d *Drains) Whole() bool { return d.state.isWhole() }

// Last reports whether this controller is to be the last to take a VIP: all of it is
// taken out, and its VIPs were offered to others.
func (d *Drains) Last() bool { return d.state.last() }

// KeepAgain has what is drained written again, as its file was removed.
func (d *Drains) KeepAgain() { d.state.lose() }

// Answer is what HAProxys are told of a service on this controller, by the name of
// its backend; "" for nothing: then they leave it as it is.
func (d *Drains) Answer(backend string) string {
	if s := d.opt.Spec(); s != nil {
		for _, svc := range s.Services {
			if haproxy.BackendName(svc) == backend {
				return d.answer(svc)
			}
		}
	}
	return d.state.answer(backend, false)
}

// answer is Answer of a service.
func (d *Drains) answer(svc spec.Service) string {
	return d.state.answer(svc.Name, svc.Mode != spec.TCP && svc.Affinity == spec.AffinityCookie)
}
