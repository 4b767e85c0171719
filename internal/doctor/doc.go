// Package doctor judges whether a host is fit to be a controller, before and during
// service: facts go in, findings come out, each with what was seen, what to do and the
// command that does it. It looks at nothing itself: package look gathers the facts, and a
// fact that could not be had makes no finding.
package doctor

import (
	"cmp"
	"slices"

	"holdfast/internal/status"
)

// A Finding is one thing that keeps this host from being the controller that the spec
// wants, or will.
type Finding struct {
	Severity status.Severity `json:"severity"`
	// Code names the kind of finding, stable over releases; docs/doctor.md lists them.
	Code    string `json:"code"`
	Subject string `json:"subject"` // "service glance", "eno1"
	Text    string `json:"text"`    // what is wrong; lower case, no period
	// Evidence is what was seen, as it was seen: a line of a file, a socket, an answer.
	Evidence string `json:"evidence"`
	Remedy   string `json:"remedy"`
	// Command is a line for a shell of root on this host that does it, or, where only a
	// person can, that shows what is to be changed.
	Command string `json:"command"`
}

// Examine gives all findings of f, errors first, in an order that does not change.
func Examine(f Facts) []Finding {
	r := &report{}
	for _, judge := range []func(*report, Facts){
		rights, kernel, sysctls, tracking, ports, links, managers, neighbours, peers, clocks,
		proxy, programs, certificates, keystone, names, room, agents,
	} {
		judge(r, f)
	}
	rank := map[status.Severity]int{status.Error: 0, status.Warning: 1, status.Info: 2}
	slices.SortStableFunc(r.findings, func(a, b Finding) int { return cmp.Compare(rank[a.Severity], rank[b.Severity]) })
	return r.findings
}

// Healthy reports whether findings has nothing that somebody has to act on.
func Healthy(findings []Finding) bool {
	return !slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity != status.Info })
}

type report struct{ findings []Finding }

// add adds a finding.
func (r *report) add(severity status.Severity, f Finding) {
	f.Severity = severity
	r.findings = append(r.findings, f)
}

func (r *report) error(f Finding)   { r.add(status.Error, f) }
func (r *report) warning(f Finding) { r.add(status.Warning, f) }
func (r *report) info(f Finding)    { r.add(status.Info, f) }
