package keystone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/catalog"
	"holdfast/internal/spec"
)

// ErrChanged says that the catalog is not any more as the plan found it.
var ErrChanged = errors.New("the catalog has changed since the plan was made; look at a new one: holdfast endpoints plan")

const (
	// verifyFor is how long a change may take to show in fresh tokens: several
	// Keystones with caches of their own need a while to agree.
	verifyFor   = 15 * time.Second
	verifyPause = 500 * time.Millisecond
)

// An Applier changes a catalog, and changes it back.
type Applier struct {
	Client   *Client
	Prober   *Prober
	Journals Journals
	Spec     *spec.Spec
	Catalog  catalog.Catalog
	// Now gives the time for the journal.
	Now func() time.Time
	// Tell is told what is being done, a line at a time.
	Tell func(line string)

	wrap      func(journalWriter) journalWriter // for tests: the journal that they break
	verifyFor time.Duration                     // for tests; 0 is the usual
}

// A StoppedError says that an apply or a rollback did not come to its end.
type StoppedError struct {
	Journal string // its name
	Done    int    // changes made and verified, or undone
	Err     error
}

func (e *StoppedError) Error() string { return e.Err.Error() }

func (e *StoppedError) Unwrap() error { return e.Err }

// Apply makes the changes of plan, which was made with opt, one at a time. It
// gives the name of the journal. It makes no change when the catalog is not as
// the plan found it. An error after the first change is a *StoppedError.
func (a *Applier) Apply(ctx context.Context, plan Plan, opt PlanOptions) (journal string, err error) {
	release, err := a.Journals.Lock()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, release()) }()
	state, err := a.Client.State(ctx)
	if err != nil {
		return "", err
	}
	if now := MakePlan(state, a.Spec, a.Catalog, opt); now.ID != plan.ID {
		return "", ErrChanged
	}
	broken, err := a.Journals.unfinished()
	if err != nil {
		return "", err
	}
	file, name, err := a.Journals.create(a.Now)
	if err != nil {
		return "", err
	}
	w := a.wrapped(file)
	defer func() { err = errors.Join(err, w.close()) }()
	err = w.write(Entry{
		Kind: Begin, Version: JournalVersion, Plan: plan.ID, Cloud: a.Spec.Cloud, Region: plan.Region,
		AuthURL: a.Client.URL(), Total: len(plan.Changes), Continues: broken,
	})
	if err != nil {
		return name, err
	}
	if broken != "" {
		a.Tell("an apply was broken off; this one goes on with what it left, and a rollback undoes both: " + broken)
	}
	return name, a.applyAll(ctx, plan, state, w, name)
}

func (a *Applier) wrapped(w journalWriter) journalWriter {
	if a.wrap != nil {
		return a.wrap(w)
	}
	return w
}

// applyAll makes the changes of plan. State is what it was made on.
func (a *Applier) applyAll(ctx context.Context, plan Plan, state State, w journalWriter, name string) error {
	run := &run{Applier: a, w: w, state: state, visible: visibleIDs(a.Client.token), newServices: map[string]string{}}
	for i, c := range plan.Changes {
		a.Tell(fmt.Sprintf("%d/%d %s", i+1, len(plan.Changes), c))
		if err := run.change(ctx, c); err != nil {
			err = fmt.Errorf("change %d of %d, %s: %w", i+1, len(plan.Changes), c, err)
			// If this cannot be written, the journal ends here, which says the same.
			err = errors.Join(err, w.write(Entry{Kind: Stopped, Error: a.Client.auth.scrub(err.Error())}))
			return &StoppedError{Journal: name, Done: i, Err: err}
		}
	}
	return w.write(Entry{Kind: Applied})
}

// run is one apply under way.
type run struct {
	*Applier
	w       journalWriter
	state   State           // as at the beginning
	visible map[string]bool // ids of the endpoints that a token had at the beginning
	// newServices has the ids of services that this run created, by type.
	newServices map[string]string
}

// visibleIDs gives the ids of all endpoints in the catalog of token.
func visibleIDs(token Token) map[string]bool {
	ids := map[string]bool{}
	for _, entry := range token.Catalog {
		for _, e := range entry.Endpoints {
			ids[e.ID] = true
		}
	}
	return ids
}

// change makes one change: it looks, writes down, changes, and looks again.
func (r *run) change(ctx context.Context, c Change) error {
	if c.Op == Create && c.After.ServiceID == "" {
		c.After.ServiceID = r.newServices[c.After.ServiceType]
	}
	if c.Op == Update || c.Op == Create {
		if why := r.Prober.unanswered(ctx, probeURL(c.After.URL)); why != "" {
			return fmt.Errorf("%s does not answer, so nothing was changed: %s", c.After.URL, why)
		}
	}
	existing, err := r.unchanged(ctx, c)
	if err != nil {
		return err
	}
	err = r.w.write(Entry{Kind: Intend, N: c.N, Op: c.Op, Before: c.Before, After: &c.After, Existing: existing})
	if err != nil {
		return err
	}
	id, err := r.request(ctx, c)
	if err != nil {
		return err
	}
	if err := r.w.write(Entry{Kind: Changed, N: c.N, ID: id}); err != nil {
		return err
	}
	if err := r.verify(ctx, c, id); err != nil {
		return err
	}
	return r.w.write(Entry{Kind: Verified, N: c.N})
}

// unchanged makes sure that nobody has changed what c is about since the plan
// was made. It gives the ids of what is there and could be mistaken for what c
// creates.
func (r *run) unchanged(ctx context.Context, c Change) ([]string, error) {
	if c.Op == CreateService {
		var existing []string
		for _, s := range r.state.Services {
			existing = append(existing, s.ID)
		}
		return existing, nil
	}
	if c.Op == Create && c.After.ServiceID == "" {
		return nil, fmt.Errorf("Keystone has no service of the type %s", c.After.ServiceType)
	}
	now, err := r.Client.endpoints(ctx, c.After.ServiceID)
	if err != nil {
		return nil, err
	}
	if c.Before != nil {
		i := slices.IndexFunc(now, func(e Record) bool { return e.ID == c.Before.ID })
		if i < 0 || !now[i].same(*c.Before) {
			return nil, fmt.Errorf("somebody has changed it meanwhile: %w", ErrChanged)
		}
		return nil, nil
	}
	var existing []string
	for _, e := range now {
		existing = append(existing, e.ID)
	}
	return existing, nil
}

// request asks Keystone to make c, and gives the id of what was created.
func (r *run) request(ctx context.Context, c Change) (string, error) {
	// The others need nothing here.
	//exhaustive:ignore
	switch c.Op {
	case CreateService:
		id, err := r.Client.createService(ctx, c.After.ServiceName, c.After.ServiceType)
		r.newServices[c.After.ServiceType] = id
		return id, err
	case Create:
		return r.Client.create(ctx, c.After)
	}
	return "", r.Client.put(ctx, c.Before.ID, c.After.URL, c.After.Enabled)
}

// verify proves that c has come about: a fresh token has it, its URL answers,
// and where that is Keystone's own, gives tokens.
func (r *run) verify(ctx context.Context, c Change, id string) error {
	if c.Op == CreateService {
		return nil // a catalog has no service without endpoints
	}
	if id == "" {
		id = c.Before.ID
	}
	if err := r.awaitToken(ctx, c, id); err != nil {
		return fmt.Errorf("the change was made, but %w", err)
	}
	if c.Op == Disable {
		return nil
	}
	if why := r.Prober.unanswered(ctx, probeURL(c.After.URL)); why != "" {
		return fmt.Errorf("the change was made, but %s does not answer: %s", c.After.URL, why)
	}
	if strings.EqualFold(c.After.ServiceType, identityType) {
		if err := r.Client.ValidFrom(ctx, identityURL(c.After.URL)); err != nil {
			return fmt.Errorf("the change was made, but Keystone does not work there: %w", err)
		}
	}
	return nil
}

// awaitToken waits until a fresh token has c, for as long as Keystones with
// caches may take to agree.
func (r *run) awaitToken(ctx context.Context, c Change, id string) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.verifyFor, verifyFor))
	defer cancel()
	var last error
	for {
		err := r.inFreshToken(ctx, c, id)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(verifyPause):
		}
	}
}

// inFreshToken gets a new token, and says why its catalog is not as c wants it.
func (r *run) inFreshToken(ctx context.Context, c Change, id string) error {
	token, err := r.Client.Refresh(ctx)
	if err != nil {
		return err
	}
	found := ""
	for _, entry := range token.Catalog {
		for _, e := range entry.Endpoints {
			if e.ID == id {
				found = e.URL
			}
		}
	}
	want, known := Fill(c.After.URL, token.ProjectID, token.UserID)
	switch {
	case c.Op == Disable && found == "", found == want && known:
		return nil
	case c.Op == Disable:
		return fmt.Errorf("the catalog of a fresh token still has it; do the Keystones have caches of their own?")
	case found != "" && !known:
		return sameBeginning(want, found)
	case found == "" && (!known || c.Before != nil && c.Before.Enabled && !r.visible[id]):
		// This token never sees it, for it has no project, or the service is
		// disabled, or the endpoint is for other projects only.
		return r.inListing(ctx, c, id)
	case found == "":
		return errors.New("the catalog of a fresh token has it not; do the Keystones have caches of their own?")
	}
	return fmt.Errorf("the catalog of a fresh token has %s, want %s; do the Keystones have caches of their own?", found, want)
}

// sameBeginning compares URLs up to the first template that want still has.
func sameBeginning(want, found string) error {
	if i := templateAt(want); i >= 0 && strings.HasPrefix(found, want[:i]) {
		return nil
	}
	return fmt.Errorf("the catalog of a fresh token has %s, want %s", found, want)
}

// inListing is inFreshToken for what no token of this user has.
func (r *run) inListing(ctx context.Context, c Change, id string) error {
	now, err := r.Client.endpoints(ctx, c.After.ServiceID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(now, func(e Record) bool { return e.ID == id })
	if i < 0 || now[i].URL != c.After.URL || now[i].Enabled != c.After.Enabled {
		return errors.New("Keystone does not list it so")
	}
	return nil
}
