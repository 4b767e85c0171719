package dns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// A Kind says what an Entry of a journal tells.
type Kind string

// The kinds, in the order in which they come.
const (
	Begin    Kind = "begin"    // what is going to be done, and by which way
	Intend   Kind = "change"   // written before the change is sent
	Changed  Kind = "changed"  // it was made; Records is what is there since
	Verified Kind = "verified" // every name server has it
	Stopped  Kind = "stopped"  // no further change was made; Error says why
	Applied  Kind = "applied"  // all changes were made
	Restored Kind = "restored" // a change was undone, or there was nothing to undo
	Back     Kind = "rolled-back"
)

// The ways to change a zone.
const (
	RFC2136   = "rfc2136"
	ByAPI     = "designate"
	jVersion  = 1
	maxChange = 10_000 // changes that one journal may have
)

// An Entry is one line of a journal, as JSON. It never has a secret.
type Entry struct {
	Kind Kind      `json:"kind"`
	Time time.Time `json:"time"`

	// Of Begin:
	Version int    `json:"version,omitempty"` // of the format; 1
	Plan    string `json:"plan,omitempty"`    // Plan.ID
	Cloud   string `json:"cloud,omitempty"`
	By      string `json:"by,omitempty"` // RFC2136 or ByAPI
	// KeyFile and Key name the TSIG key that was used, for a rollback to use it too.
	KeyFile string `json:"key_file,omitempty"`
	Key     string `json:"key,omitempty"`
	URL     string `json:"url,omitempty"`   // of Designate
	Total   int    `json:"total,omitempty"` // number of changes
	// Continues is the name of the journal of an apply that was broken off, and
	// that this one goes on with.
	Continues string `json:"continues,omitempty"`

	// Of Intend, and N of what follows it:
	N int `json:"n,omitempty"`
	Place
	Before Records `json:"before,omitempty"`
	After  Records `json:"after,omitempty"`

	Records Records `json:"records,omitempty"` // of Changed
	Error   string  `json:"error,omitempty"`   // of Stopped
}

// A Place is where the records of a hostname are.
type Place struct {
	Hostname string `json:"hostname,omitempty"`
	Zone     string `json:"zone,omitempty"`
	// Server is where updates go; not valid in Designate.
	Server netip.AddrPort `json:"server,omitzero"`
	// Servers are the name servers that answered when the plan was made, and so
	// have to have the change.
	Servers []netip.AddrPort `json:"servers,omitempty"`
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
	// Torn reports that the last line is incomplete: the process died, or the
	// machine, while it was written. What it would have said did not happen.
	Torn bool
}

// A JournalChange is one change as far as its journal knows.
type JournalChange struct {
	Entry           // that of Intend
	Made       bool // the source of the zone has confirmed it
	IsVerified bool
	Undone     bool
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
			return Journal{}, fmt.Errorf("%s:%d: not a journal of DNS changes: %w", name, n, err)
		}
	}
	return j, nil // one without a line is what a crash leaves, too
}

// add takes e up; first says that it is the first line.
func (j *Journal) add(e Entry, first bool) error {
	if first != (e.Kind == Begin) {
		return fmt.Errorf("a line of kind %q is not in its place", e.Kind)
	}
	switch e.Kind {
	case Begin:
		j.Begin = e
		return e.checkBegin()
	case Intend:
		if j.change(e.N) != nil || len(j.Changes) >= maxChange {
			return fmt.Errorf("change %d is there twice, or is one too many", e.N)
		}
		j.Changes = append(j.Changes, JournalChange{Entry: e})
		return e.checkIntend()
	case Changed, Verified, Restored:
		return j.note(e)
	case Applied, Stopped:
		j.End, j.Error = e.Kind, e.Error
	case Back:
		j.RolledBack = true
	default:
		return fmt.Errorf("unknown kind %q", e.Kind)
	}
	return nil
}

func (e Entry) checkBegin() error {
	switch {
	case e.Version != jVersion:
		return fmt.Errorf("its version is %d, and this program knows version %d", e.Version, jVersion)
	case e.By != RFC2136 && e.By != ByAPI:
		return fmt.Errorf("changes were made by %q, which is not known here", e.By)
	}
	return nil
}

// checkIntend refuses what nothing could be undone by.
func (e Entry) checkIntend() error {
	for _, name := range []string{e.Hostname, e.Zone} {
		if _, ok := dns.IsDomainName(name); !ok || name == "" || name != canonical(name) {
			return fmt.Errorf("change %d: %q is no name", e.N, name)
		}
	}
	if !isBelow(e.Hostname, e.Zone) {
		return fmt.Errorf("change %d: %s is not in the zone %s", e.N, e.Hostname, e.Zone)
	}
	for _, r := range []Records{e.Before, e.After} {
		if err := r.check(); err != nil {
			return fmt.Errorf("change %d: %w", e.N, err)
		}
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

// note takes up what became of a change.
func (j *Journal) note(e Entry) error {
	c := j.change(e.N)
	if c == nil {
		return fmt.Errorf("change %d was never intended", e.N)
	}
	switch e.Kind {
	case Changed:
		if err := e.Records.check(); err != nil {
			return fmt.Errorf("change %d: %w", e.N, err)
		}
		c.Made, c.After = true, e.Records
	case Verified:
		c.IsVerified = true
	default: // Restored
		c.Undone = true
	}
	return nil
}

// State says in a word what became of the apply: "applied", "stopped", "killed"
// or "rolled-back".
func (j Journal) State() string {
	switch {
	case j.RolledBack:
		return string(Back)
	case j.End != "":
		return string(j.End)
	}
	return "killed"
}

// String says c in one line: "api.example.org: A 10.0.0.13 (TTL 60) -> ...".
func (c JournalChange) String() string {
	return fmt.Sprintf("%s: %s -> %s", c.Hostname, shownRecords(c.Before), shownRecords(c.After))
}

// Undoable reports whether there is anything to undo.
func (j Journal) Undoable() bool { return !j.RolledBack && len(j.Changes) > 0 }

// Unfinished reports whether the apply was broken off and is not undone.
func (j Journal) Unfinished() bool { return j.End != Applied && j.Undoable() }

// A Step is what undoes one change.
type Step string

// The steps of a rollback.
const (
	StepNone     Step = "none"     // it is as it was before
	StepPut      Step = "put"      // put back what was there
	StepConflict Step = "conflict" // somebody else has changed it since
)

// errNoChange is for a caller that has no change to undo.
var errNoChange = errors.New("there is no change to undo")

// UndoStep says how to undo c where the hostname has now. Each type of record
// counts for itself: a change that was cut short has some of both.
func (c JournalChange) UndoStep(now Records) (Step, error) {
	if c.Kind != Intend {
		return "", errNoChange
	}
	step := StepNone
	for _, typ := range knownTypes() {
		is, was, made := now.of(typ), c.Before.of(typ), c.After.of(typ)
		switch {
		case is.same(was):
		case is.same(made):
			step = StepPut
		case !c.Made && slices.Equal(is.Values, made.Values) && !slices.Equal(is.Values, was.Values):
			step = StepPut // a server with a bound on TTLs, and nobody lived to write it down
		default:
			return StepConflict, nil
		}
	}
	return step, nil
}
