package clocks

import (
	"testing"
	"time"
)

// TestTheMiddleClockCounts has one of three clocks be wrong.
func TestTheMiddleClockCounts(t *testing.T) {
	right := time.Date(2026, 12, 1, 2, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name      string
		own, want time.Duration
		others    map[string]time.Duration
	}{
		{name: "nobody else", own: time.Hour},
		{name: "another one is wrong", own: 0, others: map[string]time.Duration{"ctl2": 0, "ctl3": 3 * time.Hour}},
		{name: "this one is wrong", own: 3 * time.Hour, others: map[string]time.Duration{"ctl2": 0, "ctl3": 0}, want: 3 * time.Hour},
		{name: "this one is slow", own: -time.Minute, others: map[string]time.Duration{"ctl2": 0, "ctl3": time.Second}, want: -time.Minute},
		{name: "two differ", own: time.Hour, others: map[string]time.Duration{"ctl2": 0}, want: time.Hour / 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := New()
			c.now = func() time.Time { return right.Add(test.own) }
			for name, off := range test.others {
				c.Compare(name, right.Add(off-time.Millisecond).UnixNano(), 2*time.Millisecond)
			}
			if got := c.Ahead(); got != test.want {
				t.Errorf("it is %v ahead, want %v", got, test.want)
			}
		})
	}
}

// TestTheQuickestAnswerCounts until it is old, or a clock was set.
func TestTheQuickestAnswerCounts(t *testing.T) {
	now := time.Date(2026, 12, 1, 2, 0, 0, 0, time.UTC)
	c := New()
	c.now = func() time.Time { return now }
	ahead := func(reading time.Duration, took time.Duration) time.Duration {
		c.Compare("ctl2", now.Add(reading).UnixNano(), took)
		return 2 * c.Ahead() // of two clocks the middle is between them
	}
	if got := ahead(-time.Second, 0); got != time.Second {
		t.Fatalf("it is %v ahead, want 1s", got)
	}
	if got := ahead(-1500*time.Millisecond, time.Second); got != time.Second {
		t.Errorf("a slow answer that agrees changes it to %v", got)
	}
	if got := ahead(-time.Hour, 2*time.Second); got != time.Hour-time.Second {
		t.Errorf("after the clock there was set it is %v ahead, want an hour less a second", got)
	}
	now = now.Add(2 * stale)
	if got := ahead(-time.Hour, 4*time.Second); got != time.Hour-2*time.Second {
		t.Errorf("what is old is not replaced: %v ahead", got)
	}
	c.Compare("ctl3", 0, 0)
	if len(c.others) != 1 {
		t.Error("one that tells no clock was compared")
	}
}
