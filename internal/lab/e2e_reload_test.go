package lab_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab/load"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// give puts a spec in place on a node, and has its agent take it, as
// docs/runbooks/configuration.md says. It returns when the agent has it.
func (c *cloud) give(node, text string) {
	c.Helper()
	parsed, findings := spec.Parse("new.yaml", []byte(text))
	if parsed == nil {
		c.Fatal(findings)
	}
	file := filepath.Join(string(c.dir), "nodes", node, "holdfast.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		c.Fatal(err)
	}
	c.fault("agent-reload", node)
	c.await("the new spec on "+node, func() error {
		if got := c.snapshot(node).Config; got.Digest != parsed.Digest {
			return fmt.Errorf("it has %s, not %s: %v", got.Digest, parsed.Digest, got.Rejected)
		}
		return nil
	})
}

// reloads gives what the last reload of a node has done to HAProxy.
func (c *cloud) reloads(node string) string {
	c.Helper()
	out, _ := c.run(node, "holdfast", "events", "-n", "1000", "--controller", node)
	i := strings.LastIndex(out, " is in force; ")
	if i < 0 {
		c.Fatalf("no reload in the events of %s:\n%s", node, out)
	}
	line, _, _ := strings.Cut(out[i+len(" is in force; "):], "\n")
	return line
}

// TestSpecChangesUnderLoad gives every controller one changed spec after the
// other: no request fails.
func TestSpecChangesUnderLoad(t *testing.T) {
	c := newCloud(t, "change", upgradable)
	hosts := func(weight int, names ...string) string {
		var all []string
		for _, n := range names {
			all = append(all, fmt.Sprintf("{name: %s, address: 10.64.20.%s, weight: %d}", n, map[string]string{"ctl1": "13", "ctl2": "14", "ctl3": "15"}[n], weight))
		}
		return "hosts: [" + strings.Join(all, ", ") + "]"
	}
	const changed, reloaded = "HAProxy was changed without a reload: ", "HAProxy was reloaded: "
	steps := []struct{ name, nova, does string }{
		{"weights", "{" + hosts(32, "ctl1", "ctl2", "ctl3") + "}", changed},
		{"a host less", "{" + hosts(32, "ctl1", "ctl3") + "}", changed},
		{"a host more", "{" + hosts(32, "ctl1", "ctl2", "ctl3") + "}", ""},
		{"a timeout", "{timeout: {server: 90s}}", reloaded},
		{"a check", "{check: {path: /v2.1}}", reloaded},
		{"a service more", "{}\n  glance: {}", reloaded},
		{"a service less", "{}", reloaded},
	}
	c.during(plannedLoad(18*time.Second), func() {
		begun := time.Now()
		for _, step := range steps {
			for _, name := range c.others("") {
				c.give(name, strings.Replace(upgradable, "nova: {}", "nova: "+step.nova, 1))
				if did := c.reloads(name); !strings.HasPrefix(did, step.does) {
					t.Errorf("%s on %s: %q, want %q", step.name, name, did, step.does)
				}
			}
		}
		t.Logf("%d changes on %d controllers took %v", len(steps), len(c.others("")), time.Since(begun))
	})
}

// TestSpecThatBreaksAServiceIsTakenBack has one controller after the other take
// a check that nothing passes. Each goes back; the other service never notices.
func TestSpecThatBreaksAServiceIsTakenBack(t *testing.T) {
	c := newCloud(t, "back", upgradable)
	// A service counts as taken down only where a check had found it up before.
	c.await("every HAProxy to have checked every host", c.well)
	bad := strings.Replace(upgradable, "nova: {}", "nova: {check: {expect: 299}}", 1)
	done := make(chan []load.Record, 1)
	go func() {
		records, err := c.tryLoad("--rate", "200", "--duration", "10s", "--connections", "mixed")
		if err != nil {
			t.Error(err)
		}
		done <- records
	}()
	time.Sleep(time.Second)
	holder := c.holder()
	for _, node := range append([]string{holder}, c.others(holder)...) {
		file := filepath.Join(string(c.dir), "nodes", node, "holdfast.yaml")
		if err := os.WriteFile(file, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		c.fault("agent-reload", node)
		c.await("the spec to be taken back on "+node, func() error {
			out, _ := c.run(node, "holdfast", "events", "-n", "1000", "--controller", node)
			if !strings.Contains(out, " was taken back, and ") {
				return fmt.Errorf("the events are\n%s", out)
			}
			return nil
		})
		if r := c.snapshot(node).Config.Rejected; len(r) != 1 || r[0].Code != "config-rolled-back" || !strings.Contains(r[0].Text, "want 299") {
			t.Errorf("%s has rejected %+v", node, r)
		}
	}
	for _, node := range c.others("") {
		if out, _ := c.run(node, "holdfast", "events", "-n", "1000", "--controller", node); strings.Contains(out, "HAProxy is hung") {
			t.Skipf("this machine is too busy: HAProxy of %s did not answer for 300 ms", node)
		}
	}
	failed, last := 0, time.Time{}
	var first time.Time
	for _, r := range <-done {
		switch {
		case r.Failure == "":
		case r.Target != "nova":
			t.Errorf("a request to %s failed: %s", r.Target, r.Error)
		default:
			failed++
			if first.IsZero() || r.Due.Before(first) {
				first = r.Due
			}
			if r.Due.After(last) {
				last = r.Due
			}
		}
	}
	t.Logf("%d requests to nova failed, within %v", failed, last.Sub(first))
	c.await("every service to answer", c.allAnswer)
	if out, _ := c.run("holder", "holdfast", "status"); !strings.Contains(flat(out), "lost all its hosts") {
		t.Errorf("status says\n%s", out)
	}
	for _, s := range c.snapshot(holder).Services {
		if s.State != status.Up {
			t.Errorf("%s is %s", s.Name, s.State)
		}
	}
}
