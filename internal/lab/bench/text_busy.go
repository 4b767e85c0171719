package bench

import (
	"fmt"
	"strings"
)

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
