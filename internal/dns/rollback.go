package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A RollbackResult says what a rollback did.
type RollbackResult struct {
	Journals []string `json:"journals"` // newest first
	Undone   int      `json:"undone"`   // hostnames that were changed back
	AsWere   int      `json:"as_were"`  // hostnames that had nothing to change back
	// Left says what could not be put back, each with what to do about it.
	Left []string `json:"left"`
	// Behind says which name servers have not taken up what was put back.
	Behind []string `json:"behind"`
}

// Rollback undoes what journals say, newest first, from the last change to the
// first. It can be cut short at any point and called again. With force it puts
// back also what somebody else has changed since.
func (a *Applier) Rollback(ctx context.Context, journals []Journal, force bool) (out RollbackResult, err error) {
	out = RollbackResult{Journals: []string{}, Left: []string{}, Behind: []string{}}
	release, err := a.Journals.lock()
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, release()) }()
	for _, j := range journals {
		out.Journals = append(out.Journals, j.Name)
		if err := a.rollbackOne(ctx, j, force, &out); err != nil {
			return out, &StoppedError{j.Name, err}
		}
		if len(out.Left) > 0 {
			break // what the older ones say is what this one began with
		}
	}
	return out, nil
}

// rollbackOne undoes one journal.
func (a *Applier) rollbackOne(ctx context.Context, j Journal, force bool, out *RollbackResult) (err error) {
	w, err := a.Journals.reopen(j.Name, a.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	left := len(out.Left)
	for _, c := range slices.Backward(j.Changes) {
		if c.Undone {
			continue
		}
		if err := a.undo(ctx, c, w, force, out); err != nil {
			return fmt.Errorf("put back %s: %w", c.Hostname, err)
		}
	}
	if len(out.Left) > left {
		return nil
	}
	err = w.write(Entry{Kind: Back})
	a.at("back")
	return err
}

// undo takes back c, as far as it has come about.
func (a *Applier) undo(ctx context.Context, c JournalChange, w *journalFile, force bool, out *RollbackResult) error {
	now, err := a.Editor.Read(ctx, c.Place)
	if err != nil {
		return err
	}
	step, err := c.UndoStep(now)
	if err != nil {
		return err
	}
	if step == StepConflict && !force {
		out.Left = append(out.Left, fmt.Sprintf("%s: somebody else has changed it since, to %s; it was %s; --force puts that back",
			c.Hostname, shownRecords(now), shownRecords(c.Before)))
		return nil
	}
	if step == StepNone {
		out.AsWere++
	} else {
		a.Tell(fmt.Sprintf("%s: %s -> %s", c.Hostname, shownRecords(now), shownRecords(c.Before)))
		if err := a.putBack(ctx, c, now); err != nil {
			return err
		}
		out.Undone++
	}
	a.at("undone")
	if err := w.write(Entry{Kind: Restored, N: c.N}); err != nil {
		return err
	}
	a.at("restored")
	if len(c.Servers) == 0 {
		return nil
	}
	if err := a.verify(ctx, c.Place, c.Before); err != nil {
		out.Behind = append(out.Behind, fmt.Sprintf("%s is put back, but %v", c.Hostname, err))
	}
	return ctx.Err()
}

// putBack turns now into what was before c, and looks whether it is there.
func (a *Applier) putBack(ctx context.Context, c JournalChange, now Records) error {
	a.at("undoing")
	if err := a.Editor.Replace(ctx, c.Place, now, c.Before); err != nil {
		return err
	}
	a.at("put back")
	is, err := a.Editor.Read(ctx, c.Place)
	if err != nil {
		return err
	}
	if !is.same(c.Before) {
		return fmt.Errorf("the change was accepted, but it has %s now; run the rollback again", shownRecords(is))
	}
	return nil
}

// shownRecords gives r in a few words.
func shownRecords(r Records) string {
	var parts []string
	for _, set := range r {
		parts = append(parts, fmt.Sprintf("%s %s (TTL %d)", set.Type, strings.Join(set.Values, " "), set.TTL))
	}
	if parts == nil {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}
