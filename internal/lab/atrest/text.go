package atrest

import (
	"fmt"
	"strings"

	"holdfast/internal/lab/load"
)

// medianCosts gives the median of each figure.
func medianCosts(runs []Costs) Costs {
	var m Costs
	for _, at := range []func(*Costs) *Cost{
		func(c *Costs) *Cost { return &c.HolderAgent },
		func(c *Costs) *Cost { return &c.OtherAgent },
		func(c *Costs) *Cost { return &c.HolderHAProxy },
		func(c *Costs) *Cost { return &c.OtherHAProxy },
		func(c *Costs) *Cost { return &c.All },
	} {
		var cpu, switches, memory []float64
		for i := range runs {
			one := at(&runs[i])
			cpu, switches, memory = append(cpu, one.CPU), append(switches, one.Switches), append(memory, float64(one.Memory))
		}
		*at(&m) = Cost{CPU: load.Median(cpu), Switches: load.Median(switches), Memory: int64(load.Median(memory))}
	}
	return m
}

// Text gives r for a person.
func (r *Report) Text() string {
	var b strings.Builder
	runs := 0
	if len(r.Rows) > 0 {
		runs = len(r.Rows[0].Runs)
	}
	fmt.Fprintf(&b, "At rest: %d controllers, %d services on each, %d VIPs; %v of each, medians of %d, on %d cores (%s), HAProxy %s\n\n",
		r.Controllers, r.Services, r.VIPs, r.Length, runs, r.Machine.Cores, r.Machine.CPU, r.Machine.HAProxy)
	fmt.Fprintf(&b, "%-28s %9s %11s %9s\n", "", "CPU ms/s", "switches/s", "MiB")
	for i, row := range r.Rows {
		fmt.Fprintf(&b, "%s, %s\n", row.Binary, row.Version)
		for _, line := range []struct {
			name       string
			own, first Cost
		}{
			{"agent that holds the VIPs", row.Median.HolderAgent, r.Rows[0].Median.HolderAgent},
			{"agent that holds none", row.Median.OtherAgent, r.Rows[0].Median.OtherAgent},
			{"HAProxy with the VIPs", row.Median.HolderHAProxy, r.Rows[0].Median.HolderHAProxy},
			{"HAProxy without", row.Median.OtherHAProxy, r.Rows[0].Median.OtherHAProxy},
			{"all of the cloud", row.Median.All, r.Rows[0].Median.All},
		} {
			fmt.Fprintf(&b, "  %-26s %9.1f %11.0f %9.1f", line.name, line.own.CPU, line.own.Switches, float64(line.own.Memory)/(1<<20))
			if i > 0 && line.own.CPU > 0 {
				fmt.Fprintf(&b, "   the first takes %.2f of it", line.first.CPU/line.own.CPU)
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\nOf several that hold none, the most that one takes. HAProxy's master sleeps. Memory is resident.\n")
	return b.String()
}
