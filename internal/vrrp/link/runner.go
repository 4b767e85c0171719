package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"holdfast/internal/vrrp"
)

// A runner is a Loop that runs. All of it belongs to the loop's goroutine.
type runner struct {
	ctx    context.Context // of Run
	host   host
	l      *Loop
	o      *Options // in force
	told   *eligibility
	count  *counters
	report *reports

	machine  *vrrp.Machine
	deadline time.Time // of the machine
	conn     conn      // nil while the socket cannot be opened

	// Where adverts go, and the one that is sent; buf has its octets.
	to     []netip.Addr
	listed []netip.Addr
	advert vrrp.Advert
	buf    []byte
	got    vrrp.Advert // the one received last

	links   inspection
	bar     obstacle   // as the machine was told
	state   vrrp.State // as it was told of
	holding holding
	round   rounds
}

func newRunner(ctx context.Context, l *Loop, reports *reports) *runner {
	r := &runner{ctx: ctx, host: l.host, l: l, count: &l.counters, report: reports}
	r.o, r.told = l.options.Load(), l.eligible.Load()
	r.machine = vrrp.NewMachine(r.config())
	r.prepare()
	return r
}

// config gives the machine's part of the options.
func (r *runner) config() vrrp.Config {
	c := vrrp.Config{Priority: r.o.Priority, Interval: r.o.Interval, Preempt: r.o.Preempt, Source: r.o.Source}
	if r.conn != nil {
		c.Source = r.conn.source()
	}
	return c
}

// prepare makes what follows from the options.
func (r *runner) prepare() {
	r.to, r.listed = r.o.destinations(), r.o.listed()
	r.advert = vrrp.Advert{VRID: r.o.VRID, Interval: r.o.Interval, Addresses: r.listed}
}

// run is the loop. The order matters: what was received is heard before a
// timer is served, for after a delay it may say that the timer is no more; and
// before the lease is renewed, for it may say that the addresses are another's.
func (r *runner) run() error {
	r.inspect(time.Now())
	r.judge()
	r.step(vrrp.Startup{})
	for r.ctx.Err() == nil {
		changed, err := r.host.wait(r.next())
		if err != nil {
			// It cannot be without a bug of the kernel or ours. Without timers
			// this controller must not be Active.
			return errors.Join(err, r.end())
		}
		r.count.turned.Store(int64(time.Since(r.count.begun)))
		r.receive()
		r.orders()
		if now := time.Now(); changed || !now.Before(r.links.due) {
			r.inspect(now)
		}
		r.judge()
		r.tick()
	}
	return r.end()
}

// next gives when there is something to do, if nothing happens.
func (r *runner) next() time.Time {
	next := r.links.due
	for _, t := range [...]time.Time{r.deadline, r.holding.due, r.holding.retry, r.round.due} {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	return next
}

// tick serves the timers that are due.
func (r *runner) tick() {
	if !r.deadline.IsZero() && !time.Now().Before(r.deadline) {
		r.step(vrrp.Timer{})
	}
	r.hold()
	if now := time.Now(); !r.round.due.IsZero() && !now.Before(r.round.due) {
		r.round.next(now, r.o.AnnouncePeriod)
		r.o.Holder.Announce()
	}
}

// end resigns.
func (r *runner) end() error {
	r.step(vrrp.Shutdown{})
	return r.closeConn()
}

// orders takes what Configure and SetEligible said.
func (r *runner) orders() {
	r.told = r.l.eligible.Load()
	if o := r.l.options.Load(); o != r.o {
		r.o = o
		r.prepare()
		r.step(vrrp.Configure{Config: r.config()})
	}
}

// An obstacle is why this controller may not be Active; the zero one is none.
type obstacle struct {
	reason string
	told   bool // by SetEligible
}

// obstacle gives the first one that there is.
func (r *runner) obstacle() obstacle {
	switch {
	case !r.told.ok:
		return obstacle{r.told.reason, true}
	case r.links.fault != "":
		return obstacle{reason: r.links.fault}
	case r.conn == nil:
		return obstacle{reason: cmp.Or(r.links.closed, "no socket for adverts yet")}
	}
	return obstacle{reason: r.holding.trouble}
}

// judge tells the machine when its eligibility has changed.
func (r *runner) judge() {
	bar, was := r.obstacle(), r.bar
	if bar == was {
		return
	}
	r.bar = bar
	switch {
	case bar.reason != "":
		r.step(vrrp.Eligible{Reason: bar.reason})
	case was.told && r.told.reason != "":
		r.step(vrrp.Eligible{OK: true, Reason: r.told.reason})
	default:
		r.step(vrrp.Eligible{OK: true, Reason: "no longer: " + was.reason})
	}
	if bar.reason != "" && r.l.public.Load().reason != bar.reason {
		// It was not eligible before either, for another reason.
		r.publishReason(bar.reason)
		r.report.info("not eligible: " + bar.reason)
	}
}

// publishReason changes the reason that Stats gives, in the same state.
func (r *runner) publishReason(reason string) {
	p := *r.l.public.Load()
	p.reason = reason
	r.l.public.Store(&p)
}

// step steps the machine and does what it asks for.
func (r *runner) step(e vrrp.Event) {
	now, before := time.Now(), r.machine.State()
	out := r.machine.Step(now, e)
	r.deadline = out.Deadline
	if out.Late > 0 {
		r.count.late.Add(1)
		r.report.warn(now, "late", "the loop was held up, for as long as another controller waits before it takes over",
			"late", out.Late, "state", before.String())
	}
	for _, p := range out.Send {
		r.send(p)
	}
	if out.Release {
		r.release()
	}
	if out.Claim && !r.claim() {
		return // the machine was told, and the addresses are nobody's
	}
	if out.Announce {
		r.o.Holder.Announce()
		r.round.begin(time.Now(), r.o.Interval)
	}
	if out.State != before {
		r.changed(out, now)
	}
}

// changed publishes a change of state and tells of it. One that lasted for no
// time, because the addresses could not be claimed, is not told of.
func (r *runner) changed(out vrrp.Output, at time.Time) {
	if out.State != vrrp.Active {
		r.holding.stop()
		r.round.stop()
	}
	r.count.transitions.Add(1)
	t := Transition{
		VIP: r.o.Name, From: r.state, To: out.State, Reason: out.Cause.Words(r.o.name),
		Time: at, Took: time.Since(at),
	}
	if out.Cause.Peer.IsValid() {
		t.Peer = r.o.name(out.Cause.Peer)
	}
	r.state = t.To
	r.l.public.Store(&public{state: t.To, since: t.Time, reason: t.Reason})
	r.report.transition(t)
}

// send sends an advert with the priority to everyone.
func (r *runner) send(priority uint8) {
	if r.conn == nil {
		return
	}
	r.advert.Priority = priority
	for _, to := range r.to {
		if err := r.sendTo(to); err != nil {
			r.count.sendErrors.Add(1)
			r.links.brokenBy(err)
			r.report.warn(time.Now(), "send "+err.Error(), "cannot send an advert", "to", r.o.name(to), "error", err)
		}
	}
	r.count.sent.Add(1)
}

func (r *runner) sendTo(to netip.Addr) error {
	var err error
	r.buf, err = r.advert.Append(r.buf[:0], r.o.Checksum, r.conn.source(), to)
	if err != nil {
		return err
	}
	return r.conn.send(r.buf, to)
}

// receive hears all that was received, but not without end: a flood must not
// stop the timers.
func (r *runner) receive() {
	const most = 256
	for range most {
		if r.conn == nil {
			return
		}
		d, err := r.conn.receive()
		if errors.Is(err, errNothing) {
			return
		}
		reason, isReason := errors.AsType[vrrp.Reason](err)
		switch {
		case isReason:
			r.reject(d.src, reason)
		case err != nil:
			r.lose(err)
		default:
			r.hear(d)
		}
	}
}

func (r *runner) hear(d datagram) {
	form, reason := accept(r.o, r.conn.source(), d, &r.got)
	if reason != 0 {
		r.reject(d.src, reason)
		return
	}
	r.count.seen.Add(1)
	if d.src.Is4() {
		r.count.checksums[form].Add(1)
	}
	a := vrrp.AdvertReceived{Src: d.src, Priority: r.got.Priority, Interval: r.got.Interval}
	r.compare(a)
	r.count.noteHeard(time.Now(), a)
	r.step(a)
}

// reject counts a dropped advert and reports it, naming its source.
func (r *runner) reject(src netip.Addr, reason vrrp.Reason) {
	now := time.Now()
	r.count.rejected[reason].Add(1)
	r.count.lastRejected.Store(&Rejection{Source: src, Reason: reason, Time: now})
	text := fmt.Sprintf("dropped an advert with router id %d: %v", r.o.VRID, reason)
	if reason == vrrp.ForeignSource {
		text += "; give the VIP another router id, or add the controller to the spec"
	}
	r.report.warn(now, "reject "+reason.String()+src.String(), text, "source", src)
}

// compare counts and reports what the sender of the advert in r.got is
// configured with and this controller is not. It does not matter to VRRP.
func (r *runner) compare(a vrrp.AdvertReceived) {
	if !sameAddresses(r.got.Addresses, r.listed) {
		r.count.otherAddresses.Add(1)
		r.report.warn(time.Now(), "addresses "+a.Src.String(), "another controller has other addresses for the VIP: give both the same spec",
			"controller", r.o.name(a.Src), "its addresses", fmt.Sprint(r.got.Addresses), "ours", fmt.Sprint(r.listed))
	}
	if a.Interval != r.o.Interval {
		r.count.otherInterval.Add(1)
		r.report.warn(time.Now(), "interval "+a.Src.String(), "another controller has another advertisement interval: give both the same spec",
			"controller", r.o.name(a.Src), "its interval", a.Interval, "ours", r.o.Interval)
	}
}

// sameAddresses reports whether a and b have the same addresses, in any order.
func sameAddresses(a, b []netip.Addr) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		found := false
		for _, y := range b {
			found = found || x == y
		}
		if !found {
			return false
		}
	}
	return true
}
