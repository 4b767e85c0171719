package keystone

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An Entry is what a line of a journal says of the catalog (changelog.Detail).
type Entry struct {
	// Of the first line:
	Region string `json:"region,omitempty"`
	// AuthURL is where Keystone answered; a rollback may need it, when the
	// catalog's own is the broken one.
	AuthURL string `json:"auth_url,omitempty"`

	// Of a change:
	Op     Op      `json:"op,omitempty"`
	Before *Record `json:"before,omitempty"`
	After  *Record `json:"after,omitempty"`
	// Existing has, for what is to be created, the ids of all that were there
	// and could be mistaken for it.
	Existing []string `json:"existing,omitempty"`
	// ID is the one that Keystone chose for what was created; empty before it did.
	ID string `json:"id,omitempty"`
}

// Of names the changes for an error.
func (c Entry) Of() string { return "endpoint changes" }

// CheckBegin refuses nothing.
func (c Entry) CheckBegin() error { return nil }

// CheckChange refuses a change that nothing could be undone by.
func (c Entry) CheckChange() error {
	switch c.Op {
	case Update, Disable:
		if c.Before == nil || c.After == nil || c.Before.ID == "" || c.Before.ID != c.After.ID {
			return errors.New("it does not say what was there, and what was to be")
		}
	case Create, CreateService:
		if c.After == nil {
			return errors.New("it does not say what was to be created")
		}
	default:
		return fmt.Errorf("it has the unknown operation %q", c.Op)
	}
	return nil
}

// Made gives c as it was made: with the id that Keystone chose.
func (c Entry) Made(how Entry) (Entry, error) {
	c.ID = how.ID
	return c, nil
}

// SameWay reports true: one Keystone's API undoes all.
func (c Entry) SameWay(Entry) bool { return true }

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
func (c Entry) UndoStep(now State) (Step, string, error) {
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
	case current.Same(*c.Before):
		return StepNone, current.ID, nil
	case current.Same(*c.After):
		return StepPut, current.ID, nil
	}
	return StepConflict, current.ID, nil
}

// undoCreate finds the endpoint that c created, also when the process died
// before it had Keystone's answer.
func (c Entry) undoCreate(now State) (Step, string, error) {
	serviceIDs := c.serviceIDs(now)
	for _, e := range now.Endpoints {
		switch {
		case c.ID != "" && e.ID == c.ID:
			if e.URL != c.After.URL || e.Enabled != c.After.Enabled {
				return StepConflict, e.ID, nil
			}
			return StepDelete, e.ID, nil
		case c.ID == "" && !slices.Contains(c.Existing, e.ID) && slices.Contains(serviceIDs, e.ServiceID) &&
			e.Region == c.After.Region && e.Interface == c.After.Interface && e.URL == c.After.URL:
			return StepDelete, e.ID, nil
		}
	}
	return StepNone, c.ID, nil
}

// serviceIDs gives the ids of the services that what c created may be under.
func (c Entry) serviceIDs(now State) []string {
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
func (c Entry) undoCreateService(now State) (Step, string, error) {
	for _, s := range now.Services {
		mine := c.ID != "" && s.ID == c.ID ||
			c.ID == "" && !slices.Contains(c.Existing, s.ID) && s.Type == c.After.ServiceType && s.Name == c.After.ServiceName
		if !mine {
			continue
		}
		if slices.ContainsFunc(now.Endpoints, func(e Record) bool { return e.ServiceID == s.ID }) {
			return StepConflict, s.ID, nil
		}
		return StepDelete, s.ID, nil
	}
	return StepNone, c.ID, nil
}
