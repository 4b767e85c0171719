package bench

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// A layout is how the rows of a group are shown: in a text, which fits 120 columns,
// in a summary, and in the page.
type layout struct {
	head string // of the first column
	// In a text: the formats of what stands before the systems, which is a row's
	// name and maybe its promise, and of a system's name above its columns.
	lead, name string
	// own and peer are the formats, in a text, of the column after the others:
	// holdfast's verdict, and the ratio of a peer. Empty: there is none.
	own, peer string

	title, pageHead string // in the page
	style           string // the page's
	promised        bool   // the page and the summary tell what each row promises

	columns []column
	// beside says more of a row than what was missed.
	beside func(Row) []string
}

// A column is one figure of each system.
type column struct {
	head  string
	text  string // in the place of head where room is short
	page  string // in the place of head in the page
	width int    // in a text
	wide  bool   // there is no room for it in a summary
	of    func(Measure) string
	// class gives how the page shows it; nil: as it shows any text.
	class func(*Report, Row, Measure) string
}

// layoutOf gives that of a group.
func layoutOf(of Group) layout {
	switch of {
	case GroupBusy:
		l := busyLayout()
		l.head, l.title, l.pageHead = "a busy service", "A busy service", "case"
		return l
	case GroupSweep:
		l := busyLayout()
		l.head, l.title, l.pageHead = "load", "From idle to twice what the hosts can do", "load"
		return l
	case GroupPlanned:
		return plannedLayout()
	case GroupFaults:
	}
	return layout{
		head: "fault", lead: "%-21s %-25s", name: "%16s", own: " %-8s", peer: " %6s",
		title: "Promised and measured", pageHead: "fault", promised: true,
		columns: []column{
			{
				head: "failed", width: 6, of: func(m Measure) string { return fmt.Sprint(m.Failed) },
				class: func(r *Report, _ Row, m Measure) string { return shade(m.Failed >= int(r.Load.Rate)/4, m.Failed == 0) },
			},
			{
				head: "gap", page: "longest gap", width: 8, of: gapOf,
				class: func(_ *Report, _ Row, m Measure) string { return shade(m.Gap >= time.Second, false) },
			},
		},
		beside: func(Row) []string { return nil },
	}
}

func plannedLayout() layout {
	count := func(head string, width int, of func(Measure) int) column {
		return column{
			head: head, width: width, of: func(m Measure) string { return fmt.Sprint(of(m)) },
			class: func(_ *Report, _ Row, m Measure) string { return shade(of(m) > 0, of(m) == 0) },
		}
	}
	return layout{
		head: "planned work", lead: "%-20[1]s", name: " %6s" + strings.Repeat(" ", 18), own: " %-6s", peer: " %-6s",
		title: "Planned work", pageHead: "work", style: "works",
		columns: []column{
			count("failed", 6, func(m Measure) int { return m.Failed + m.PostsFailed }),
			count("reset", 5, func(m Measure) int { return m.Work.Resets }),
			count("cut", 3, func(m Measure) int { return m.Work.Cut }),
			{
				head: "gap", width: 7, of: func(m Measure) string { return short(m.Work.ConnectGap) },
				class: func(_ *Report, _ Row, m Measure) string {
					return shade(m.Work.ConnectGap >= 100*time.Millisecond, false)
				},
			},
		},
		beside: Row.peersUndone,
	}
}

// busyLayout is that of a busy service and of the sweep.
func busyLayout() layout {
	took := func(of func(Measure) time.Duration) func(Measure) string {
		return func(m Measure) string {
			if m.P99 == 0 { // none succeeded
				return "-"
			}
			return tight(of(m))
		}
	}
	return layout{
		lead: "%-19[1]s", name: "  %-28s", own: " %-8s", style: "busy", promised: true,
		columns: []column{
			{
				head: "failed", text: "fail", width: 5, of: func(m Measure) string { return fmt.Sprint(m.Failed) },
				class: func(_ *Report, _ Row, m Measure) string {
					return shade(m.Failed > 0 && m.Failed >= m.Requests/20, m.Failed == 0)
				},
			},
			{head: "p99", width: 6, of: took(func(m Measure) time.Duration { return m.P99 })},
			{head: "slowest", text: "slow", width: 6, wide: true, of: took(func(m Measure) time.Duration { return m.Slowest })},
			{
				head: "down", width: 4, of: func(m Measure) string { return fmt.Sprint(m.Hosts.Down) },
				class: func(_ *Report, row Row, m Measure) string {
					return shade(m.Hosts.Down > 0 && row.Fault != "hang-idle", m.Hosts.Down == 0)
				},
			},
			{
				head: "seen", width: 4, of: func(m Measure) string { return fmt.Sprintf("%.2f", m.Hosts.ratio()) },
				class: func(_ *Report, _ Row, m Measure) string {
					return shade(m.Hosts.ratio() > mostSeen, m.Hosts.Sent > 0 && m.Hosts.ratio() <= 1)
				},
			},
		},
		beside: Row.uploads,
	}
}

// shade gives the page's class of a figure that is bad, or as good as can be.
func shade(hot, zero bool) string {
	switch {
	case hot:
		return "hot"
	case zero:
		return "zero"
	}
	return ""
}

func gapOf(m Measure) string {
	if m.Unfinished {
		return short(m.Gap) + "+"
	}
	return short(m.Gap)
}

// tight is short in six columns.
func tight(d time.Duration) string {
	if d >= 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return short(d)
}

// figure gives c of row in system, and a dash where that was not measured.
func (c column) figure(row Row, system System) string {
	cell, ok := row.cell(system)
	if !ok {
		return "-"
	}
	return c.of(cell.Median)
}

// ratio gives how many times holdfast's gap that of system is; empty where that
// says nothing.
func (r Row) ratio(system System) string {
	if c, _ := r.cell(system); c.TimesGap > 0 {
		return factor(c.TimesGap)
	}
	return ""
}

// last gives the column after the figures of a system, in a text.
func (l layout) last(system System, verdict, ratio string) string {
	format, text := l.peer, ratio
	if system == Holdfast {
		format, text = l.own, verdict
	}
	if format == "" {
		return ""
	}
	return fmt.Sprintf(format, text)
}

// writeTable writes what the rows of a group cost each system.
func (r *Report) writeTable(b *strings.Builder, of Group) {
	l := layoutOf(of)
	names, heads := fmt.Sprintf(l.lead, "", ""), fmt.Sprintf(l.lead, l.head, "promised")
	for _, s := range r.Systems {
		names += fmt.Sprintf(l.name, s.Name) + l.last(s.Name, "", "")
		for _, c := range l.columns {
			heads += fmt.Sprintf(" %*s", c.width, cmp.Or(c.text, c.head)) //nolint:modernize // some short pieces
		}
		heads += l.last(s.Name, "", "ratio")
	}
	lines := []string{names, heads}
	for _, row := range r.rows(of) {
		line := fmt.Sprintf(l.lead, row.Name, row.Promise)
		for _, s := range r.Systems {
			for _, c := range l.columns {
				line += fmt.Sprintf(" %*s", c.width, c.figure(row, s.Name)) //nolint:modernize // some short pieces
			}
			line += l.last(s.Name, row.verdict(), row.ratio(s.Name))
		}
		lines = append(lines, line)
		lines = append(lines, indented(append(row.missed(), l.beside(row)...))...)
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

// summaryOf gives the table of a group in a summary: its head, and its lines.
func (r *Report) summaryOf(of Group) (head []string, lines [][]string) {
	l := layoutOf(of)
	var figures []string
	for _, c := range l.columns {
		if !c.wide {
			figures = append(figures, c.head)
		}
	}
	what := strings.Join(figures, " / ")
	line := func(name, promise, own, verdict string, peer func(System) string) []string {
		all := []string{name, promise, own, verdict}
		if !l.promised {
			all = []string{name, own, verdict}
		}
		for _, s := range r.Systems {
			if s.Name != Holdfast {
				all = append(all, peer(s.Name))
			}
		}
		return all
	}
	head = line(l.head, "promised", what, "", func(s System) string {
		if of == GroupFaults {
			return string(s) + ": " + what
		}
		return string(s)
	})
	for _, row := range r.rows(of) {
		cost := func(s System) string { return l.brief(row, s) }
		lines = append(lines, line(row.Name, row.Promise, cost(Holdfast), row.verdict(), cost))
	}
	return head, lines
}

// brief gives what row cost system in one field.
func (l layout) brief(row Row, system System) string {
	var figures []string
	for _, c := range l.columns {
		if !c.wide {
			figures = append(figures, c.figure(row, system))
		}
	}
	text := strings.Join(figures, " / ")
	if ratio := row.ratio(system); ratio != "" {
		text += " (" + ratio + ")"
	}
	return text
}
