package atrest

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"holdfast/internal/spec"
)

// TestSpecIsValid proves that every size is a cloud that can be built.
func TestSpecIsValid(t *testing.T) {
	for vips := 1; vips <= 3; vips++ {
		s, findings := spec.Parse("rest.yaml", Options{VIPs: vips, Services: 200, Controllers: 9}.spec())
		if s == nil || len(findings) > 0 {
			t.Fatalf("%d VIPs: %v", vips, findings)
		}
		if len(s.VIPs) != vips || len(s.Services) != 200 || len(s.Controllers) != 9 {
			t.Errorf("%d VIPs, %d services, %d controllers", len(s.VIPs), len(s.Services), len(s.Controllers))
		}
	}
	for _, o := range []Options{
		{VIPs: 4, Services: 1, Controllers: 1, Length: time.Second, Runs: 1}, {VIPs: 1, Controllers: 1, Length: time.Second, Runs: 1},
		{VIPs: 1, Services: 1, Controllers: 10, Length: time.Second, Runs: 1}, {VIPs: 1, Services: 1, Controllers: 1, Runs: 1},
		{VIPs: 1, Services: 1, Controllers: 1, Length: time.Second},
	} {
		if o.Check() == nil {
			t.Errorf("%+v can be measured", o)
		}
	}
}

// proc is a /proc with two controllers of the lab "rest", and what else runs.
func proc(factor uint64) fstest.MapFS {
	fs := fstest.MapFS{}
	add := func(pid, cmdline string, threads int, ms, switches uint64) {
		fs[pid+"/cmdline"] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(cmdline, " ", "\x00") + "\x00")}
		for i := range threads {
			dir := fmt.Sprintf("%s/task/%s%d", pid, pid, i)
			fs[dir+"/schedstat"] = &fstest.MapFile{Data: fmt.Appendf(nil, "%d 5 5\n", ms*factor*1_000_000)}
			fs[dir+"/status"] = &fstest.MapFile{Data: fmt.Appendf(nil, "Name:\tx\nVmRSS:\t 2048 kB\nvoluntary_ctxt_switches:\t%d\nnonvoluntary_ctxt_switches:\t%d\n", switches*factor, factor)}
		}
	}
	add("10", "/run/holdfast-lab/rest/bin/holdfast agent -f /run/holdfast-lab/rest/nodes/ctl1/holdfast.yaml", 2, 30, 9)
	add("11", "/run/holdfast-lab/rest/bin/holdfast agent -f /run/holdfast-lab/rest/nodes/ctl2/holdfast.yaml", 1, 20, 9)
	add("12", "/usr/sbin/haproxy -W -S /run/holdfast-lab/rest/nodes/ctl1/run/master.sock", 1, 0, 0)
	add("13", "/usr/sbin/haproxy -sf 12 -S /run/holdfast-lab/rest/nodes/ctl1/run/master.sock", 1, 40, 9)
	add("14", "/usr/sbin/haproxy -sf 12 -S /run/holdfast-lab/other/nodes/ctl1/run/master.sock", 1, 999, 9)
	add("15", "/run/holdfast-lab/rest/bin/holdfast lab standin -f /run/holdfast-lab/rest/nodes/ctl1/x", 1, 999, 9)
	add("16", "", 1, 999, 9)
	return fs
}

func TestCosts(t *testing.T) {
	first, last := look(proc(1), "rest"), look(proc(2), "rest")
	c, err := costsOf(first, last, 10*time.Second, "ctl1")
	if err != nil {
		t.Fatal(err)
	}
	want := Costs{
		HolderAgent: Cost{6, 2, 2 << 20}, OtherAgent: Cost{2, 1, 2 << 20}, HolderHAProxy: Cost{4, 1, 2 << 20},
		All: Cost{12, 4.1, 8 << 20},
	}
	if c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
	delete(first, "11")
	if _, err := costsOf(first, last, time.Second, "ctl1"); err == nil || !strings.Contains(err.Error(), "process 11 on ctl2 began meanwhile") {
		t.Errorf("an agent that was started meanwhile: %v", err)
	}
	first = look(proc(1), "rest")
	delete(last, "13")
	if _, err := costsOf(first, last, time.Second, "ctl1"); err == nil {
		t.Error("an HAProxy that ended meanwhile is no fault")
	}
	r := Report{Rows: []Row{{Binary: "new", Runs: []Costs{c}, Median: c}, {Binary: "old", Median: medianCosts([]Costs{{HolderAgent: Cost{CPU: 12}}, {HolderAgent: Cost{CPU: 24}}})}}}
	if text := r.Text(); !strings.Contains(text, "the first takes 0.33 of it") {
		t.Error(text)
	}
}
