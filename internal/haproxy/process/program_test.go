package process

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestVersionOf(t *testing.T) {
	for said, want := range map[string]string{
		"HAProxy version 2.6.12-1+deb12u3 2025/10/03 - https://haproxy.org/\nStatus: ...": "2.6.12-1+deb12u3",
		"HA-Proxy version 2.4.0 2021/05/14\n":                                             "2.4.0",
		"version ":                                                                        "",
		"":                                                                                "",
		"usage":                                                                           "",
	} {
		if got := versionOf(said); got != want {
			t.Errorf("versionOf(%q) = %q, want %q", said, got, want)
		}
	}
}

// copyHAProxy puts a copy of HAProxy at path, in place of what is there, as a
// package manager does: it says that it has patch level 99 when newer is set.
func copyHAProxy(t *testing.T, path string, newer bool) {
	t.Helper()
	original, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("no haproxy here; apt-get install haproxy")
	}
	data, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	if newer {
		out, err := exec.Command(original, "-v").Output()
		if err != nil {
			t.Fatal(err)
		}
		version := versionOf(string(out))
		data = bytes.ReplaceAll(data, []byte(version), []byte(version[:len(version)-2]+"99"))
	}
	if err := os.WriteFile(path+".new", data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// A package upgrade puts another file in the place of HAProxy's: that is
// noticed, and a reload takes it without a new master.
func TestReplacedProgramIsTakenByAReload(t *testing.T) {
	b := newBench(t)
	path := filepath.Join(t.TempDir(), "haproxy")
	copyHAProxy(t, path, false)
	m, _ := b.manager(func(o *Options) { o.HAProxy = path })
	b.apply(m, Started)
	before := m.State()
	if p, err := m.Program(); err != nil || p.Replaced || p.Path != path {
		t.Errorf("the program that was just started: %+v, %v", p, err)
	}
	copyHAProxy(t, path, true)
	if p, err := m.Program(); err != nil || !p.Replaced || !p.ByReload {
		t.Errorf("after it was replaced: %+v, %v", p, err)
	}
	installed, err := m.InstalledVersion(t.Context())
	if err != nil || !strings.HasSuffix(installed, "99") {
		t.Fatalf("the installed version is %q, %v", installed, err)
	}
	if r, err := m.Reload(t.Context()); err != nil || r.Action != Reloaded {
		t.Fatalf("reload: %+v, %v", r, err)
	}
	after := m.State()
	if after.PID != before.PID || after.Version != installed || before.Version == installed {
		t.Errorf("was %+v, is %+v; want the same master with version %s", before, after, installed)
	}
	if p, err := m.Program(); err != nil || p.Replaced {
		t.Errorf("after the reload: %+v, %v", p, err)
	}
}

// Where another path is wanted than the one that HAProxy was started by, a
// reload does not help.
func TestProgramOfAnotherPathIsNotTakenByAReload(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	old, next := filepath.Join(dir, "old"), filepath.Join(dir, "next")
	copyHAProxy(t, old, false)
	copyHAProxy(t, next, true)
	m, stop := b.manager(func(o *Options) { o.HAProxy = old })
	b.apply(m, Started)
	stop()
	m, _ = b.manager(func(o *Options) { o.HAProxy = next })
	b.apply(m, Unchanged)
	if p, err := m.Program(); err != nil || !p.Replaced || p.ByReload {
		t.Errorf("another path: %+v, %v", p, err)
	}
}

func TestScriptInFrontOfHAProxyIsNotTakenForAnotherProgram(t *testing.T) {
	b := newBench(t)
	script := filepath.Join(t.TempDir(), "haproxy")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec haproxy \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	m, _ := b.manager(func(o *Options) { o.HAProxy = script })
	b.apply(m, Started)
	if p, err := m.Program(); err != nil || p.Replaced {
		t.Errorf("a script: %+v, %v", p, err)
	}
}

func TestDeletedLibraries(t *testing.T) {
	const maps = `55d0c0000000-55d0c0300000 r-xp 00040000 08:01 1001                       /usr/sbin/haproxy (deleted)
7f0000000000-7f0000010000 r--p 00000000 08:01 1002                       /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)
7f0000010000-7f0000060000 r-xp 00010000 08:01 1002                       /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)
7f0000060000-7f0000070000 r-xp 00060000 08:01 1002                       /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)
7f0001000000-7f0001060000 r-xp 00010000 08:01 1003                       /usr/lib/x86_64-linux-gnu/libc.so.6
7f0002000000-7f0002060000 r-xp 00010000 08:01 1004                       /opt/with a space/libx.so (deleted)
7f0003000000-7f0003060000 rwxs 00000000 00:01 1005                       /memfd:jit (deleted)
7f0004000000-7f0004060000 rw-s 00000000 00:05 1006                       /dev/zero (deleted)
7f0005000000-7f0005060000 r-xp 00000000 08:01 1007                       /tmp/data (deleted)
7fff00000000-7fff00002000 r-xp 00000000 00:00 0                          [vdso]
`
	want := []string{"/usr/lib/x86_64-linux-gnu/libssl.so.3", "/opt/with a space/libx.so"}
	if got := deletedLibraries(maps); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
