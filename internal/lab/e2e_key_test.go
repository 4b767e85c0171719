package lab_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// withAuthentication is the spec with a step of the roll-out.
func withAuthentication(mode spec.Authentication) string {
	return upgradable + "agent: {authentication: " + string(mode) + "}\n"
}

// TestKey has three controllers go from receive-only to strict and to another key, as
// docs/spec.md says, under load, and move the VIP and drain with it. One that has not the
// key is neither heard nor obeyed.
func TestKey(t *testing.T) {
	binary := needLab(t)
	key := filepath.Join(t.TempDir(), "key")
	command := func(args ...string) (string, error) {
		out, err := exec.Command(binary, args...).CombinedOutput()
		return string(out), err
	}
	if out, err := command("key", key); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := newCloudOf(t, "key", withAuthentication(spec.ReceiveOnly), lab.UpOptions{KeyFile: key})
	c.await("holdfast to call the lab well", c.well)
	keyOf := filepath.Join(string(c.dir), "key")
	first, err := os.ReadFile(keyOf)
	if err != nil {
		t.Fatal(err)
	}
	second, err := command("key", "--id", "2")
	if err != nil {
		t.Fatal(err)
	}
	names, holder := c.others(""), c.holder()
	moves := c.transitions(names)
	c.during(plannedLoad(20*time.Second), func() {
		for _, step := range []struct {
			mode   spec.Authentication
			keys   string // empty: as they are
			active int
			says   string // in the finding; empty: there is none
		}{
			{spec.Permissive, "", 1, "agent.authentication: strict"},
			{spec.Strict, "", 1, ""},
			{spec.Strict, string(first) + second, 1, ""},
			{spec.Strict, string(first) + second + "active_key 2\n", 2, ""},
			{spec.Strict, second, 2, ""},
		} {
			if step.keys != "" {
				if err := os.WriteFile(keyOf, []byte(step.keys), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range names {
				if err := os.WriteFile(filepath.Join(string(c.dir), "nodes", name, "holdfast.yaml"), []byte(withAuthentication(step.mode)), 0o644); err != nil {
					t.Fatal(err)
				}
				c.fault("agent-reload", name)
				c.await("the step on "+name, func() error {
					s := c.snapshot(name)
					if a := s.Authentication; a == nil || step.keys != "" && len(a.Keys) != strings.Count(step.keys, "hex:") || a.Mode != string(step.mode) || a.Active != step.active {
						return fmt.Errorf("%+v since %v, %v", a, s.Config.Loaded, s.Config.Rejected)
					}
					return nil
				})
			}
			for _, name := range names {
				c.await("what "+name+" says of the step", func() error {
					i := slices.IndexFunc(c.snapshot(name).Findings, func(f status.Finding) bool { return f.Code == status.CodeNotAuthenticated })
					if (i >= 0) != (step.says != "") || i >= 0 && !strings.Contains(c.snapshot(name).Findings[i].Remedy, step.says) {
						return fmt.Errorf("findings %v, want %q", c.snapshot(name).Findings, step.says)
					}
					return nil
				})
			}
		}
	})
	if c.holder() != holder || c.transitions(names) != moves {
		t.Errorf("the VIP was on %s, is on %s; %d transitions, were %d", holder, c.holder(), c.transitions(names), moves)
	}
	c.nothingRefused(names)

	// What agents ask each other works.
	to := names[slices.IndexFunc(names, func(n string) bool { return n != holder })]
	if out, code := c.run(holder, "holdfast", "handover", "--to", to); code != 0 {
		t.Errorf("handover: %d\n%s", code, out)
	}
	c.await("the VIP to be on "+to, func() error {
		if c.holder() != to {
			return fmt.Errorf("it is on %s", c.holder())
		}
		return nil
	})
	if out, code := c.run(to, "holdfast", "drain", holder); code != 0 {
		t.Errorf("drain of another one: %d\n%s", code, out)
	}
	if out, code := c.run(to, "holdfast", "undrain", holder); code != 0 {
		t.Errorf("undrain: %d\n%s", code, out)
	}
	c.await("holdfast to call the lab well", c.well)
	c.nothingRefused(names)

	// One is started anew, and shows itself; it has nothing of its former life.
	c.fault("agent-restart", holder)
	c.await("holdfast to call the lab well", c.well)
	time.Sleep(3 * time.Second) // for what would be refused
	c.nothingRefused(names)
	if v := c.snapshot(holder).VIPs[0]; v.Holder != to {
		t.Errorf("%s does not hear the holder: %+v", holder, v)
	}

	// One has another key: it is not obeyed, and it is said on both sides.
	if err := os.WriteFile(keyOf, first, 0o600); err != nil {
		t.Fatal(err)
	}
	loser := names[slices.IndexFunc(names, func(n string) bool { return n != to && n != holder })]
	c.fault("agent-reload", loser)
	if out, code := c.run(loser, "holdfast", "handover", "--to", loser); code == 0 {
		t.Errorf("one with another key is obeyed:\n%s", out)
	}
	c.await("the others to say that requests are refused", func() error {
		for _, f := range c.snapshot(to).Findings {
			if f.Code == status.CodeRequestsUnproven && strings.Contains(f.Text, "in the name of "+loser) {
				return nil
			}
		}
		return fmt.Errorf("findings of %s: %v", to, c.snapshot(to).Findings)
	})
	if c.snapshot(to).VIPs[0].State != status.Active {
		t.Errorf("%s does not hold the VIP any more", to)
	}
}

// nothingRefused says what was refused that was not to be.
func (c *cloud) nothingRefused(names []string) {
	c.Helper()
	for _, name := range names {
		s := c.snapshot(name)
		for _, v := range s.VIPs {
			if len(v.Rejected) > 0 {
				c.Errorf("%s dropped %v", name, v.Rejected)
			}
		}
		for _, f := range s.Findings {
			if f.Code == status.CodeRequestsUnproven || f.Code == status.CodeKeyUnusable {
				c.Errorf("%s: %v", name, f)
			}
		}
	}
}

// transitions gives how often the VIP has changed hands, on all.
func (c *cloud) transitions(names []string) (n uint64) {
	c.Helper()
	for _, name := range names {
		for _, v := range c.snapshot(name).VIPs {
			n += v.Transitions
		}
	}
	return n
}
