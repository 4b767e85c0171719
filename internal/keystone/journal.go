package keystone

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Kind says what an Entry of a journal tells.
type Kind string

// The kinds, in the order in which they come.
const (
	Begin    Kind = "begin"    // what is going to be done, and where
	Intend   Kind = "change"   // written before the request for the change is sent
	Changed  Kind = "changed"  // Keystone has confirmed it
	Verified Kind = "verified" // a fresh token has it, and its URL answers
	Stopped  Kind = "stopped"  // no further change was made; Error says why
	Applied  Kind = "applied"  // all changes were made
	Restored Kind = "restored" // a change was undone, or there was nothing to undo
	Back     Kind = "rolled-back"
)

// JournalVersion is that of the format written here. A reader takes any entry
// of this version, whatever fields it does not know.
const JournalVersion = 1

// An Entry is one line of a journal, as JSON. It never has a password, a token
// or any other secret.
type Entry struct {
	Kind Kind      `json:"kind"`
	Time time.Time `json:"time"`

	// Of Begin:
	Version int    `json:"version,omitempty"`
	Plan    string `json:"plan,omitempty"` // Plan.ID
	Cloud   string `json:"cloud,omitempty"`
	Region  string `json:"region,omitempty"`
	// AuthURL is where Keystone answered; a rollback may need it, when the
	// catalog's own is the broken one.
	AuthURL string `json:"auth_url,omitempty"`
	Total   int    `json:"total,omitempty"` // number of changes
	// Continues is the name of the journal of an apply that was broken off, and
	// that this one goes on with.
	Continues string `json:"continues,omitempty"`

	// Of Intend, and N of what follows it:
	N      int     `json:"n,omitempty"`
	Op     Op      `json:"op,omitempty"`
	Before *Record `json:"before,omitempty"`
	After  *Record `json:"after,omitempty"`
	// Existing has, for what is to be created, the ids of all that were there
	// and could be mistaken for it.
	Existing []string `json:"existing,omitempty"`

	ID    string `json:"id,omitempty"`    // of Changed: the id that Keystone chose
	Error string `json:"error,omitempty"` // of Stopped
}

// A Journal is what the file of an apply says.
type Journal struct {
	Name    string // the file's, without its directory
	Begin   Entry
	Changes []JournalChange // in the order of the plan
	// End is Applied, Stopped, or empty when the apply was cut short.
	End   Kind
	Error string
	// RolledBack reports whether all of it is undone.
	RolledBack bool
	// Torn reports that the last line is incomplete: the machine went down, or
	// the process, while it was written. What it would have said did not happen.
	Torn bool
}

// A JournalChange is one change as far as its journal knows.
type JournalChange struct {
	Entry           // that of Intend
	Confirmed  bool // Keystone has confirmed it
	IsVerified bool
	Undone     bool
	CreatedID  string // of Create and CreateService, when Confirmed
}

// Encode gives e as a line of a journal, with its line end.
func (e Entry) Encode() ([]byte, error) {
	line, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode an entry of the journal: %w", err)
	}
	return append(line, '\n'), nil
}

// ParseJournal reads the journal called name. An incomplete last line is what a
// crash leaves, and no error; anything else that makes no sense is one.
func ParseJournal(name string, data []byte) (Journal, error) {
	j := Journal{Name: name}
	for n := 1; len(data) > 0; n++ {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		data = rest
		if !whole {
			j.Torn = true
			break
		}
		var e Entry
		err := json.Unmarshal(line, &e)
		if err == nil {
			err = j.add(e, n == 1)
		}
		if err != nil {
			return Journal{}, fmt.Errorf("%s:%d: not a journal of holdfast: %w", name, n, err)
		}
	}
	if j.Begin.Kind == "" {
		j.Torn = true // an apply that did not come as far as its first line
	}
	return j, nil
}

// add takes e up; first says that it is the first line.
func (j *Journal) add(e Entry, first bool) error {
	if first != (e.Kind == Begin) {
		return fmt.Errorf("a line of kind %q is not in its place", e.Kind)
	}
	switch e.Kind {
	case Begin:
		if e.Version != JournalVersion {
			return fmt.Errorf("its version is %d, and this program knows version %d", e.Version, JournalVersion)
		}
		j.Begin = e
	case Intend:
		if err := e.check(); err != nil {
			return err
		}
		if j.change(e.N) != nil {
			return fmt.Errorf("change %d is there twice", e.N)
		}
		j.Changes = append(j.Changes, JournalChange{Entry: e})
	case Changed, Verified, Restored:
		c := j.change(e.N)
		if c == nil {
			return fmt.Errorf("change %d was never intended", e.N)
		}
		c.note(e)
	case Applied, Stopped:
		j.End, j.Error = e.Kind, e.Error
	case Back:
		j.RolledBack = true
	default:
		return fmt.Errorf("unknown kind %q", e.Kind)
	}
	return nil
}

// check refuses an Intend that nothing could be undone by.
func (e Entry) check() error {
	switch e.Op {
	case Update, Disable:
		if e.Before == nil || e.After == nil || e.Before.ID == "" || e.Before.ID != e.After.ID {
			return fmt.Errorf("change %d says not what was there, or not what was to be", e.N)
		}
	case Create, CreateService:
		if e.After == nil {
			return fmt.Errorf("change %d says not what was to be created", e.N)
		}
	default:
		return fmt.Errorf("change %d has the unknown operation %q", e.N, e.Op)
	}
	return nil
}

func (j *Journal) change(n int) *JournalChange {
	i := slices.IndexFunc(j.Changes, func(c JournalChange) bool { return c.N == n })
	if i < 0 {
		return nil
	}
	return &j.Changes[i]
}

func (c *JournalChange) note(e Entry) {
	// The others need nothing here.
	//exhaustive:ignore
	switch e.Kind {
	case Changed:
		c.Confirmed, c.CreatedID = true, e.ID
	case Verified:
		c.IsVerified = true
	case Restored:
		c.Undone = true
	}
}

// Unfinished reports whether the apply was broken off and is not undone.
func (j Journal) Unfinished() bool { return j.End != Applied && !j.RolledBack && len(j.Changes) > 0 }

// Undoable reports whether there is anything to undo.
func (j Journal) Undoable() bool { return !j.RolledBack && len(j.Changes) > 0 }

// A Step is what undoes one change.
type Step string

// The steps of a rollback.
const (
	StepNone     Step = "none"     // it is as it was before
	StepPut      Step = "put"      // put URL and enabled flag back
	StepDelete   Step = "delete"   // delete what was created
	StepConflict Step = "conflict" // somebody else has changed it since
	StepGone     Step = "gone"     // somebody else has deleted it since
)

// errNoState is for a caller that did not look first.
var errNoState = errors.New("the state of Keystone is not known")

// UndoStep says how to undo c in the state that Keystone is in now, and which
// endpoint or service that is about.
func (c JournalChange) UndoStep(now State) (Step, string, error) {
	if now.Endpoints == nil && now.Services == nil {
		return "", "", errNoState
	}
	// The others need nothing here.
	//exhaustive:ignore
	switch c.Op {
	case Create:
		return c.undoCreate(now)
	case CreateService:
		return c.undoCreateService(now)
	}
	i := slices.IndexFunc(now.Endpoints, func(e Record) bool { return e.ID == c.Before.ID })
	if i < 0 {
		return StepGone, c.Before.ID, nil
	}
	current := now.Endpoints[i]
	switch {
	case current.same(*c.Before):
		return StepNone, current.ID, nil
	case current.same(*c.After):
		return StepPut, current.ID, nil
	}
	return StepConflict, current.ID, nil
}

// undoCreate finds the endpoint that c created, also when the process died
// before it had Keystone's answer.
func (c JournalChange) undoCreate(now State) (Step, string, error) {
	serviceIDs := c.serviceIDs(now)
	for _, e := range now.Endpoints {
		switch {
		case c.CreatedID != "" && e.ID == c.CreatedID:
			if e.URL != c.After.URL || e.Enabled != c.After.Enabled {
				return StepConflict, e.ID, nil
			}
			return StepDelete, e.ID, nil
		case c.CreatedID == "" && !slices.Contains(c.Existing, e.ID) && slices.Contains(serviceIDs, e.ServiceID) &&
			e.Region == c.After.Region && e.Interface == c.After.Interface && e.URL == c.After.URL:
			return StepDelete, e.ID, nil
		}
	}
	return StepNone, c.CreatedID, nil
}

// serviceIDs gives the ids of the services that what c created may be under.
func (c JournalChange) serviceIDs(now State) []string {
	if c.After.ServiceID != "" {
		return []string{c.After.ServiceID}
	}
	var ids []string
	for _, s := range now.Services {
		if strings.EqualFold(s.Type, c.After.ServiceType) && s.Name == c.After.ServiceName {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// undoCreateService finds the service that c created. One that somebody has
// given endpoints of their own stays.
func (c JournalChange) undoCreateService(now State) (Step, string, error) {
	for _, s := range now.Services {
		mine := c.CreatedID != "" && s.ID == c.CreatedID ||
			c.CreatedID == "" && !slices.Contains(c.Existing, s.ID) && s.Type == c.After.ServiceType && s.Name == c.After.ServiceName
		if !mine {
			continue
		}
		if slices.ContainsFunc(now.Endpoints, func(e Record) bool { return e.ServiceID == s.ID }) {
			return StepConflict, s.ID, nil
		}
		return StepDelete, s.ID, nil
	}
	return StepNone, c.CreatedID, nil
}
