// Package tell tells a webhook and a command of incidents, as package notify decides. One
// controller does it for all: the first of the spec whose agent answers. It works on events
// that the journal has taken already, so whatever it waits for holds nobody up.
package tell

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"holdfast/internal/file"
	"holdfast/internal/incident"
	"holdfast/internal/notify"
	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
)

const (
	// gathers is how long events are left to come in before they are looked at.
	gathers = 2 * time.Second
	// alone is how long an incident lasts before those tell it who reach less than half of
	// the controllers: the others may be well, and tell it.
	alone = 2 * time.Minute
	// askTime bounds a word with another agent.
	askTime = 3 * time.Second
	// exchanged is how many of the foremost marks agents tell each other: half of what a
	// request may have.
	exchanged = 60
	// crowded is when there is another look where so many messages wait that no more can.
	crowded = time.Minute
	// command is what agents ask each other.
	command = "incidents"
)

// Options is what a Teller is made of. None of the functions is nil.
type Options struct {
	Controller string // this one's name in the spec
	StateDir   string
	Log        *slog.Logger
	// Spec gives the spec in force; nil while there is none.
	Spec func() *spec.Spec
	// Follow gives the events of this controller from now on, and what ends it.
	Follow func() (<-chan status.Event, func())
	// Journals gives what has happened on all controllers, and those that do not tell.
	Journals func(ctx context.Context) (all []incident.Journal, silent []string)
	// Ask has the agent of another controller carry out a command.
	Ask func(ctx context.Context, controller, command string, req, resp any) error
	// Now is the time by the middle one of the controllers' clocks.
	Now func() time.Time
	// SetFinding is told the finding under a key, nil when there is none.
	SetFinding func(key string, f *status.Finding)
}

// A Teller tells of incidents. Its methods may be called by any goroutine.
type Teller struct {
	opt   Options
	wake  chan struct{}
	news  chan struct{} // another agent's marks are not kept yet
	mails *mails

	mu    sync.Mutex // guards following
	marks notify.Marks

	saving sync.Mutex // held while marks are written: the newest last
}

// New makes a Teller. It tells nothing until Watch, and knows nothing until Load.
func New(opt Options) *Teller {
	t := &Teller{opt: opt, wake: make(chan struct{}, 1), news: make(chan struct{}, 1)}
	t.mails = newMails(opt, t.done)
	return t
}

// Commands gives what the agents of other controllers may ask for.
func (t *Teller) Commands() map[string]peer.Handler {
	return map[string]peer.Handler{command: peer.Handle(t.asked)}
}

// An exchange is what agents tell each other: what was told of incidents and, with Wake,
// that something has happened.
type exchange struct {
	Marks []notify.Mark `json:"marks"`
	Wake  bool          `json:"wake,omitempty"`
}

func (t *Teller) asked(_ context.Context, _ string, req exchange) (any, error) {
	t.learn(req.Marks)
	if req.Wake {
		tick.Wake(t.wake)
	}
	return exchange{Marks: t.newest()}, nil
}

// Watch tells of incidents until ctx ends.
func (t *Teller) Watch(ctx context.Context) {
	events, stop := t.opt.Follow()
	defer stop()
	go t.keep(ctx)
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() { t.mails.run(ctx) })
	tick.Wake(t.wake) // of what happened before
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	due := time.Now().Add(time.Hour)
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			due = soonest(due, time.Now().Add(gathers))
		case <-t.wake:
			due = soonest(due, time.Now().Add(gathers))
		case <-timer.C:
			due = time.Now().Add(t.look(ctx))
		}
		timer.Reset(time.Until(due))
	}
}

// keep saves what other agents have told, beside all else: who asks does not wait for a
// disk that stands still, nor does the end of the agent.
func (t *Teller) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.news:
			t.save()
		}
	}
}

func soonest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// idle is when Watch looks again where nothing happens.
const idle = time.Hour

// look has the first controller that answers tell what is to be told, and gives when to
// look again.
func (t *Teller) look(ctx context.Context) time.Duration {
	s := t.opt.Spec()
	if s == nil || !s.Notify.Any() {
		return idle
	}
	for _, c := range s.Controllers {
		if c.Name == t.opt.Controller {
			return t.round(ctx, s)
		}
		if t.exchange(ctx, c.Name, true) == nil {
			return idle
		}
	}
	return idle
}

// round tells what is to be told now, as the one that does.
func (t *Teller) round(ctx context.Context, s *spec.Spec) time.Duration {
	t.exchangeAll(ctx, s)
	journals, silent := t.opt.Journals(ctx)
	now := t.opt.Now()
	all := incident.Group(incident.Merge(journals...), incident.View{Now: now, Silent: silent})
	room := t.mails.room()
	if room == 0 {
		return crowded
	}
	after := s.Notify.After
	if answer := len(s.Controllers) - len(silent); 2*answer < len(s.Controllers) {
		after = max(after, alone)
	}
	t.mu.Lock()
	// An earlier life of this agent is silent too.
	plan := t.marks.Plan(t.opt.Controller, all, now, notify.Settings{After: after, Planned: s.Notify.Planned, Most: room}, append(silent, ""))
	t.mu.Unlock()
	if len(plan.Tell) > 0 {
		t.save()
		t.exchangeAll(ctx, s) // before it is told: who takes this one's place is to know
	}
	for _, in := range plan.Tell {
		t.mu.Lock()
		mine := t.marks.Mine(t.opt.Controller, in)
		t.mu.Unlock()
		if mine {
			t.mails.add(notify.NewMessage(s.Cloud, t.opt.Controller, in))
		}
	}
	if plan.Next.IsZero() {
		return idle
	}
	return max(time.Second, min(idle, plan.Next.Sub(now)+time.Second))
}

// done notes that a message was taken, or is given up.
func (t *Teller) done(ctx context.Context, m notify.Message) {
	t.mu.Lock()
	t.marks.Done(m.Incident.ID, m.State)
	t.mu.Unlock()
	t.save()
	if s := t.opt.Spec(); s != nil {
		t.exchangeAll(ctx, s)
	}
}

func (t *Teller) newest() []notify.Mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.marks.Foremost(exchanged)
}

func (t *Teller) learn(marks []notify.Mark) {
	t.mu.Lock()
	news := t.marks.Learn(marks, t.opt.Now())
	t.mu.Unlock()
	if news {
		tick.Wake(t.news)
	}
}

// exchangeAll tells all others what was told, and learns what they know.
func (t *Teller) exchangeAll(ctx context.Context, s *spec.Spec) {
	var all sync.WaitGroup
	for _, c := range s.Others(t.opt.Controller) {
		all.Go(func() { _ = t.exchange(ctx, c.Name, false) }) //nolint:errcheck // who does not answer tells nothing either
	}
	all.Wait()
}

func (t *Teller) exchange(ctx context.Context, controller string, wake bool) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var answer exchange
	if err := t.opt.Ask(ctx, controller, command, exchange{Marks: t.newest(), Wake: wake}, &answer); err != nil {
		return err
	}
	t.learn(answer.Marks)
	return nil
}

// A kept is the file of what was told.
type kept struct {
	Schema int           `json:"schema"` // always 1
	Marks  []notify.Mark `json:"marks"`
}

func (t *Teller) path() string { return filepath.Join(t.opt.StateDir, "notified.json") }

// save keeps what was told for the next start. Where it cannot, the others know it.
func (t *Teller) save() {
	t.saving.Lock()
	defer t.saving.Unlock()
	t.mu.Lock()
	data, err := json.MarshalIndent(kept{1, t.marks.List()}, "", "  ")
	t.mu.Unlock()
	if err == nil {
		err = file.Write(t.path(), append(data, '\n'), 0o640)
	}
	if err != nil {
		t.opt.Log.Warn("what was told of incidents is not kept", "error", err)
	}
}

// Load reads what was told before this start, before another agent tells what it knows.
// What an earlier life was about to tell is told by whoever comes to it first.
func (t *Teller) Load() {
	data, err := readFile(t.path())
	if err != nil || data == nil {
		return
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		t.opt.Log.Warn("what was told of incidents is not known", "error", err)
		return
	}
	k.Marks = slices.Clone(k.Marks)
	for i, m := range k.Marks {
		if m.By == t.opt.Controller && !m.Told {
			k.Marks[i].By = ""
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.marks.Learn(k.Marks, t.opt.Now())
}
