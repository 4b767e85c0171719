package openstack_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// busyReport is what "holdfast lab bench keystone -o json" says, as far as it
// matters here.
type busyReport struct {
	Rows []struct {
		Name  string `json:"name"`
		Cells []struct {
			System string        `json:"system"`
			Median busyKeystones `json:"median"` // of one run
		} `json:"cells"`
	} `json:"rows"`
	Problems []string `json:"problems"`
}

// busyKeystones is what came of one load.
type busyKeystones struct {
	Sessions int            `json:"sessions"` // of clients that wanted a token
	Failed   int            `json:"failed"`
	Kinds    map[string]int `json:"failures"`
	Sent     int            `json:"sent"`
	Seen     int            `json:"seen"`
	Down     int            `json:"marked_down"`
	None     int            `json:"none_left"`
}

// TestBusyKeystone asks the Keystones of three controllers for more tokens than
// they can issue, and has twelve clients ask again as soon as they have an answer.
// All of that is late, and none of it is a failure: no client
// fails that would not fail through kolla-ansible's settings, no host is marked down,
// and none is asked for what another one is at already. How late it may be is the benchmark's to say.
func TestBusyKeystone(t *testing.T) {
	bin := os.Getenv(binaryVariable)
	if bin == "" {
		t.Skip("this is for test/openstack/run.sh, which installs Keystone first: make test-openstack")
	}
	report := benchKeystone(t, bin, "--loads", "1.2,loop12", "--length", "15s")
	if len(report.Rows) != 2 {
		t.Errorf("%d loads, want 2; problems %q", len(report.Rows), report.Problems)
	}
	for _, row := range report.Rows {
		if len(row.Cells) != 2 || row.Cells[0].System != "holdfast" || row.Cells[1].System != "kolla" {
			t.Fatalf("%s was measured on %+v", row.Name, row.Cells)
		}
		m, kolla := row.Cells[0].Median, row.Cells[1].Median
		if m.Sessions == 0 || kolla.Sessions == 0 || kolla.Seen == 0 {
			t.Errorf("%s: nobody asked: %+v, and kolla %+v", row.Name, m, kolla)
		}
		if m.Failed > kolla.Failed {
			t.Errorf("%s: %d of %d clients got no token: %v; of kolla's %d of %d", row.Name, m.Failed, m.Sessions, m.Kinds,
				kolla.Failed, kolla.Sessions)
		}
		if m.Down > 0 || m.None > 0 {
			t.Errorf("%s: hosts that were only late were marked down %d times, and %d times none was left", row.Name, m.Down, m.None)
		}
		if 10*m.Seen > 11*m.Sent {
			t.Errorf("%s: hosts saw %d requests, clients had sent %d", row.Name, m.Seen, m.Sent)
		}
	}
}

// benchKeystone measures holdfast and kolla-ansible's settings.
func benchKeystone(t *testing.T, bin string, args ...string) busyReport {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, append([]string{"lab", "bench", "keystone", "-o", "json"}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	t.Logf("%s", said.String())
	if err != nil {
		t.Fatalf("lab bench keystone: %v", err)
	}
	var report busyReport
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return report
}
