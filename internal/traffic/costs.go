package traffic

import (
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
// planned move, some seconds after the last of what belongs to it. It is not safe for use by
// several goroutines at once.
type Costs struct {
	open  bool
	from  time.Time
	last  time.Time
	about status.Event // what is worst of it
}

// costs reports whether what e says may have cost clients something, and how telling its
// subject is, 0 for not.
func costs(e status.Event) int {
	switch e.Kind {
	case status.EventVIPActive, status.EventHandover, status.EventHandoverCut:
		return 5
	case status.EventHAProxyDown, status.EventHAProxyHung:
		return 4
	case status.EventDrainBegun, status.EventDrainEnded:
		return 3
	case status.EventHostDown, status.EventHostTakenOut, status.EventReload, status.EventReloadRolledBack, status.EventHAProxyUpgraded, status.EventCertificateChanged:
		return 2
	case status.EventHAProxyRunning, status.EventConnectionsCut, status.EventVIPBackup, status.EventHostUp:
		return 1
	}
	return 0
}

// Note takes what was journalled.
func (c *Costs) Note(e status.Event) {
	weight := costs(e)
	if weight == 0 || e.Cost != nil {
		return
	}
	from := e.Time.Add(-e.Took - lead)
	if !c.open {
		c.open, c.from, c.about = true, from, e
	}
	if from.Before(c.from) {
		c.from = from
	}
	if weight > costs(c.about) {
		c.about = e
	}
	c.last = e.Time
}

// Open reports whether a cost is to be told some time.
func (c *Costs) Open() bool { return c.open }

// Due gives what is to be told at now, false for nothing: of which time, and what it is about.
func (c *Costs) Due(now time.Time) (from, to time.Time, about status.Event, due bool) {
	if !c.open || now.Sub(c.last) < settles && now.Sub(c.from) < longestSpan {
		return from, to, about, false
	}
	c.open = false
	return c.from, now, c.about, true
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
