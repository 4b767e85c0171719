package tick_test

import (
	"testing"

	"holdfast/internal/tick"
)

// Who is woken twice before it waits is woken once, and who wakes never waits.
func TestWake(t *testing.T) {
	c := make(chan struct{}, 1)
	tick.Wake(c)
	tick.Wake(c)
	<-c
	select {
	case <-c:
		t.Error("woken again")
	default:
	}
	tick.Wake(nil)
}
