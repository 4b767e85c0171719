package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"holdfast/internal/cli/tui"
	"holdfast/internal/cloud"
	"holdfast/internal/incident"
	"holdfast/internal/lab"
)

// A recorded fault is what testdata/faults/record.sh wrote.
type recordedFault struct {
	Fault     string              `json:"fault"` // as "holdfast lab fault" was told
	Cloud     cloud.Cloud         `json:"cloud"`
	Incidents []incident.Incident `json:"incidents"`
}

// TestFaultScreens draws what an operator at a terminal of 80 by 24 sees of each fault of the lab,
// some seconds after it, and holds it to its golden screen: it fits, it names where it is, since when,
// and what to do.
func TestFaultScreens(t *testing.T) {
	files, err := filepath.Glob("testdata/faults/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no faults: %v", err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var f recordedFault
			if err := json.Unmarshal(data, &f); err != nil {
				t.Fatal(err)
			}
			f.Cloud.Verdict = cloud.Judge(f.Cloud)
			lines := screen(sight{f.Cloud, ofLate(f.Incidents, f.Cloud.Time)}, viewport{width: 80, height: 24})
			text := strings.Join(lines, "\n") + "\n"
			goldenScreen(t, strings.TrimSuffix(path, ".json")+".txt", text)
			if len(lines) > 24 {
				t.Errorf("%d lines", len(lines))
			}
			for _, line := range lines {
				if tui.Visible(line) > 80 {
					t.Errorf("%d columns: %s", tui.Visible(line), line)
				}
			}
			says(t, f, lines, text)
		})
	}
}

// TestEachFaultHasAScreen holds the recorded faults to those of the lab.
func TestEachFaultHasAScreen(t *testing.T) {
	ending := []string{"service-back", "haproxy-back", "agent-back", "back", "heal"}
	for _, kind := range lab.FaultKinds() {
		_, err := os.Stat("testdata/faults/" + kind.Name + ".txt")
		if slices.Contains(ending, kind.Name) {
			continue
		}
		if err != nil {
			t.Errorf("%v; testdata/faults/record.sh makes it", err)
		}
	}
}

// unfelt gives the faults that leave nothing to say: clients felt nothing, and nothing is wrong.
func unfelt() map[string]string {
	return map[string]string{
		"service-restart":  "it is back before a check misses it",
		"graceful-restart": "its requests are finished, and new ones go elsewhere",
		"push-back":        "the service says 503 with Retry-After on purpose",
		"closes":           "nobody has sent headers so large",
		"mac-change":       "the holder announces its new MAC address at once",
		"flush-rules":      "no move goes on whose rules could be missed",
		"log-stuck":        "nobody waits for the log",
		"agent-reload":     "the spec is the one that is in force",
		"source-guard":     "what the network drops shows when a VIP is moved",
	}
}

// sinceUnknown gives the faults of which no controller knows when they began.
func sinceUnknown() map[string]string {
	return map[string]string{
		"clock":    "clocks are compared when one asks, and not kept",
		"flap":     "it comes and goes",
		"delay":    "a link is judged by the last 20 s, and not since when",
		"no-files": "the agent's port still takes connections, by its kernel",
	}
}

// says checks that a screen tells what it must of f.
func says(t *testing.T, f recordedFault, lines []string, text string) {
	t.Helper()
	words := strings.Fields(strings.TrimSuffix(f.Fault, ";"))
	above := strings.Join(lines, " ")
	if at := strings.Index(above, "CONTROLLER "); at >= 0 { // in words, not only in a table
		above = above[:at]
	}
	if unfelt()[words[0]] != "" {
		words = words[:1]
	}
	for _, w := range words[1:] {
		if (strings.HasPrefix(w, "cloudcontrol") || strings.HasPrefix(w, "nova") || strings.HasPrefix(w, "glance")) && !strings.Contains(above, w) && !strings.Contains(f.Fault, ";") {
			t.Errorf("nothing is said of %s, after %q", w, f.Fault)
		}
	}
	if f.Cloud.Healthy {
		if why := unfelt()[words[0]]; !strings.Contains(text, "\nlately   ") && why == "" {
			t.Errorf("nothing is said of what happened")
		}
		return
	}
	if why := sinceUnknown()[words[0]]; !strings.Contains(above, " since ") && why == "" {
		t.Errorf("it is not said since when")
	}
	if !strings.Contains(text, "\n         docs/troubleshooting.md#") && !strings.Contains(text, "; docs/troubleshooting.md#") {
		t.Errorf("it is not said where more is told")
	}
	do := false
	for _, line := range lines {
		for _, program := range []string{"ssh", "holdfast", "ping", "diff"} {
			do = do || strings.HasPrefix(line, "         "+program+" ")
		}
	}
	if !do {
		t.Errorf("it is not said what to do")
	}
}

func goldenScreen(t *testing.T, path, got string) {
	t.Helper()
	if *updateStatus {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); go test -update-status writes it anew:\n%s", path, diff)
	}
}
