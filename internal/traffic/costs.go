package traffic

import (
	"strings"
	"time"

	"holdfast/internal/status"
)

const (
	// lead is how long before what is journalled clients may have felt it, settles how long
	// after.
	lead, settles = 2 * time.Second, 3 * time.Second
	// longestSpan is after which time a cost is told although more comes.
	longestSpan = 60 * time.Second
)

// Costs finds when the cost of what is journalled is to be told: of each fault and each
// planned move, some seconds after the last of what belongs to it, and after the last
// failure. It is not safe for use by several goroutines at once.
type Costs struct {
	open bool
	span Span
	last time.Time
}

// A Span is a time whose cost is to be told.
type Span struct {
	From, To time.Time
	About    status.Event // what is worst of it
	// Lost is since when a VIP was nobody's that this controller took, Taken when it did;
	// unset where it took none.
	Lost, Taken time.Time
}

// weight says how telling an event is of what cost clients something, 0: it costs nothing.
func weight(e status.Event) int {
	switch e.Kind {
	case status.EventVIPActive, status.EventHandover, status.EventHandoverCut:
		return 5
	case status.EventHAProxyDown, status.EventHAProxyHung:
		return 4
	case status.EventDrainBegun, status.EventDrainEnded:
		return 3
	case status.EventHostDown, status.EventHostTakenOut, status.EventReload, status.EventReloadRolledBack, status.EventHAProxyUpgraded, status.EventCertificateChanged:
		return 2
	case status.EventHAProxyRunning, status.EventConnectionsCut, status.EventVIPBackup, status.EventHostUp, status.EventHostDrain:
		return 1
	}
	return 0
}

// Note takes what was journalled.
func (c *Costs) Note(e status.Event) {
	if weight(e) == 0 || e.Cost != nil {
		return
	}
	begun := e.Time.Add(-e.Took)
	from := begun.Add(-lead)
	if !c.open {
		c.open, c.span = true, Span{From: from, About: e}
	}
	c.span.From = minTime(c.span.From, from)
	if weight(e) > weight(c.span.About) {
		c.span.About = e
	}
	if e.Kind == status.EventVIPActive && c.span.Taken.IsZero() {
		c.span.Lost, c.span.Taken = begun.Add(-silence(e.Cause)), e.Time
		c.span.From = minTime(c.span.From, c.span.Lost.Add(-lead))
	}
	c.last = e.Time
}

// silence gives for how long the holder before was not heard, by the cause of a VIP's move
// as VRRP says it: "no advert from ctl1 for 62ms".
func silence(cause string) time.Duration {
	rest, ok := strings.CutPrefix(cause, "no advert from ")
	if _, text, found := strings.Cut(rest, " for "); ok && found {
		if d, err := time.ParseDuration(text); err == nil {
			return max(d, 0)
		}
	}
	return 0
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Open reports whether a cost is to be told some time.
func (c *Costs) Open() bool { return c.open }

// Due gives the time whose cost is to be told at now, false for none. failing says that
// requests failed just before: then more is to come.
func (c *Costs) Due(now time.Time, failing bool) (Span, bool) {
	if !c.open {
		return Span{}, false
	}
	if failing {
		c.last = now
	}
	long := now.Sub(c.span.From) >= longestSpan
	if now.Sub(c.last) < settles && !long {
		return Span{}, false
	}
	told := c.span
	told.To = now
	c.open = failing
	c.span = Span{From: now, About: told.About}
	return told, true
}

// Failing reports whether requests failed just before now.
func (b *Book) Failing(now time.Time) bool {
	return b.Cost(now.Add(-settles/2), now).Failed > 0
}

// soon is within which time after a VIP was taken the first answer comes where clients have
// waited for it: one whose first segment was lost sends it again after a second.
const soon = 1500 * time.Millisecond

// CostOf gives what a Span cost clients. Where a VIP was nobody's before this controller took
// it, nothing of that time is in the log, and the gap is from then to the first answer.
func (b *Book) CostOf(s Span) status.Cost {
	cost := b.Cost(s.From, s.To)
	if first := b.moments.firstAnswer(s.Lost, s.To); !s.Taken.IsZero() && !first.IsZero() && first.Sub(s.Taken) < soon {
		cost.Gap = max(cost.Gap, first.Sub(s.Lost))
	}
	return cost
}

// CostEvent says what cost clients had, of a Cost; false where there were none.
func CostEvent(about status.Event, cost status.Cost) (status.Event, bool) {
	if cost.Requests == 0 {
		return status.Event{}, false
	}
	return status.Event{
		Kind: status.EventCost, Subject: about.Subject, Cost: &cost,
		Text: "what clients of this controller's HAProxy felt: " + cost.Words(),
	}, true
}
