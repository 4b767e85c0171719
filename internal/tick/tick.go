// Package tick waits for a ticker, for what goes on until a context ends, and wakes who
// waits for something else. It makes no ticker, and does nothing at a tick.
package tick

import (
	"context"
	"time"
)

// Next waits for the next tick, and reports whether there is one before ctx ends.
func Next(ctx context.Context, ticker *time.Ticker) bool {
	select {
	case <-ctx.Done():
		return false
	case <-ticker.C:
		return true
	}
}

// Wake wakes the one who receives from c, which has room for one: now, or when next it
// waits there. It does not wait itself.
func Wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
