package handover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/reach"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vip/conntrack"
	"holdfast/internal/vip/move"
	"holdfast/internal/vrrp"
)

const (
	// takeTime is how long a taker that is ready waits for the VIP.
	takeTime = 10 * time.Second
	// askInterval is how often a taker asks the giver whether it goes on.
	askInterval = 2 * time.Second
	// lostAfter is how many times in a row the giver's host may not answer:
	// then its connections are lost, and their clients are to find out.
	lostAfter = 3
)

// prepare is the command of the giver of a VIP: this controller gets ready to take it.
func (m *Moves) prepare(ctx context.Context, from string, req prepareRequest) (any, error) {
	v, there := m.vip(req.VIP)
	if !there {
		return nil, fmt.Errorf("there is no vip %s here; are the specs of both the same?", req.VIP)
	}
	if req.Apart {
		if !v.Holds() {
			return nil, fmt.Errorf("it does not hold vip %s", req.VIP)
		}
		return m.ready(ctx, v, from, req), nil
	}
	if err := m.canTake(v, from, req.Force); err != nil {
		return nil, err
	}
	m.arrived(req.VIP, reach.Arrival{At: time.Now(), Unasked: req.Unasked, Insisted: req.Insisted, From: from})
	greeted := req.Hello && m.opt.Greet(req.VIP, from)
	answer := m.ready(ctx, v, from, req)
	answer.Hello = greeted
	return answer, nil
}

// ready has what belongs to connections of the giver sent on to it.
func (m *Moves) ready(ctx context.Context, v VIP, from string, req prepareRequest) prepareReply {
	m.kernel.Lock()
	defer m.kernel.Unlock()
	d, err := m.detourTo(m.opt.Spec(), v.VIP, req.Givers)
	if err == nil {
		err = installWithRoom(ctx, d, req)
	}
	if err != nil {
		m.opt.Log.Warn("no second chance for the connections of the giver", "vip", req.VIP, "from", from, "error", err)
		return prepareReply{Why: err.Error()}
	}
	t := &taking{From: from, Givers: req.Givers, span: req.span(time.Now()), detour: d, asked: time.Now()}
	m.logged(m.change(func() { m.taking[req.VIP] = t }))
	return prepareReply{}
}

// installWithRoom installs d, unless the kernel cannot track what it is for.
func installWithRoom(ctx context.Context, d *move.Detour, req prepareRequest) error {
	before, _ := conntrack.ReadUse() // not known, it is as if none were tracked
	if err := d.Install(ctx); err != nil {
		return err
	}
	now, err := conntrack.ReadUse()
	if err != nil {
		return nil //nolint:nilerr // what is not known is no reason
	}
	narrow, err := d.Narrow(ctx)
	if err != nil {
		return nil //nolint:nilerr // it is said elsewhere, if it matters
	}
	if why := noRoomFor(before, now, narrow, req.Connections, req.Rate); why != "" {
		return errors.Join(errors.New(why), d.Remove(ctx))
	}
	return nil
}

// canTake says why this controller cannot take v from another; nil if it can.
func (m *Moves) canTake(v VIP, from string, force bool) error {
	name, s := v.Name, v.Loop.Stats()
	m.mu.Lock()
	busy, t := m.busy, m.taking[name]
	m.mu.Unlock()
	full := tooFull()
	switch {
	case m.ending.Load():
		return errors.New("its agent is about to end")
	case busy != "":
		return fmt.Errorf("it is handing vip %s over itself", busy)
	case s.State == vrrp.Active:
		return fmt.Errorf("it holds vip %s too", name)
	case s.State != vrrp.Backup:
		return fmt.Errorf("it cannot hold vip %s: %s", name, s.Reason)
	case m.opt.Drained() && !force:
		return errors.New("it is drained; holdfast undrain " + m.opt.Controller + " first")
	case full != nil && !force:
		return full
	case t != nil && t.From != from && !force:
		return fmt.Errorf("it still sends on what belongs to connections on %s, until %s; with --force they are cut", t.From, t.Until.Format(time.TimeOnly))
	}
	return nil
}

// detourTo gives the rule that sends segments of v on to a giver.
func (m *Moves) detourTo(s *spec.Spec, v spec.VIP, givers []netip.Addr) (*move.Detour, error) {
	self, _ := s.Controller(m.opt.Controller)
	return move.NewDetour(move.DetourOptions{
		Name: v.Name, Addresses: v.Addrs(), Givers: givers, Interface: s.Interface(v, self),
		Settings: m.settings, Log: m.opt.Log.With("component", "vip"),
	})
}

// moved is the command of the giver: nothing needs the rule any more.
func (m *Moves) moved(ctx context.Context, from string, req moveRequest) (any, error) {
	t := m.takes(req.VIP)
	if t != nil && t.From == from {
		m.endTaking(ctx, req.VIP, t, "")
	}
	return struct{}{}, nil
}

// A givingReply says whether this controller still has connections of a VIP.
type givingReply struct {
	Giving bool `json:"giving"`
}

// stillGiving is the command of the taker of a VIP, who wants to know.
func (m *Moves) stillGiving(_ context.Context, _ string, req moveRequest) (any, error) {
	return givingReply{m.involves(req.VIP)}, nil
}

// watchTaking looks after one VIP that was taken, until the giver has ended its
// connections. A giver whose agent is dead may have them still, one whose host
// is lost has not.
func (m *Moves) watchTaking(ctx context.Context, name string) {
	t := m.takes(name)
	v, there := m.vip(name)
	now := time.Now()
	switch {
	case t == nil:
		return
	case !there, now.After(t.Until.Add(askInterval)):
		m.endTaking(ctx, name, t, "its time is over")
		return
	case !v.Holds() && now.Sub(t.Since) > takeTime && !m.isGiving(name):
		m.endTaking(ctx, name, t, "the vip did not come, or has gone on")
		return
	case now.Sub(t.asked) < askInterval:
		return
	}
	t.asked = now
	m.mendDetour(ctx, name, t, true)
	m.countForwarded(ctx, name, t)
	m.askGiver(ctx, name, t)
}

// countForwarded notes what was sent on.
func (m *Moves) countForwarded(ctx context.Context, name string, t *taking) {
	n, err := t.detour.Forwarded(ctx)
	if errors.Is(err, move.ErrNoDetour) {
		return // gone again, and put back at the next look
	}
	if err != nil {
		m.opt.Log.Warn("what is sent on is not counted", "vip", name, "error", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t.forwarded = n
}

// askGiver asks the giver of a VIP whether it still has connections of it.
func (m *Moves) askGiver(ctx context.Context, name string, t *taking) {
	var reply givingReply
	err := m.opt.Ask(ctx, t.From, "giving", moveRequest{name}, &reply)
	switch {
	case err == nil && !reply.Giving:
		m.endTaking(ctx, name, t, "")
	case err == nil || peer.NoAgent(err):
		t.lost = 0
	default:
		t.asked = time.Time{} // again at once
		if t.lost++; t.lost >= lostAfter {
			m.endTaking(ctx, name, t, "the host of "+t.From+" does not answer")
		}
	}
}

// endTaking removes the rule; why is empty when the giver's connections have ended.
func (m *Moves) endTaking(ctx context.Context, name string, t *taking, why string) {
	m.kernel.Lock()
	newest := m.takes(name) == t
	if newest {
		err := m.change(func() { delete(m.taking, name) })
		m.logged(errors.Join(err, t.detour.Remove(ctx)))
	}
	m.kernel.Unlock()
	if newest && why != "" {
		m.opt.Event(status.Event{
			Kind: status.EventHandoverEnded, Subject: "vip " + name, Cause: why, Took: time.Since(t.Since),
			Text: fmt.Sprintf("connections of vip %s on %s get no segments from here any more", name, t.From),
		})
	}
}
