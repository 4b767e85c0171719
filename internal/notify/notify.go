// Package notify decides which incidents are to be told, and when: one message when one
// begins and one when it is over, whichever controller tells them, and however often that
// changes. It is told the incidents, the time, and what other controllers have told.
package notify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"holdfast/internal/incident"
	"holdfast/internal/status"
)

const (
	// recent is how old the end of an incident may be that nobody has been told of: who
	// begins to tell does not tell the past.
	recent = 10 * time.Minute
	// pause is how long nothing more is told of an incident that was told of.
	pause = time.Minute
	// abandoned is from when on what a controller was about to tell is told by another
	// one, where it does not answer any more.
	abandoned = 30 * time.Second
	// lateness is how long a host that is late, and serves, has to be so before that is told.
	lateness = 5 * time.Minute
	// kept is how many marks are remembered, and knownEvents how many events each names.
	kept, knownEvents = 500, 10
)

// A Mark says that an incident was told, or is about to be.
type Mark struct {
	ID    string         `json:"id"`
	State incident.State `json:"state"` // as it was told
	// By is the controller that tells it, Told whether that was taken.
	By   string `json:"by"`
	Told bool   `json:"told"`
	// At is when it was decided, by the middle one of the controllers' clocks.
	At time.Time `json:"at"`
	// Events name the first events of the incident, which may get another id when an
	// earlier one comes to light.
	Events []string `json:"events"`
}

// later reports whether m says more than other of the same incident. Of two that decided
// in the same moment the first by name counts.
func (m Mark) later(other Mark) bool {
	switch apart := m.At.Sub(other.At); {
	case m.State == other.State && m.By == other.By:
		return m.Told && !other.Told
	case m.State == other.State && apart.Abs() < abandoned/2:
		return m.By < other.By
	default:
		return apart > 0
	}
}

// Marks has what was told. The zero Marks has nothing.
type Marks struct {
	all map[string]Mark
}

// List gives the marks, the oldest first.
func (b *Marks) List() []Mark {
	return slices.SortedFunc(maps.Values(b.all), func(a, b Mark) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
}

// Foremost gives n marks at most: those of incidents that go on before those of others,
// and of each the newest; the oldest first.
func (b *Marks) Foremost(n int) []Mark {
	all := b.List()
	slices.SortStableFunc(all, func(a, b Mark) int { return cmp.Compare(rank(a), rank(b)) })
	return all[max(0, len(all)-n):]
}

// rank is less for what may be forgotten first.
func rank(m Mark) int {
	if m.State == incident.Open {
		return 1
	}
	return 0
}

// Learn takes what others know at now, and reports whether anything of it is new. What was
// decided later than that was by a clock that was wrong.
func (b *Marks) Learn(marks []Mark, now time.Time) (news bool) {
	for _, m := range marks {
		if m.ID == "" || len(m.Events) > knownEvents {
			continue
		}
		if m.At.After(now) {
			m.At = now
		}
		if had, known := b.all[m.ID]; known && !m.later(had) {
			continue
		}
		b.set(m)
		news = true
	}
	return news
}

func (b *Marks) set(m Mark) {
	if b.all == nil {
		b.all = map[string]Mark{}
	}
	b.all[m.ID] = m
	if len(b.all) > kept {
		delete(b.all, b.Foremost(len(b.all))[0].ID)
	}
}

// of gives the marks of an incident, the first the one that it is told by: that of its own id,
// or of whichever of its events is known. There are more where incidents that were told apart
// are found to be one. A mark with the same id and another first event is of another incident:
// its controller has lost its journal, and counts anew.
func (b *Marks) of(in incident.Incident) []Mark {
	names := eventNames(in)
	var all []Mark
	for _, m := range b.List() {
		switch {
		case !slices.ContainsFunc(m.Events, func(name string) bool { return slices.Contains(names, name) }):
		case m.ID == in.ID:
			all = append([]Mark{m}, all...)
		default:
			all = append(all, m)
		}
	}
	return all
}

func eventNames(in incident.Incident) []string {
	var names []string
	for _, e := range in.Events {
		names = append(names, fmt.Sprintf("%s-%d-%d", e.Controller, e.Seq, e.Time.UnixMilli()))
	}
	return names
}

// first names the first events of in: those that its mark had, where there is one, so that each
// of several that are one is known by its own.
func first(in incident.Incident, m Mark) []string {
	names := slices.Clone(m.Events)
	for _, name := range eventNames(in) {
		if len(names) < knownEvents && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Settings say what is told.
type Settings struct {
	After   time.Duration // see spec.Notify
	Planned bool
	// Most is how many can be told now; 0: however many there are.
	Most int
}

// A Plan says what is to be told now, and when to look again; the zero time is when
// something happens.
type Plan struct {
	Tell []incident.Incident // with the ids that they were told by
	Next time.Time
}

// Plan decides what self is to tell of incidents at now, and marks that it will. silent has
// the controllers that do not answer: what they were about to tell is told by self.
func (b *Marks) Plan(self string, all []incident.Incident, now time.Time, set Settings, silent []string) Plan {
	t := teller{b: b, self: self, now: now, set: set, silent: silent}
	for _, in := range all {
		if in.Planned && !set.Planned {
			continue
		}
		marks := b.of(in)
		if len(marks) == 0 {
			t.tell(in, Mark{}, false)
			continue
		}
		for i, m := range marks {
			if i > 0 && in.State == incident.Open { // it goes on by the first id
				break
			}
			in.ID = m.ID
			t.tell(in, m, true)
		}
	}
	return t.plan
}

// A teller is one run of Plan.
type teller struct {
	b      *Marks
	self   string
	now    time.Time
	set    Settings
	silent []string
	plan   Plan
}

// tell has in told where it is time to; m is the mark of its id, if that is known.
func (t *teller) tell(in incident.Incident, m Mark, known bool) {
	at, due := when(in, m, known, t.set.After, t.silent, t.now)
	switch {
	case !due:
	case at.After(t.now):
		t.plan.look(at)
	case t.set.Most > 0 && len(t.plan.Tell) == t.set.Most:
		t.plan.look(t.now.Add(pause))
	default:
		t.b.set(Mark{ID: in.ID, State: in.State, By: t.self, At: t.now, Events: first(in, m)})
		t.plan.Tell = append(t.plan.Tell, in)
	}
}

// look has p say to look again at some time, at the latest.
func (p *Plan) look(at time.Time) {
	if p.Next.IsZero() || at.Before(p.Next) {
		p.Next = at
	}
}

// when gives from when on in is to be told as it is; not due: it is not.
func when(in incident.Incident, m Mark, known bool, after time.Duration, silent []string, now time.Time) (at time.Time, due bool) {
	if in.Kind == incident.ServiceLate && !known {
		if in.State == incident.Over && in.Duration < lateness {
			return time.Time{}, false
		}
		after = max(after, lateness)
	}
	if known && m.State == in.State {
		if m.Told || !slices.Contains(silent, m.By) {
			return time.Time{}, false
		}
		return m.At.Add(abandoned), true
	}
	if in.State == incident.Over {
		if !known && now.Sub(in.End) > recent {
			return time.Time{}, false
		}
		at = in.End.Add(after)
	} else {
		at = in.Begin.Add(after)
		for _, e := range in.Events { // one that begins again has to last again
			if known && e.When().After(m.At) {
				at = e.When().Add(after)
				break
			}
		}
	}
	if known && at.Before(m.At.Add(pause)) {
		at = m.At.Add(pause)
	}
	return at, true
}

// Done notes that the message about an incident was taken, and gives its mark.
func (b *Marks) Done(id string, state incident.State) {
	if m, known := b.all[id]; known && m.State == state {
		m.Told = true
		b.set(m)
	}
}

// Mine reports whether it is self that tells an incident as it is.
func (b *Marks) Mine(self string, in incident.Incident) bool {
	m, known := b.all[in.ID]
	return known && m.By == self && m.State == in.State
}

// maxEvents is how many events a message has at most.
const maxEvents = 100

// A Message is what is told.
type Message struct {
	Schema     int               `json:"schema"` // always 1
	Cloud      string            `json:"cloud"`
	Controller string            `json:"controller"` // who tells it
	State      incident.State    `json:"state"`
	Incident   incident.Incident `json:"incident"`
}

// NewMessage gives what controller tells of in.
func NewMessage(cloud, controller string, in incident.Incident) Message {
	in.Events = append([]status.Event{}, in.Events[:min(len(in.Events), maxEvents)]...)
	return Message{Schema: 1, Cloud: cloud, Controller: controller, State: in.State, Incident: in}
}
