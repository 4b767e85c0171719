package handover

import (
	"context"
	"fmt"
	"time"

	"holdfast/internal/status"
	"holdfast/internal/vrrp/link"
	"holdfast/internal/web"
)

// apartTime bounds the preparations of giving way: meanwhile two hold the VIP.
const apartTime = time.Second

// Concede ends that this controller holds a VIP which another one holds, too, without
// either hearing the other: see package splitbrain. With keep its connections go on here
// as after a planned move, if the other one can send on what is theirs; else they are
// reset.
func (m *Moves) Concede(ctx context.Context, name, to string, keep bool) error {
	done, err := m.begin(name)
	if err != nil {
		return err
	}
	defer done()
	v, there := m.vip(name)
	c, known := m.opt.Spec().Controller(to)
	if !there || !known {
		return fmt.Errorf("there is no vip %s, or no controller %s any more", name, to)
	}
	begun := time.Now()
	h := web.Handover{VIP: name, From: m.opt.Controller, To: to, Why: to + " is not reached from here"}
	g := &giving{To: to, span: spanFrom(begun, m.handoverLimit())}
	if keep {
		h.Why = m.readyApart(ctx, v, taker{Controller: c, apart: true}, g)
	}
	if h.Kept = h.Why == ""; h.Kept {
		h.Connections = g.connections
	}
	if err := v.Loop.GiveWay(ctx, c.Address, link.YieldOptions{Keep: h.Kept}); err != nil {
		m.takeBack(ctx, v, g, !keep)
		return err
	}
	h.Took = time.Since(begun)
	m.mu.Lock()
	g.Since = time.Now()
	m.mu.Unlock()
	m.opt.Event(status.Event{
		Kind: status.EventHandover, Subject: "vip " + name, Took: h.Took, Text: h.String(),
		Unasked: true, Cause: "both held it, and neither heard the adverts of the other",
	})
	return nil
}

// readyApart has the connections of v go on here once it is the other's alone, or says why
// they cannot.
func (m *Moves) readyApart(ctx context.Context, v VIP, to taker, g *giving) string {
	ctx, cancel := context.WithTimeout(ctx, apartTime)
	defer cancel()
	ready, err := m.prepareTaker(ctx, v.VIP, to, g.Until)
	if err != nil {
		return err.Error()
	}
	why := ready.Why
	if why == "" {
		why = m.blockedDetour(ctx, v.VIP, to.Name)
	}
	if why == "" {
		if err := m.keepCopy(ctx, v.VIP, g); err != nil {
			why = err.Error()
		}
	}
	if why != "" {
		m.tellDone(ctx, to.Name, v.Name)
		return why
	}
	n, _, _ := g.copy.Connections(ctx) // only told
	m.mu.Lock()
	g.connections = n
	m.mu.Unlock()
	return ""
}
