package page

import (
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/incident"
	"holdfast/internal/traffic"
)

// TestPictures draws what two controllers tell of an hour in which the VIP moved between them.
func TestPictures(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	history := func(service string, first, n int, requests, failed uint64) traffic.History {
		h := traffic.History{Step: 10 * time.Second, From: now.Add(-time.Hour), Known: make([]bool, 360)}
		s := traffic.ServiceHistory{Service: service, Requests: make([]uint64, 360), Failed: make([]uint64, 360)}
		for i := first; i < first+n; i++ {
			h.Known[i], s.Requests[i], s.Failed[i] = true, requests, failed
		}
		h.Services = []traffic.ServiceHistory{s}
		return h
	}
	hours := []traffic.History{history("nova", 0, 180, 100, 0), history("nova", 180, 170, 200, 50), history("idle", 0, 360, 0, 0)}
	hours[2].Known = make([]bool, 360)
	incidents := []incident.Incident{
		{State: incident.Over, Begin: now.Add(-30 * time.Minute), End: now.Add(-29 * time.Minute), Text: "ctl1 is lost"},
		{State: incident.Open, Begin: now.Add(-2 * time.Hour), Planned: true, Text: "drained"},
		{State: incident.Over, Begin: now.Add(-3 * time.Hour), End: now.Add(-2 * time.Hour), Text: "long ago"},
	}
	rows := picturesOf(now, hours, nil, incidents)
	if len(rows) != 1 || rows[0].Service != "nova" || rows[0].Day.Words != "no request" {
		t.Fatalf("%+v", rows)
	}
	got := rows[0].Hour
	if got.Words != "up to 20/s, 8500 of 52000 failed" {
		t.Errorf("words %q", got.Words)
	}
	// Half of the height for the first 36 columns, the whole for 34, and nothing.
	if path := got.Area; !strings.HasPrefix(path, "M0 30L0 16H1L1 16H2") || !strings.Contains(path, "L35 16H36L36 2H37") || !strings.HasSuffix(path, "L69 2H70L70 30H71L71 30H72L72 30Z") {
		t.Errorf("path %s", path)
	}
	if want := (bar{36, 23, 1, 7}); len(got.Fails) != 34 || got.Fails[0] != want {
		t.Errorf("failures %v", got.Fails)
	}
	if !slices.Equal(got.Gaps, []bar{{70, 0, 2, 30}}) {
		t.Errorf("gaps %v", got.Gaps)
	}
	if want := []mark{{bar{36, 0, 1, 30}, toneBad, "ctl1 is lost"}, {bar{0, 0, 72, 30}, toneInfo, "drained"}}; !slices.Equal(got.Marks, want) {
		t.Errorf("marks %v, want %v", got.Marks, want)
	}
}
