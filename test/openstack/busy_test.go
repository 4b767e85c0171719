package openstack_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// TestBusyKeystone asks the Keystones of three controllers for more tokens than
// they can issue, and has twelve clients ask again as soon as they have an answer.
// All of that is late, and none of it is a failure: every host stays in, every
// client gets its token, and no host is asked for what another one is at already.
// How late it may be is the benchmark's to say: "holdfast lab bench keystone".
func TestBusyKeystone(t *testing.T) {
	bin := os.Getenv(binaryVariable)
	if bin == "" {
		t.Skip("this is for test/openstack/run.sh, which installs Keystone first: make test-openstack")
	}
	cmd := exec.CommandContext(t.Context(), bin, "lab", "bench", "keystone", "-o", "json",
		"--only", "holdfast", "--loads", "1.2,loop12", "--length", "15s")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	t.Logf("%s", said.String())
	if err != nil {
		t.Fatalf("lab bench keystone: %v", err)
	}
	var report struct {
		Rows []struct {
			Name  string `json:"name"`
			Cells []struct {
				Runs []struct {
					Sessions int            `json:"sessions"`
					Failed   int            `json:"failed"`
					Kinds    map[string]int `json:"failures"`
					Sent     int            `json:"sent"`
					Seen     int            `json:"seen"`
					Down     int            `json:"marked_down"`
					None     int            `json:"none_left"`
				} `json:"runs"`
			} `json:"cells"`
		} `json:"rows"`
		Problems []string `json:"problems"`
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if len(report.Rows) != 2 || len(report.Problems) > 0 {
		t.Errorf("%d loads, want 2; problems %q", len(report.Rows), report.Problems)
	}
	for _, row := range report.Rows {
		if len(row.Cells) != 1 || len(row.Cells[0].Runs) != 1 {
			t.Fatalf("%s was not measured once: %+v", row.Name, row.Cells)
		}
		m := row.Cells[0].Runs[0]
		if m.Sessions == 0 || m.Failed > 0 {
			t.Errorf("%s: %d of %d clients got no token: %v", row.Name, m.Failed, m.Sessions, m.Kinds)
		}
		if m.Down > 0 || m.None > 0 {
			t.Errorf("%s: hosts that were only late were marked down %d times, and %d times none was left", row.Name, m.Down, m.None)
		}
		if 10*m.Seen > 11*m.Sent {
			t.Errorf("%s: hosts saw %d requests, clients had sent %d", row.Name, m.Seen, m.Sent)
		}
	}
}
