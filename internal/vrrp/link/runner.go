package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
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
	round   vrrp.Rounds
	hand    *hand

	proof    proof
	greeting greetings
	hellos   hellos
	handover handover
	trusting trusting

	elsewhere bool // the machine was told, see Loop.Elsewhere
}

func newRunner(ctx context.Context, l *Loop, hand *hand, reports *reports) *runner {
	r := &runner{ctx: ctx, host: l.host, l: l, count: &l.counters, hand: hand, report: reports}
	r.o, r.told = l.options.Load(), l.eligible.Load()
	r.trusting.told.Counts = true
	r.machine = vrrp.NewMachine(r.config())
	r.prepare()
	return r
}

// config gives the machine's part of the options.
func (r *runner) config() vrrp.Config {
	c := vrrp.Config{Priority: r.o.Priority, Interval: r.o.Interval, Preempt: r.o.Preempt, Patient: r.o.Patient, Source: r.o.Source}
	if r.conn != nil {
		c.Source = r.conn.source()
	}
	if r.trusting.is.Humble {
		c.Priority = 1
	}
	return c
}

// prepare makes what follows from the options.
func (r *runner) prepare() {
	r.to, r.listed = r.o.destinations(), r.o.listed()
	r.advert = vrrp.Advert{VRID: r.o.VRID, Interval: r.o.Interval, Addresses: r.listed}
	if own := r.links.linkLocal; own.IsValid() && r.o.wantsLinkLocal() {
		r.advert.Addresses = append([]netip.Addr{own}, r.listed...)
	}
	r.count.hearFrom(r.o)
	r.prepareKeys()
}

// run is the loop. The order matters: what was received is heard before a
// timer is served, for after a delay it may say that the timer is no more; and
// before the lease is renewed, for it may say that the addresses are another's.
func (r *runner) run() error {
	r.inspect(time.Now())
	r.hand.ask(errand{kind: doLook, o: r.o})
	r.doubt()
	r.judge()
	r.step(vrrp.Startup{})
	for r.ctx.Err() == nil {
		changed, err := r.host.wait(later(r.next(), time.Now().Add(breath)))
		if err != nil {
			// It cannot be without a bug of the kernel or ours. Without timers
			// this controller must not be Active.
			return errors.Join(err, r.end())
		}
		r.count.turned.Store(int64(time.Since(r.count.begun)))
		r.receive()
		r.collect()
		r.orders()
		now := time.Now()
		if changed {
			r.hurry(now)
			r.hand.ask(errand{kind: doLook, o: r.o})
		}
		if changed || !now.Before(r.links.due) {
			r.inspect(now)
		}
		r.listen(time.Now())
		r.judge()
		r.tick()
	}
	return r.end()
}

// breath is the least that the loop waits for a timer: a bug that leaves one in
// the past must not take a core away from everyone, at real-time priority. What
// is received ends the wait at once.
const breath = 50 * time.Microsecond

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// next gives when there is something to do, if nothing happens.
func (r *runner) next() time.Time {
	next := r.links.due
	for _, t := range [...]time.Time{r.deadline, r.holding.due, r.holding.retry, r.round.Due, r.greeting.due, r.links.until, r.hellos.due, r.handover.due, r.limit()} {
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
	r.yield(time.Now())
	r.greet()
	r.hello()
	if now := time.Now(); !r.round.Due.IsZero() && !now.Before(r.round.Due) {
		r.round.Next(now, r.o.AnnouncePeriod)
		r.hand.ask(errand{kind: doAnnounce, o: r.o})
	}
}

// end resigns, and lets the hand release the addresses.
func (r *runner) end() error {
	r.step(vrrp.Shutdown{})
	r.abandonYield()
	err := r.closeConn()
	if !r.hand.stop(releaseTime) {
		err = errors.Join(err, fmt.Errorf("the address is not released after %v; it goes when its lease ends", releaseTime))
	}
	r.collect()
	return err
}

// orders takes what Configure, SetEligible and Yield said.
func (r *runner) orders() {
	r.told = r.l.eligible.Load()
	if o := r.l.options.Load(); o != r.o {
		r.o = o
		r.prepare()
		r.step(vrrp.Configure{Config: r.config()})
	}
	r.heed()
	if r.l.other.Load() && !r.elsewhere {
		r.elsewhere = true
		r.step(vrrp.Elsewhere{})
	}
	if r.l.insists.Swap(false) {
		r.insist(time.Now())
	}
	r.handovers()
	r.hearers()
	r.learnSequences()
}

// An obstacle is why this controller may not be Active; the zero one is none.
type obstacle struct {
	reason string
	told   bool   // by SetEligible
	cause  string // what is to be named when it is over, if not the reason
}

// obstacle gives the first one that there is.
func (r *runner) obstacle() obstacle {
	switch {
	case !r.told.ok:
		return obstacle{reason: r.told.reason, told: true}
	case r.links.fault != "":
		return obstacle{reason: r.links.fault}
	case r.links.former != "":
		return obstacle{reason: "listening for the others, after this is over: " + r.links.former, cause: r.links.former}
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
		r.step(vrrp.Eligible{OK: true, Reason: "no longer: " + cmp.Or(was.cause, was.reason)})
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
	if out.Yield.IsValid() {
		r.send(0, out.Yield)
	}
	for _, p := range out.Send {
		r.send(p, r.but(out.Yield)...)
	}
	if out.Release && (out.Cause.Kind != vrrp.CauseYielded && out.Cause.Kind != vrrp.CauseGaveWay || r.handover.req == nil) {
		r.hand.ask(errand{kind: doRelease, o: r.o})
	}
	if before == vrrp.Active && out.State != vrrp.Active && !r.o.Multicast {
		r.hand.ask(errand{kind: doDropWaiting, o: r.o})
	}
	switch {
	case out.Claim:
		r.claim(now, out.Cause) // announced, and told of, when it is done
	case out.Announce && !r.holding.held.IsZero():
		r.announce(now)
	}
	if out.State != before && out.State != vrrp.Active {
		r.drop()
		r.round.Stop()
		r.changed(out.State, out.Cause, now)
	}
	r.follow(out)
}

// but gives where adverts go, without one controller.
func (r *runner) but(without netip.Addr) []netip.Addr {
	if !without.IsValid() {
		return r.to
	}
	return slices.DeleteFunc(slices.Clone(r.to), func(a netip.Addr) bool { return a == without })
}

// changed publishes a change of state and tells of it. The state is Active only
// once the addresses are there: before, it was for the network only.
func (r *runner) changed(to vrrp.State, c vrrp.Cause, at time.Time) {
	t := Transition{
		VIP: r.o.Name, From: r.state, To: to, Reason: c.Words(r.nameIn(c)),
		Time: at, Took: time.Since(at),
	}
	if c.Peer.IsValid() {
		t.Peer = r.nameIn(c)(c.Peer)
	}
	if t.From == t.To {
		r.publishReason(t.Reason)
		r.report.info("not active after all: " + t.Reason)
		return
	}
	r.count.transitions.Add(1)
	r.state, r.trusting.why = t.To, ""
	r.l.public.Store(&public{state: t.To, since: t.Time, reason: t.Reason})
	r.report.transition(t)
}

// send sends an advert with the priority.
func (r *runner) send(priority uint8, destinations ...netip.Addr) {
	if r.conn == nil {
		return
	}
	r.advert.Priority = priority
	r.signNext()
	for _, to := range destinations {
		err := r.sendTo(to)
		r.count.noteSent(r.o, to, err)
		if err != nil {
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
	r.sign(to)
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
	if vrrp.IsHello(d.payload) {
		r.hearHello(d)
		return
	}
	form, trailer, reason := accept(r.o, r.conn.source(), d, &r.got)
	if reason == 0 {
		reason = r.proven(d, trailer)
	}
	if reason != 0 {
		r.reject(d.src, reason)
		return
	}
	r.count.seen.Add(1)
	r.count.noteFrom(time.Now(), d.src)
	if d.src.Is4() {
		r.count.checksums[form].Add(1)
		if form != r.o.Checksum {
			r.report.warn(time.Now(), "checksum "+d.src.String(),
				"another controller sends the other form of the checksum: keepalived drops adverts that do not have its form, and then both are active",
				"controller", r.o.name(d.src), "its form", form.String(), "ours", r.o.Checksum.String())
		}
	}
	a := vrrp.AdvertReceived{
		Src: d.src, Priority: r.got.Priority, Interval: r.got.Interval,
		Directed: r.o.Multicast && !d.dst.IsMulticast(),
	}
	r.compare(a)
	r.count.noteHeard(time.Now(), a)
	r.step(a)
}

// compare counts and reports what the sender of the advert in r.got is
// configured with and this controller is not. It does not matter to VRRP.
func (r *runner) compare(a vrrp.AdvertReceived) {
	if !sameAddresses(r.ofVIP(r.got.Addresses), r.listed) {
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

// ofVIP gives what an advert lists without the link-local address of its
// sender, which comes first where it is there.
func (r *runner) ofVIP(all []netip.Addr) []netip.Addr {
	if len(all) > 0 && all[0].Is6() && all[0].IsLinkLocalUnicast() && !slices.Contains(r.listed, all[0]) {
		return all[1:]
	}
	return all
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
