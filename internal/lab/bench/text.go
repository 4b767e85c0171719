package bench

import (
	"fmt"
	"strings"
	"time"

	"holdfast/internal/lab/load"
	"holdfast/internal/status"
)

// detailLine is a line of the table of all figures; it fits 120 columns.
const detailLine = "%-21s %-8s %5s %6s %6s %6s %5s %5s %4s %4s %7s %6s %6s %7s %8s"

// Text gives r for a person, in lines of at most 120 columns.
func (r *Report) Text() string {
	var b strings.Builder
	for _, group := range Groups() {
		if len(r.rows(group)) > 0 {
			r.writeTable(&b, group)
			b.WriteString("\n")
		}
	}
	r.writeDetails(&b)
	b.WriteString("\n")
	for _, line := range r.notes() {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// columns is how long a line of Text may be.
const columns = 120

// indented gives texts in lines that are not too long.
func indented(texts []string) []string {
	var lines []string
	for _, text := range texts {
		line := "   "
		for word := range strings.FieldsSeq(text) {
			if len(line)+1+len(word) > columns && strings.TrimSpace(line) != "" {
				lines = append(lines, line)
				line = "       "
			}
			line += " " + word
		}
		lines = append(lines, line)
	}
	return lines
}

// factor gives how many times: 38x, 2.5x, 0.4x.
func factor(times float64) string {
	if times >= 10 {
		return fmt.Sprintf("%.0fx", times)
	}
	return fmt.Sprintf("%.1fx", times)
}

// verdict says whether holdfast kept what was promised.
func (r Row) verdict() string {
	c, ok := r.cell(Holdfast)
	switch {
	case !ok || r.Promise == "-" || r.Group == GroupSweep && !r.has(Kolla):
		return "" // there is nothing that it could be held against
	case len(c.Missed) > 0:
		return "MISSED"
	case c.runsMissed() > 0:
		return fmt.Sprintf("held %d/%d", len(c.Runs)-c.runsMissed(), len(c.Runs))
	}
	return "held"
}

// missed says what holdfast did not keep: in the median, and in single runs.
func (r Row) missed() []string {
	c, ok := r.cell(Holdfast)
	if !ok {
		return nil
	}
	var lines []string
	if len(c.Missed) > 0 {
		lines = append(lines, "MISSED: "+strings.Join(c.Missed, ", "))
	}
	for i, run := range c.Runs {
		if len(run.Missed) > 0 && len(c.Runs) > 1 {
			lines = append(lines, fmt.Sprintf("run %d of %d: %s", i+1, len(c.Runs), strings.Join(run.Missed, ", ")))
		}
	}
	return lines
}

func (r *Report) writeDetails(b *strings.Builder) {
	for _, line := range append([][]string{detailHead()}, r.details()...) {
		fields := make([]any, 0, len(line))
		for i, text := range line {
			if i != takenField { // there is no room for it
				fields = append(fields, text)
			}
		}
		fmt.Fprintf(b, detailLine+"\n", fields...)
	}
}

// takenField is the index of "taken" in a line of details.
const takenField = 14

func detailHead() []string {
	return []string{
		"fault", "system", "sent", "failed", "in fl.", "refus.", "reset", "t/out", "5xx", "POST",
		"gap", "p50", "p99", "slowest", "taken", "two hold",
	}
}

// details gives the lines of the second table: each row with each system.
func (r *Report) details() [][]string {
	var lines [][]string
	for _, row := range r.Rows {
		name := row.Name
		for _, c := range row.Cells {
			m := c.Median
			lines = append(lines, []string{
				name, string(c.System), count(m.Requests), count(m.Failed), count(m.UnderWay + m.OldConn),
				count(m.Kinds[load.Refused] + m.Kinds[load.Unreachable]), count(m.Kinds[load.Reset] + m.Kinds[load.Closed]),
				count(m.Kinds[load.Timeout]), count(m.Kinds[load.ServerError]), count(m.PostsFailed),
				brief(m.Gap), brief(m.P50), brief(m.P99), brief(m.Slowest), brief(m.Taken), brief(m.Two),
			})
			name = ""
		}
	}
	return lines
}

func count(n int) string {
	if n == 0 {
		return "."
	}
	return fmt.Sprint(n)
}

// brief gives d in milliseconds, or a dot for nothing.
func brief(d time.Duration) string {
	switch {
	case d <= 0:
		return "."
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f", float64(d)/1e6)
	}
	return fmt.Sprint(d.Round(time.Millisecond).Milliseconds())
}

// notes explain the tables.
func (r *Report) notes() []string {
	spacing := r.Load.spacing(nil)
	lines := []string{fmt.Sprintf("Medians; the order in each run is that of seed %d.", r.Load.Seed)}
	if len(r.rows(GroupFaults))+len(r.rows(GroupBusy)) > 0 {
		lines = append(lines,
			fmt.Sprintf("%g requests a second to one service through the VIP, each sent when it is due; half of them on new connections,", r.Load.Rate),
			fmt.Sprintf("one in %d a POST; timeout %s.", methods, short(r.Load.Timeout)))
	}
	for _, s := range r.Systems {
		lines = append(lines, fmt.Sprintf("  %-8s %s", s.Name, s.Text), "           "+s.RunsText(len(r.rows(GroupFaults)) > 0))
	}
	lines = append(lines,
		"failed: GETs; POST: failed POSTs, of which none was carried out twice unless that is said above. in fl.: of the failed",
		"GETs, those under way when the fault struck or on a connection opened before the address had moved. gap: the longest",
		fmt.Sprintf("time between two answers on new connections, which are %s apart; + if it, or failures, lasted to the end of the", short(spacing)),
		fmt.Sprintf("watch. A gap counts as promised within two such requests (%s) and what this machine did to the load before the", short(2*spacing)),
		"fault. ratio: that of the gap to holdfast's. two hold: how long two had the address. The table of all figures is in ms.",
	)
	if len(r.rows(GroupBusy))+len(r.rows(GroupSweep)) > 0 {
		lines = append(lines, r.busyNotes()...)
	}
	if r.Planned != nil {
		lines = append(lines, r.plannedNotes()...)
	}
	lines = append(lines,
		"",
		"Machine: "+r.Machine.String(),
		fmt.Sprintf("Measured %s, in %s.", r.Started.UTC().Format("2006-01-02 15:04 MST"), r.Took.Round(time.Second)),
	)
	for _, p := range r.Problems {
		lines = append(lines, "Problem: "+p)
	}
	if r.Interrupted != "" {
		lines = append(lines, "NOT COMPLETE: "+r.Interrupted)
	}
	return lines
}

// uploads says what became of the uploads of row, where it has some.
func (r Row) uploads() []string {
	var words []string
	for _, c := range r.Cells {
		if h := c.Median.Hosts; h.Uploads > 0 {
			words = append(words, fmt.Sprintf("%s %d of %d", c.System, h.Cut, h.Uploads))
		}
	}
	if len(words) == 0 {
		return nil
	}
	return []string{"uploads cut: " + strings.Join(words, ", ")}
}

// busyNotes explain the tables of a busy service and of the sweep.
func (r *Report) busyNotes() []string { return append([]string{""}, r.BusyText()...) }

// BusyText is busyNotes for whoever breaks lines elsewhere.
func (r *Report) BusyText() []string {
	return []string{
		fmt.Sprintf("A busy service (overload, the sweep): each of three hosts has %d workers, each request holds one for %s, the others", workers, short(hold)),
		fmt.Sprintf("wait in one queue, and the health check waits in it too; together they do %g requests a second. Overload:", capacity),
		overloadText() + ".",
		fmt.Sprintf("The sweep: %s at each load. Both are GETs with a timeout of %s.", short(sweepTime), short(patientTimeout)),
		"fail: GETs; p99, slow: of the requests that succeeded. down: how often a host was marked down, by any of three HAProxys.",
		"seen: requests that hosts saw for each that clients sent. Promised: no more fail than behind kolla-ansible's settings in",
		fmt.Sprintf("the same run, p99 <= 1.1 times theirs, no host is down, seen <= %g; of a stall that no GET fails and no POST is carried", mostSeen),
		"out twice; of a host that hangs that none fails and the slowest takes less than a second; of a graceful restart with",
		fmt.Sprintf("%d uploads of %s in flight that each ends well.", uploads, short(uploadTime)),
	}
}

func overloadText() string {
	for _, f := range busyRows() {
		if f.ID == "overload" {
			return f.Load.String()
		}
	}
	return ""
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

// RunsText says how often each row was measured, those of faults too if there are
// any.
func (s SystemInfo) RunsText(faults bool) string {
	var words []string
	add := func(n int, of string) {
		if n > 0 {
			words = append(words, strings.TrimSpace(status.Count(n, "run")+" "+of))
		}
	}
	if faults {
		add(s.Runs, "")
	}
	add(s.BusyRuns, "of a busy service")
	add(s.PlannedRuns, "of planned work")
	add(s.SweepRuns, "of the sweep")
	return strings.Join(words, ", ")
}

// String gives m in a line.
func (m Machine) String() string {
	return fmt.Sprintf("%d x %s, %s, %s, %s,\nHAProxy %s, keepalived %s, %s, load before %s",
		m.Cores, m.CPU, m.Memory, m.System, m.Kernel, m.HAProxy, m.Keepalived, m.Go, m.LoadBefore)
}
