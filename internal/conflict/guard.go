package conflict

import (
	"fmt"
	"time"
)

const (
	// A round of probes: three, this far apart, and then time for an answer. RFC 5227
	// waits for seconds, for hosts that sleep and for lines that are no Ethernet; who
	// answers later than this is found all the same, and then there are two for a moment.
	probes     = 3
	probeEvery = 80 * time.Millisecond
	probeTime  = 250 * time.Millisecond
	// askAgain is how long after somebody has answered he is asked again.
	askAgain = time.Second
	// lookEvery is how often the facts are looked at while nobody was heard, and reachEvery
	// how often one of those is asked who could be: with the loop's greetings below the 15
	// ARP packets a second at which switches with dynamic ARP inspection close a port.
	lookEvery  = 50 * time.Millisecond
	reachEvery = 200 * time.Millisecond

	// checkAfter is how long after it took the address a holder asks whether another
	// machine has it too, and checkEvery how often after that: one that has it and says
	// nothing gives its answers to the clients alone.
	checkAfter = 300 * time.Millisecond
	checkEvery = time.Minute
	// disputeEvery is how often it asks while it knows of one.
	disputeEvery = 5 * time.Second
	// sureAfter is how long a holder is one still, after another machine's word, until
	// it asks that machine: in a planned move the taker says that the address is its own some
	// milliseconds before the giver has given it up, and a giver that is held up says so once
	// more. What is said again within answerTime after that is a dispute: a machine that has it
	// answers at once, one that only says so may do so every second.
	sureAfter  = 150 * time.Millisecond
	answerTime = 2 * time.Second
	// One that says so manyLapses times and answers no question says it once more within
	// lapsesLast: that is a dispute, too.
	manyLapses = 2
	lapsesLast = 5 * time.Minute
	// overAfter is the silence that ends a dispute.
	overAfter = 20 * time.Second

	// A holder answers another machine's word with its own, at once. Two that answer each
	// other without end are what RFC 5227 section 2.4 warns of: so not more often than
	// answerEvery, and after some, than answerSeldom.
	answerEvery  = time.Second
	answerSeldom = 10 * time.Second
	answersSoon  = 5
)

// Facts are what is so at the moment of a Step.
type Facts struct {
	// Active: this controller holds the address. Heard: an Active router is heard.
	Active, Heard bool
	// Forwards: some host has answered on this interface since it is up, or another
	// controller was heard.
	Forwards bool
	// Up is how long the interface has been up at least.
	Up time.Duration
}

// A Guard says whether the silence of other controllers counts, and whether another
// machine has the address of one. It is a value in memory: the same steps give the same
// outputs.
//
// The silence counts for nothing from Doubt on: the port may not forward yet, as long as
// nobody was heard there; and then somebody may have the address who speaks another
// protocol, or whose adverts are filtered, so all on the network are asked for it.
type Guard struct {
	// Others: the spec has other controllers, so that there is somebody to hear. Delay is
	// how long after the interface came up nobody need be heard on it.
	Others bool
	Delay  time.Duration
	// Interval is that of the adverts.
	Interval time.Duration

	phase   phase
	begun   time.Time // the phase
	probed  int       // in this round
	since   time.Time // the last round began
	claim   Claim     // another machine's last word
	claimed bool      // in this round
	taken   bool      // as the last round found
	reach   time.Time // not before this again
	humble  bool      // nobody was ever heard on this interface
	met     time.Time // somebody was, since

	active  bool
	check   time.Time // when a holder asks next
	suspect time.Time // another machine's word, which does not count yet
	asked   time.Time // when that machine was asked for it; zero for not
	said    bool      // it has said so again
	lapses  int       // times that it was asked and said nothing more
	lapsed  time.Time // the last one
	heard   time.Time // the last one's
	dispute bool
	answers int
	next    time.Time // no answer before this
	owed    bool      // another machine had the last word since the last answer
}

type phase uint8

const (
	trusted phase = iota
	waiting       // until somebody is heard
	asking        // for the address
	resting       // since a machine has answered; it is asked again
)

// An Output is what is to be done after a Step.
type Output struct {
	// Probe asks for a frame to be sent for each address. Reach asks for one for a host that
	// is to answer if the interface carries anything, each time another.
	Probe, Reach bool
	// Counts: the silence of the others counts. Humble: it does although nobody was ever
	// heard, so whoever is there is to be believed before this controller.
	Counts, Humble bool
	// Since is when the silence that counts began, at the earliest.
	Since time.Time
	// Answer asks for an announcement.
	Answer bool
	// Taken: another machine has the address, which this controller therefore does not
	// take, or holds too; By is its word.
	Taken bool
	By    Claim
	// Why says what is waited for, in words for people; empty for nothing.
	Why string
	// Next is when to Step again; zero for when something happens.
	Next time.Time
}

// Doubt begins anew: the loop starts, or its link has come back.
func (g *Guard) Doubt(now time.Time) {
	g.phase, g.begun, g.humble = waiting, now, false
	g.claimed, g.taken, g.reach = false, false, now
}

// Claimed takes in that another machine says that the address is its own.
func (g *Guard) Claimed(now time.Time, c Claim) {
	g.claim, g.claimed, g.heard = c, true, now
	switch {
	case !g.active:
	case !g.asked.IsZero() || g.dispute:
		g.said = true
	case g.suspect.IsZero():
		g.suspect = now
	}
}

// Step gives what is to be done now.
func (g *Guard) Step(now time.Time, f Facts) Output {
	var out Output
	if f.Heard || f.Active {
		// Whoever is Active is known, or it is this one: nothing is to be proved.
		g.phase = trusted
	}
	if f.Heard {
		g.taken = false
	}
	g.wait(now, f)
	g.ask(now, &out)
	g.hold(now, f.Active, &out)
	g.rest(now, f, &out)
	out.Counts, out.Humble, out.Since = g.phase == trusted, g.humble, g.since
	switch {
	case g.phase != trusted && g.taken:
		out.Taken, out.By = true, g.claim
		out.Why = fmt.Sprintf("another machine has %v: %v answers for it", g.claim.Address, g.claim.MAC)
	case g.phase == waiting:
		left := (g.Delay - max(f.Up, now.Sub(g.begun))).Round(time.Second)
		out.Why = fmt.Sprintf("nobody was heard on this interface since it is up, so its port may not forward yet: waiting for up to %v more (startup_delay)", max(left, time.Second))
	case g.phase == asking:
		out.Why = "asking the network whether somebody has the address"
	case g.dispute:
		out.Taken, out.By = true, g.claim
	}
	return out
}

// wait ends the wait for somebody to be heard.
func (g *Guard) wait(now time.Time, f Facts) {
	if g.phase != waiting {
		return
	}
	alone := g.Others && !f.Forwards
	if alone && max(f.Up, now.Sub(g.begun)) < g.Delay {
		return
	}
	g.humble, g.met = alone && now.Sub(g.begun) >= lookEvery, time.Time{}
	g.begin(now)
}

// begin begins a round of probes.
func (g *Guard) begin(now time.Time) {
	g.phase, g.begun, g.since, g.probed, g.claimed = asking, now, now, 0, false
}

// ask asks for the address, and judges the answer.
func (g *Guard) ask(now time.Time, out *Output) {
	if g.phase == resting && !now.Before(g.begun.Add(askAgain)) {
		g.begin(now)
	}
	switch g.phase {
	case trusted:
	case waiting:
		out.Next = now.Add(lookEvery)
		if !now.Before(g.reach) {
			out.Reach, g.reach = true, now.Add(reachEvery)
		}
	case asking:
		g.round(now, out)
	case resting:
		out.Next = g.begun.Add(askAgain)
	}
}

// round goes on with a round of probes.
func (g *Guard) round(now time.Time, out *Output) {
	since := now.Sub(g.begun)
	switch {
	case g.claimed:
		g.phase, g.begun, g.taken = resting, now, true
		out.Next = now.Add(askAgain)
		return
	case g.probed < probes && since >= time.Duration(g.probed)*probeEvery:
		g.probed++
		out.Probe = true
	case since >= probeTime && g.probed == probes:
		g.phase, g.taken = trusted, false
		return
	}
	out.Next = g.begun.Add(probeTime)
	if g.probed < probes {
		out.Next = g.begun.Add(time.Duration(g.probed) * probeEvery)
	}
	if !out.Next.After(now) { // it was held up
		out.Next = now.Add(probeEvery)
	}
}

// rest keeps this controller humble until an Active one would have been heard, once
// somebody is.
func (g *Guard) rest(now time.Time, f Facts, out *Output) {
	const least, intervals = 2 * time.Second, 4
	switch {
	case !g.humble:
		return
	case f.Heard:
		g.humble = false
		return
	case f.Forwards && g.met.IsZero():
		g.met = now
	case f.Forwards && now.Sub(g.met) >= max(least, intervals*g.Interval):
		g.humble = false
		return
	}
	if at := now.Add(probeEvery); out.Next.IsZero() || at.Before(out.Next) {
		out.Next = at
	}
}

// hold looks after the address while this controller holds it.
func (g *Guard) hold(now time.Time, active bool, out *Output) {
	if active != g.active {
		g.active, g.suspect, g.dispute, g.answers, g.owed = active, time.Time{}, false, 0, false
		g.asked, g.said, g.lapses = time.Time{}, false, 0
		g.check = now.Add(checkAfter)
	}
	if !active {
		return
	}
	g.doubt(now)
	if g.owed && !now.Before(g.next) {
		out.Answer, g.owed = true, false
		g.answers++
		g.next = now.Add(answerEvery)
		if g.answers > answersSoon {
			g.next = now.Add(answerSeldom)
		}
	}
	if g.dispute && now.Sub(g.heard) > overAfter {
		g.dispute, g.answers = false, 0
	}
	if !now.Before(g.check) {
		out.Probe = true
		g.check = now.Add(checkEvery)
		if g.dispute {
			g.check = now.Add(disputeEvery)
		}
	}
	out.Next = g.check
	if at := g.suspect.Add(sureAfter); !g.suspect.IsZero() && at.Before(out.Next) {
		out.Next = at
	}
	if at := g.asked.Add(answerTime); !g.asked.IsZero() && at.Before(out.Next) {
		out.Next = at
	}
	if g.owed && g.next.Before(out.Next) {
		out.Next = g.next
	}
}

// doubt comes from another machine's word to a dispute, or to none.
func (g *Guard) doubt(now time.Time) {
	if !g.suspect.IsZero() && !now.Before(g.suspect.Add(sureAfter)) {
		// Whoever it was, neighbours have believed it.
		g.suspect, g.asked, g.check, g.owed = time.Time{}, now, now, true
		g.said = g.said || g.lapses >= manyLapses && now.Sub(g.lapsed) < lapsesLast
	}
	switch {
	case g.said:
		g.asked, g.said = time.Time{}, false
		if !g.dispute {
			g.dispute, g.check = true, now.Add(disputeEvery)
		}
		g.owed = true
	case !g.asked.IsZero() && !now.Before(g.asked.Add(answerTime)):
		if g.asked = (time.Time{}); now.Sub(g.lapsed) >= lapsesLast {
			g.lapses = 0
		}
		g.lapses, g.lapsed = g.lapses+1, now
	}
}
