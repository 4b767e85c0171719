package zone

import (
	"context"
	"errors"
	"fmt"

	"holdfast/internal/changelog"
	"holdfast/internal/dns"
)

// A RollbackResult says what a rollback did; its changes are hostnames.
type RollbackResult struct {
	changelog.RollbackResult
	// Behind says which name servers have not taken up what was put back.
	Behind []string `json:"behind"`
}

// Rollback undoes what journals say, newest first, from the last change to the
// first. It can be cut short at any point and called again. With force it puts
// back also what somebody else has changed since.
func (a *Applier) Rollback(ctx context.Context, journals []Journal, force bool) (out RollbackResult, err error) {
	held, err := a.Journals.Lock()
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, held.Release()) }()
	out.Behind = []string{}
	out.RollbackResult, err = held.Rollback(journals, func(c changelog.Change[dns.Entry], u changelog.Undoing[dns.Entry]) error {
		behind, err := a.undo(ctx, c, u, force)
		if behind != "" {
			out.Behind = append(out.Behind, behind)
		}
		if err != nil {
			return fmt.Errorf("put back %s: %w", c.Detail.Hostname, err)
		}
		return nil
	})
	if err == nil {
		a.at("back")
	}
	return out, err
}

// undo takes back change, as far as it has come about. It says which name
// servers have not taken that up.
func (a *Applier) undo(ctx context.Context, change changelog.Change[dns.Entry], u changelog.Undoing[dns.Entry], force bool) (behind string, err error) {
	c := change.Detail
	now, err := a.Editor.Read(ctx, c.Place)
	if err != nil {
		return "", err
	}
	step, err := c.UndoStep(now, change.Made)
	if err != nil {
		return "", err
	}
	if step == dns.StepConflict && !force {
		u.Leave(fmt.Sprintf("%s: somebody else has changed it since, to %s; it was %s; --force puts that back",
			c.Hostname, dns.ShownRecords(now), dns.ShownRecords(c.Before)))
		return "", nil
	}
	if step != dns.StepNone {
		a.Tell(fmt.Sprintf("%s: %s -> %s", c.Hostname, dns.ShownRecords(now), dns.ShownRecords(c.Before)))
		if err := a.putBack(ctx, c, now); err != nil {
			return "", err
		}
	}
	a.at("undone")
	if err := u.Restored(step != dns.StepNone); err != nil {
		return "", err
	}
	a.at("restored")
	if len(c.Servers) == 0 {
		return "", nil
	}
	if err := a.verify(ctx, c.Place, c.Before); err != nil {
		behind = fmt.Sprintf("%s is put back, but %v", c.Hostname, err)
	}
	return behind, ctx.Err()
}

// putBack turns now into what was before c, and looks whether it is there.
func (a *Applier) putBack(ctx context.Context, c dns.Entry, now dns.Records) error {
	a.at("undoing")
	if err := a.Editor.Replace(ctx, c.Place, now, c.Before); err != nil {
		return err
	}
	a.at("put back")
	is, err := a.Editor.Read(ctx, c.Place)
	if err != nil {
		return err
	}
	if !is.Same(c.Before) {
		return fmt.Errorf("the change was accepted, but it has %s now; run the rollback again", dns.ShownRecords(is))
	}
	return nil
}
