package drain

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/spec"
)

const (
	// tellTime is how long the others are told of a change, every interval: some may
	// have asked just before it, and an answer of then may come to their HAProxys after
	// this word. It is longer than comeback.
	tellTime = 6 * time.Second
	// tellTimeout bounds one telling. Who does not listen learns by the agent-check.
	tellTimeout = time.Second
)

// The words for a server of HAProxy's runtime API (management guide 9.3, "set server
// state"), by the answers to its agent-check that come to the same.
const (
	wordReady = "ready"
	wordDrain = "drain"
	wordMaint = "maint"
)

// words is what one agent tells another of the services on its controller.
type words struct {
	States map[string]string `json:"states"` // wordReady, wordDrain or wordMaint, by service
}

// exchanges is when the others are told what is drained here.
type exchanges struct {
	mu      sync.Mutex // guards following
	until   time.Time
	process int // of the own HAProxy when it was told
}

// changed has the others told, again and again for tellTime.
func (e *exchanges) changed(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.until = now.Add(tellTime)
}

// due reports whether they are to be told now. A HAProxy that was started does not
// know what is drained on any controller.
func (e *exchanges) due(now time.Time, process int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if process != e.process {
		e.process, e.until = process, now.Add(tellTime)
	}
	return now.Before(e.until)
}

// own gives the words for this controller; none while it is not known what is drained.
func (d *Drains) own(s *spec.Spec) words {
	w := words{States: map[string]string{}}
	self, _ := s.Controller(d.opt.Controller)
	on := servicesOn(s, self)
	for _, svc := range s.Services {
		// "up ready" has "up" for the agent-check alone.
		if word := strings.TrimPrefix(d.answer(svc), "up "); word != "" && slices.Contains(on, svc.Name) {
			w.States[svc.Name] = word
		}
	}
	return w
}

// tell tells every HAProxy at once what is drained here, by its controller's agent, and
// has the own one know what is drained there. Whom that does not reach learns by the
// agent-check.
func (d *Drains) tell(ctx context.Context) {
	s := d.opt.Spec()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
	defer cancel()
	own := d.own(s)
	d.carry(ctx, d.opt.Controller, own)
	var others sync.WaitGroup
	for _, name := range s.OtherNames(d.opt.Controller) {
		others.Go(func() {
			var theirs words
			if err := d.opt.Ask(ctx, name, "drained", own, &theirs); err != nil {
				d.opt.Log.Debug("another agent was not told what is drained here", "agent", name, "error", err)
				return
			}
			d.carry(ctx, name, theirs)
		})
	}
	others.Wait()
}

// told takes the words of another agent, and gives the own ones.
func (d *Drains) told() peer.Handler {
	return peer.Handle(func(ctx context.Context, from string, theirs words) (any, error) {
		d.carry(ctx, from, theirs)
		s := d.opt.Spec()
		if s == nil {
			return words{}, nil
		}
		return d.own(s), nil
	})
}

// carry has the own HAProxy take the hosts on a controller by the words of its agent.
func (d *Drains) carry(ctx context.Context, controller string, w words) {
	for service, word := range w.States {
		if word != wordReady && word != wordDrain && word != wordMaint {
			delete(w.States, service)
		}
	}
	if len(w.States) == 0 {
		return
	}
	if err := d.opt.Carry(ctx, controller, w.States); err != nil {
		d.opt.Log.Debug("HAProxy was not told what is drained; it asks by itself", "on", controller, "error", err)
	}
}
