package cloud

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
)

// TestDrains proves that what an agent says it has taken out is told with its
// reason and end, that it degrades nothing, though the services there be
// stopped, and that what only HAProxys find drained is told, too.
func TestDrains(t *testing.T) {
	a := cloudOf(3)
	a[1].Snapshot.Drains = []status.Drained{{Since: now.Add(-time.Minute), Until: now.Add(26 * time.Hour), Reason: "new\nkernel"}}
	a[2].Snapshot.Drains = []status.Drained{{Service: "nova", Since: now.Add(-48 * time.Hour)}}
	checkAll(a, "keystone", "ctl2", status.Drain, "")
	checkAll(a, "nova", "ctl2", status.Down, "connection refused") // stopped before HAProxys knew
	checkAll(a, "nova", "ctl3", status.Drain, "")
	got := Merge(now, "", a)
	var lines []string
	for _, f := range got.Findings {
		lines = append(lines, f.String())
	}
	want := []string{
		"controller ctl2: info: drained, until 2026-11-23 12:42 UTC: new kernel; holdfast undrain ctl2 when done",
		"service nova on ctl3: info: drained; holdfast undrain ctl3 --service nova when done",
	}
	if !got.Healthy || strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("healthy: %v\n%s\nwant\n%s", got.Healthy, strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	for _, s := range got.Services {
		if s.State != status.Up || s.Hosts[1].State != status.Drain || len(s.Hosts[1].Views) > 0 {
			t.Errorf("%s is %s, ctl2 %s %v", s.Name, s.State, s.Hosts[1].State, s.Hosts[1].Views)
		}
	}
	// The agent of ctl3 is gone; HAProxys go on.
	lose(&a[2], "connection refused")
	lines = nil
	for _, f := range Merge(now, "", a).Findings {
		lines = append(lines, f.String())
	}
	if all := strings.Join(lines, "\n"); !strings.Contains(all, "service nova on ctl3: info: drained on purpose; holdfast undrain ctl3 --service nova puts it back") {
		t.Errorf("after the agent of ctl3 is gone:\n%s", all)
	}
}
