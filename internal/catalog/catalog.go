// Package catalog says what is known of each OpenStack service: its catalog
// types, port, endpoint path, health check, timeouts and affinity, and which of
// its POST requests may be sent twice. The facts are in services.yaml, each with
// its source; this package reads them and finds the one that is asked for.
//
// It knows nothing of a particular cloud: that is package spec, whose defaults
// come from here. It opens no file and asks no service.
package catalog

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"
)

//go:embed services.yaml
var data []byte

// A Catalog holds the known services and the OpenStack releases. It is never
// changed after Load, and may be read by any number of goroutines.
type Catalog struct {
	services []Service
	byName   map[string]int // index in services of each name and alias
	releases []Release
}

// A Service is what is known of one service. All fields are in the terms of
// the spec file; see docs/spec.md.
type Service struct {
	Name    string
	Aliases []string // other names that it has in catalogs and deployment tools
	// Types are the types under which it may be in a Keystone catalog, the usual
	// one first. Empty for what has no endpoint there, like a console or a database.
	Types []string
	Port  int    // 1 to 65535
	Path  string // of the endpoint URL, with Keystone's templates; may be empty
	Mode  string // "http" or "tcp"
	// Affinity is "source", "cookie", "token" or "none".
	Affinity string
	Check    Check    // as of the newest release; see CheckFor
	Before   []Before // oldest release first
	Timeout  Timeout
	// KeepForwarded says that X-Forwarded-For comes from a part of OpenStack and
	// means something else than the client's address, so a proxy must not touch it.
	KeepForwarded bool
	// Internal says that only the cloud itself asks it, never its users.
	Internal  bool
	SafePosts []Request
}

// A Check is a health check that never sends credentials.
type Check struct {
	Layer  int    // 7, or 4 for a mere connect
	Method string // "GET" or "HEAD"; empty in layer 4
	Path   string
	Expect []CodeRange // accepted status codes, ascending
	// Others are paths at which it is in other installations, as below a prefix.
	Others []string
}

// Before is the check of the releases before Release.
type Before struct {
	Release string // canonical name
	Check   Check
}

// Timeout has the timeouts that differ from a proxy's usual ones; 0 is not set.
type Timeout struct {
	Client, Server, Connect, Tunnel, Check, Queue time.Duration
}

// A Request is a kind of request that may be sent again although the first one
// may have been received.
type Request struct {
	Method string // "POST"
	// Path is the path to match in full; "*" stands for any one segment of it.
	Path   string
	Reason string // why a second one does no harm
}

// Load reads the catalog that is built into the binary. An error is a mistake
// in services.yaml, which the tests of this package find first.
func Load() (Catalog, error) {
	c, err := parse(data)
	if err != nil {
		return Catalog{}, fmt.Errorf("read the built-in catalog of services: %w", err)
	}
	return c, nil
}

// Lookup gives the service called name, which may be one of its aliases. Case
// does not matter.
func (c Catalog) Lookup(name string) (Service, bool) {
	i, ok := c.byName[strings.ToLower(name)]
	if !ok {
		return Service{}, false
	}
	return c.services[i], true
}

// ByType gives the services that may have type typ in a Keystone catalog; more
// than one when they take each other's place, as swift and rgw do.
func (c Catalog) ByType(typ string) []Service {
	return c.where(func(s Service) bool { return slices.Contains(s.Types, typ) })
}

// ByPort gives the services whose usual port is port.
func (c Catalog) ByPort(port int) []Service {
	return c.where(func(s Service) bool { return s.Port == port })
}

// Names gives the names of all services, without aliases, sorted.
func (c Catalog) Names() []string {
	names := make([]string, 0, len(c.services))
	for _, s := range c.services {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

// Nearest gives the service whose name or alias is most like word, if one is
// like it; see [Nearest].
func (c Catalog) Nearest(word string) (string, bool) {
	all := make([]string, 0, len(c.byName))
	for name := range c.byName {
		all = append(all, name)
	}
	slices.Sort(all)
	return Nearest(strings.ToLower(word), all)
}

func (c Catalog) where(is func(Service) bool) []Service {
	var found []Service
	for _, s := range c.services {
		if is(s) {
			found = append(found, s)
		}
	}
	return found
}
