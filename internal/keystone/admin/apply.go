package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"holdfast/internal/catalog"
	"holdfast/internal/changelog"
	"holdfast/internal/keystone"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// ErrChanged says that the catalog is not any more as the plan found it.
var ErrChanged = errors.New("the catalog has changed since the plan was made; look at a new one: holdfast endpoints plan")

const (
	// DefaultWait is how long a change may take to show in fresh tokens. Keystone
	// keeps the catalog for 10 minutes (expiration_time of [cache]), and every
	// process of it for itself, where the cache is not one for all.
	DefaultWait = 11 * time.Minute
	verifyPause = 500 * time.Millisecond
	// settleTokens is how many fresh tokens in a row have to have all changes, and
	// settleAfterOld how many when one had not: with as many processes that have
	// the old catalog as the new, one in 2^20 runs takes chance for agreement.
	settleTokens   = 8
	settleAfterOld = 20
)

// Journals has the journals of all applies.
type Journals = changelog.Folder[keystone.Entry]

// A Journal is that of one apply.
type Journal = changelog.Journal[keystone.Entry]

// JournalsIn gives those of the state directory dir.
func JournalsIn(dir string) Journals {
	return Journals{Dir: filepath.Join(dir, "endpoints"), Command: "holdfast endpoints"}
}

// An Applier changes a catalog, and changes it back.
type Applier struct {
	Client   *Client
	Prober   *Prober
	Journals Journals
	Spec     *spec.Spec
	Catalog  catalog.Catalog
	// Tell is told what is being done, a line at a time.
	Tell func(line string)
	// Wait bounds how long a change may take to show in fresh tokens. 0 is
	// DefaultWait.
	Wait time.Duration

	pause time.Duration // for tests: between two tokens; 0 is verifyPause
}

// An ApplyResult says what an apply did.
type ApplyResult struct {
	Journal string // its name; empty when none was begun
	// Unseen are the changes that Keystone has made, and that no token of these
	// credentials shows: each with the reason.
	Unseen []string
	// Behind says that fresh tokens had the old catalog still, at the end of the
	// wait; empty when they had not.
	Behind string
}

// Apply makes the changes of plan, which was made with opt, one at a time. It
// makes no change when the catalog is not as the plan found it. An error after
// the first change is a *changelog.StoppedError.
func (a *Applier) Apply(ctx context.Context, plan keystone.Plan, opt keystone.PlanOptions) (out ApplyResult, err error) {
	held, err := a.Journals.Lock()
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, held.Release()) }()
	state, err := a.Client.State(ctx)
	if err != nil {
		return out, err
	}
	if now := keystone.MakePlan(state, a.Spec, a.Catalog, opt); now.ID != plan.ID {
		return out, ErrChanged
	}
	w, err := held.Create()
	if err != nil {
		return out, err
	}
	out.Journal = w.Name
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.Begin(plan.ID, a.Spec.Cloud, len(plan.Changes), keystone.Entry{Region: plan.Region, AuthURL: a.Client.URL()}); err != nil {
		return out, err
	}
	if w.Continues != "" {
		a.Tell("an apply was broken off; this one goes on with what it left, and a rollback undoes both: " + w.Continues)
	}
	return out, a.applyAll(ctx, plan, state, w, &out)
}

// applyAll makes the changes of plan. State is what it was made on.
func (a *Applier) applyAll(ctx context.Context, plan keystone.Plan, state keystone.State, w *changelog.Writer[keystone.Entry], out *ApplyResult) error {
	run := &run{Applier: a, w: w, out: out, state: state, visible: visibleIDs(a.Client.token), newServices: map[string]string{}}
	for i, c := range plan.Changes {
		a.Tell(fmt.Sprintf("%d/%d %s", i+1, len(plan.Changes), c))
		if err := run.change(ctx, c); err != nil {
			err = fmt.Errorf("change %d of %d, %s: %w", i+1, len(plan.Changes), c, err)
			return w.Stop(i, err, a.Client.auth.scrub(err.Error()))
		}
	}
	if err := w.Applied(); err != nil {
		return err
	}
	out.Behind = run.settle(ctx)
	return nil
}

// run is one apply under way.
type run struct {
	*Applier
	w       *changelog.Writer[keystone.Entry]
	out     *ApplyResult
	seen    []made          // changes that a fresh token has had
	told    bool            // that tokens are of caches
	state   keystone.State  // as at the beginning
	visible map[string]bool // ids of the endpoints that a token had at the beginning
	// newServices has the ids of services that this run created, by type.
	newServices map[string]string
}

// made is a change that was made, and the id of its endpoint.
type made struct {
	keystone.Change
	id string
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
func (r *run) change(ctx context.Context, c keystone.Change) error {
	if c.Op == keystone.Create && c.After.ServiceID == "" {
		c.After.ServiceID = r.newServices[c.After.ServiceType]
	}
	if c.Op == keystone.Update || c.Op == keystone.Create {
		if why := r.Prober.unanswered(ctx, keystone.ProbeURL(c.After.URL)); why != "" {
			return fmt.Errorf("%s does not answer, so nothing was changed: %s", c.After.URL, why)
		}
	}
	existing, err := r.unchanged(ctx, c)
	if err != nil {
		return err
	}
	err = r.w.Intend(c.N, keystone.Entry{Op: c.Op, Before: c.Before, After: &c.After, Existing: existing})
	if err != nil {
		return err
	}
	id, err := r.request(ctx, c)
	if err != nil {
		return err
	}
	if err := r.w.Made(c.N, keystone.Entry{ID: id}); err != nil {
		return err
	}
	err = r.verify(ctx, c, id)
	if unseen, isUnseen := errors.AsType[*unseenError](err); isUnseen {
		r.out.Unseen = append(r.out.Unseen, fmt.Sprintf("%s: %v", c.After, unseen))
		r.Tell(fmt.Sprintf("made, and not verified: %v", unseen))
		return nil
	}
	if err != nil {
		return err
	}
	return r.w.Verified(c.N)
}

// unchanged makes sure that nobody has changed what c is about since the plan
// was made. It gives the ids of what is there and could be mistaken for what c
// creates.
func (r *run) unchanged(ctx context.Context, c keystone.Change) ([]string, error) {
	if c.Op == keystone.CreateService {
		var existing []string
		for _, s := range r.state.Services {
			existing = append(existing, s.ID)
		}
		return existing, nil
	}
	if c.Op == keystone.Create && c.After.ServiceID == "" {
		return nil, fmt.Errorf("Keystone has no service of the type %s", c.After.ServiceType)
	}
	now, err := r.Client.endpoints(ctx, c.After.ServiceID)
	if err != nil {
		return nil, err
	}
	if c.Before != nil {
		i := slices.IndexFunc(now, func(e keystone.Record) bool { return e.ID == c.Before.ID })
		if i < 0 || !now[i].Same(*c.Before) {
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
func (r *run) request(ctx context.Context, c keystone.Change) (string, error) {
	// The others need nothing here.
	//exhaustive:ignore
	switch c.Op {
	case keystone.CreateService:
		id, err := r.Client.createService(ctx, c.After.ServiceName, c.After.ServiceType)
		r.newServices[c.After.ServiceType] = id
		return id, err
	case keystone.Create:
		return r.Client.create(ctx, c.After)
	}
	return "", r.Client.put(ctx, c.Before.ID, c.After.URL, c.After.Enabled)
}

// verify proves that c has come about: a fresh token has it, its URL answers,
// and where that is Keystone's own, gives tokens. An *unseenError says that all
// else is so, and no token of ours can show it.
func (r *run) verify(ctx context.Context, c keystone.Change, id string) error {
	if c.Op == keystone.CreateService {
		return nil // a catalog has no service without endpoints
	}
	if id == "" {
		id = c.Before.ID
	}
	seen := r.awaitToken(ctx, c, id)
	_, isUnseen := errors.AsType[*unseenError](seen)
	if seen != nil && !isUnseen {
		return fmt.Errorf("the change was made, but %w", seen)
	}
	if seen == nil {
		r.seen = append(r.seen, made{c, id})
	}
	if c.Op == keystone.Disable {
		return seen
	}
	if why := r.Prober.unanswered(ctx, keystone.ProbeURL(c.After.URL)); why != "" {
		return fmt.Errorf("the change was made, but %s does not answer: %s", c.After.URL, why)
	}
	if strings.EqualFold(c.After.ServiceType, keystone.IdentityType) {
		if err := r.Client.ValidFrom(ctx, identityURL(c.After.URL)); err != nil {
			return fmt.Errorf("the change was made, but Keystone does not work there: %w", err)
		}
	}
	return seen
}

// An unseenError says why no token of these credentials has an endpoint.
type unseenError struct{ why string }

func (e *unseenError) Error() string { return e.why + "; Keystone lists it as it is to be" }

// awaitToken waits until a fresh token has c, for as long as Keystones with
// caches may take.
func (r *run) awaitToken(ctx context.Context, c keystone.Change, id string) error {
	limit, cancel := context.WithTimeout(ctx, r.wait())
	defer cancel()
	var last error
	for {
		token, err := r.Client.Refresh(limit)
		if err == nil {
			err = r.inToken(limit, token, c, id)
		}
		if _, unseen := errors.AsType[*unseenError](err); err == nil || unseen {
			return err
		}
		if last == nil || limit.Err() == nil {
			last = err
		}
		if _, old := errors.AsType[*oldCatalogError](err); old {
			r.tellOfCaches(err)
		}
		if r.sleep(limit); limit.Err() == nil {
			continue
		}
		if _, old := errors.AsType[*oldCatalogError](last); old && ctx.Err() == nil {
			return fmt.Errorf("after %s %w; do the Keystones have caches of their own, for longer than that? see cache_time and expiration_time in keystone.conf", status.Brief(r.wait()), last)
		}
		return last
	}
}

func (r *run) wait() time.Duration { return cmp.Or(r.Wait, DefaultWait) }

// tellOfCaches says once what is waited for.
func (r *run) tellOfCaches(why error) {
	if r.told {
		return
	}
	r.told = true
	r.Tell(fmt.Sprintf("%v: Keystone keeps catalogs in a cache (for 10m, unless its configuration says otherwise), each process for itself where the cache is not one for all; waiting up to %s for it", why, status.Brief(r.wait())))
}

// An oldCatalogError says that a fresh token has a catalog of before a change.
type oldCatalogError struct{ text string }

func (e *oldCatalogError) Error() string { return e.text }

// inToken says why the catalog of token, a fresh one, is not as c wants it.
func (r *run) inToken(ctx context.Context, token Token, c keystone.Change, id string) error {
	found := ""
	for _, entry := range token.Catalog {
		for _, e := range entry.Endpoints {
			if e.ID == id {
				found = e.URL
			}
		}
	}
	want := keystone.Fill(c.After.URL, token.ProjectID, token.UserID)
	switch {
	case c.Op == keystone.Disable && found == "":
		return nil
	case c.Op == keystone.Disable:
		return &oldCatalogError{"the catalog of a fresh token still has it"}
	case want.Fault != "":
		return keystone.FaultError(c.After.URL)
	case found == "" && want.Project:
		return r.inListing(ctx, c, id, "its URL has a project in it, and these credentials are for none")
	case found == "" && r.isHidden(c, id):
		return r.inListing(ctx, c, id, "no token of these credentials has it: its service is disabled, or it is for other projects only")
	case found == "":
		return &oldCatalogError{"the catalog of a fresh token does not have it"}
	case want.Partly:
		return sameBeginning(want.URL, found)
	case found != want.URL:
		return &oldCatalogError{fmt.Sprintf("the catalog of a fresh token has %s, not yet %s", found, want.URL)}
	}
	return nil
}

// isHidden reports whether no token shows the endpoint id that c changes: that
// was so before, though it was enabled, or its service is disabled.
func (r *run) isHidden(c keystone.Change, id string) bool {
	if c.Before != nil && c.Before.Enabled {
		return !r.visible[id]
	}
	i := slices.IndexFunc(r.state.Services, func(s keystone.ServiceRecord) bool { return s.ID == c.After.ServiceID })
	return i >= 0 && !r.state.Services[i].Enabled
}

// sameBeginning compares URLs up to the first template that want still has.
func sameBeginning(want, found string) error {
	if i := keystone.TemplateAt(want); i >= 0 && strings.HasPrefix(found, want[:i]) {
		return nil
	}
	return &oldCatalogError{fmt.Sprintf("the catalog of a fresh token has %s, not yet %s", found, want)}
}

// inListing looks whether Keystone lists c as it is to be. It gives an
// *unseenError with why, or what is wrong.
func (r *run) inListing(ctx context.Context, c keystone.Change, id, why string) error {
	now, err := r.Client.endpoints(ctx, c.After.ServiceID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(now, func(e keystone.Record) bool { return e.ID == id })
	if i < 0 || now[i].URL != c.After.URL || now[i].Enabled != c.After.Enabled {
		return errors.New("Keystone does not list it so")
	}
	return &unseenError{why}
}

// settle waits until one fresh token after the other has all changes. Each was
// in one already; another process of Keystone may have its old catalog for a
// while. It says so where that does not end in time.
func (r *run) settle(ctx context.Context) string {
	limit, cancel := context.WithTimeout(ctx, r.wait())
	defer cancel()
	need, asked, old := settleTokens, 0, 0
	for inRow := 0; inRow < need && len(r.seen) > 0; {
		err := r.inNewToken(limit)
		_, isOld := errors.AsType[*oldCatalogError](err)
		switch {
		case ctx.Err() != nil:
			return "the wait for Keystone's caches was broken off; some fresh tokens may have the catalog of before, until these end"
		case limit.Err() != nil && old > 0:
			return fmt.Sprintf("after %s, %d of %d fresh tokens have had the catalog of before: some clients get that, until Keystone's caches end", status.Brief(r.wait()), old, asked)
		case limit.Err() != nil:
			return fmt.Sprintf("whether every fresh token has the changes is not known: %v", err)
		case err == nil:
			asked, inRow = asked+1, inRow+1
		case isOld:
			asked, old, inRow, need = asked+1, old+1, 0, settleAfterOld
			r.tellOfCaches(err)
		default:
			inRow = 0
		}
		if err != nil || old > 0 {
			r.sleep(limit)
		}
	}
	return ""
}

// sleep waits before the next token, at most as long as ctx lasts.
func (r *run) sleep(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(cmp.Or(r.pause, verifyPause)):
	}
}

// inNewToken gets a token, and says which of the changes it has not.
func (r *run) inNewToken(ctx context.Context) error {
	token, err := r.Client.Refresh(ctx)
	if err != nil {
		return err
	}
	for _, c := range r.seen {
		if err := r.inToken(ctx, token, c.Change, c.id); err != nil {
			return fmt.Errorf("%s: %w", c.After, err)
		}
	}
	return nil
}
