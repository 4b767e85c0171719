package bench

import (
	"fmt"
	"strings"
	"time"
)

// The line of the tables of a busy service and of the sweep; it fits 120 columns.
const (
	busyLine   = "%-19s" // and of each system:
	busyFields = " %5s %6s %6s %4s %4s"
	busyName   = "  %-28s" // above them
)

// writeBusy writes what a service that is busy costs, or the sweep: a table whose
// first column is called head.
func (r *Report) writeBusy(b *strings.Builder, of Group, head string) {
	names, heads := fmt.Sprintf(busyLine, ""), fmt.Sprintf(busyLine, head)
	for _, s := range r.Systems {
		names += fmt.Sprintf(busyName, s.Name) + r.room(s.Name, "")
		heads += fmt.Sprintf(busyFields, "fail", "p99", "slow", "down", "seen") + r.room(s.Name, "")
	}
	lines := []string{names, heads}
	for _, row := range r.rows(of) {
		line := fmt.Sprintf(busyLine, row.Name)
		for _, s := range r.Systems {
			got := row.busyResult(s.Name)
			line += fmt.Sprintf(busyFields, got.failed, got.p99, got.slowest, got.down, got.seen) + r.room(s.Name, row.verdict()) //nolint:modernize // some short pieces
		}
		lines = append(lines, line)
		lines = append(lines, indented(append(row.missed(), row.uploads()...))...)
	}
	for _, line := range lines {
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// room gives the column of the verdict, which holdfast alone has.
func (r *Report) room(s System, verdict string) string {
	if s != Holdfast {
		return ""
	}
	return fmt.Sprintf(" %-8s", verdict)
}

// A busyResult is what a busy service cost a system, in words.
type busyResult struct{ failed, p99, slowest, down, seen string }

// busyResult gives what row cost system.
func (r Row) busyResult(system System) busyResult {
	c, ok := r.cell(system)
	if !ok {
		return busyResult{"-", "-", "-", "-", "-"}
	}
	m := c.Median
	out := busyResult{
		failed: fmt.Sprint(m.Failed), p99: tight(m.P99), slowest: tight(m.Slowest),
		down: fmt.Sprint(m.Hosts.Down), seen: fmt.Sprintf("%.2f", m.Hosts.ratio()),
	}
	if m.P99 == 0 { // none succeeded
		out.p99, out.slowest = "-", "-"
	}
	return out
}

// tight is short in six columns.
func tight(d time.Duration) string {
	if d >= 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return short(d)
}

// String gives a result in one field of a table.
func (r busyResult) String() string {
	return fmt.Sprintf("%s / %s / %s / %s", r.failed, r.p99, r.down, r.seen)
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
