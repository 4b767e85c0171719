package web

import (
	"context"
	"net/http"
	"time"

	"holdfast/internal/incident"
	"holdfast/internal/status"
)

const (
	// IncidentEvents is how many of the newest events of each controller are looked at for
	// incidents.
	IncidentEvents = 1000
	// defaultIncidents is how many are shown.
	defaultIncidents = 50
)

// Incidents is the answer of /incidents.
type Incidents struct {
	Schema    int                 `json:"schema"`    // always 1
	Incidents []incident.Incident `json:"incidents"` // oldest first
}

// Incidents gives the newest n incidents of all controllers, as this one finds them. Those
// of the last second are given again.
func (s *Server) Incidents(ctx context.Context, n int) []incident.Incident {
	all := s.views.get(ctx).incidents
	if all == nil { // nobody has looked yet
		all = []incident.Incident{}
	}
	return all[max(0, len(all)-n):]
}

// Group gives the incidents of journals at now, by the middle one of the controllers' clocks.
func Group(journals []Journal, now time.Time) []incident.Incident {
	all, silent := Told(journals)
	return incident.Group(incident.Merge(all...), incident.View{Now: now, Silent: silent})
}

// Merge brings the events of journals into one order.
func Merge(journals []Journal) []status.Event {
	all, _ := Told(journals)
	return incident.Merge(all...)
}

// Told gives journals as package incident takes them, and the controllers that told nothing.
func Told(journals []Journal) (all []incident.Journal, silent []string) {
	for _, j := range journals {
		all = append(all, incident.Journal{Controller: j.Controller, Events: j.Events, ClockAhead: j.ClockAhead})
		if j.Error != "" {
			silent = append(silent, j.Controller)
		}
	}
	return all, silent
}

func (s *Server) serveIncidents(w http.ResponseWriter, r *http.Request) {
	n, _, err := whichEvents(r)
	if err != nil {
		writeError(w, Wrong("%v", err))
		return
	}
	if !r.URL.Query().Has("n") {
		n = defaultIncidents
	}
	writeJSON(w, http.StatusOK, Incidents{Schema: 1, Incidents: s.Incidents(r.Context(), n)})
}
