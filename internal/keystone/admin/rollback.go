package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/changelog"
	"holdfast/internal/keystone"
)

// Rollback undoes all that journals say, newest first, from the last change to
// the first. It can be cut short at any point and called again. With force it
// puts back also what somebody else has changed since.
func (a *Applier) Rollback(ctx context.Context, journals []Journal, force bool) (out changelog.RollbackResult, err error) {
	held, err := a.Journals.Lock()
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, held.Release()) }()
	done := 0
	return held.Rollback(journals, func(c changelog.Change[keystone.Entry], u changelog.Undoing[keystone.Entry]) error {
		err := a.refreshAfter(ctx, done)
		if err == nil {
			err = a.undo(ctx, c.Detail, u, force)
		}
		if err != nil {
			return fmt.Errorf("undo change %d: %w", c.N, err)
		}
		done++
		return nil
	})
}

// refreshAfter gets a new token once in a while, before the old one expires.
func (a *Applier) refreshAfter(ctx context.Context, done int) error {
	if done%100 != 99 {
		return nil
	}
	_, err := a.Client.Refresh(ctx)
	return err
}

// undo takes back c, if that has come about.
func (a *Applier) undo(ctx context.Context, c keystone.Entry, u changelog.Undoing[keystone.Entry], force bool) error {
	now, err := a.look(ctx, c)
	if err != nil {
		return err
	}
	step, id, err := c.UndoStep(now)
	if err != nil {
		return err
	}
	if step == keystone.StepConflict && force && c.Before != nil {
		step = keystone.StepPut
	}
	switch step {
	case keystone.StepConflict, keystone.StepGone:
		left := leftText(c, step, id, now)
		u.Leave(left)
		a.Tell(left)
		return nil
	case keystone.StepNone:
		return u.Restored(false)
	case keystone.StepPut:
		a.Tell(fmt.Sprintf("%s: back to %s", c.Before, c.Before.URL))
		err = a.Client.put(ctx, id, c.Before.URL, c.Before.Enabled)
	case keystone.StepDelete:
		kind := "endpoints"
		if c.Op == keystone.CreateService {
			kind = "services"
		}
		a.Tell(fmt.Sprintf("delete what was created: %s", keystone.Change{Op: c.Op, After: *c.After}))
		err = a.Client.remove(ctx, kind, id)
	}
	if err != nil {
		return err
	}
	if err := a.isUndone(ctx, c, id); err != nil {
		return err
	}
	return u.Restored(true)
}

// look reads as much of Keystone's state as UndoStep needs for c.
func (a *Applier) look(ctx context.Context, c keystone.Entry) (keystone.State, error) {
	if c.Op == keystone.CreateService || c.After.ServiceID == "" {
		return a.Client.State(ctx)
	}
	endpoints, err := a.Client.endpoints(ctx, c.After.ServiceID)
	return keystone.State{Endpoints: endpoints}, err
}

// isUndone looks whether Keystone has c as it was.
func (a *Applier) isUndone(ctx context.Context, c keystone.Entry, id string) error {
	now, err := a.look(ctx, c)
	if err != nil {
		return err
	}
	c.ID = id
	if step, _, err := c.UndoStep(now); err != nil || step != keystone.StepNone {
		return errors.Join(err, fmt.Errorf("Keystone accepted the request, but does not show it as it was before; run the rollback again"))
	}
	return nil
}

// leftText says what of c could not be put back.
func leftText(c keystone.Entry, step keystone.Step, id string, now keystone.State) string {
	switch {
	case step == keystone.StepGone:
		return fmt.Sprintf("%s: somebody has deleted it, and Keystone gives no id twice; to have one like it: openstack endpoint create --region %s %s %s '%s'",
			c.Before, c.Before.Region, c.Before.ServiceID, c.Before.Interface, c.Before.URL)
	case c.Op == keystone.CreateService:
		return fmt.Sprintf("service %s (%s), which was created, has endpoints of somebody else's now; it stays: openstack endpoint list --service %s", c.After.ServiceName, c.After.ServiceType, id)
	case c.Op == keystone.Create:
		return fmt.Sprintf("%s, which was created, has been changed by somebody else since; it stays: openstack endpoint show %s", c.After, id)
	}
	what := ""
	if i := slices.IndexFunc(now.Endpoints, func(e keystone.Record) bool { return e.ID == id }); i >= 0 {
		what = ", to " + describeFlags(now.Endpoints[i])
	}
	return fmt.Sprintf("%s %s: somebody else has changed it since%s; it was %s; --force puts that back", c.Before, id, what, describeFlags(*c.Before))
}

func describeFlags(r keystone.Record) string {
	if r.Enabled {
		return r.URL
	}
	return r.URL + ", disabled"
}

// ConnectFor connects to the Keystone of auth for a rollback of journals. When
// that does not answer, because auth has its URL from the catalog that is to be
// put right, or the name in it is what broke, it tries the URLs at which the
// journals have seen Keystone. It says what it tried.
func ConnectFor(ctx context.Context, auth Auth, journals []Journal, tell func(string)) (*Client, error) {
	client, err := Connect(ctx, auth)
	if _, unreachable := errors.AsType[*Unreachable](err); !unreachable {
		return client, err
	}
	failed := err
	for _, other := range otherURLs(auth, journals) {
		tell(failed.Error())
		tell("trying " + other + ", which the journal has")
		there := auth
		there.URL = other
		there.Source = "the journal"
		client, err := Connect(ctx, there)
		if err == nil {
			return client, nil
		}
		failed = err
	}
	return nil, failed
}

// otherURLs gives the URLs of Keystone that journals know beside auth's own. A
// secret that was meant for TLS is not sent without it.
func otherURLs(auth Auth, journals []Journal) []string {
	var urls []string
	add := func(url string) {
		at, err := keystone.Locate(url)
		if err != nil || keystone.IsTemplate(url) || at.Dropped != "" {
			return
		}
		if strings.HasPrefix(auth.URL, "https:") && at.Scheme != "https" {
			return
		}
		base := strings.TrimRight(identityURL(url), "/")
		if base+"/" != identityURL(auth.URL) && !slices.Contains(urls, base) {
			urls = append(urls, base)
		}
	}
	for _, j := range journals {
		add(j.Begin.Detail.AuthURL)
	}
	for _, j := range journals {
		for _, c := range j.Changes {
			for _, r := range []*keystone.Record{c.Detail.Before, c.Detail.After} {
				if r != nil && strings.EqualFold(r.ServiceType, keystone.IdentityType) {
					add(r.URL)
				}
			}
		}
	}
	return urls
}
