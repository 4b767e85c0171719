package demo

import (
	"fmt"
	"strings"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/bench"
	"holdfast/internal/lab/load"
)

const (
	tableLine = "%-15s %8s %6s %7s %8s  %-17s %s"
	tableFoot = `
What is broken is the host that answers most, or the controller that has the
address. "In flight": none fails but a request that was under way, or on a
connection that was open, when the fault struck or while the address moved. A
gap is the longest time in which no client got an answer; requests are 5 ms
apart. A bound counts as kept within 50 ms and twice what this machine kept the
load generator itself waiting.`
)

func tableHead() string {
	return fmt.Sprintf(tableLine, "broken", "requests", "failed", "gap", "slowest", "promised", "kept")
}

// A result is one row of the table.
type result struct {
	step     step
	fault    lab.Fault
	seen     load.Summary
	takeover lab.Takeover
	broken   []string // what was not as promised
}

// judge compares what was seen with what was promised.
func judge(s step, f lab.Fault, seen load.Summary, records []load.Record, t lab.Takeover) result {
	r := result{step: s, fault: f, seen: seen, takeover: t}
	p, margin := s.promise, 50*time.Millisecond+2*seen.Late
	if seen.Requests == 0 {
		r.broken = append(r.broken, "no request was sent")
	}
	if seen.LongestGap > p.Gap+margin {
		r.broken = append(r.broken, "the gap is too long")
	}
	switch late := load.FailuresAfter(records, seen.From.Add(p.Gap+margin)); {
	case p.Failed == bench.AllowNone && seen.Failed > 0:
		r.broken = append(r.broken, "requests failed: "+kinds(seen))
	case len(late) > 0:
		r.broken = append(r.broken, fmt.Sprintf("%d failed that were not in flight, first: %s", len(late), late[0].Error))
	}
	if p.Slowest > 0 && seen.Slowest > p.Slowest+margin {
		r.broken = append(r.broken, "the slowest answer took "+short(seen.Slowest))
	}
	if p.Two > 0 && t.Two > p.Two+margin {
		r.broken = append(r.broken, "two had the address for "+short(t.Two))
	}
	if len(t.To) != 1 {
		r.broken = append(r.broken, fmt.Sprintf("the address has %d holders", len(t.To)))
	}
	return r
}

// promised tells of p in the width of its column.
func promised(p bench.Promise) string {
	failed, bound := "in flight", "no gap"
	if p.Failed == bench.AllowNone {
		failed = "0"
	}
	switch {
	case p.Slowest > 0:
		bound = fmt.Sprintf("slowest %g s", p.Slowest.Seconds())
	case p.Gap > 0:
		bound = short(p.Gap)
	}
	return failed + ", " + bound
}

func kinds(s load.Summary) string {
	var all []string
	for kind, n := range s.Kinds {
		all = append(all, fmt.Sprintf("%d %s", n, kind))
	}
	return strings.Join(all, ", ")
}

// String gives the row.
func (r result) String() string {
	kept := "yes"
	if len(r.broken) > 0 {
		kept = "NO"
	}
	var row strings.Builder
	fmt.Fprintf(&row, tableLine, r.step.name, fmt.Sprint(r.seen.Requests), fmt.Sprint(r.seen.Failed),
		short(r.seen.LongestGap), short(r.seen.Slowest), promised(r.step.promise), kept)
	if r.step.fault == nil || r.takeover.Taken >= 0 {
		row.WriteString("\n    the address: " + r.address())
	}
	for _, b := range r.broken {
		row.WriteString("\n    NOT KEPT: " + b)
	}
	return row.String()
}

// address tells who has the address and how it got there.
func (r result) address() string {
	t := r.takeover
	now := strings.Join(t.To, " and ")
	if t.Taken < 0 {
		return now
	}
	text := fmt.Sprintf("%s, after %s", now, short(t.Taken))
	if t.Two >= time.Millisecond {
		text += fmt.Sprintf("; two for %s", short(t.Two))
	}
	return text
}

// short gives d as a person reads it: 12 ms, 1.05 s.
func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
