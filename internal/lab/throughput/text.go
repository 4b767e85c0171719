package throughput

import (
	"fmt"
	"strings"
	"time"
)

// Text gives the report as a table for people, which is Markdown too.
func (r *Report) Text() string {
	var b, why strings.Builder
	fmt.Fprintf(&b, "%s\n", r.Machine)
	fmt.Fprintf(&b, "Medians of %d rounds, in turns of %v; closed loop of %d connections; latency at a fixed rate.\n", r.Rounds, r.Turn, r.Connections)
	b.WriteString("\"to kolla\" compares turns of the same round. Processor time is HAProxy's own.\n")
	for _, v := range r.Variants {
		fmt.Fprintf(&b, "%s: holdfast with", v.Name)
		for _, e := range v.Edits {
			sign := "-"
			if e.Section != "" {
				sign = e.Section + "+"
			}
			fmt.Fprintf(&b, " [%s%s]", sign, e.Text)
		}
		b.WriteByte('\n')
	}
	last := ""
	for _, row := range r.Rows {
		if name := row.Point.String(); name != last {
			last = name
			fmt.Fprintf(&b, "\n| %-27s | requests/s | to kolla | CPU each | to kolla | p50 at %3.0f/s | p99      | p50 to kolla | failed |\n", name, row.Point.Rate)
			b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
		}
		to := row.to(Kolla)
		fmt.Fprintf(&b, "| %-27s | %10.0f | %8s | %8s | %8s | %12s | %8s | %12s | %6d |\n", row.System, row.Median.PerSecond, times(to.PerSecond),
			short(row.Median.CPU), times(to.CPU), short(row.Median.P50), short(row.Median.P99), times(to.P50), row.Median.Failed)
		if row.Median.Why != "" {
			fmt.Fprintf(&why, "%s, %s: %s\n", row.System, row.Point, row.Median.Why)
		}
	}
	if why.Len() > 0 {
		b.WriteString("\nThe first failure of each:\n" + why.String())
	}
	return b.String()
}

func (r Row) to(s System) Ratio {
	for _, x := range r.Ratios {
		if x.To == s {
			return x
		}
	}
	return Ratio{}
}

func times(x float64) string {
	if x == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", x)
}

func short(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	}
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
