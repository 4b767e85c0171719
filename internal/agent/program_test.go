package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"holdfast/internal/status"
)

// installHAProxy puts a copy of HAProxy at path, as a package manager does,
// which says that its version ends in last, two characters.
func (h *host) installHAProxy(path, last string) {
	h.t.Helper()
	original, err := exec.LookPath("haproxy")
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := exec.Command(original, "-v").Output()
	if err != nil {
		h.t.Fatal(err)
	}
	data, err := os.ReadFile(original)
	if err != nil {
		h.t.Fatal(err)
	}
	version := strings.Fields(string(out))[2]
	data = bytes.ReplaceAll(data, []byte(version), []byte(version[:len(version)-2]+last))
	if err := os.WriteFile(path+".new", data, 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		h.t.Fatal(err)
	}
}

// An upgraded HAProxy is told of, taken into use by a reload of an unchanged
// file, and by the start of an agent.
func TestReplacedHAProxyIsTakenIntoUse(t *testing.T) {
	h := newHost(t)
	h.keystone()
	h.opt.HAProxy = filepath.Join(t.TempDir(), "haproxy")
	h.installHAProxy(h.opt.HAProxy, "71")
	hangups := make(chan os.Signal, 1)
	h.opt.Reload = hangups
	d := h.start()
	d.awaitActive()
	h.awaitAnswer("http://192.0.2.10:5000/v3", "200 keystone")
	pid, transitions := d.Snapshot().HAProxy.PID, d.Snapshot().VIPs[0].Transitions
	runs := func(d *running, last string) {
		t.Helper()
		h.await("version "+last+" runs", func() bool { return strings.HasSuffix(d.Snapshot().HAProxy.Version, last) })
		h.await("the upgrade is in the journal", func() bool { return hasEvent(d, "haproxy-upgraded") })
		if s := d.Snapshot(); s.HAProxy.PID != pid {
			t.Errorf("the upgrade gave %+v", s.HAProxy)
		}
		d.awaitActive()
		h.await("there is no finding", func() bool { return len(d.wrong()) == 0 })
	}

	h.installHAProxy(h.opt.HAProxy, "72")
	h.await("the new version is told of", func() bool {
		f := d.wrong()
		return len(f) == 1 && f[0].Code == status.CodeHAProxyReplaced && f[0].Severity == status.Info &&
			strings.Contains(f[0].Text, "71 runs, and 2.") && strings.Contains(f[0].Text, "72 is installed") && strings.Contains(f[0].Remedy, "systemctl reload")
	})
	hangups <- syscall.SIGHUP
	runs(d, "72")
	// On a machine that is busy, HAProxy may be found to hang meanwhile.
	if got := d.Snapshot().VIPs[0].Transitions; got != transitions && !hasEvent(d, "haproxy-hung") {
		t.Errorf("the VIP has %d transitions, had %d", got, transitions)
	}

	h.installHAProxy(h.opt.HAProxy, "73")
	h.write(testSpec + "  glance: {}\n")
	if _, err := d.rollout.Reload(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	runs(d, "73")
	if got := d.Snapshot().HAProxy.Reloads; got != 2 {
		t.Errorf("%d reloads, want one for each upgrade", got)
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}

	h.installHAProxy(h.opt.HAProxy, "74")
	next := h.start()
	next.awaitActive()
	runs(next, "74")
	for _, e := range next.journal.Last(40) {
		if e.Kind == "haproxy-upgraded" {
			t.Logf("%s; %s; %v", e.Text, e.Cause, e.Took)
		}
	}
}

// A new HAProxy that does not take the configuration is not taken into use.
func TestBrokenHAProxyIsNotTakenIntoUse(t *testing.T) {
	h := newHost(t)
	h.keystone()
	h.opt.HAProxy = filepath.Join(t.TempDir(), "haproxy")
	h.installHAProxy(h.opt.HAProxy, "71")
	d := h.start()
	d.awaitActive()
	broken := h.opt.HAProxy + ".broken"
	if err := os.WriteFile(broken, []byte("\x7fELF, but no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(broken, h.opt.HAProxy); err != nil {
		t.Fatal(err)
	}
	if _, err := d.rollout.Reload(t.Context(), "test"); err == nil || !strings.Contains(err.Error(), "could not be taken into use") {
		t.Errorf("reload with a broken HAProxy: %v", err)
	}
	if !hasEvent(d, "haproxy-upgrade-failed") {
		t.Error("it is not in the journal")
	}
	h.awaitAnswer("http://192.0.2.10:5000/v3", "200 keystone")
	if s := d.Snapshot(); s.HAProxy.State != status.HAProxyRunning || s.VIPs[0].State != status.Active {
		t.Errorf("HAProxy is %s, vip %s", s.HAProxy.State, s.VIPs[0].State)
	}
}

// installLibrary puts a copy of a library that HAProxy has loaded, of the agent d, into
// dir, as a package manager does, and gives its path there.
func installLibrary(t *testing.T, pid int, dir string) string {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		if len(f) < 6 || !strings.HasPrefix(filepath.Base(f[5]), "libssl.so") {
			continue
		}
		data, err := os.ReadFile(f[5])
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Base(f[5]))
		if err := errors.Join(os.WriteFile(path+".new", data, 0o644), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Skip("this HAProxy has no libssl of its own")
	return ""
}

// A library that is upgraded under HAProxy is told of, and taken into use by a reload
// and, as needrestart restarts the unit, by the start of an agent.
func TestReplacedLibraryIsTakenIntoUse(t *testing.T) {
	h := newHost(t)
	h.keystone()
	probe := h.start()
	probe.awaitActive()
	dir := t.TempDir()
	installLibrary(t, probe.Snapshot().HAProxy.PID, dir)
	if err := probe.end(); err != nil {
		t.Fatal(err)
	}
	h.killHAProxy()

	t.Setenv("LD_LIBRARY_PATH", dir)
	hangups := make(chan os.Signal, 1)
	h.opt.Reload = hangups
	d := h.start()
	d.awaitActive()
	pid := d.Snapshot().HAProxy.PID
	path := installLibrary(t, pid, dir)
	told := func() bool { return hasFinding(d.Snapshot(), status.CodeHAProxyLibraryReplaced, status.Info) }
	h.await("it is told of", told)
	if f := d.wrong()[0]; !strings.Contains(f.Text, path) || !strings.Contains(f.Remedy, "systemctl reload") {
		t.Errorf("the finding is %+v", f)
	}
	hangups <- syscall.SIGHUP
	h.await("it is taken into use", func() bool { return !told() })
	if s := d.Snapshot(); s.HAProxy.PID != pid || s.HAProxy.Reloads != 1 {
		t.Errorf("HAProxy is %+v, want pid %d and one reload", s.HAProxy, pid)
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}

	installLibrary(t, pid, dir)
	d = h.start()
	d.awaitActive()
	h.await("the next agent has taken it into use", func() bool {
		s := d.Snapshot()
		return s.HAProxy.Reloads == 1 && s.HAProxy.PID == pid && !told()
	})
	h.awaitAnswer("http://192.0.2.10:5000/v3", "200 keystone")
	for _, e := range d.journal.Last(40) {
		if e.Kind == "haproxy-upgraded" {
			t.Logf("%s; %s", e.Text, e.Cause)
		}
	}
}
