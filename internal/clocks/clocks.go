// Package clocks compares this controller's wall clock with those of the others, from
// what agents tell each other anyway, so that events of several controllers can be put
// into one order. It sets no clock, and nothing is decided by what it finds.
package clocks

import (
	"slices"
	"sync"
	"time"
)

// stale is the age from which a comparison is replaced by a worse one.
const stale = time.Minute

// Clocks has how the clocks of other controllers compare to this one's. Its methods may be
// called by any goroutine.
type Clocks struct {
	now func() time.Time

	mu     sync.Mutex // guards following
	others map[string]comparison
}

// A comparison is of one other controller.
type comparison struct {
	ahead time.Duration // of that one's clock is this one's, by
	open  time.Duration // give or take
	at    time.Time
}

// New makes Clocks that have compared none.
func New() *Clocks { return &Clocks{now: time.Now, others: map[string]comparison{}} }

// Reading gives this controller's clock in nanoseconds since 1970, to be told to another.
func (c *Clocks) Reading() int64 { return c.now().UnixNano() }

// Compare takes what another controller's clock read, in an answer that has just come
// and took that long; 0 is of one that does not tell. Of several answers the quickest counts, as no other
// says so well when the clock was read, until it is old, or shown wrong.
func (c *Clocks) Compare(controller string, reading int64, took time.Duration) {
	if reading == 0 {
		return
	}
	now := c.now()
	is := comparison{ahead: time.Duration(now.UnixNano()-reading) - took/2, open: took / 2, at: now}
	c.mu.Lock()
	defer c.mu.Unlock()
	had, known := c.others[controller]
	if known && is.open > had.open && now.Sub(had.at) < stale && (is.ahead-had.ahead).Abs() <= is.open+had.open {
		return
	}
	c.others[controller] = is
}

// Ahead gives how far this controller's clock is ahead of the middle one, of all that
// were ever compared: one that is down now has its clock still.
func (c *Clocks) Ahead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := []time.Duration{0}
	for _, other := range c.others {
		all = append(all, other.ahead)
	}
	slices.Sort(all)
	middle := len(all) / 2
	ahead := all[middle]
	if len(all)%2 == 0 {
		ahead = (all[middle-1] + all[middle]) / 2
	}
	return ahead.Round(time.Microsecond)
}
