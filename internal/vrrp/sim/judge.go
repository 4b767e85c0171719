package sim

import (
	"fmt"
	"math"
	"time"

	"holdfast/internal/vrrp"
)

// An Invariant is something that must hold.
type Invariant string

// What must hold.
const (
	// OneHolder: who hear each other have a holder among them soon.
	OneHolder Invariant = "nobody has the address"
	// InTime: on a network that was whole and quiet the next one has it within
	// the bound of RFC 9568.
	InTime Invariant = "the takeover came late"
	// One: of several that wait for the same holder, one takes over.
	One Invariant = "more than one took over"
	// Seamless: in a planned handover somebody has the address at every moment, and
	// nobody has it in the end but who was to.
	Seamless Invariant = "a handover was not as planned"
	// NotTwo: two of whom one hears the other do not both have it for longer than
	// they need to settle, and the lease where one does not run.
	NotTwo Invariant = "two have the address"
	// Alive: nobody has it without HAProxy.
	Alive Invariant = "the holder has no HAProxy"
	// AtRest: when nothing happens, nothing changes.
	AtRest Invariant = "it moves though nothing happens"
	// LastWord: clients believe the holder.
	LastWord Invariant = "the last announcement is not the holder's"
	// Quiet: nobody sends more adverts than the interval says.
	Quiet Invariant = "too many adverts"
	// Sane: what a router asks for makes sense.
	Sane Invariant = "the router asks for nonsense"
	// Unmoved: with a key a forger changes nothing.
	Unmoved Invariant = "a forger changed something"
)

// A judge knows since when what must not be lasts.
type judge struct {
	calm     time.Duration // since when nothing happened to the world
	topology time.Duration // since when everybody hears whom they hear now

	two  [MaxNodes][MaxNodes]time.Duration // since when both have the address; never for not
	none [MaxNodes]time.Duration           // since when who may have it knows of nobody who has
	dead [MaxNodes]time.Duration           // since when it has it without HAProxy

	lookAt time.Duration // of the evLook that is planned

	due     time.Duration // a takeover that was promised is; never for none
	alone   time.Duration // until then nobody else is to take over; never for none
	gains   int           // when it was promised
	promote string        // what happened
	taker   int           // of a handover that is to be seamless, from 1; 0 for none
	done    time.Duration // when it must be

	quiet    bool // the time at the end has begun
	until    time.Duration
	sent     [MaxNodes]uint64
	moves    int
	preempts int
}

const never = time.Duration(-1)

func (j *judge) init() {
	j.due, j.alone = never, never
	for i := range j.none {
		j.none[i], j.dead[i] = never, never
		for k := range j.two[i] {
			j.two[i][k] = never
		}
	}
}

// hears reports whether what a sends gets to b now and then.
func (w *world) hears(b, a *node) bool {
	return !w.cut[a.id][b.id] && a.carrier && b.carrier && w.loss < 90
}

// listens reports whether adverts of a get to b now and then.
func (w *world) listens(b, a *node) bool { return w.hears(b, a) && !w.filtered[a.id][b.id] }

// filters reports whether adverts are filtered between a and b, in both directions.
func (w *world) filters(a, b *node) bool { return w.filtered[a.id][b.id] && w.filtered[b.id][a.id] }

// slack is how long things take in this world that take no time in VRRP: to be
// woken, to change an address, to travel.
func (w *world) slack() time.Duration {
	return 20*time.Millisecond + 2*(w.s.Most+w.jitter)
}

// unlucky is for how many intervals all adverts may get lost. One that comes after a
// later one counts for nothing where adverts are signed, as if it were lost.
func (w *world) unlucky() time.Duration {
	loss := w.loss
	if w.jitter >= w.s.Interval {
		loss = max(loss, 50)
	}
	if loss == 0 {
		return 0
	}
	return time.Duration(math.Ceil(math.Log(1e-10) / math.Log(float64(loss)/100)))
}

// stretch is what d is at most on a clock that drifts.
func (w *world) stretch(d time.Duration) time.Duration {
	if !w.drifts {
		return d
	}
	return d + d/8
}

// maySettle is how long two may have the address.
func (w *world) maySettle(a, b *node) time.Duration {
	bound := w.slack() + w.stretch((3+w.unlucky())*w.longest)
	switch ab, ba := w.listens(a, b), w.listens(b, a); {
	case !ab && !ba: // until the agents have found out
		bound += w.stretch(max(settleDeaf, 5*w.longest)*max(1, w.unlucky()/2) + settleSure + settleEvery + 5*w.longest)
	case !ab || !ba:
		bound += w.stretch(max(time.Second, 5*w.longest)*max(1, w.unlucky()/2) + 5*w.longest)
	}
	// Or both are what former processes left, or the one that does not hear the other, nor
	// its agent.
	left := func(o, by *node) bool { return o.turn == 0 && !w.listens(o, by) && !w.speak(o, by) }
	if !a.alive() || !b.alive() || a.turn == 0 && b.turn == 0 || left(a, b) || left(b, a) {
		bound += w.stretch(leaseTime)
	}
	return bound
}

// mayLack is how long there may be no holder.
func (w *world) mayLack() time.Duration {
	return w.slack() + w.stretch((15+w.unlucky())*w.longest)
}

// examine looks at what must not last, and plans when to look again.
func (w *world) examine() {
	w.changed = false
	j := &w.judge
	next := time.Duration(math.MaxInt64)
	check := func(since *time.Duration, is bool, from, bound time.Duration, of Invariant, text func() string) {
		switch {
		case !is:
			*since = never
			return
		case *since == never:
			*since = w.now
		}
		over := max(*since, from, j.calm) + bound
		if w.now > over {
			w.violate(of, "%s since %v, %v after all was calm", text(), *since, w.now-j.calm)
		}
		next = min(next, over+1)
	}
	for i, a := range w.nodes {
		for k := range i {
			b := w.nodes[k]
			two := a.serving() && b.serving() && (w.listens(a, b) || w.listens(b, a) || w.filters(a, b) && w.speak(a, b))
			// One that takes what its former process left begins a contest of its own.
			begun := max(a.own, b.own)
			check(&j.two[i][k], two, max(begun, a.slow, b.slow, a.handing(w), b.handing(w)), w.maySettle(a, b), NotTwo, func() string {
				return fmt.Sprintf("%d and %d", k+1, i+1)
			})
		}
		bound := overlap + 20*time.Millisecond
		if !a.alive() || a.turn == 0 { // it does not run, or it is a former process that had it
			bound += w.stretch(leaseTime)
		}
		check(&j.dead[i], a.serving() && !a.serves, a.slow, bound, Alive, func() string { return fmt.Sprint(i + 1) })
		lacks := a.may() && !w.knowsHolder(i)
		check(&j.none[i], lacks, max(w.slowest(), a.handing(w)), w.mayLack(), OneHolder, func() string {
			return fmt.Sprintf("of those that %d hears or that hear it", i+1)
		})
	}
	if j.due != never {
		switch {
		case w.anyServing():
			j.due = never
		case w.now > j.due:
			w.violate(InTime, "%s, and nobody has the address %v later", j.promote, w.now-j.calm)
		default:
			next = min(next, j.due+1)
		}
	}
	if j.taker > 0 && !w.anyServing() {
		w.violate(Seamless, "nobody has the address while it is handed over to %d", j.taker)
	}
	if next != time.Duration(math.MaxInt64) && next != j.lookAt {
		j.lookAt = next
		w.push(event{at: next, kind: evLook})
	}
}

// may reports whether n may have the address, and the silence of others tells it
// that nobody has: that it does not know for as long as startup_delay at most.
func (n *node) may() bool {
	sure := n.told.Counts || n.w.now-max(n.w.judge.calm, n.up) > n.w.stretch(guardTime)+leaseTime
	return n.alive() && n.powered && n.bar == clear && n.serves && n.carrier && sure
}

// handing is until when n waits for another to take over.
func (n *node) handing(w *world) time.Duration {
	if n.runs && n.req {
		return n.global(n.hUntil) + w.stretch(4*w.longest)
	}
	return 0
}

func (w *world) slowest() time.Duration {
	var d time.Duration
	for _, n := range w.nodes {
		d = max(d, n.slow)
	}
	return d
}

func (w *world) anyServing() bool {
	for _, n := range w.nodes {
		if n.serving() {
			return true
		}
	}
	return false
}

// part gives who is joined with i, in whichever direction and by whomever.
func (w *world) part(i int) uint {
	in := uint(1) << i
	for {
		before := in
		for a, x := range w.nodes {
			for b, y := range w.nodes {
				if in>>a&1 != 0 && (w.hears(x, y) || w.hears(y, x)) {
					in |= 1 << b
				}
			}
		}
		if in == before {
			return in
		}
	}
}

func (w *world) knowsHolder(i int) bool {
	part := w.part(i)
	for k, n := range w.nodes {
		if part>>k&1 != 0 && n.serving() {
			return true
		}
	}
	return false
}

// whole reports whether in each part everyone hears everyone, and all adverts.
func (w *world) whole() bool {
	if w.loss > 0 || w.jitter > w.longest/4 {
		return false
	}
	for i, a := range w.nodes {
		part := w.part(i)
		for k, b := range w.nodes {
			if i != k && part>>k&1 != 0 && (!w.listens(a, b) || !w.listens(b, a)) {
				return false
			}
		}
	}
	return true
}

func (w *world) violate(of Invariant, format string, args ...any) {
	if w.result.Violation == nil {
		w.result.Violation = &Violation{of, w.now, fmt.Sprintf(format, args...)}
		w.note(nil, w.result.Violation.Error())
	}
}

// settling is how long the world may be at work after the last thing that happened.
func (w *world) settling() time.Duration {
	d := leaseTime + listenTime + guardTime + max(time.Second, 5*w.longest) + (20+w.unlucky())*w.longest + w.slack()
	return w.stretch(d)
}

// promise has what the step s does to a holder be followed by a takeover within
// the bound of the RFC, and a handover go without a gap, if all was well before.
func (j *judge) promise(w *world, s Step) {
	j.kept(w)
	j.due, j.alone, j.taker, j.gains = never, never, 0, len(w.result.Gains)
	rest := w.settling() - guardTime + w.stretch(80*w.longest)
	if g := w.result.Gains; len(g) > 0 && w.now-g[len(g)-1].At < rest {
		return // who waits may still be patient with the one before
	}
	if s.Node == All || w.now-j.calm < rest || !w.whole() || w.drifts || w.double > 0 || w.jitter > 0 {
		return
	}
	holder, best, second := w.standing()
	if holder == nil || best == nil || holder.limps || s.Node != Holder && s.Node != Who(holder.id+1) || w.part(holder.id)>>best.id&1 == 0 {
		return
	}
	interval := holder.cfg.Interval
	wait := vrrp.SkewTime(interval, best.cfg.Priority)
	switch s.Verb {
	case PowerOff:
		wait += 3 * interval
	case ServiceDown, ShutDown:
	case Handover:
		taker := w.other(s)
		if taker != nil && taker != holder && taker.may() && w.speak(holder, taker) && !w.s.Preempt && s.For > 2*interval+50*time.Millisecond {
			j.taker, j.done = s.Other, w.now+s.For+100*time.Millisecond
		}
		return
	default:
		return
	}
	const late = 4 * time.Millisecond // to be woken, twice, and to have the address
	j.due = w.now + wait + w.s.Most + late
	j.promote = fmt.Sprintf("%v of %d, which had it", s.Verb, holder.id+1)
	if second == nil || vrrp.SkewTime(interval, second.cfg.Priority)-vrrp.SkewTime(interval, best.cfg.Priority) > w.s.Most+late {
		j.alone = j.due + 2*interval
	}
}

// standing gives who has the address, and who is to have it next and after that;
// nil for all if something is not as usual.
func (w *world) standing() (holder, best, second *node) {
	for _, n := range w.nodes {
		switch {
		case n.serving() && holder == nil && n.alive() && n.held && !n.router.Yielding():
			holder = n
		case n.serving() || n.runs && !n.alive() || n.limps || n.slow > w.now:
			return nil, nil, nil
		case !n.may():
		case best == nil || n.cfg.Priority > best.cfg.Priority:
			best, second = n, best
		case second == nil || n.cfg.Priority > second.cfg.Priority:
			second = n
		}
	}
	return holder, best, second
}

// kept looks what became of a handover, before something else happens.
func (j *judge) kept(w *world) {
	if j.taker == 0 || w.now < j.done {
		return
	}
	if gains := w.result.Gains[j.gains:]; len(gains) != 1 || gains[0].Node != j.taker || !w.nodes[j.taker-1].serving() {
		w.violate(Seamless, "handed over to %d, and after that it came to %v", j.taker, gains)
	}
	j.taker = 0
}

// promoted counts a takeover.
func (j *judge) promoted(why vrrp.CauseKind) {
	if !j.quiet {
		return
	}
	if why == vrrp.CausePreempt {
		j.preempts++
	} else {
		j.moves++
	}
}

// end gives until when to run: to the last step, until all has settled, and
// until it was quiet.
func (j *judge) end(w *world) time.Duration {
	switch {
	case j.quiet:
		return j.until
	case w.next < len(w.s.Steps):
		return time.Duration(math.MaxInt64)
	}
	end := j.calm + w.settling()
	for _, n := range w.nodes {
		if n.powered && (n.stopped || n.frozen) {
			end = max(end, n.until+1)
		}
		end = max(end, n.slow+w.settling())
		if n.runs && n.trouble {
			end = max(end, n.global(n.retry)+w.settling())
		}
		if n.runs && n.req {
			end = max(end, n.global(n.hUntil)+w.settling())
		}
	}
	return end
}

// atEnd reports whether the run is over; else the quiet time begins.
func (j *judge) atEnd(w *world) bool {
	if !j.quiet {
		j.kept(w)
		j.quiet, j.until = true, w.now+w.s.Quiet
		for i, n := range w.nodes {
			j.sent[i] = n.adverts
		}
		w.note(nil, "== all must be well from now on")
		return false
	}
	j.finally(w)
	return true
}

// finally looks at the quiet time.
func (j *judge) finally(w *world) {
	whole := w.whole()
	// Where adverts get lost, so do as many in a row as anyone waits for, in the end.
	tolerated := 5 + 4*int((w.s.Quiet/time.Minute)*time.Duration(len(w.nodes)-1)*max(1, 20*time.Millisecond/w.longest))
	switch {
	case whole && (j.moves > 0 || j.preempts > 0 && !w.s.Preempt || j.preempts > len(w.nodes)):
		w.violate(AtRest, "%d takeovers in %v, and %d that preempted", j.moves, w.s.Quiet, j.preempts)
	case w.loss <= 30 && w.jitter <= w.longest && j.moves+j.preempts > tolerated:
		w.violate(AtRest, "%d takeovers in %v, and %d that preempted, on a network that is not whole", j.moves, w.s.Quiet, j.preempts)
	}
	for i, n := range w.nodes {
		if n.runs && whole {
			most := uint64(w.stretch(w.s.Quiet)/n.router.Config().Interval) + 4
			if got := n.adverts - j.sent[i]; got > most {
				w.violate(Quiet, "%d sent %d adverts in %v", i+1, got, w.s.Quiet)
			}
		}
	}
	if whole {
		j.lastWord(w)
	}
}

// lastWord looks whether clients everywhere believe the holder: but not those
// who were told before the network became what it is, by one that was not Active since:
// nobody knows of it. They are told again within a minute.
func (j *judge) lastWord(w *world) {
	for i, h := range w.nodes {
		if !h.serving() {
			continue
		}
		for k, o := range w.nodes {
			if !w.hears(o, h) || o.arp == i+1 || o.arp == 0 {
				continue
			}
			liar := w.nodes[o.arp-1]
			if o.arpAt > j.topology || liar.active > j.topology && w.hears(h, liar) || w.s.Quiet > period {
				w.violate(LastWord, "%d has the address, and clients beside %d believe %d, since %v", i+1, k+1, liar.id+1, o.arpAt)
			}
		}
	}
}

// checkOutput looks whether what a router asks for makes sense.
func (w *world) checkOutput(n *node, before vrrp.State, out vrrp.Output) {
	became := out.State == vrrp.Active && before != vrrp.Active
	left := out.State != vrrp.Active && before == vrrp.Active
	n.adverts += uint64(len(out.Send))
	if before == vrrp.Active {
		n.active = w.now
	}
	problem := ""
	switch {
	case out.Claim != became:
		problem = "claims without becoming active, or the other way around"
	case left && !out.Release:
		problem = "leaves active without a release"
	case out.Release && out.State == vrrp.Active:
		problem = "releases and is active"
	case became && (len(out.Send) != 1 || !out.Announce):
		problem = "becomes active without advert and announcement"
	case out.Announce && out.State != vrrp.Active:
		problem = "announces and is not active"
	case before != vrrp.Active && !became && len(out.Send) > 0:
		problem = "sends and was not active"
	case out.State == vrrp.Initialize && !out.Deadline.IsZero(), out.State == vrrp.Active && out.Deadline.IsZero(),
		out.State == vrrp.Backup && out.Deadline.IsZero() && n.told.Counts:
		problem = "has a deadline in initialize, or none elsewhere"
	case (out.Cause.Kind != 0) != (before != out.State):
		problem = "has a cause and no change, or the other way around"
	default:
		return
	}
	w.violate(Sane, "%d, %v after %v, %s", n.id+1, out.State, before, problem)
}
