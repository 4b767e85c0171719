// Package changelog is the journal of changes to what others use, too: what is
// there and what is to be is on disk before the change is asked for, so that it
// can be taken back whenever the process dies, or the machine.
//
// A journal is a file of JSON lines, one for each apply. A Folder has those of
// one kind of changes; whoever holds its lock writes them and undoes them, the
// newest first and each from its last change to its first. What a change is and
// how it is made undone is the caller's: a Detail says what this package has to
// know of it. It changes nothing but its own files, and knows neither Keystone
// nor DNS.
package changelog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Kind says what a Line of a journal tells.
type Kind string

// The kinds, in the order in which they come.
const (
	Begin    Kind = "begin"    // what is going to be done, and where
	Intend   Kind = "change"   // written before the request for the change is sent
	Changed  Kind = "changed"  // it was made
	Verified Kind = "verified" // those who use it have it
	Stopped  Kind = "stopped"  // no further change was made; Error says why
	Applied  Kind = "applied"  // all changes were made
	Restored Kind = "restored" // a change was undone, or there was nothing to undo
	Back     Kind = "rolled-back"
)

// version is that of the format written here. A reader takes any line of this
// version, whatever fields it does not know.
const version = 1

// A Detail is what the lines of one kind of changes have beside what all have:
// a struct whose JSON names are none of a Line's. It never has a secret.
type Detail[D any] interface {
	// Of names the changes for an error: "DNS changes".
	Of() string
	// CheckBegin refuses that of a Begin line by which nothing could be undone.
	CheckBegin() error
	// CheckChange refuses that of an Intend line by which nothing could be undone.
	CheckChange() error
	// Made gives an intended change as it was made, by what its Changed line says.
	Made(how D) (D, error)
	// SameWay reports whether what undoes a journal with this Begin line can undo
	// one with that of other, too.
	SameWay(other D) bool
}

// A Line is one line of a journal.
type Line[D Detail[D]] struct {
	Kind Kind      `json:"kind"`
	Time time.Time `json:"time"`

	// Of Begin:
	Version int    `json:"version,omitempty"` // of the format; 1
	Plan    string `json:"plan,omitempty"`    // the ID of the plan
	Cloud   string `json:"cloud,omitempty"`
	Total   int    `json:"total,omitempty"` // number of changes
	// Continues is the name of the journal of an apply that was broken off, and
	// that this one goes on with.
	Continues string `json:"continues,omitempty"`

	N     int    `json:"n,omitempty"`     // of Intend and of what follows it: the number of the change, from 1
	Error string `json:"error,omitempty"` // of Stopped

	Detail D `json:"-"` // its fields stand in the same object
}

// Encode gives l as JSON, with its line end.
func (l Line[D]) Encode() ([]byte, error) {
	line, err := json.Marshal(l)
	detail, detailErr := json.Marshal(l.Detail)
	if err := errors.Join(err, detailErr); err != nil {
		return nil, fmt.Errorf("encode a line of the journal: %w", err)
	}
	if len(detail) > len("{}") {
		line = append(append(line[:len(line)-1], ','), detail[1:]...)
	}
	return append(line, '\n'), nil
}

func decode[D Detail[D]](data []byte) (l Line[D], err error) {
	if err = json.Unmarshal(data, &l); err == nil {
		err = json.Unmarshal(data, &l.Detail)
	}
	return l, err
}

// A Journal is what the file of an apply says.
type Journal[D Detail[D]] struct {
	Name    string // the file's, without its directory
	Begin   Line[D]
	Changes []Change[D] // in the order of the plan
	// End is Applied, Stopped, or empty when the apply was cut short.
	End   Kind
	Error string
	// RolledBack reports whether all of it is undone.
	RolledBack bool
	// Torn reports that the last line is incomplete: the process died, or the
	// machine, while it was written. What it would have said did not happen.
	Torn bool
}

// A Change is one change as far as its journal knows.
type Change[D Detail[D]] struct {
	Line[D]         // that of Intend, its Detail as it was made
	Made       bool // whoever was asked for it has confirmed it
	IsVerified bool
	Undone     bool
}

// Parse reads the journal called name. An incomplete last line is what a crash
// leaves, and no error; anything else that makes no sense is one.
func Parse[D Detail[D]](name string, data []byte) (Journal[D], error) {
	j := Journal[D]{Name: name}
	at := map[int]int{} // index in j.Changes, by number
	for n := 1; len(data) > 0; n++ {
		text, rest, whole := bytes.Cut(data, []byte("\n"))
		data = rest
		if !whole {
			j.Torn = true
			break
		}
		line, err := decode[D](text)
		if err == nil {
			err = j.add(line, n == 1, at)
		}
		if err != nil {
			return Journal[D]{}, fmt.Errorf("%s:%d: not a journal of %s: %w", name, n, line.Detail.Of(), err)
		}
	}
	if j.Begin.Kind == "" {
		j.Torn = true // an apply that did not come as far as its first line
	}
	return j, nil
}

// add takes l up; first says that it is the first line.
func (j *Journal[D]) add(l Line[D], first bool, at map[int]int) error {
	if first != (l.Kind == Begin) {
		return fmt.Errorf("a line of kind %q is not in its place", l.Kind)
	}
	i, intended := at[l.N]
	switch l.Kind {
	case Begin:
		if l.Version != version {
			return fmt.Errorf("its version is %d, and this program knows version %d", l.Version, version)
		}
		j.Begin = l
		return l.Detail.CheckBegin()
	case Intend:
		if intended {
			return fmt.Errorf("change %d is there twice", l.N)
		}
		at[l.N] = len(j.Changes)
		j.Changes = append(j.Changes, Change[D]{Line: l})
		return ofChange(l.N, l.Detail.CheckChange())
	case Changed, Verified, Restored:
		if !intended {
			return fmt.Errorf("change %d was never intended", l.N)
		}
		return ofChange(l.N, j.Changes[i].note(l))
	case Applied, Stopped:
		j.End, j.Error = l.Kind, l.Error
	case Back:
		j.RolledBack = true
	default:
		return fmt.Errorf("unknown kind %q", l.Kind)
	}
	return nil
}

func ofChange(n int, err error) error {
	if err != nil {
		return fmt.Errorf("change %d: %w", n, err)
	}
	return nil
}

// note takes up what became of c.
func (c *Change[D]) note(l Line[D]) (err error) {
	switch l.Kind {
	case Changed:
		c.Made = true
		c.Detail, err = c.Detail.Made(l.Detail)
	case Verified:
		c.IsVerified = true
	default: // Restored
		c.Undone = true
	}
	return err
}

// State says in a word what became of the apply: "applied", "stopped", "killed"
// or "rolled-back".
func (j Journal[D]) State() string {
	switch {
	case j.RolledBack:
		return string(Back)
	case j.End != "":
		return string(j.End)
	}
	return "killed"
}

// Undoable reports whether there is anything to undo.
func (j Journal[D]) Undoable() bool { return !j.RolledBack && len(j.Changes) > 0 }

// Unfinished reports whether the apply was broken off and is not undone.
func (j Journal[D]) Unfinished() bool { return j.End != Applied && j.Undoable() }
