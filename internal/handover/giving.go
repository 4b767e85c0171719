package handover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"holdfast/internal/hearing"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vip/move"
	"holdfast/internal/vrrp/link"
	"holdfast/internal/web"
)

const (
	// settleTime is how long after a handover clients are first told to come
	// anew: until then every neighbour has learned where the address is.
	settleTime = 200 * time.Millisecond
	// enoughQuiet is how many looks in a row must find no connection before
	// what was kept for them goes.
	enoughQuiet = 3
	// adoptTime bounds the preparations of a handover, on both sides.
	adoptTime = 5 * time.Second
	// helloTime is how long a giver waits for a hello of the taker.
	helloTime = 500 * time.Millisecond
)

// offer gives v to one controller: without a word with its agent where to is plain,
// by VRRP alone, and then the open connections are reset. On an error this controller
// holds the VIP as before.
func (m *Moves) offer(ctx context.Context, v VIP, to taker) (web.Handover, error) {
	h := web.Handover{VIP: v.Name, From: m.opt.Controller, To: to.Name}
	g := &giving{To: to.Name, span: spanFrom(time.Now(), m.handoverLimit())}
	if to.plain {
		h.Why = "the agent of " + to.Name + " does not answer"
	} else {
		asked := time.Now()
		ready, err := m.prepareTaker(ctx, v.VIP, to, g.Until)
		if err != nil {
			return h, err
		}
		if err := hearsTaker(ctx, v, to.Controller, ready, asked); err != nil {
			m.tellDone(ctx, to.Name, v.Name)
			return h, err
		}
		h.Why = ready.Why
	}
	if h.Why == "" {
		h.Why = m.blockedDetour(ctx, v.VIP, to.Name)
	}
	if h.Why == "" {
		if err := m.keepCopy(ctx, v.VIP, g); err != nil {
			h.Why = err.Error()
		} else {
			h.Connections, _, _ = g.copy.Connections(ctx) // only told
			m.mu.Lock()
			g.connections = h.Connections
			m.mu.Unlock()
		}
	}
	h.Kept = h.Why == ""
	if !h.Kept && !to.plain {
		m.tellDone(ctx, to.Name, v.Name) // what comes to the taker is to be reset
	}
	begun := time.Now()
	err := v.Loop.Yield(ctx, to.Address, link.YieldOptions{Keep: h.Kept})
	if err != nil && (v.Holds() || v.Loop.Stats().Holder != to.Name) {
		m.takeBack(ctx, v, g, to.plain)
		if e, ok := errors.AsType[*link.NotYieldedError](err); ok {
			err = fmt.Errorf("%s: %w", e.To, e.Why) // who asked says which VIP stays where
		}
		return h, err
	}
	if err != nil { // it is gone all the same, and its connections go on
		m.opt.Log.Warn("the handover did not go as it should", "vip", v.Name, "to", to.Name, "error", err)
	}
	h.Took = time.Since(begun)
	m.mu.Lock()
	g.Since = time.Now()
	m.mu.Unlock()
	m.opt.Event(status.Event{
		Kind: status.EventHandover, Subject: "vip " + v.Name, Took: h.Took, Cause: to.request.Cause, By: to.request.By, Unasked: to.request.Unasked, Text: h.String(),
	})
	return h, nil
}

// hearsTaker waits for a hello of the controller that is to take v,
// which it has just been asked to send: one that is not heard cannot be handed
// the VIP, as nobody here would learn that it has it.
func hearsTaker(ctx context.Context, v VIP, to spec.Controller, ready prepareReply, asked time.Time) error {
	if !ready.Hello {
		return nil // an agent without them, or a group with keepalived in it
	}
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if h := v.Loop.Hearing()[to.Address]; h.Hears(time.Since(asked)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: its adverts do not arrive here, so nobody would know that it has the vip; %s", to.Name, hearing.LetThrough)
		case <-tick.C:
		}
	}
}

// handoverLimit is how long the connections of a VIP that was handed over may go on.
func (m *Moves) handoverLimit() time.Duration { return m.opt.Spec().Agent.HandoverLimit }

// A prepareRequest asks the taker of a VIP to be ready for it.
type prepareRequest struct {
	VIP string `json:"vip"`
	// Left is for how long the connections of the giver go on at most. Until is
	// when that ends by the giver's clock, which need not be the taker's: only an
	// older agent goes by it, and an older one's request has nothing else.
	Left  time.Duration `json:"left_ns,omitempty"`
	Until time.Time     `json:"until"`
	// Givers are addresses of the giver, to which segments can be sent on.
	Givers []netip.Addr `json:"givers"`
	Force  bool         `json:"force,omitempty"`
	// Insisted says that somebody wants the VIP there whatever that costs, and
	// Unasked that nobody asked for the move: the giver reaches less.
	Insisted bool `json:"insisted,omitempty"`
	Unasked  bool `json:"unasked,omitempty"`
	// Connections are open at the giver's HAProxy, Rate new ones come in a second.
	Connections int `json:"connections,omitempty"`
	Rate        int `json:"rate,omitempty"`
	// Apart says that both hold the VIP and neither hears the other, and that the giver
	// gives way.
	Apart bool `json:"apart,omitempty"`
	// Hello asks for a hello at once, so that the giver knows that it hears the taker.
	Hello bool `json:"hello,omitempty"`
}

// span gives the time of the move that r asks for, from now on.
func (r prepareRequest) span(now time.Time) span {
	if r.Left > 0 {
		return spanFrom(now, r.Left)
	}
	return span{Since: now, Until: r.Until}
}

// A prepareReply says that the taker is ready. Why says why it cannot send on
// what belongs to the giver's connections, empty when it can.
type prepareReply struct {
	Why string `json:"why,omitempty"`
	// Hello says that the taker has sent one.
	Hello bool `json:"hello,omitempty"`
}

// prepareTaker gets the agent of a controller to ready for v, whose
// connections here end at until.
func (m *Moves) prepareTaker(ctx context.Context, v spec.VIP, to taker, until time.Time) (prepareReply, error) {
	ctx, cancel := context.WithTimeout(ctx, adoptTime)
	defer cancel()
	s := m.opt.Spec()
	self, _ := s.Controller(m.opt.Controller)
	givers, err := move.GiverAddresses(s.Interface(v, self), self.Address, v.Addresses)
	if err != nil {
		return prepareReply{}, fmt.Errorf("where %s sends segments on to: %w", to.Name, err)
	}
	var reply prepareReply
	conns, rate := m.clientLoad(ctx)
	req := to.request
	err = m.opt.Ask(ctx, to.Name, "prepare", prepareRequest{
		VIP: v.Name, Left: time.Until(until), Until: until, Givers: givers, Force: req.Force, Connections: conns, Rate: rate, Hello: !to.apart, Apart: to.apart,
		Insisted: req.Force && req.To != "", Unasked: req.Unasked,
	}, &reply)
	return reply, err
}

// keepCopy readies this controller to go on with the connections of v
// after another one has taken it.
func (m *Moves) keepCopy(ctx context.Context, v spec.VIP, g *giving) error {
	c, err := m.copyOf(m.opt.Spec(), v)
	if err != nil {
		return err
	}
	g.copy = c
	m.kernel.Lock()
	defer m.kernel.Unlock()
	// Written down first: an agent that is killed in the middle finds it. Where
	// that cannot be, the connections still matter more.
	m.logged(m.change(func() { m.giving[v.Name] = g }))
	if err = c.Keep(ctx, time.Until(g.Until)); err != nil {
		err = errors.Join(err, m.change(func() { delete(m.giving, v.Name) }), c.Drop(ctx))
	}
	return err
}

// copyOf gives what keeps the addresses of v on lo.
func (m *Moves) copyOf(s *spec.Spec, v spec.VIP) (*move.Copy, error) {
	self, _ := s.Controller(m.opt.Controller)
	return move.NewCopy(move.CopyOptions{
		Name: v.Name, Addresses: v.Addresses, Interface: s.Interface(v, self), Settings: m.settings, Log: m.opt.Log.With("component", "vip"),
	})
}

// takeBack undoes the preparations of a handover that did not come about.
func (m *Moves) takeBack(ctx context.Context, v VIP, g *giving, plain bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), adoptTime)
	defer cancel()
	if g.copy != nil {
		_, err := m.rid(v.Name, g, func() error { return g.copy.Drop(ctx) })
		m.logged(err)
		if !v.Holds() { // it was lost in the middle of it, and its connections are
			m.logged(v.Release(ctx))
		}
	}
	if !plain {
		m.tellDone(ctx, g.To, v.Name)
	}
}

// A moveRequest names a VIP to the one at the other end of its handover.
type moveRequest struct {
	VIP string `json:"vip"`
}

// tellDone tells the taker that no connection needs its rule any more. One that
// does not hear it finds out by asking.
func (m *Moves) tellDone(ctx context.Context, to, name string) {
	if err := m.opt.Ask(ctx, to, "moved", moveRequest{name}, nil); err != nil {
		m.opt.Log.Debug("the taker of a vip was not told that it is done", "vip", name, "error", err)
	}
}

// watchGiving looks after one VIP that was given away, until its connections have ended.
func (m *Moves) watchGiving(ctx context.Context, name string) {
	m.mu.Lock()
	g := m.giving[name]
	yielding := m.busy == name
	m.mu.Unlock()
	v, there := m.vip(name)
	switch {
	case g == nil || yielding:
		return
	case there && v.Holds():
		m.retake(ctx, name, g)
		return
	}
	if why := m.lostWay(ctx, name, g); why != "" {
		m.endGiving(ctx, name, g, why)
		return
	}
	if now := time.Now(); !g.closing && now.Sub(g.Since) >= settleTime {
		m.mu.Lock()
		g.closing = true
		m.mu.Unlock()
		m.closePolitely(ctx)
	}
	remote, _, err := g.copy.Connections(ctx)
	if err != nil {
		m.opt.Log.Warn("the connections of a vip that was handed over are not counted", "vip", name, "error", err)
		remote = max(g.connections, 1)
	}
	m.mu.Lock()
	g.connections = remote
	g.quiet++
	if remote > 0 || !g.closing || m.taking[name] != nil {
		// What this controller sends on itself is for connections, too.
		g.quiet = 0
	}
	over := g.quiet >= enoughQuiet || time.Now().After(g.Until)
	m.mu.Unlock()
	if over || !there {
		m.endGiving(ctx, name, g, "")
	}
}

// retake ends what is left of giving a VIP away: this controller holds it
// again, with the connections that it had.
func (m *Moves) retake(ctx context.Context, name string, g *giving) {
	newest, err := m.rid(name, g, func() error { return g.copy.Drop(ctx) })
	m.logged(err)
	if !newest {
		return
	}
	m.closePolitely(ctx)
	m.tellDone(ctx, g.To, name)
}

// endGiving removes what was kept for the connections of a VIP. Those that are
// still open are cut: because of why, or if that is empty because it is time.
func (m *Moves) endGiving(ctx context.Context, name string, g *giving, why string) {
	cut := 0
	newest, err := m.rid(name, g, func() (err error) {
		cut, err = g.copy.End(ctx)
		return err
	})
	m.logged(err)
	if !newest {
		return
	}
	m.closePolitely(ctx)
	m.tellDone(ctx, g.To, name)
	e := status.Event{
		Kind: status.EventHandoverDone, Subject: "vip " + name, Took: time.Since(g.Since),
		Text: fmt.Sprintf("the last connection of vip %s on %s has ended, which %s took", name, m.opt.Controller, g.To),
	}
	if g.connections > 0 {
		e.Kind, e.Cause = status.EventHandoverCut, cmp.Or(why, fmt.Sprintf("they were open still %s after the handover", m.handoverLimit()))
		e.Text = fmt.Sprintf("%d connections of vip %s on %s, which %s took, were cut", max(cut, g.connections), name, m.opt.Controller, g.To)
		if g.connections == 1 {
			e.Text = fmt.Sprintf("1 connection of vip %s on %s, which %s took, was cut", name, m.opt.Controller, g.To)
		}
	}
	m.opt.Event(e)
}
