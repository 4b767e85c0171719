package lab_test

import (
	"slices"
	"strings"
	"testing"

	"holdfast/internal/lab"
)

// TestSwitch puts a peer in the place of the agents and them back in its place: the
// services' processes stay, and nothing of the other system is left.
func TestSwitch(t *testing.T) {
	c := newCloud(t, "switch", small)
	before := pids(c.run("ctl1", "pgrep", "-f", "lab standin"))
	for _, want := range []struct {
		kind, runs, gone string
	}{
		{"kolla", "keepalived", "holdfast agent"},
		{"", "holdfast agent", "keepalived"},
	} {
		if err := lab.Switch(t.Context(), c.dir, want.kind); err != nil {
			t.Fatal(err)
		}
		// Each has answered once; the address may move once more, as keepalived
		// and our agents agree on who has it.
		c.await("answers with "+want.runs, c.allAnswer)
		if _, code := c.run("ctl1", "pgrep", "-f", want.runs); code != 0 {
			t.Errorf("with %q: no %q runs", want.kind, want.runs)
		}
		if out, code := c.run("ctl1", "pgrep", "-af", want.gone); code == 0 {
			t.Errorf("with %q there is still %s", want.kind, out)
		}
		// The master and its worker: not those of the other system, too.
		if all := pids(c.run("ctl1", "pgrep", "-x", "haproxy")); len(all) != 2 {
			t.Errorf("with %q: processes %v of HAProxy", want.kind, all)
		}
	}
	if after := pids(c.run("ctl1", "pgrep", "-f", "lab standin")); len(before) == 0 || !slices.Equal(before, after) {
		t.Errorf("services' processes were %v, are %v", before, after)
	}
	if err := lab.Switch(t.Context(), c.dir, "nothing"); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("a peer of no known kind: %v", err)
	}
}

func pids(out string, _ int) []string { return strings.Fields(out) }
