package tokens

import (
	"fmt"
	"strings"
	"time"

	"holdfast/internal/lab/bench"
	"holdfast/internal/status"
)

// most is what holdfast's p99 may be, times kolla's.
const most = 1.1

// Text gives r for a person.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Tokens of a real Keystone on three controllers; %s at each load, %s\n", r.Length, r.machine())
	for _, c := range r.Capacities {
		fmt.Fprintf(&b, "Capacity without a proxy, under the checks of %s: %.1f tokens a second\n", c.System, c.Tokens)
	}
	fmt.Fprintf(&b, "\n%-28s %-8s %6s %6s %6s %8s %8s %8s %5s %5s %9s %7s  %s\n", "load", "", "rate", "tokens", "failed", "p50", "p99", "slowest",
		"down", "none", "seen/sent", "checks", "p99 beside kolla's")
	for _, row := range r.Rows {
		name := row.Name
		for _, c := range row.Cells {
			fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("%-28s %-8s %s  %s", name, c.System, c.Median.line(), row.beside(c)), " "))
			name = ""
			if c.Median.Failed > 0 {
				fmt.Fprintf(&b, "%-28s          %s\n", "", c.Median.kinds())
			}
		}
	}
	b.WriteString(notes)
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "PROBLEM: %s\n", p)
	}
	if r.Interrupted != "" {
		b.WriteString("Interrupted: not all was measured.\n")
	}
	return b.String()
}

const notes = `
rate: sessions that began in a second (GET /v3, POST /v3/auth/tokens; one in four also GET /v3/auth/tokens); of loops: as they came.
tokens: that were issued in a second. p50, p99, slowest: of sessions that succeeded, from when they were due until they had the token.
down: how often one of the three HAProxys marked a host down; none: how often it had none left. checks: of each host, a second.
seen/sent: requests that hosts saw beside those that clients sent.
`

func (r *Report) machine() string {
	m := r.Machine
	return fmt.Sprintf("%s on %d cores (%s), HAProxy %s", status.Count(r.Runs, "run"), m.Cores, m.CPU, m.HAProxy)
}

// line gives m in the columns of the table.
func (m Measure) line() string {
	rate, seen := "", ""
	if m.Rate > 0 {
		rate = fmt.Sprintf("%.1f", m.Rate)
	}
	if m.Sent > 0 {
		seen = fmt.Sprintf("%.2f", float64(m.Seen)/float64(m.Sent))
	}
	return fmt.Sprintf("%6s %6.1f %6d %8s %8s %8s %5d %5d %9s %7.1f", rate, m.PerSecond, m.Failed, short(m.P50), short(m.P99),
		short(m.Slowest), m.Down, m.None, seen, m.Checks)
}

// beside says how c, of holdfast, does beside kolla.
func (r *Row) beside(c Cell) string {
	kolla := r.cell(bench.Kolla)
	if kolla == nil || c.System == bench.Kolla {
		return ""
	}
	text := fmt.Sprintf("%.2fx", c.TimesP99)
	if c.System != bench.Holdfast {
		return text
	}
	if missed := r.missed(c, *kolla); len(missed) > 0 {
		return text + "  NOT HELD: " + strings.Join(missed, ", ")
	}
	return text + "  held"
}

// missed says in what c is worse than kolla.
func (r *Row) missed(c, kolla Cell) []string {
	var missed []string
	if c.Median.Failed > kolla.Median.Failed {
		missed = append(missed, fmt.Sprintf("%d failed, of kolla %d", c.Median.Failed, kolla.Median.Failed))
	}
	if c.TimesP99 > most {
		missed = append(missed, fmt.Sprintf("p99 over %g times kolla's", most))
	}
	if c.Median.Down > 0 {
		missed = append(missed, "hosts marked down")
	}
	if m := c.Median; float64(m.Seen) > most*float64(m.Sent) {
		missed = append(missed, fmt.Sprintf("hosts saw over %g times what was sent", most))
	}
	return missed
}

// short gives d with three digits at most.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
