package agent

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
	"holdfast/internal/vip"
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
func (a *Agent) prepare(ctx context.Context, from string, req prepareRequest) (any, error) {
	o := a.ownerOf(req.VIP)
	if o == nil {
		return nil, fmt.Errorf("there is no vip %s here; are the specs of both the same?", req.VIP)
	}
	if err := a.canTake(o, from, req.Force); err != nil {
		return nil, err
	}
	a.arrivals.note(req.VIP, reach.Arrival{At: time.Now(), Unasked: req.Unasked, Insisted: req.Insisted})
	greeted := req.Hello && a.greets(o, from)
	a.moves.kernel.Lock()
	defer a.moves.kernel.Unlock()
	d, err := a.detourTo(a.currentSpec(), o.view.Load().vip, req.Givers)
	if err == nil {
		err = installWithRoom(ctx, d, req)
	}
	if err != nil {
		a.log.Warn("no second chance for the connections of the giver", "vip", req.VIP, "from", from, "error", err)
		return prepareReply{Why: err.Error(), Hello: greeted}, nil
	}
	t := &taking{From: from, Givers: req.Givers, span: req.span(time.Now()), detour: d, asked: time.Now()}
	a.logged(a.moves.change(func() { a.moves.taking[req.VIP] = t }))
	return prepareReply{Hello: greeted}, nil
}

// installWithRoom installs d, unless the kernel cannot track what it is for.
func installWithRoom(ctx context.Context, d *vip.Detour, req prepareRequest) error {
	before, _ := vip.ReadConntrackUse() // not known, it is as if none were tracked
	if err := d.Install(ctx); err != nil {
		return err
	}
	now, err := vip.ReadConntrackUse()
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

// canTake says why this controller cannot take the VIP of o from another; nil if it can.
func (a *Agent) canTake(o *owner, from string, force bool) error {
	name, s := o.view.Load().vip.Name, o.loop.Stats()
	a.moves.mu.Lock()
	busy, t := a.moves.busy, a.moves.taking[name]
	a.moves.mu.Unlock()
	full := tooFull()
	switch {
	case a.ending.Load():
		return errors.New("its agent is about to end")
	case busy != "":
		return fmt.Errorf("it is handing vip %s over itself", busy)
	case s.State == vrrp.Active:
		return fmt.Errorf("it holds vip %s too", name)
	case s.State != vrrp.Backup:
		return fmt.Errorf("it cannot hold vip %s: %s", name, s.Reason)
	case a.drains.Whole() && !force:
		return errors.New("it is drained; holdfast undrain " + a.opt.Controller + " first")
	case full != nil && !force:
		return full
	case t != nil && t.From != from && !force:
		return fmt.Errorf("it still sends on what belongs to connections on %s, until %s; with --force they are cut", t.From, t.Until.Format(time.TimeOnly))
	}
	return nil
}

// detourTo gives the rule that sends segments of v on to a giver.
func (a *Agent) detourTo(s *spec.Spec, v spec.VIP, givers []netip.Addr) (*vip.Detour, error) {
	self, _ := s.Controller(a.opt.Controller)
	return vip.NewDetour(vip.DetourOptions{
		Name: v.Name, Addresses: v.Addrs(), Givers: givers, Interface: s.Interface(v, self),
		Settings: a.moves.settings, Log: a.log.With("component", "vip"),
	})
}

// moved is the command of the giver: nothing needs the rule any more.
func (a *Agent) moved(ctx context.Context, from string, req moveRequest) (any, error) {
	t := a.moves.takes(req.VIP)
	if t != nil && t.From == from {
		a.endTaking(ctx, req.VIP, t, "")
	}
	return struct{}{}, nil
}

// A givingReply says whether this controller still has connections of a VIP.
type givingReply struct {
	Giving bool `json:"giving"`
}

// stillGiving is the command of the taker of a VIP, who wants to know.
func (a *Agent) stillGiving(_ context.Context, _ string, req moveRequest) (any, error) {
	return givingReply{a.moves.involves(req.VIP)}, nil
}

// watchTaking looks after one VIP that was taken, until the giver has ended its
// connections. A giver whose agent is dead may have them still, one whose host
// is lost has not.
func (a *Agent) watchTaking(ctx context.Context, name string) {
	t := a.moves.takes(name)
	o := a.ownerOf(name)
	now := time.Now()
	switch {
	case t == nil:
		return
	case o == nil, now.After(t.Until.Add(askInterval)):
		a.endTaking(ctx, name, t, "its time is over")
		return
	case !o.holds() && now.Sub(t.Since) > takeTime && !a.moves.isGiving(name):
		a.endTaking(ctx, name, t, "the vip did not come, or has gone on")
		return
	case now.Sub(t.asked) < askInterval:
		return
	}
	t.asked = now
	a.mendDetour(ctx, name, t, true)
	a.countForwarded(ctx, name, t)
	a.askGiver(ctx, name, t)
}

// countForwarded notes what was sent on.
func (a *Agent) countForwarded(ctx context.Context, name string, t *taking) {
	n, err := t.detour.Forwarded(ctx)
	if errors.Is(err, vip.ErrNoDetour) {
		return // gone again, and put back at the next look
	}
	if err != nil {
		a.log.Warn("what is sent on is not counted", "vip", name, "error", err)
		return
	}
	a.moves.mu.Lock()
	defer a.moves.mu.Unlock()
	t.forwarded = n
}

// askGiver asks the giver of a VIP whether it still has connections of it.
func (a *Agent) askGiver(ctx context.Context, name string, t *taking) {
	var reply givingReply
	err := a.peers.Ask(ctx, t.From, "giving", moveRequest{name}, &reply)
	switch {
	case err == nil && !reply.Giving:
		a.endTaking(ctx, name, t, "")
	case err == nil || peer.NoAgent(err):
		t.lost = 0
	default:
		t.asked = time.Time{} // again at once
		if t.lost++; t.lost >= lostAfter {
			a.endTaking(ctx, name, t, "the host of "+t.From+" does not answer")
		}
	}
}

// endTaking removes the rule; why is empty when the giver's connections have ended.
func (a *Agent) endTaking(ctx context.Context, name string, t *taking, why string) {
	a.moves.kernel.Lock()
	newest := a.moves.takes(name) == t
	if newest {
		err := a.moves.change(func() { delete(a.moves.taking, name) })
		a.logged(errors.Join(err, t.detour.Remove(ctx)))
	}
	a.moves.kernel.Unlock()
	if newest && why != "" {
		a.journal.add(status.Event{
			Kind: status.EventHandoverEnded, Subject: "vip " + name, Cause: why, Took: time.Since(t.Since),
			Text: fmt.Sprintf("connections of vip %s on %s get no segments from here any more", name, t.From),
		})
	}
}
