package hearing

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

// TestWordsAreUnderstood holds what agents say of adverts that do not arrive to what package
// cloud makes one finding of.
func TestWordsAreUnderstood(t *testing.T) {
	vips := []string{"api", "inside"}
	answer := func(name string, found ...*status.Finding) cloud.Answer {
		s := &status.Snapshot{Schema: 1, Cloud: "lab", Controller: name, HAProxy: status.HAProxy{State: status.HAProxyRunning}, Time: time.Unix(0, 0)}
		for _, f := range found {
			s.Findings = append(s.Findings, *f)
		}
		return cloud.Answer{Name: name, Address: "10.0.0.1:9470", Snapshot: s}
	}
	got := cloud.Merge(time.Unix(0, 0), "", []cloud.Answer{
		answer("ctl1", notHeardHere("ctl2", vips)),
		answer("ctl2", notHeardThere("ctl2", "ctl1", vips, "operation not permitted"), notHeardThere("ctl2", "ctl3", vips, "")),
		answer("ctl3", notHeardHere("ctl2", vips)),
	}).Findings
	if len(got) != 1 || !strings.HasPrefix(got[0].Text, "a filter of ctl2 drops its adverts for vips api, inside (operation not permitted): they do not arrive at ctl1, ctl3") {
		t.Errorf("%+v", got)
	}
}
