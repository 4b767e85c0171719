package link

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// holding is what the runner knows of its addresses.
type holding struct {
	due    time.Time // of the next Hold; zero unless Active
	failed int       // Holds in a row
	since  time.Time // the addresses are held

	// trouble says why they could not be had; at retry they are tried again.
	trouble string
	retry   time.Time
	pause   time.Duration // before the last retry
}

func (h *holding) stop() { h.due, h.failed = time.Time{}, 0 }

const (
	// holdAttempts is how many Holds in a row may fail: fewer than would let
	// the lease end, as it is refreshed several times in its length.
	holdAttempts = 3
	minPause     = 500 * time.Millisecond
	maxPause     = 30 * time.Second
	// settled is how long the addresses must be held for a failure to be a new one.
	settled = time.Minute
	// releaseTime is what a Release gets after the loop's context has ended.
	releaseTime = 2 * time.Second
)

// claim takes the addresses, and reports whether it has them. If not, it resigns.
func (r *runner) claim() bool {
	err := r.o.Holder.Claim(r.ctx)
	now := time.Now()
	if err != nil {
		r.fail(fmt.Errorf("cannot take the address: %w", err))
		return false
	}
	r.holding.due, r.holding.failed, r.holding.since = now.Add(r.o.Refresh), 0, now
	return true
}

// hold renews the lease when that is due, and ends the pause after a failure.
func (r *runner) hold() {
	h := &r.holding
	now := time.Now()
	if h.trouble != "" && !now.Before(h.retry) {
		h.trouble, h.retry = "", time.Time{}
		r.judge()
	}
	if h.due.IsZero() || now.Before(h.due) {
		return
	}
	h.due = now.Add(r.o.Refresh)
	err := r.o.Holder.Hold(r.ctx)
	if err == nil {
		h.failed = 0
		return
	}
	if h.failed++; h.failed < holdAttempts {
		r.report.warn(now, "hold "+err.Error(), "cannot renew the lease of the address; trying again", "error", err)
		return
	}
	r.fail(fmt.Errorf("cannot keep the address: %w", err))
}

// fail resigns because of err, for a pause that doubles each time.
func (r *runner) fail(err error) {
	h := &r.holding
	now := time.Now()
	if !h.since.IsZero() && now.Sub(h.since) > settled {
		h.pause = 0
	}
	h.pause = min(max(2*h.pause, minPause), maxPause)
	h.since = time.Time{}
	h.trouble, h.retry = err.Error(), now.Add(h.pause)
	r.judge()
}

// release removes the addresses. When that fails their lease ends by itself.
func (r *runner) release() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), releaseTime)
	defer cancel()
	if err := r.o.Holder.Release(ctx); err != nil {
		r.report.warn(time.Now(), "release "+err.Error(), "cannot release the address; it goes when its lease ends", "error", err)
	}
}

// rounds says when to announce the addresses again: a few times in the seconds
// after a takeover, when neighbours may have missed it or heard the former
// holder last, and then now and then.
type rounds struct {
	due   time.Time // zero unless Active
	begun time.Time
	after [4]time.Duration // begun
	done  int              // of after
}

// begin starts anew, at a first announcement.
func (s *rounds) begin(now time.Time, interval time.Duration) {
	s.after = [...]time.Duration{interval, 250 * time.Millisecond, time.Second, 5 * time.Second}
	slices.Sort(s.after[:])
	s.begun, s.done = now, 0
	s.due = now.Add(s.after[0])
}

// next sets the time of the announcement after the one of now.
func (s *rounds) next(now time.Time, period time.Duration) {
	s.done++
	switch {
	case s.done < len(s.after):
		s.due = s.begun.Add(s.after[s.done])
	case period < 0:
		s.due = time.Time{}
	default:
		s.due = now.Add(period)
	}
}

func (s *rounds) stop() { s.due = time.Time{} }
