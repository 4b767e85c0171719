package lab_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	overview "holdfast/internal/cloud"
	"holdfast/internal/lab"
	"holdfast/internal/status"
)

// clockDiffers waits until the cloud's findings have that the clock of node is off,
// in words, or have it no more.
func (c *cloud) clockDiffers(node, words string, want bool) {
	c.Helper()
	c.await(fmt.Sprintf("the clock of %s to be called off, %v", node, want), func() error {
		out, code := c.run("client", "holdfast", "status", "-o", "json")
		var all overview.Cloud
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			return fmt.Errorf("status: exit code %d, %w", code, err)
		}
		has := slices.ContainsFunc(all.Findings, func(f status.Finding) bool {
			return f.Code == status.CodeClockDiffers && f.Subject == "controller "+node && strings.Contains(f.Text, words)
		})
		if has != want {
			return fmt.Errorf("exit code %d, the findings are %v", code, all.Findings)
		}
		return nil
	})
}

// TestPlannedMoveOfClocksThatDiffer has the wall clock of one agent hours off, ahead
// and behind, and hands the VIP over to it and back again: nothing fails, and what is
// left of each move ends as it does otherwise.
func TestPlannedMoveOfClocksThatDiffer(t *testing.T) {
	c := sharedCloud(t)
	for offset, words := range map[string]string{"+3h": "ahead of", "-26h": "behind"} {
		t.Run(offset, func(t *testing.T) {
			c := &cloud{t, c.dir, c.binary}
			holder := c.holder()
			wrong := c.others(holder)[0]
			if _, err := lab.Inject(t.Context(), c.dir, lab.Fault{Kind: "clock", Node: wrong, Value: offset}); err != nil {
				t.Fatal(err)
			}
			c.clockDiffers(wrong, words, true)
			c.await("a whole lab", c.whole)
			for _, move := range [][2]string{{holder, wrong}, {wrong, holder}} {
				c.during(plannedLoad(4*time.Second), func() { c.handOver(move[0], move[1]) })
				c.await("nothing to be left of the handovers", c.settled)
			}
			c.fault("heal", "")
			c.clockDiffers(wrong, "", false)
			c.await("holdfast to call the lab well", c.well)
			c.await("nothing to be left of the handovers", c.settled)
		})
	}
	for _, bad := range []string{"", "x", "0s", "+100000000h"} {
		if _, err := lab.Inject(t.Context(), c.dir, lab.Fault{Kind: "clock", Node: c.holder(), Value: bad}); err == nil {
			t.Errorf("a clock that is off by %q was made", bad)
		}
	}
}
