package lab_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/status"
)

// three is a spec of three controllers, which ends in its first service.
const three = `
cloud: three
vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 7, interval: 100ms}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
  - {name: ctl3, address: 10.64.20.15}
services:
  keystone: {}
`

// upgradable is a spec as the runbook has it.
const upgradable = three + `
  nova: {}
`

// An upgrader does what docs/runbooks/upgrade.md says, with programs that it
// has copied.
type upgrader struct {
	*cloud
	programs string
}

func newUpgrader(t *testing.T) *upgrader {
	t.Helper()
	binary, programs := needLab(t), t.TempDir()
	l, err := lab.Up(t.Context(), lab.UpOptions{
		Name: fmt.Sprintf("upgrade-%d", os.Getpid()), File: "upgrade.yaml", Data: []byte(upgradable),
		Binary: binary, Programs: programs, Timeout: upTimeout,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &cloud{t, l.Dir, binary}
	t.Cleanup(func() {
		if t.Failed() {
			c.logs()
		}
	})
	return &upgrader{c, programs}
}

// installHoldfast puts another copy of holdfast where the units start it from,
// and gives its path.
func (u *upgrader) installHoldfast(name string) string {
	u.Helper()
	next := filepath.Join(u.programs, "holdfast-"+name)
	if err := copyFile(u.binary, next); err != nil {
		u.Fatal(err)
	}
	link := filepath.Join(string(u.dir), "bin", "holdfast")
	if err := errors.Join(os.Symlink(next, link+".new"), os.Rename(link+".new", link)); err != nil {
		u.Fatal(err)
	}
	return next
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// program gives the program that process pid of a node runs.
func (u *upgrader) program(node string, pid int) string {
	u.Helper()
	out, _ := u.run(node, "readlink", fmt.Sprintf("/proc/%d/exe", pid))
	return strings.TrimSpace(out)
}

// upgradeHoldfast is step 2 of the runbook: another agent, and the same HAProxy.
func (u *upgrader) upgradeHoldfast(node string) {
	u.Helper()
	installed := u.installHoldfast(node)
	before := u.snapshot(node).HAProxy
	u.endAgent(node)
	u.await("a whole lab", u.whole) // and so the end of the agent's start
	after := u.snapshot(node)
	if after.HAProxy.PID != before.PID || !after.HAProxy.Adopted {
		u.Errorf("the new agent of %s has HAProxy %+v, want pid %d adopted", node, after.HAProxy, before.PID)
	}
	if got := u.program(node, after.PID); got != installed {
		u.Errorf("the agent of %s is %s, want %s", node, got, installed)
	}
	u.await("holdfast to call the cloud well", u.well)
}

// upgradeHAProxy is step 3: a reload of the unchanged file.
func (u *upgrader) upgradeHAProxy(node string) {
	u.Helper()
	installed, err := lab.UpgradeHAProxy(u.dir, u.programs)
	if err != nil {
		u.Fatal(err)
	}
	u.await("status to tell of it", func() error {
		for _, f := range u.snapshot(node).Findings {
			if f.Code == "haproxy-replaced" {
				return nil
			}
		}
		return errors.New("there is no finding")
	})
	before := u.snapshot(node).HAProxy.PID
	u.fault("agent-reload", node)
	u.await("the new HAProxy on "+node, func() error {
		if got := u.program(node, before); got != installed {
			return fmt.Errorf("it is %s, want %s", got, installed)
		}
		return nil
	})
	u.await("the end of the finding", func() error {
		if s := u.snapshot(node); s.HAProxy.PID != before || s.HAProxy.State != status.HAProxyRunning || len(s.Findings) > 0 {
			return fmt.Errorf("HAProxy is %+v, findings %v", s.HAProxy, s.Findings)
		}
		return nil
	})
	if out, _ := u.run(node, "holdfast", "events", "-n", "1000", "--controller", node); !strings.Contains(out, "HAProxy's program was replaced: reloaded, now ") {
		u.Errorf("the events of %s say nothing of the upgrade:\n%s", node, out)
	}
	u.await("holdfast to call the cloud well", u.well)
}

// TestUpgrade follows docs/runbooks/upgrade.md under load: the holder last.
func TestUpgrade(t *testing.T) {
	u := newUpgrader(t)
	u.await("holdfast to call the cloud well", u.well)
	const load = 25 * time.Second
	begun := time.Now()
	u.during(plannedLoad(load), func() {
		holder := u.holder()
		names := append(slices.DeleteFunc(u.others(""), func(n string) bool { return n == holder }), holder)
		for _, name := range names {
			u.upgradeHoldfast(name)
			u.upgradeHAProxy(name)
		}
		t.Logf("the upgrade took %v", time.Since(begun))
		if took := time.Since(begun); took > load-time.Second {
			t.Logf("the load was over before the upgrade, which took %v: a slow machine", took)
		}
	})
	u.await("nothing to be left of the handover", u.settled)
}
