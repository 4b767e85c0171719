package dns

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"holdfast/internal/status"
)

// Diff shows what p changes for a person to review: a line of a zone file for
// each record that goes, with "-" before it, and for each that comes, with "+".
func (p Plan) Diff() string {
	var b strings.Builder
	for _, n := range p.Names {
		n.diff(&b)
	}
	fmt.Fprintf(&b, "%s\n", p.Summary())
	return b.String()
}

// Summary counts: "plan 0123456789ab: 1 hostname to change, 1 as it should be".
func (p Plan) Summary() string {
	change, blocked := len(p.Changes()), 0
	for _, n := range p.Names {
		if n.Blocked {
			blocked++
		}
	}
	parts := []string{}
	if change > 0 {
		parts = append(parts, fmt.Sprintf("%d to change", change))
	}
	if fine := len(p.Names) - change - blocked; fine > 0 {
		parts = append(parts, fmt.Sprintf("%d with nothing to change", fine))
	}
	if blocked > 0 {
		parts = append(parts, fmt.Sprintf("%d that cannot be planned", blocked))
	}
	return fmt.Sprintf("plan %s: hostnames: %s", p.ID, strings.Join(parts, ", "))
}

func (n NamePlan) diff(b *strings.Builder) {
	zone := "in no known zone"
	if n.Zone != "" {
		zone = "zone " + n.Zone
	}
	vips := "VIP " + strings.Join(n.VIPs, " and ")
	fmt.Fprintf(b, "%s (%s, %s)\n", n.Hostname, vips, zone)
	n.answers(b)
	switch {
	case n.Blocked:
		fmt.Fprintf(b, "  no plan\n")
	case !n.Change:
		fmt.Fprintf(b, "  nothing to change\n")
	default:
		n.lines(b)
	}
	if n.StaleFor > 0 {
		what := "give the old answer"
		if n.Before.SameValues(n.After) {
			what = "keep the old TTL"
		}
		fmt.Fprintf(b, "  caches may %s for up to %s after the change\n", what, status.Brief(n.StaleFor))
	}
	fmt.Fprintln(b)
}

// lines writes the records that go, stay and come.
func (n NamePlan) lines(b *strings.Builder) {
	before, after := n.Before.Lines(n.Hostname), n.After.Lines(n.Hostname)
	for _, line := range before {
		mark := "-"
		if slices.Contains(after, line) {
			mark = " "
		}
		fmt.Fprintf(b, "  %s %s\n", mark, line)
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			fmt.Fprintf(b, "  + %s\n", line)
		}
	}
}

// answers writes what each server answers.
func (n NamePlan) answers(b *strings.Builder) {
	if len(n.View.Servers)+len(n.View.Resolvers) == 0 {
		return
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	line := func(words ...string) {
		fmt.Fprintf(w, "  %s\n", strings.Join(words, "\t")) //nolint:errcheck // it keeps all in memory
	}
	line("asked", "serial", "TTL", "answer")
	for _, s := range n.View.Servers {
		name := s.String()
		if s.Primary {
			name += ", primary"
		}
		if trouble := s.Trouble(); trouble != "" {
			line(name, "-", "-", trouble)
			continue
		}
		line(name, ShownSerial(s), shownTTL(s.A, s.AAAA), ShownAnswers(s.A, s.AAAA))
	}
	for _, r := range n.View.Resolvers {
		if trouble := r.trouble(); trouble != "" {
			line(r.String(), "-", "-", trouble)
			continue
		}
		line(r.String(), "-", shownTTL(r.A, r.AAAA), ShownAnswers(r.A, r.AAAA))
	}
	if err := w.Flush(); err != nil {
		fmt.Fprintf(b, "  %v\n", err)
	}
}

// shownTTL gives the longest TTL of what a server answered with.
func shownTTL(a, aaaa Answer) string {
	longest, any := uint32(0), false
	for _, answer := range []Answer{a, aaaa} {
		if len(answer.Addresses) > 0 || answer.Alias != "" {
			longest, any = max(longest, answer.cachedFor()), true
		}
	}
	if !any {
		longest = max(a.TTL, aaaa.TTL)
	}
	return fmt.Sprint(longest)
}

// ZoneLines gives p as lines of zone files, for those who edit these by hand:
// what is to be removed as comments, what is to be there as records. It also
// has the hostnames that need no change, as comments.
func (p Plan) ZoneLines() string {
	var b strings.Builder
	for _, n := range p.Names {
		zone := ShownName(n.Zone)
		switch {
		case n.Blocked:
			fmt.Fprintf(&b, "; %s: no plan\n", n.Hostname)
			continue
		case !n.Change:
			fmt.Fprintf(&b, "; %s, zone %s: nothing to change\n", n.Hostname, zone)
			continue
		}
		fmt.Fprintf(&b, "; %s, zone %s: in place of all A, AAAA and CNAME records of this name\n", n.Hostname, zone)
		after := n.After.Lines(n.Hostname)
		for _, line := range n.Before.Lines(n.Hostname) {
			if !slices.Contains(after, line) {
				fmt.Fprintf(&b, "; remove: %s\n", line)
			}
		}
		for _, line := range after {
			fmt.Fprintf(&b, "%s\n", line)
		}
		fmt.Fprintf(&b, "; and raise the serial of the zone's SOA record\n")
	}
	return b.String()
}
