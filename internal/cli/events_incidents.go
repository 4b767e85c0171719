package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/cli/tui"
	"holdfast/internal/incident"
	"holdfast/internal/status"
)

// folds is within which time the same, told by several controllers, is one line.
const folds = 15 * time.Second

// incidentsText shows incidents, each with its lines below.
func incidentsText(all []incident.Incident) string {
	var out strings.Builder
	for i, in := range all {
		if i > 0 {
			out.WriteString("\n")
		}
		out.WriteString(incidentHead(in) + incidentLines(in))
	}
	if len(all) == 0 {
		return "no incident\n"
	}
	return out.String()
}

// incidentHead says what an incident is: when it began, whether it goes on, what happened,
// why, who wanted it and what it cost.
func incidentHead(in incident.Incident) string {
	how := "OPEN for " + status.Brief(in.Duration)
	switch {
	case in.State == incident.Over && in.Duration < time.Millisecond:
		how = ""
	case in.State == incident.Over:
		how = "over after " + status.Brief(in.Duration)
	}
	if in.Planned {
		how = strings.TrimSuffix("planned, "+strings.ToLower(how), ", ")
	}
	if how != "" {
		how = "  " + how
	}
	lines := []string{in.Begin.UTC().Format("2006-01-02 15:04:05") + how + "  " + in.Text}
	if in.Cause != "" {
		lines = append(lines, "  cause: "+in.Cause)
	}
	if in.By != "" {
		lines = append(lines, "  by: "+in.By)
	}
	if in.Cost != nil {
		lines = append(lines, "  cost: "+in.Cost.Words())
	}
	for i := range lines {
		lines[i] = tui.Printable(lines[i])
	}
	return strings.Join(lines, "\n") + "\n"
}

// A toldAlike is an event and the controllers that tell of it.
type toldAlike struct {
	status.Event
	on []string
}

// tellers names the first, and counts the others.
func (t toldAlike) tellers() string {
	if len(t.on) < 2 {
		return t.on[0]
	}
	return fmt.Sprintf("%s +%d", t.on[0], len(t.on)-1)
}

// incidentLines gives the events of in. What several controllers tell alike is one line.
func incidentLines(in incident.Incident) string {
	var lines []toldAlike
	width := 0
	for _, e := range in.Events {
		i := slices.IndexFunc(lines, func(f toldAlike) bool {
			return f.Kind == e.Kind && f.Subject == e.Subject && f.Text == e.Text && e.When().Sub(f.When()) <= folds && !slices.Contains(f.on, e.Controller)
		})
		if i < 0 {
			lines, i = append(lines, toldAlike{Event: e}), len(lines)
		}
		lines[i].on = append(lines[i].on, e.Controller)
		width = max(width, len(lines[i].tellers()))
	}
	var out strings.Builder
	for _, f := range lines {
		fmt.Fprintf(&out, "    %s  %s", f.When().UTC().Format("15:04:05.000"), eventLine(f.Event, f.tellers(), width))
	}
	return out.String()
}
