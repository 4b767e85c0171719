package page

import (
	"fmt"
	"slices"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/incident"
	"holdfast/internal/status"
)

const (
	// pageIncidents is how many incidents the page shows, those that go on first.
	pageIncidents = 20
	// incidentLines is how many lines of one it shows.
	incidentLines = 30
)

// A workRow is something that somebody wants: a drain, or a move that is under way.
type workRow struct {
	aged
	What, Text, By string
}

type incidentRow struct {
	aged
	ID, State, Tone, Text, When, Took string
	Open                              bool
	Begin                             time.Time
	Cause, By, Cost, More             string
	Lines                             []eventRow
}

func workOf(c cloud.Cloud) []workRow {
	var rows []workRow
	for _, controller := range c.Controllers {
		if controller.Snapshot == nil {
			continue
		}
		for _, d := range controller.Snapshot.Drains {
			rows = append(rows, drainOf(c, controller.Name, d))
		}
		for _, v := range controller.Snapshot.VIPs {
			if g := v.Giving; g != nil {
				text := fmt.Sprintf("moves from %s to %s: %s to finish, until %s", controller.Name, g.To, status.Count(g.Connections, "connection"), clock(g.Until))
				rows = append(rows, workRow{aged: agedBy(c.Time, g.Since), What: "VIP " + v.Name, Text: text})
			}
		}
	}
	return rows
}

func drainOf(c cloud.Cloud, controller string, d status.Drained) workRow {
	row := workRow{aged: agedBy(c.Time, d.Since), What: controller, Text: "is drained", By: d.By}
	if d.Service != "" {
		row.What = d.Service + " on " + controller
	}
	if !d.Until.IsZero() {
		row.Text += " until " + moment(d.Until)
	}
	if d.Reason != "" {
		row.Text += ": " + d.Reason
	}
	return row
}

// incidentsOf gives the newest of all, which are oldest first: those that go on, then those
// that are over.
func incidentsOf(now time.Time, all []incident.Incident) []incidentRow {
	var open, over []incidentRow
	for _, in := range slices.Backward(all) {
		row := incidentOf(now, in)
		if row.Open {
			open = append(open, row)
		} else {
			over = append(over, row)
		}
	}
	rows := append(open, over...)
	return rows[:min(len(rows), pageIncidents)]
}

func incidentOf(now time.Time, in incident.Incident) incidentRow {
	row := incidentRow{
		aged: agedBy(now, in.Begin), ID: "incident-" + in.ID, State: "over", Tone: toneOK, Text: in.Text,
		Begin: in.Begin, When: short(now, in.Begin, time.TimeOnly), Open: in.State == incident.Open, Cause: in.Cause, By: in.By,
	}
	if !row.Open && in.Duration > 0 {
		row.Took = status.Brief(in.Duration)
	}
	switch {
	case in.Planned:
		row.Tone, row.State = toneInfo, "planned"
	case row.Open:
		row.Tone, row.State = toneBad, "open"
	}
	if in.Cost != nil {
		row.Cost = in.Cost.Words()
	}
	for _, e := range in.Events[:min(len(in.Events), incidentLines)] {
		row.Lines = append(row.Lines, eventOf(now, e))
	}
	if n := len(in.Events) - incidentLines; n > 0 {
		row.More = "and " + status.Count(n, "more event")
	}
	return row
}
