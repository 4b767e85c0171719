package catalog

import (
	"slices"
	"strings"
)

// A Release is one release of OpenStack. Since 2023 each has a number besides
// its name.
type Release struct {
	Name   string // "zed", "antelope"
	Number string // "2023.1"; empty before
}

// String gives the release as people write it: its number, if it has one.
func (r Release) String() string {
	if r.Number != "" {
		return r.Number
	}
	return r.Name
}

// Release gives the canonical name of the release called name, by its name or
// number; case does not matter.
func (c Catalog) Release(name string) (string, bool) {
	i := c.releaseIndex(name)
	if i < 0 {
		return "", false
	}
	return c.releases[i].String(), true
}

// Releases gives the canonical names of all releases, oldest first.
func (c Catalog) Releases() []string {
	names := make([]string, len(c.releases))
	for i, r := range c.releases {
		names[i] = r.String()
	}
	return names
}

// CheckFor gives the health check of s as of release. An empty release, or one
// that is not known, is the newest.
func (c Catalog) CheckFor(s Service, release string) Check {
	at := c.releaseIndex(release)
	if at < 0 {
		return s.Check
	}
	for _, b := range s.Before {
		if at < c.releaseIndex(b.Release) {
			return b.Check
		}
	}
	return s.Check
}

func (c Catalog) releaseIndex(name string) int {
	name = strings.ToLower(name)
	if name == "" {
		return -1
	}
	return slices.IndexFunc(c.releases, func(r Release) bool {
		return r.Name == name || r.Number == name
	})
}
