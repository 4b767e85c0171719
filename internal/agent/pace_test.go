package agent

import (
	"testing"
	"time"
)

// TestPace counts moves, not looks, and forgets them after three minutes.
func TestPace(t *testing.T) {
	begun := time.Now()
	var p pace
	at := func(s int, holder string) time.Duration {
		now := begun.Add(time.Duration(s) * time.Second)
		p.see(now, holder)
		return p.wait(now)
	}
	for i, tt := range []struct {
		second int
		holder string
		want   time.Duration
	}{
		{0, "ctl1", 0},
		{1, "ctl1", 0},
		{10, "ctl2", 0}, // the first move
		{11, "", 0},
		{12, "ctl2", 0}, // nobody was known for a moment
		{20, "ctl1", 0},
		{30, "ctl2", 0},
		{40, "ctl1", 150 * time.Second}, // the fourth, until the first is forgotten
		{100, "ctl1", 90 * time.Second},
		{110, "ctl2", 90 * time.Second}, // the fifth: until the second is
		{190, "ctl2", 10 * time.Second},
		{200, "ctl2", 0},
		{400, "ctl3", 0},
	} {
		if got := at(tt.second, tt.holder); got != tt.want {
			t.Errorf("step %d, after %d s: wait %v, want %v", i, tt.second, got, tt.want)
		}
	}
}
