package cloud

import (
	"slices"
	"testing"

	"holdfast/internal/status"
)

// announced has the controllers announce the VIP as they are told to: some do, some do not.
func announced(answers []Answer, states ...status.AnnouncedState) {
	for i, s := range states {
		v := &answers[i].Snapshot.VIPs[0]
		*v = status.VIP{Name: v.Name, Addresses: v.Addresses, Hostname: v.Hostname, Interface: "lo", Announce: "bgp", Announced: s, State: status.Initialize, Since: v.Since}
		if s == status.Announced || s == status.Draining {
			v.State, v.Present, v.Holder = status.Active, true, answers[i].Name
		}
	}
}

// TestAnnouncedByAll has a VIP that several announce be no conflict, and one that none does be
// held by nobody.
func TestAnnouncedByAll(t *testing.T) {
	for _, c := range []struct {
		name    string
		states  []status.AnnouncedState
		holders []string
		holder  string
		codes   []string
		verdict Serving
	}{
		{"all", []status.AnnouncedState{status.Announced, status.Announced, status.Announced}, []string{"ctl1", "ctl2", "ctl3"}, "ctl1", nil, Serves},
		{"two, and one that leaves", []status.AnnouncedState{status.Withdrawn, status.Draining, status.Announced}, []string{"ctl2", "ctl3"}, "ctl2", nil, Serves},
		{"none", []status.AnnouncedState{status.Withdrawn, status.Withdrawn, status.Withdrawn}, []string{}, "", []string{status.CodeVIPUnheld}, ServesNot},
	} {
		answers := cloudOf(3)
		announced(answers, c.states...)
		got := Merge(now, "", answers)
		if v := got.VIPs[0]; !slices.Equal(v.Holders, c.holders) || v.Holder != c.holder || v.Announce != "bgp" {
			t.Errorf("%s: merged as %+v", c.name, v)
		}
		var codes []string
		for _, f := range got.Findings {
			codes = append(codes, f.Code)
		}
		if !slices.Equal(codes, c.codes) {
			t.Errorf("%s: found %q, want %q", c.name, codes, c.codes)
		}
		if is := got.Verdict.Serving; is != c.verdict {
			t.Errorf("%s: the verdict is %v", c.name, is)
		}
	}
}
