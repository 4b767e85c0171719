package bench_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"holdfast/internal/lab/bench"
)

// needLab skips a test where no lab can be built, and gives the binary that is
// shipped otherwise.
func needLab(t *testing.T, tools ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds labs and loads them; not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root (make test runs as root)")
	}
	for _, tool := range append(tools, "go") {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (make test installs it)", tool)
		}
	}
	path := filepath.Join(t.TempDir(), "holdfast")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "holdfast/cmd/holdfast").CombinedOutput(); err != nil {
		t.Fatalf("build holdfast: %v\n%s", err, out)
	}
	return path
}

// TestBench measures a row that goes on into another for all three systems. It
// asserts that there is something measured, not how long it took.
func TestBench(t *testing.T) {
	binary := needLab(t, "haproxy", "keepalived")
	report, err := bench.Run(t.Context(), bench.Options{
		Runs: 1, Faults: []string{"host-back"}, Binary: binary, Progress: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Rows) != 2 || len(report.Problems) > 0 {
		t.Fatalf("%d rows, problems %q", len(report.Rows), report.Problems)
	}
	for _, row := range report.Rows {
		if len(row.Cells) != len(bench.Systems()) {
			t.Errorf("%s: %d systems", row.Name, len(row.Cells))
		}
		for _, c := range row.Cells {
			m := c.Median
			if m.Requests < 300 || m.P50 == 0 || m.Unfinished || m.PostsTwice > 0 {
				t.Errorf("%s of %s: %+v", row.Name, c.System, m)
			}
			if lost := row.Fault == "holder-lost"; lost != (m.Taken >= 0) {
				t.Errorf("%s of %s: the address was taken after %v", row.Name, c.System, m.Taken)
			}
		}
	}
	if _, err := report.Page(); err != nil {
		t.Error(err)
	}
}

// TestPlanned does planned work to all three systems, with TLS and without. It
// asserts that it was done and measured, not what it cost: that depends on what
// else this machine does.
func TestPlanned(t *testing.T) {
	binary := needLab(t, "haproxy", "keepalived")
	report, err := bench.Run(t.Context(), bench.Options{
		Runs: 1, Faults: []string{"handover", "certificate"}, Binary: binary, Progress: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Rows) != 2 || report.Planned == nil {
		t.Fatalf("%d rows, load %+v", len(report.Rows), report.Planned)
	}
	for _, row := range report.Rows {
		if len(row.Cells) != len(bench.Systems()) {
			t.Errorf("%s: %d systems", row.Name, len(row.Cells))
		}
		for _, c := range row.Cells {
			m, run := c.Median, c.Runs[0]
			if c.System != bench.Holdfast && run.Error != "" {
				t.Logf("%s of %s was not done: %s", row.Name, c.System, run.Error) // how long a peer takes is its own
				continue
			}
			if run.Error != "" || m.Requests < 1500 || m.Work.Connects < 300 || m.Work.Downloads == 0 || len(run.Timeline.Downloads) < m.Work.Downloads {
				t.Errorf("%s of %s: %q, %+v", row.Name, c.System, run.Error, m)
			}
			if moved := row.Fault == "handover"; moved && m.Taken < 0 {
				t.Errorf("%s of %s: nobody took the address", row.Name, c.System)
			}
		}
	}
	if _, err := report.Page(); err != nil {
		t.Error(err)
	}
}

// TestChaos is two minutes of "lab bench --chaos", at the interval that clouds
// have: what else this machine does is not what is tested.
func TestChaos(t *testing.T) {
	binary := needLab(t, "haproxy")
	report, err := bench.Chaos(t.Context(), bench.ChaosOptions{
		Duration: 2 * time.Minute, Seed: 1, Binary: binary, Interval: 100 * time.Millisecond, Progress: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report.Text())
	for _, v := range report.Violations {
		t.Error(v.Text)
	}
}

// TestBusy measures two rows of a busy service and a load of the sweep. It asserts
// that what clients and hosts saw was counted, not what it cost.
func TestBusy(t *testing.T) {
	binary := needLab(t, "haproxy", "keepalived")
	report, err := bench.Run(t.Context(), bench.Options{
		Runs: 1, Faults: []string{"graceful-restart", "push-back", "load-50"}, Only: []bench.System{bench.Holdfast, bench.Kolla},
		Binary: binary, Progress: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Rows) != 3 || len(report.Problems) > 0 {
		t.Fatalf("%d rows, problems %q", len(report.Rows), report.Problems)
	}
	sent := map[string]int{"push-back": 800, "load-50": 960} // by the load alone
	for _, row := range report.Rows {
		for _, c := range row.Cells {
			m, h := c.Median, c.Median.Hosts
			if m.Requests == 0 || h.Checks == 0 || h.Seen < h.Sent/2 {
				t.Errorf("%s of %s: %+v", row.Name, c.System, m)
			}
			if n, ok := sent[row.Fault]; ok && (h.Sent != n || m.Requests != n) {
				t.Errorf("%s of %s: %d requests sent, %d of them measured, want %d", row.Name, c.System, h.Sent, m.Requests, n)
			}
			if restart := row.Fault == "graceful-restart"; restart != (h.Uploads == 30) {
				t.Errorf("%s of %s: %d uploads in flight", row.Name, c.System, h.Uploads)
			}
			if row.Fault == "push-back" && m.Kinds["5xx"] == 0 {
				t.Errorf("%s of %s: nothing was turned away", row.Name, c.System)
			}
		}
	}
	if _, err := report.Page(); err != nil {
		t.Error(err)
	}
}
