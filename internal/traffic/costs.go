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
	// longestSpan is after which time a cost is told although more comes, mostSpans how many
	// are told one after the other: what goes on for longer is no cost of what began it.
	longestSpan = 60 * time.Second
	mostSpans   = 10
	// before is the time before it by which it is known what failed anyway, recent the time
	// by which it is known whether more fails: twice the share of requests, and more of them.
	before, recent = 10 * time.Second, settles / 2
	more           = 0.002
)

// Costs finds when the cost of what is journalled is to be told: of each fault and each
// planned move, some seconds after the last of what belongs to it, and after the last
// failure. It is not safe for use by several goroutines at once.
type Costs struct {
	open  bool
	span  Span
	last  time.Time
	based bool
	base  float64 // share of requests that failed before it
	told  int     // spans, of what goes on
}

// A Span is a time whose cost is to be told.
type Span struct {
	From, To time.Time
	About    status.Event // what is worst of it
	// Lost is since when a VIP was nobody's that this controller took, Taken when it did;
	// unset where it took none; TakenVIP is that VIP.
	Lost, Taken time.Time
	TakenVIP    string
	// Former is the controller that fell silent before; "" where none did.
	Former string
	// VIP is the one that all of it is about; "" where it is about anything else, too.
	VIP string
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
	vip := vipOf(e)
	if !c.open {
		*c = Costs{open: true, span: Span{From: from, About: e, VIP: vip}}
	}
	if vip != c.span.VIP {
		c.span.VIP = ""
	}
	c.span.From = minTime(c.span.From, from)
	if weight(e) > weight(c.span.About) {
		c.span.About = e
	}
	if e.Kind == status.EventVIPActive && c.span.Taken.IsZero() {
		former, silent := silence(e.Cause)
		c.span.Lost, c.span.Taken, c.span.TakenVIP, c.span.Former = begun.Add(-silent), e.Time, vip, former
		c.span.From = minTime(c.span.From, c.span.Lost.Add(-lead))
	}
	c.last = e.Time
}

// vipOf gives the VIP that e is about; "" for none.
func vipOf(e status.Event) string {
	name, _ := strings.CutPrefix(e.Subject, "vip ")
	if name == e.Subject {
		return ""
	}
	return name
}

// silence gives which holder was not heard, and for how long, by the cause of a VIP's move
// as VRRP says it: "no advert from ctl1 for 62ms".
func silence(cause string) (former string, lasted time.Duration) {
	rest, ok := strings.CutPrefix(cause, "no advert from ")
	if name, text, found := strings.Cut(rest, " for "); ok && found {
		if d, err := time.ParseDuration(text); err == nil {
			return name, max(d, 0)
		}
	}
	return "", 0
}

// Served gives s for a former holder whose host lived on, and only its agent was silent: until
// the VIP was taken it had the address, and its HAProxy served.
func (s Span) Served() Span {
	if s.Former != "" {
		s.Lost = s.Taken
	}
	return s
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Open reports whether a cost is to be told some time.
func (c *Costs) Open() bool { return c.open }

// Due gives the time whose cost is to be told at now, false for none. share gives the share
// of requests that failed in a time: while more do than before, more is to come.
func (c *Costs) Due(now time.Time, share func(from, to time.Time) float64) (Span, bool) {
	if !c.open {
		return Span{}, false
	}
	if !c.based {
		c.base, c.based = share(c.span.From.Add(-before), c.span.From), true
	}
	failing := c.told < mostSpans-1 && share(now.Add(-recent), now) > 2*c.base+more
	if failing {
		c.last = now
	}
	long := now.Sub(c.span.From) >= longestSpan
	if now.Sub(c.last) < settles && !long {
		return Span{}, false
	}
	told := c.span
	told.To = now
	c.open, c.told = failing, c.told+1
	c.span = Span{From: now, About: told.About, VIP: told.VIP}
	return told, true
}

// FailedShare gives the share of requests that failed in a time, 0 to 1; 0 where there were
// none.
func (b *Book) FailedShare(from, to time.Time) float64 {
	cost := b.Cost(from, to)
	if cost.Requests == 0 {
		return 0
	}
	return float64(cost.Failed) / float64(cost.Requests)
}

// soon is within which time after a VIP was taken the first answer comes where clients have
// waited for it: one whose first segment was lost sends it again after a second.
const soon = 1500 * time.Millisecond

// CostOf gives what a Span cost clients. Where a VIP was nobody's before this controller took
// it, nothing of that time is in the log, and the gap is from then to the first answer.
func (b *Book) CostOf(s Span) status.Cost {
	cost := b.costOf(s.VIP, s.From, s.To)
	if m := b.moments[s.TakenVIP]; m != nil && !s.Taken.IsZero() {
		if first := m.firstAnswer(s.Lost, s.To); !first.IsZero() && first.Sub(s.Taken) < soon {
			cost.Gap = max(cost.Gap, first.Sub(s.Lost))
		}
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
