package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"holdfast/internal/vrrp"
)

// YieldOptions says how to hand over.
type YieldOptions struct {
	// Wait is how long the other controller has to take over; 0 means four
	// advert intervals and half a second.
	Wait time.Duration
	// Keep leaves the connections of the addresses alone, because they are
	// carried on: Holder.Withdraw is called, not Holder.Release.
	Keep bool
}

// wait gives o.Wait with its default filled in.
func (o YieldOptions) wait(interval time.Duration) time.Duration {
	if o.Wait > 0 {
		return o.Wait
	}
	return 4*interval + 500*time.Millisecond
}

// Yield hands the addresses over to the controller with the address to; the zero
// address stands for whichever takes over first. This one stays Active, and has
// the addresses, until it hears that the other one is, whatever the priorities;
// see vrrp.Yield. It returns nil when the addresses are off the interface.
//
// The error says why not. Then this controller is Active as before, unless it
// says otherwise. When ctx ends, the handover is called off.
//
// Where adverts go to a multicast group, only a loop can be told alone to take
// over. keepalived drops such an advert: without Keep, which it cannot do, all
// controllers are told when half of Wait is over, and the one with the highest
// priority takes over.
func (l *Loop) Yield(ctx context.Context, to netip.Addr, o YieldOptions) error {
	return l.leave(ctx, &yieldRequest{to: to, o: o, done: make(chan error, 1)})
}

// GiveWay ends being Active for the controller with the address to, which is Active too
// and not heard, nor hears this one. It returns nil when the addresses are off the
// interface; with o.Keep their connections are left alone. From then on nobody's
// silence makes this controller take over, until Defer says what does: a call of it
// before this one holds.
func (l *Loop) GiveWay(ctx context.Context, to netip.Addr, o YieldOptions) error {
	return l.leave(ctx, &yieldRequest{to: to, o: o, apart: true, done: make(chan error, 1)})
}

// leave waits for the end of req.
func (l *Loop) leave(ctx context.Context, req *yieldRequest) error {
	options, public := l.options.Load(), l.public.Load()
	switch {
	case ctx.Err() != nil:
		return req.failed(options, ctx.Err())
	case public.state != vrrp.Active:
		return req.failed(options, fmt.Errorf("it is not active here: %s", public.reason))
	case !l.yielding.CompareAndSwap(nil, req):
		return req.failed(options, errors.New("another handover is under way"))
	}
	l.host.wake()
	select {
	case err := <-req.done:
		return err
	case <-ctx.Done():
		req.off.Store(true)
		l.host.wake()
		return req.failed(options, context.Cause(ctx))
	case <-l.ended:
	}
	select {
	case err := <-req.done:
		return err
	default:
		return req.failed(options, errors.New("it is not active here: the loop has ended"))
	}
}

// A NotYieldedError says that nothing was handed over.
type NotYieldedError struct {
	VIP, To string // their names
	Why     error
}

func (e *NotYieldedError) Error() string {
	return fmt.Sprintf("vip %s is not handed over to %s: %v", e.VIP, e.To, e.Why)
}

func (e *NotYieldedError) Unwrap() error { return e.Why }

// A yieldRequest is a call of Yield.
type yieldRequest struct {
	to   netip.Addr
	o    YieldOptions
	done chan error  // has room for its one result
	off  atomic.Bool // nobody waits for it any more

	apart bool // neither hears the other: see GiveWay
}

// failed says that nothing was handed over, and why.
func (q *yieldRequest) failed(o *Options, why error) error {
	return &NotYieldedError{VIP: o.Name, To: q.name(o), Why: why}
}

func (q *yieldRequest) name(o *Options) string {
	if !q.to.IsValid() {
		return "another controller"
	}
	return o.name(q.to)
}

// A handover is what the runner knows of the Yield that it serves.
type handover struct {
	req  *yieldRequest // nil for none
	wait time.Duration
	// due is when there is something to do: to tell everyone, or once the other
	// controller was heard, to remove the addresses.
	due   time.Time
	until time.Time  // the end of wait
	heard netip.Addr // who took over
	asked bool       // the hand was, to remove the addresses
}

// overlap is how long the addresses stay after the other controller was heard.
// It says that it is Active before it puts them on its interface, which takes a
// millisecond or so: else there would be a moment in which nobody has them. A
// client that asks for the address just then may learn this controller's: a loop
// announces it again 250ms later, but keepalived only after five seconds, so it
// must be seldom.
const overlap = 30 * time.Millisecond

// handovers takes what Yield said.
func (r *runner) handovers() {
	req := r.l.yielding.Load()
	switch {
	case req == nil:
	case req != r.handover.req:
		r.beginYield(req)
	case req.off.Load() && r.machine.Yielding():
		r.step(vrrp.Stay{})
	}
}

func (r *runner) beginYield(req *yieldRequest) {
	now := time.Now()
	r.handover = handover{req: req, wait: req.o.wait(r.o.Interval)}
	_, known := r.o.Peers[req.to]
	switch {
	case req.off.Load():
		r.endYield(nil) // nobody waits for it
		return
	case r.state != vrrp.Active || r.machine.State() != vrrp.Active:
		r.endYield(req.failed(r.o, fmt.Errorf("it is not active here: %s", r.l.public.Load().reason)))
		return
	case req.to.IsValid() && !known:
		r.endYield(req.failed(r.o, errors.New("that is not the address of another controller")))
		return
	case req.apart:
		r.handover.heard, r.handover.until = req.to, now
		r.step(vrrp.GiveWay{To: req.to})
		r.trusting.told.Counts = false
		r.weigh()
		r.withdraw()
		return
	}
	r.handover.until = now.Add(r.handover.wait)
	if r.o.Multicast && !req.o.Keep && req.to.IsValid() {
		r.handover.due = now.Add(r.handover.wait / 2)
	}
	r.report.info("handing over", "to", req.name(r.o), "within", r.handover.wait, "keep connections", req.o.Keep)
	r.step(vrrp.Yield{To: req.to, AnySource: r.o.Multicast && r.o.Source.Is6(), Wait: r.handover.wait})
}

// endYield gives the result to who waits for it.
func (r *runner) endYield(err error) {
	req := r.handover.req
	r.handover = handover{}
	r.l.yielding.CompareAndSwap(req, nil)
	if req.done <- err; err != nil {
		r.report.info(err.Error())
	}
}

// follow looks what became of the handover in a step of the machine.
func (r *runner) follow(out vrrp.Output) {
	h := &r.handover
	switch {
	case h.req == nil, r.machine.Yielding():
	case h.heard.IsValid():
		if out.Claim && !h.asked { // what is on the interface is wanted again
			r.endYield(h.req.failed(r.o, fmt.Errorf("%s took over, and this controller did after it: %s",
				r.o.name(h.heard), out.Cause.Words(r.o.name))))
		}
	case out.State == vrrp.Active:
		if h.req.to.IsValid() {
			// What it gets now would make it take over later.
			r.hand.ask(errand{kind: doDropWaiting, o: r.o, peer: h.req.to})
		}
		// The other one may have taken over all the same, and not be heard.
		r.insist(time.Now())
		r.endYield(h.req.failed(r.o, fmt.Errorf("it did not take over within %v", h.wait)))
	case out.Cause.Kind == vrrp.CauseYielded:
		h.heard = out.Cause.Peer
		h.due = time.Now().Add(overlap)
	default:
		r.endYield(h.req.failed(r.o, fmt.Errorf("this controller holds it no more: %s", out.Cause.Words(r.o.name))))
	}
}

// yield does what is due in the handover.
func (r *runner) yield(now time.Time) {
	h := &r.handover
	if h.due.IsZero() || now.Before(h.due) {
		return
	}
	h.due = time.Time{}
	switch {
	case h.heard.IsValid():
		r.withdraw()
	case r.machine.Yielding() && now.Before(h.until):
		r.report.info("not heard yet, telling every controller", "to", h.req.name(r.o))
		r.step(vrrp.Yield{Wait: h.until.Sub(now)})
	}
}

// withdraw has the addresses removed that another controller has.
func (r *runner) withdraw() {
	e := errand{kind: doRelease, o: r.o, yield: r.handover.req}
	if e.yield.o.Keep {
		e.kind = doWithdraw
	}
	r.handover.asked = true
	r.hand.ask(e)
}

// withdrawn ends the handover, whose last errand is done.
func (r *runner) withdrawn(done result) {
	h := &r.handover
	switch {
	case h.req != done.yield: // cannot be: one is served at a time
	case done.err != nil:
		r.complain(done)
		r.endYield(fmt.Errorf("vip %s was handed over to %s, but is still here too, until its lease ends: %w",
			r.o.Name, h.req.name(r.o), done.err))
	case !r.heardWhoWasAsked():
		r.endYield(fmt.Errorf("vip %s was taken over by %s, not by %s", r.o.Name, r.o.name(h.heard), h.req.name(r.o)))
	default:
		r.endYield(nil)
	}
}

// heardWhoWasAsked reports whether the controller that took over may be the one
// that was to; the source of IPv6 multicast says nothing.
func (r *runner) heardWhoWasAsked() bool {
	h := &r.handover
	return !h.req.to.IsValid() || h.heard == h.req.to || r.anonymous()
}

// anonymous reports whether adverts do not say from which controller they are.
func (r *runner) anonymous() bool { return r.o.Multicast && r.o.Source.Is6() }

// nameIn gives what to call the other controller of c.
func (r *runner) nameIn(c vrrp.Cause) func(netip.Addr) string {
	if req := r.handover.req; c.Kind == vrrp.CauseYielded && req != nil && req.to.IsValid() && r.anonymous() {
		return func(netip.Addr) string { return r.o.name(req.to) }
	}
	return r.o.name
}

// abandonYield ends what is left of a handover when the loop ends: the other
// controller has the addresses, or nobody is to get them.
func (r *runner) abandonYield() {
	if r.handover.req != nil && r.handover.heard.IsValid() && !r.handover.asked {
		r.withdraw()
	}
}
