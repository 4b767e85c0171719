// Package incident groups events that belong together into incidents: a host is lost, its
// VIP moves, its services fail elsewhere, and all of it comes back. It says what happened,
// since when, for how long, and what it cost. It is told the events, and keeps nothing.
package incident

import (
	"cmp"
	"slices"
	"time"

	"holdfast/internal/status"
)

// A State says whether an incident goes on.
type State string

// The states of an incident.
const (
	Open State = "open"
	Over State = "over"
)

// A Kind says what an incident is about, stable over releases.
type Kind string

// The kinds of incidents. A finding that is one has its code as the kind.
const (
	HostLost    Kind = "host-lost"    // a controller or another host, with all that runs on it
	ServiceDown Kind = "service-down" // hosts of one service, or several services of a host
	ServiceLate Kind = "service-late" // a host answers late, and stays in
	NotReached  Kind = "not-reached"  // one controller does not reach what others do
	CutOff      Kind = "cut-off"      // a controller and the others do not reach each other
	HAProxyLost Kind = "haproxy-lost" // HAProxy of a controller ended, hangs or cannot start
	AgentLost   Kind = "agent-lost"   // an agent ended without a word
	VIPMoved    Kind = "vip-moved"    // a VIP went to another controller, and nobody asked for it
	VIPUnfit    Kind = "vip-unfit"    // a controller cannot hold a VIP
	Handover    Kind = "handover"     // a planned move
	Drain       Kind = "drain"        // a controller, or a service on it, was taken out
	Agent       Kind = "agent"        // an agent was stopped, or started again
	Spec        Kind = "spec"         // a spec came into force, or was refused
	Certificate Kind = "certificate"  // one was changed, or refused
	Other       Kind = "other"
)

// Kinds gives all kinds but the codes of findings.
func Kinds() []Kind {
	return []Kind{HostLost, ServiceDown, ServiceLate, NotReached, CutOff, HAProxyLost, AgentLost, VIPMoved, VIPUnfit, Handover, Drain, Agent, Spec, Certificate, Other}
}

// An Incident is what belongs together. Its JSON form is the contract of docs/json.md.
type Incident struct {
	// ID is its first event's controller and place in the journal there: all who know
	// that event call the incident the same.
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Planned says that somebody wanted it: By, where that is known.
	Planned bool   `json:"planned"`
	By      string `json:"by,omitempty"`
	State   State  `json:"state"`
	Subject string `json:"subject"` // "controller ctl2", "service nova", "vip api"
	Text    string `json:"text"`    // what happened, and what came of it
	Cause   string `json:"cause,omitempty"`
	// Begin and End are by the middle one of the controllers' clocks; End is unset while
	// it goes on. Duration is until now then.
	Begin    time.Time     `json:"begin"`
	End      time.Time     `json:"end,omitzero"`
	Duration time.Duration `json:"duration_ns"`
	// Cost is what its events cost clients, together; nil where none says.
	Cost *status.Cost `json:"cost,omitempty"`
	// Events are its lines, the oldest first.
	Events []status.Event `json:"events"`
}

// A View is what is known beside the events.
type View struct {
	Now time.Time
	// Silent has the controllers that do not answer.
	Silent []string
}

// Group gives the incidents of events, which are in their order (see Merge), the oldest
// first.
func Group(events []status.Event, view View) []Incident {
	s := newSorter()
	for _, e := range events {
		s.add(e)
	}
	all := []Incident{}
	for _, g := range s.groups {
		all = append(all, g.incident(view))
	}
	slices.SortStableFunc(all, func(a, b Incident) int { return a.Begin.Compare(b.Begin) })
	return all
}

// incident says what g is.
func (g *group) incident(view View) Incident {
	slices.SortFunc(g.entries, func(a, b entry) int { return a.place - b.place })
	in := Incident{ID: g.id(), Planned: g.planned() || g.onlyGiven(), State: Open, Begin: g.begin(), Cost: g.cost()}
	for _, e := range g.entries {
		in.By = cmp.Or(in.By, e.By)
		in.Events = append(in.Events, e.Event)
	}
	if len(g.open) == 0 {
		in.State, in.End = Over, g.moved
	}
	in.Duration = max(0, in.until(view.Now).Sub(in.Begin))
	is := g.what(view)
	in.Kind, in.Subject, in.Text, in.Cause = is.kind, is.subject, is.text+g.consequences(is), is.cause
	return in
}

func (in Incident) until(now time.Time) time.Time {
	if in.State == Over {
		return in.End
	}
	return now
}

// begin gives when g began: what is told when it is over, as a failover, began before.
func (g *group) begin() time.Time {
	begin := g.entries[0].When()
	for _, e := range g.entries {
		if e.Kind != status.EventVIPActive && e.Kind != status.EventHandover {
			continue
		}
		if at := e.When().Add(-e.Took); at.Before(begin) {
			begin = at
		}
	}
	return begin
}

// cost gives what the events of g cost together; nil where none says.
func (g *group) cost() *status.Cost {
	var total *status.Cost
	for _, e := range g.entries {
		if e.Cost == nil {
			continue
		}
		if total == nil {
			total = &status.Cost{}
		}
		*total = total.Add(*e.Cost)
	}
	return total
}
