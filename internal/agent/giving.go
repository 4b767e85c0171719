package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vip"
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
)

// giveTo gives the VIP of o to one controller: without a word with its agent
// when plain is set, by VRRP alone, and then the open connections are reset.
// On an error this controller holds the VIP as before.
func (a *Agent) giveTo(ctx context.Context, o *owner, to spec.Controller, req web.HandoverRequest, plain bool) (web.Handover, error) {
	v := o.view.Load().vip
	h := web.Handover{VIP: v.Name, From: a.opt.Controller, To: to.Name}
	g := &giving{To: to.Name, span: spanFrom(time.Now(), a.handoverLimit())}
	if plain {
		h.Why = "the agent of " + to.Name + " does not answer"
	} else {
		asked := time.Now()
		ready, err := a.prepareTaker(ctx, v, to, req, g.Until)
		if err != nil {
			return h, err
		}
		if err := a.hearsTaker(ctx, o, to, ready, asked); err != nil {
			a.tellDone(ctx, to.Name, v.Name)
			return h, err
		}
		h.Why = ready.Why
	}
	if h.Why == "" {
		h.Why = a.blockedDetour(ctx, v, to.Name)
	}
	if h.Why == "" {
		if err := a.keepCopy(ctx, o, g); err != nil {
			h.Why = err.Error()
		} else {
			h.Connections, _, _ = g.copy.Connections(ctx) // only told
			a.moves.mu.Lock()
			g.connections = h.Connections
			a.moves.mu.Unlock()
		}
	}
	h.Kept = h.Why == ""
	if !h.Kept && !plain {
		a.tellDone(ctx, to.Name, v.Name) // what comes to the taker is to be reset
	}
	begun := time.Now()
	err := o.loop.Yield(ctx, to.Address, link.YieldOptions{Keep: h.Kept})
	if err != nil && (o.holds() || o.loop.Stats().Holder != to.Name) {
		a.takeBack(ctx, o, to.Name, g, plain)
		if e, ok := errors.AsType[*link.NotYieldedError](err); ok {
			err = fmt.Errorf("%s: %w", e.To, e.Why) // who asked says which VIP stays where
		}
		return h, err
	}
	if err != nil { // it is gone all the same, and its connections go on
		a.log.Warn("the handover did not go as it should", "vip", v.Name, "to", to.Name, "error", err)
	}
	h.Took = time.Since(begun)
	a.moves.mu.Lock()
	g.Since = time.Now()
	a.moves.mu.Unlock()
	a.journal.add(status.Event{
		Kind: status.EventHandover, Subject: "vip " + v.Name, Took: h.Took, Cause: req.Cause, Text: h.String(),
	})
	return h, nil
}

// handoverLimit is how long the connections of a VIP that was handed over may go on.
func (a *Agent) handoverLimit() time.Duration { return a.currentSpec().Agent.HandoverLimit }

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

// prepareTaker gets the agent of the controller to ready for the VIP v, whose
// connections here end at until.
func (a *Agent) prepareTaker(ctx context.Context, v spec.VIP, to spec.Controller, req web.HandoverRequest, until time.Time) (prepareReply, error) {
	ctx, cancel := context.WithTimeout(ctx, adoptTime)
	defer cancel()
	s := a.currentSpec()
	self, _ := s.Controller(a.opt.Controller)
	givers, err := vip.GiverAddresses(s.Interface(v, self), self.Address, v.Addresses)
	if err != nil {
		return prepareReply{}, fmt.Errorf("where %s sends segments on to: %w", to.Name, err)
	}
	var reply prepareReply
	conns, rate := a.clientLoad(ctx)
	err = a.peers.Ask(ctx, to.Name, "prepare", prepareRequest{
		VIP: v.Name, Left: time.Until(until), Until: until, Givers: givers, Force: req.Force, Connections: conns, Rate: rate, Hello: true,
		Insisted: req.Force && req.To != "", Unasked: req.Unasked,
	}, &reply)
	return reply, err
}

// keepCopy readies this controller to go on with the connections of o's VIP
// after another one has taken it.
func (a *Agent) keepCopy(ctx context.Context, o *owner, g *giving) error {
	v := o.view.Load().vip
	c, err := a.copyOf(a.currentSpec(), v)
	if err != nil {
		return err
	}
	g.copy = c
	a.moves.kernel.Lock()
	defer a.moves.kernel.Unlock()
	// Written down first: an agent that is killed in the middle finds it. Where
	// that cannot be, the connections still matter more.
	a.logged(a.moves.change(func() { a.moves.giving[v.Name] = g }))
	if err = c.Keep(ctx, time.Until(g.Until)); err != nil {
		err = errors.Join(err, a.moves.change(func() { delete(a.moves.giving, v.Name) }), c.Drop(ctx))
	}
	return err
}

// copyOf gives what keeps the addresses of v on lo.
func (a *Agent) copyOf(s *spec.Spec, v spec.VIP) (*vip.Copy, error) {
	self, _ := s.Controller(a.opt.Controller)
	return vip.NewCopy(vip.CopyOptions{
		Name: v.Name, Addresses: v.Addresses, Interface: s.Interface(v, self), Settings: a.moves.settings, Log: a.log.With("component", "vip"),
	})
}

// takeBack undoes the preparations of a handover that did not come about.
func (a *Agent) takeBack(ctx context.Context, o *owner, to string, g *giving, plain bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), adoptTime)
	defer cancel()
	name := o.view.Load().vip.Name
	if g.copy != nil {
		_, err := a.moves.rid(name, g, func() error { return g.copy.Drop(ctx) })
		a.logged(err)
		if !o.holds() { // it was lost in the middle of it, and its connections are
			a.logged(o.address.Release(ctx))
		}
	}
	if !plain {
		a.tellDone(ctx, to, name)
	}
}

// A moveRequest names a VIP to the one at the other end of its handover.
type moveRequest struct {
	VIP string `json:"vip"`
}

// tellDone tells the taker that no connection needs its rule any more. One that
// does not hear it finds out by asking.
func (a *Agent) tellDone(ctx context.Context, to, name string) {
	if err := a.peers.Ask(ctx, to, "moved", moveRequest{name}, nil); err != nil {
		a.log.Debug("the taker of a vip was not told that it is done", "vip", name, "error", err)
	}
}

// watchGiving looks after one VIP that was given away, until its connections have ended.
func (a *Agent) watchGiving(ctx context.Context, name string) {
	a.moves.mu.Lock()
	g := a.moves.giving[name]
	yielding := a.moves.busy == name
	a.moves.mu.Unlock()
	o := a.ownerOf(name)
	switch {
	case g == nil || yielding:
		return
	case o != nil && o.holds():
		a.retake(ctx, name, g)
		return
	}
	if why := a.lostWay(ctx, name, g); why != "" {
		a.endGiving(ctx, name, g, why)
		return
	}
	if now := time.Now(); !g.closing && now.Sub(g.Since) >= settleTime {
		a.moves.mu.Lock()
		g.closing = true
		a.moves.mu.Unlock()
		a.closePolitely(ctx)
	}
	remote, _, err := g.copy.Connections(ctx)
	if err != nil {
		a.log.Warn("the connections of a vip that was handed over are not counted", "vip", name, "error", err)
		remote = max(g.connections, 1)
	}
	a.moves.mu.Lock()
	g.connections = remote
	g.quiet++
	if remote > 0 || !g.closing || a.moves.taking[name] != nil {
		// What this controller sends on itself is for connections, too.
		g.quiet = 0
	}
	over := g.quiet >= enoughQuiet || time.Now().After(g.Until)
	a.moves.mu.Unlock()
	if over || o == nil {
		a.endGiving(ctx, name, g, "")
	}
}

// ownerOf gives the owner of the VIP, nil for none.
func (a *Agent) ownerOf(name string) *owner {
	for _, o := range a.owners() {
		if o.view.Load().vip.Name == name {
			return o
		}
	}
	return nil
}

// closing gives the addresses of every VIP whose clients are to come anew: it was given
// away, and its neighbours know where it is.
func (a *Agent) closing() []netip.Addr {
	vips := a.currentSpec().VIPs
	a.moves.mu.Lock()
	defer a.moves.mu.Unlock()
	var closing []netip.Addr
	for _, v := range vips {
		if g := a.moves.giving[v.Name]; g == nil || !g.closing {
			continue
		}
		closing = append(closing, v.Addrs()...)
	}
	return closing
}

// Pauses between two attempts to have HAProxy close connections, after one that failed.
const (
	closingFirst = time.Second
	closingMost  = 30 * time.Second
)

// A closer has HAProxy tell the clients of every VIP that is being given away to
// come anew, and so to another controller, with its next answer; and no others: an
// agent that stood still, or was away, for longer than a handover lasts finds the
// list as it was. One goroutine uses it.
type closer struct {
	of    []netip.Addr // what was tried last
	next  time.Time    // when the same may be tried again
	pause time.Duration
	told  string // what went wrong
}

// closePolitely sees to it that HAProxy's list is what is under way.
func (a *Agent) closePolitely(ctx context.Context) {
	c, closing := &a.moves.closer, a.closing()
	if a.haproxy.ClosingIs(closing) {
		*c = closer{}
		return
	}
	if slices.Equal(c.of, closing) && time.Now().Before(c.next) {
		return
	}
	err := a.haproxy.SetClosing(ctx, closing)
	if err == nil || ctx.Err() != nil {
		*c = closer{}
		return
	}
	if err.Error() != c.told {
		a.log.Warn("HAProxy was not told whose clients are to come anew; it is tried again", "closing", closing, "error", err)
	}
	c.of, c.told = closing, err.Error()
	c.pause = min(max(2*c.pause, closingFirst), closingMost)
	c.next = time.Now().Add(c.pause)
}

// retake ends what is left of giving a VIP away: this controller holds it
// again, with the connections that it had.
func (a *Agent) retake(ctx context.Context, name string, g *giving) {
	newest, err := a.moves.rid(name, g, func() error { return g.copy.Drop(ctx) })
	a.logged(err)
	if !newest {
		return
	}
	a.closePolitely(ctx)
	a.tellDone(ctx, g.To, name)
}

// endGiving removes what was kept for the connections of a VIP. Those that are
// still open are cut: because of why, or if that is empty because it is time.
func (a *Agent) endGiving(ctx context.Context, name string, g *giving, why string) {
	cut := 0
	newest, err := a.moves.rid(name, g, func() (err error) {
		cut, err = g.copy.End(ctx)
		return err
	})
	a.logged(err)
	if !newest {
		return
	}
	a.closePolitely(ctx)
	a.tellDone(ctx, g.To, name)
	e := status.Event{
		Kind: status.EventHandoverDone, Subject: "vip " + name, Took: time.Since(g.Since),
		Text: fmt.Sprintf("the last connection of vip %s on %s has ended, which %s took", name, a.opt.Controller, g.To),
	}
	if g.connections > 0 {
		e.Kind, e.Cause = status.EventHandoverCut, cmp.Or(why, fmt.Sprintf("they were open still %s after the handover", a.handoverLimit()))
		e.Text = fmt.Sprintf("%d connections of vip %s on %s, which %s took, were cut", max(cut, g.connections), name, a.opt.Controller, g.To)
		if g.connections == 1 {
			e.Text = fmt.Sprintf("1 connection of vip %s on %s, which %s took, was cut", name, a.opt.Controller, g.To)
		}
	}
	a.journal.add(e)
}
