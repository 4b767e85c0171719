package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/vrrp"
)

// holding is what the runner knows of its addresses. They are claimed from the
// machine's promotion on, and held once the hand says that they are there.
type holding struct {
	turn  uint64    // of being Active; tells late results from those that count
	asked time.Time // for the Claim or Hold that the hand has not ended; zero for none
	held  time.Time // since when the addresses are held; zero if they are not

	due    time.Time // of the next Hold
	failed int       // Holds in a row

	// The transition that is told of when the addresses are held.
	promotion vrrp.Cause
	begun     time.Time

	// trouble says why they could not be had; at retry they are tried again.
	trouble string
	retry   time.Time
	pause   time.Duration // before the last retry
}

const (
	// holdAttempts is how many Holds in a row may fail: fewer than would let
	// the lease end, as it is refreshed several times in its length.
	holdAttempts = 3
	// patience is how long a Claim or Hold may take, in units of the refresh.
	// After that the lease is about to end, or was never had.
	patience = 7
	minPause = 500 * time.Millisecond
	maxPause = 30 * time.Second
	// settled is how long the addresses must be held for a failure to be a new one.
	settled = time.Minute
	// releaseTime is what the hand gets to end its work when the loop ends.
	releaseTime = 3 * time.Second
)

// claim asks for the addresses, at the promotion that c explains.
func (r *runner) claim(now time.Time, c vrrp.Cause) {
	h := &r.holding
	h.turn++
	h.asked, h.held, h.due, h.failed = now, time.Time{}, time.Time{}, 0
	h.promotion, h.begun = c, now
	r.hand.ask(errand{kind: doClaim, o: r.o, turn: h.turn})
}

// drop forgets about the addresses, which the machine has given up.
func (r *runner) drop() {
	h := &r.holding
	h.asked, h.held, h.due = time.Time{}, time.Time{}, time.Time{}
	r.hand.giveUp()
}

// collect takes what the hand has done.
func (r *runner) collect() {
	for _, done := range r.hand.results() {
		switch {
		case done.kind == doLook:
			r.see(done)
		case done.yield != nil:
			r.withdrawn(done)
		case !done.awaited():
			r.complain(done)
		case done.turn == r.holding.turn && !r.holding.asked.IsZero():
			r.settle(done)
		case done.err != nil && !errors.Is(done.err, context.Canceled): // and nobody waits for it any more
			r.complain(done)
		}
	}
}

// complain reports an errand that failed, and has no other consequence.
func (r *runner) complain(done result) {
	text := "cannot look for another controller"
	switch done.kind {
	case doClaim, doHold:
		text = "could not have the address, which is no longer wanted"
	case doRelease, doWithdraw:
		text = "cannot release the address; it goes when its lease ends"
	case doDropWaiting:
		text = "cannot drop adverts that were not sent yet"
	case doAnnounce, doGreet, doGreetAll, doLook:
	}
	r.report.warn(time.Now(), text+done.err.Error(), text, "error", done.err)
}

// settle takes the result of the Claim or Hold that is waited for.
func (r *runner) settle(done result) {
	h := &r.holding
	now := time.Now()
	h.asked = time.Time{}
	switch {
	case done.err == nil && done.kind == doClaim:
		h.held, h.due = now, now.Add(r.o.Refresh)
		r.announce(now)
		r.changed(vrrp.Active, h.promotion, h.begun)
	case done.err == nil:
		h.failed = 0
	case done.kind == doClaim:
		r.fail(now, fmt.Sprintf("cannot take the address: %v", done.err))
	default:
		if h.failed++; h.failed >= holdAttempts {
			r.fail(now, fmt.Sprintf("cannot keep the address: %v", done.err))
			return
		}
		r.report.warn(now, "hold "+done.err.Error(), "cannot renew the lease of the address; trying again", "error", done.err)
	}
}

// hold asks for the lease to be renewed when that is due, resigns when it lasts
// too long, and ends the pause after a failure.
func (r *runner) hold() {
	h := &r.holding
	now := time.Now()
	if h.trouble != "" && !now.Before(h.retry) {
		h.trouble, h.retry = "", time.Time{}
		r.judge()
	}
	if !h.asked.IsZero() && !now.Before(h.asked.Add(patience*r.o.Refresh)) {
		r.fail(now, fmt.Sprintf("cannot have the address: the kernel has not answered for %v", now.Sub(h.asked).Round(time.Millisecond)))
	}
	if h.due.IsZero() || now.Before(h.due) {
		return
	}
	h.due = now.Add(r.o.Refresh)
	if h.asked.IsZero() {
		h.asked = now
		r.hand.ask(errand{kind: doHold, o: r.o, turn: h.turn})
	}
}

// hurry brings the next Hold forward, when a link may have another MAC address
// or be another, but not so that links that flap keep the hand busy.
func (r *runner) hurry(now time.Time) {
	const least = 20 * time.Millisecond
	if h := &r.holding; !h.due.IsZero() && h.due.After(now.Add(least)) {
		h.due = now.Add(least)
	}
}

// limit gives when the hand has taken too long; zero if nothing is waited for.
func (r *runner) limit() time.Time {
	if r.holding.asked.IsZero() {
		return time.Time{}
	}
	return r.holding.asked.Add(patience * r.o.Refresh)
}

// fail resigns for a pause that doubles each time.
func (r *runner) fail(now time.Time, reason string) {
	h := &r.holding
	if !h.held.IsZero() && now.Sub(h.held) > settled {
		h.pause = 0
	}
	r.drop()
	h.pause = min(max(2*h.pause, minPause), maxPause)
	h.trouble, h.retry = reason, now.Add(h.pause)
	r.judge()
}

// announce asks for the first announcement of several.
func (r *runner) announce(now time.Time) {
	r.hand.ask(errand{kind: doAnnounce, o: r.o})
	r.round.Begin(now, r.o.Interval)
}

// insist does it for one that goes on longer.
func (r *runner) insist(now time.Time) {
	if r.holding.held.IsZero() {
		return // announced when they are there
	}
	r.hand.ask(errand{kind: doAnnounce, o: r.o})
	r.round.Insist(now, r.o.Interval)
}
