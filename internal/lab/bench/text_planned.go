package bench

import (
	"fmt"
	"strings"
)

// The line of the table of planned work; it fits 120 columns.
const (
	workLine   = "%-20s" // and of each system:
	workFields = " %6s %5s %3s %7s %-6s"
)

// writePlanned writes what planned work cost.
func (r *Report) writePlanned(b *strings.Builder) {
	names, heads := fmt.Sprintf(workLine, ""), fmt.Sprintf(workLine, "planned work")
	for _, s := range r.Systems {
		last := "ratio"
		if s.Name == Holdfast {
			last = ""
		}
		names += fmt.Sprintf(workFields, s.Name, "", "", "", "")
		heads += fmt.Sprintf(workFields, "failed", "reset", "cut", "gap", last)
	}
	lines := []string{names, heads}
	for _, row := range r.rows(GroupPlanned) {
		line := fmt.Sprintf(workLine, row.Name)
		for _, s := range r.Systems {
			got := row.workResult(s.Name)
			last := got.ratio
			if s.Name == Holdfast {
				last = row.verdict()
			}
			line += fmt.Sprintf(workFields, got.failed, got.reset, got.cut, got.gap, last) //nolint:modernize // three short pieces
		}
		lines = append(lines, line)
		lines = append(lines, indented(append(row.missed(), row.peersUndone()...))...)
	}
	for _, line := range lines {
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// rows gives those of a group.
func (r *Report) rows(of Group) []Row {
	var some []Row
	for _, row := range r.Rows {
		if row.Group == of {
			some = append(some, row)
		}
	}
	return some
}

// A workResult is what planned work cost a system, in words.
type workResult struct{ failed, reset, cut, gap, ratio string }

// workResult gives what row cost system.
func (r Row) workResult(system System) workResult {
	c, ok := r.cell(system)
	if !ok {
		return workResult{"-", "-", "-", "-", ""}
	}
	m := c.Median
	out := workResult{
		failed: fmt.Sprint(m.Failed + m.PostsFailed), reset: fmt.Sprint(m.Work.Resets), cut: fmt.Sprint(m.Work.Cut),
		gap: short(m.Work.ConnectGap),
	}
	if c.TimesGap > 0 {
		out.ratio = factor(c.TimesGap)
	}
	return out
}

// String gives a result in one field of a table.
func (r workResult) String() string {
	text := fmt.Sprintf("%s / %s / %s / %s", r.failed, r.reset, r.cut, r.gap)
	if r.ratio != "" {
		text += " (" + r.ratio + ")"
	}
	return text
}

// peersUndone says which peers could not do row's work, and why.
func (r Row) peersUndone() []string {
	var all []string
	for _, c := range r.Cells {
		if why := c.undone(); why != "" && c.System != Holdfast {
			all = append(all, fmt.Sprintf("%s: %s", c.System, why))
		}
	}
	return all
}

// plannedNotes explain the table.
func (r *Report) plannedNotes() []string {
	p := r.Planned
	return []string{
		"",
		fmt.Sprintf("Planned work: %g requests a second on connections that are kept alive and %g on new ones, 1 in %d a POST, from %d", p.Rate, p.New, methods, p.Clients),
		fmt.Sprintf("addresses, beside %d downloads of %d MiB over %s, each checked byte by byte. Promised of each: nothing fails, no", p.Downloads, p.Bytes>>20, short(p.Time)),
		"connection is reset, no download is cut, and new connections find nobody for less than 5 ms.",
		"failed: requests, POSTs among them. reset: connections, also idle ones and those of downloads. cut: downloads. gap:",
		fmt.Sprintf("an attempt to connect is made every %s; the longest time in which attempts were made and none succeeded. Time in", short(p.Connects)),
		"which this machine kept the attempts themselves back does not count; what it did to them just before the work does",
		"not count either, up to 5 ms. POST and the rest of the second table: as for faults.",
	}
}
