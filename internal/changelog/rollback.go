package changelog

import (
	"errors"
	"slices"
)

// A RollbackResult says what a rollback did.
type RollbackResult struct {
	Journals []string `json:"journals"` // newest first
	Undone   int      `json:"undone"`   // changes taken back
	AsWere   int      `json:"as_were"`  // changes that there was nothing to take back of
	// Left says what could not be put back, each with what to do about it.
	Left []string `json:"left"`
}

// An Undoing takes what became of one change in a rollback.
type Undoing[D Detail[D]] struct {
	w   *Writer[D]
	n   int
	out *RollbackResult
}

// Restored writes that it is as it was before; taken says that there was
// something to take back.
func (u Undoing[D]) Restored(taken bool) error {
	if taken {
		u.out.Undone++
	} else {
		u.out.AsWere++
	}
	return u.w.write(Line[D]{Kind: Restored, N: u.n})
}

// Leave notes that it could not be put back, why and what to do about it.
func (u Undoing[D]) Leave(text string) { u.out.Left = append(u.out.Left, text) }

// Rollback undoes what journals say, newest first, each from its last change to
// its first. Undo takes one change back and says so by its Undoing. Rollback can
// be cut short at any point and called again; an error is a *StoppedError.
func (h *Held[D]) Rollback(journals []Journal[D], undo func(Change[D], Undoing[D]) error) (RollbackResult, error) {
	out := RollbackResult{Journals: []string{}, Left: []string{}}
	for _, j := range journals {
		out.Journals = append(out.Journals, j.Name)
		if done, err := h.rollback(j, undo, &out); err != nil {
			return out, &StoppedError{Journal: j.Name, Done: done, Err: err}
		}
		if len(out.Left) > 0 {
			break // what the older ones say is what this one began with
		}
	}
	return out, nil
}

// rollback undoes one journal, and gives how many of its changes it came through.
func (h *Held[D]) rollback(j Journal[D], undo func(Change[D], Undoing[D]) error, out *RollbackResult) (done int, err error) {
	w, err := h.reopen(j.Name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, c := range slices.Backward(j.Changes) {
		if c.Undone {
			continue
		}
		if err := undo(c, Undoing[D]{w, c.N, out}); err != nil {
			return done, err
		}
		done++
	}
	if len(out.Left) > 0 {
		return done, nil
	}
	return done, w.write(Line[D]{Kind: Back})
}
