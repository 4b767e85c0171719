package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// The ways to change a zone.
const (
	RFC2136 = "rfc2136"
	ByAPI   = "designate"
)

// An Entry is what a line of a journal says of DNS (changelog.Detail).
type Entry struct {
	// Of the first line:
	By string `json:"by,omitempty"` // RFC2136 or ByAPI
	// KeyFile and Key name the TSIG key that was used, for a rollback to use it too.
	KeyFile string `json:"key_file,omitempty"`
	Key     string `json:"key,omitempty"`
	URL     string `json:"url,omitempty"` // of Designate

	// Of a change:
	Place
	Before Records `json:"before,omitempty"`
	After  Records `json:"after,omitempty"`

	Records Records `json:"records,omitempty"` // of a change that was made: what is there since
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

// Of names the changes for an error.
func (c Entry) Of() string { return "DNS changes" }

// CheckBegin refuses a way that is not known.
func (c Entry) CheckBegin() error {
	if c.By != RFC2136 && c.By != ByAPI {
		return fmt.Errorf("changes were made by %q, which is not known here", c.By)
	}
	return nil
}

// CheckChange refuses what nothing could be undone by.
func (c Entry) CheckChange() error {
	for _, name := range []string{c.Hostname, c.Zone} {
		if _, ok := dns.IsDomainName(name); !ok || name == "" || name != Canonical(name) {
			return fmt.Errorf("%q is no name", name)
		}
	}
	if !IsBelow(c.Hostname, c.Zone) {
		return fmt.Errorf("%s is not in the zone %s", c.Hostname, c.Zone)
	}
	for _, r := range []Records{c.Before, c.After} {
		if err := r.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Made gives c as it was made: with the records that are there since.
func (c Entry) Made(how Entry) (Entry, error) {
	c.After = how.Records
	return c, how.Records.Check()
}

// SameWay reports whether the same Editor takes back both.
func (c Entry) SameWay(other Entry) bool { return c.By == other.By }

// String says c in one line: "api.example.org: A 10.0.0.13 (TTL 60) -> ...".
func (c Entry) String() string {
	return fmt.Sprintf("%s: %s -> %s", c.Hostname, ShownRecords(c.Before), ShownRecords(c.After))
}

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

// UndoStep says how to undo c where the hostname has now; made says that it was
// confirmed. Each type of record counts for itself: a change that was cut short
// has some of both.
func (c Entry) UndoStep(now Records, made bool) (Step, error) {
	if c.Hostname == "" {
		return "", errNoChange
	}
	step := StepNone
	for _, typ := range KnownTypes() {
		is, was, to := now.Of(typ), c.Before.Of(typ), c.After.Of(typ)
		switch {
		case is.Same(was):
		case is.Same(to):
			step = StepPut
		case !made && slices.Equal(is.Values, to.Values) && !slices.Equal(is.Values, was.Values):
			step = StepPut // a server with a bound on TTLs, and nobody lived to write it down
		default:
			return StepConflict, nil
		}
	}
	return step, nil
}
