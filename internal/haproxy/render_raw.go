package haproxy

import (
	"slices"
	"strings"

	"holdfast/internal/spec"
)

// Where in a section raw lines stand: HAProxy warns of a rule that stands behind one that it
// obeys later, and a warning is an error.
type rawPlace int

const (
	rawFirst rawPlace = iota // before our rules: acls, and rules of connections
	rawRules                 // behind them
	rawLeads                 // before what leads to a backend
)

// raw writes those of lines that belong to a place.
func (w *writer) raw(lines []spec.RawLine, places ...rawPlace) {
	for _, unit := range rawUnits(lines) {
		if !slices.Contains(places, placeOf(unit)) {
			continue
		}
		for _, l := range unit {
			w.last().Lines = append(w.last().Lines, Line{Text: l.Text, Spec: l.Line})
		}
	}
}

// rawAll writes lines as they come.
func (w *writer) rawAll(lines []spec.RawLine) { w.raw(lines, rawFirst, rawRules, rawLeads) }

// rawUnits divides lines into what stays together: one line, or all from an ".if" to its ".endif".
func rawUnits(lines []spec.RawLine) [][]spec.RawLine {
	var units [][]spec.RawLine
	deep := 0
	for _, l := range lines {
		if deep > 0 {
			last := len(units) - 1
			units[last] = append(units[last], l)
		} else {
			units = append(units, []spec.RawLine{l})
		}
		switch word, _, _ := strings.Cut(l.Text, " "); word {
		case ".if":
			deep++
		case ".endif":
			deep = max(deep-1, 0)
		}
	}
	return units
}

// placeOf gives the place of a unit: that of its first line that says something.
func placeOf(unit []spec.RawLine) rawPlace {
	for _, l := range unit {
		word, _, _ := strings.Cut(l.Text, " ")
		switch {
		case strings.HasPrefix(word, "."):
			continue
		case word == "acl" || word == "tcp-request" || word == "declare" || word == "stick-table":
			return rawFirst
		case word == "use_backend":
			return rawLeads
		}
		return rawRules
	}
	return rawRules
}

// frontendRaw gives the raw lines of the frontends of svc: of all http services, and its own.
func frontendRaw(s *spec.Spec, svc spec.Service) []spec.RawLine {
	if modeOf(svc) != spec.HTTP {
		return svc.HAProxy.Frontend
	}
	return slices.Concat(s.HAProxy.Frontend, svc.HAProxy.Frontend)
}

// backendRaw gives those of its backends.
func backendRaw(s *spec.Spec, svc spec.Service) []spec.RawLine {
	if modeOf(svc) != spec.HTTP {
		return svc.HAProxy.Backend
	}
	return slices.Concat(s.HAProxy.Backend, svc.HAProxy.Backend)
}

// SpecLine gives the line of the spec that the n-th line of the text of c comes from, both
// from 1; 0 for one that is made.
func (c *Config) SpecLine(n int) int {
	at := 0
	for i := range c.Sections {
		s := &c.Sections[i]
		if i > 0 {
			at++
		}
		if s.Kind != "" {
			at++
		}
		if s.Bind != nil {
			at++
		}
		if n > at && n <= at+len(s.Lines) {
			return s.Lines[n-at-1].Spec
		}
		at += len(s.Lines) + len(s.Servers)
	}
	return 0
}

// raws gives the raw lines of s.
func (s *Section) raws() []string {
	var all []string
	for _, l := range s.Lines {
		if l.Spec != 0 {
			all = append(all, l.Text)
		}
	}
	return all
}

// rawDefaults gives the backends of c whose servers get something by a raw line.
func (c *Config) rawDefaults() map[string]bool {
	said := func(s *Section) bool {
		return slices.ContainsFunc(s.raws(), func(l string) bool { return strings.HasPrefix(l, "default-server") })
	}
	all, out := false, map[string]bool{}
	for _, s := range c.proper() {
		if s.Kind == defaultsSection {
			all = said(s)
		}
		if s.Kind == backendSection && (all || said(s)) {
			out[s.Name] = true
		}
	}
	return out
}
