package handover

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/reach"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
	"holdfast/internal/vrrp"
	"holdfast/internal/vrrp/link"
	"holdfast/internal/web"
)

const (
	// preemptInterval is how often a preferred controller looks whether it
	// should take its VIP back.
	preemptInterval = 500 * time.Millisecond
	// preemptDelay is how long it must be well before that: long enough for its
	// HAProxy to have checked every host. Each one after the first of the order
	// waits that much longer, so that of several that are preferred to the holder
	// the first asks first, and the others have nothing left to ask for.
	preemptDelay = 5 * time.Second
	// preemptPause is how long it waits after it was refused, and, so that a
	// controller that keeps failing does not take the VIP each time, after it
	// has lost the VIP itself.
	preemptPause = time.Minute
	// preemptRetry is how long it waits where the holder had another move under way.
	preemptRetry = 2 * time.Second
	// wordless is how many times in a row the holder's agent may not answer
	// before the VIP is taken by VRRP alone: then it is no holdfast.
	wordless = 3
)

// A preemption is what a preferred controller knows of taking one VIP back.
type preemption struct {
	well   time.Time // since when it could
	next   time.Time // not before this
	silent int       // times in a row that the holder's agent did not answer
	held   bool
	plain  bool // VRRP was told to take it
}

// watchPreference takes each VIP back, by a planned handover, for which this
// controller is preferred to the one that holds it, where the spec says so.
func (m *Moves) watchPreference(ctx context.Context) {
	known := map[string]*preemption{}
	ticker := time.NewTicker(preemptInterval)
	defer ticker.Stop()
	for tick.Next(ctx, ticker) {
		for _, v := range m.opt.VIPs() {
			if !v.VRRP.Preempt {
				delete(known, v.Name)
				continue
			}
			if known[v.Name] == nil {
				known[v.Name] = &preemption{}
			}
			m.preempt(ctx, v, known[v.Name], time.Now())
		}
	}
}

// preempt takes v back if it is time.
func (m *Moves) preempt(ctx context.Context, v VIP, p *preemption, now time.Time) {
	name, s := v.Name, v.Loop.Stats()
	if p.held && s.State != vrrp.Active {
		p.next = now.Add(preemptPause)
		if came := m.arrival(name); came.Unasked && now.Sub(came.At) < reach.Pause {
			p.next = came.At.Add(reach.Pause) // it was given away, since another one reaches more
		}
	}
	p.held = s.State == vrrp.Active
	if p.held && p.plain { // the next one to hold it may be a holdfast
		p.plain = false
		m.opt.Preempt(name, false)
	}
	if s.State != vrrp.Backup || !m.preferredTo(v.VIP, s) || !m.fit() {
		p.well, p.silent = time.Time{}, 0
		return
	}
	if p.well.IsZero() {
		p.well = now
	}
	if now.Sub(p.well) < m.turn(v.VIP) || now.Before(p.next) || m.rest(name, now) > 0 {
		return
	}
	if lost := m.lostByReturn(ctx, s.Holder); lost != nil {
		p.next = now.Add(preemptPause)
		m.opt.Log.Info("the vip is not taken back", "vip", name, "from", s.Holder, "reason", lost)
		return
	}
	err := m.opt.Ask(ctx, s.Holder, "handover", web.HandoverRequest{
		VIP: name, To: m.opt.Controller, Cause: m.opt.Controller + " is back, which is preferred",
	}, nil)
	switch {
	case err == nil:
		p.silent = 0
	case peer.Unanswered(err):
		// Each time anew: a reload, or a drain, sets it back.
		if p.silent++; p.silent >= wordless {
			p.plain = true
			if m.opt.Preempt(name, true) {
				m.opt.Log.Warn("taking the vip back by VRRP alone, which resets open connections", "vip", name, "reason", err)
			}
		}
	case errors.Is(err, peer.ErrLater):
		p.next = now.Add(preemptRetry)
	default:
		p.next = now.Add(preemptPause)
		m.opt.Log.Info("the vip is not taken back", "vip", name, "from", s.Holder, "reason", err)
	}
}

// lostByReturn says what clients would lose if this controller took a VIP back
// from holder, which would refuse that each time, or give it back for this one's
// bad link; nil for nothing.
func (m *Moves) lostByReturn(ctx context.Context, holder string) error {
	views, _ := m.askReach(ctx, m.opt.Spec().Others(m.opt.Controller), reachTimeout)
	own := m.opt.Reach()
	if lag := reach.FindLag(own, slices.Collect(maps.Values(views))); slices.Contains(lag.By, holder) {
		return errors.New(lag.String())
	}
	return lostBy(views[holder], own)
}

// turn gives how long this controller is to be well before it asks for v.
func (m *Moves) turn(v spec.VIP) time.Duration {
	s := m.opt.Spec()
	before := slices.IndexFunc(s.Prefers(v, s.Controllers), func(c spec.Controller) bool { return c.Name == m.opt.Controller })
	return time.Duration(1+max(0, before)) * preemptDelay
}

// preferredTo reports whether the spec has this controller before the holder of v, and
// that one does not say otherwise: of another version, or with another spec, both could
// take it from each other for ever.
func (m *Moves) preferredTo(v spec.VIP, known link.Stats) bool {
	s := m.opt.Spec()
	if _, ok := s.Controller(known.Holder); !ok {
		return false
	}
	own := s.Priority(v, m.opt.Controller)
	return own > s.Priority(v, known.Holder) && own > int(known.HolderPriority)
}

// fit reports whether this controller is well enough to be given a VIP unasked.
func (m *Moves) fit() bool {
	return m.opt.HAProxy.State().State == status.HAProxyRunning && !m.ending.Load() && !m.opt.Drained()
}
