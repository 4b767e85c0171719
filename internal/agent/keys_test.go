package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/auth"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

const oneKey = "key 1 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

func withMode(mode spec.Authentication) *spec.Spec {
	return &spec.Spec{Agent: spec.Agent{Authentication: mode}}
}

// TestKeyring brings one file after the other into force.
func TestKeyring(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	k := newKeyring(path, "ctl1")
	if p := k.of(nil); p.Keys != nil {
		t.Error("there are keys before anything was read")
	}
	// It starts with a file that others can read, and goes on without; twice, as an agent does.
	write(oneKey, 0o644)
	strict := withMode(spec.Strict)
	for range 2 {
		use, err := k.read(strict)
		if err != nil {
			t.Fatal(err)
		}
		f := use()
		if f == nil || f.Severity != status.Error || f.Code != status.CodeKeyUnusable || !strings.Contains(f.Text, "chmod 600 "+path) {
			t.Errorf("the finding is %+v", f)
		}
		if p := k.of(strict); p.Keys != nil || p.Demands() {
			t.Errorf("a file that others can read is in force: %+v", p)
		}
	}
	write(oneKey, 0o600)
	use, err := k.read(strict)
	if err != nil || use() != nil || !k.of(strict).Demands() {
		t.Errorf("a good file is not in force: %v", err)
	}
	before := k.of(strict).Keys
	// From now on a bad one is refused, and what was in force stays.
	for _, bad := range []func(){func() { write("key", 0o600) }, func() { write(oneKey, 0o640) }, func() { _ = os.Remove(path) }} {
		bad()
		next := withMode(spec.Permissive)
		if _, err := k.read(next); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("a bad file: %v", err)
		} else if e, ok := errors.AsType[*keyError](err); !ok || len(e.Findings()) != 1 || e.Findings()[0].Code != status.CodeKeyUnusable || e.Findings()[0].Where.File != path {
			t.Errorf("of a bad file is found %+v", err)
		}
		if p := k.of(strict); p.Keys != before {
			t.Error("the keys in force are others")
		}
	}
	// What was read for a spec that does not come into force, is not in force for the other.
	write(oneKey+strings.Replace(oneKey, "key 1", "key 2", 1), 0o600)
	next := withMode("")
	use, err = k.read(next)
	if err != nil {
		t.Fatal(err)
	}
	if p := k.of(next); len(p.Keys.IDs()) != 2 || p.Mode != auth.ReceiveOnly {
		t.Errorf("of the next spec: %+v", p)
	}
	if p := k.of(strict); p.Keys != before || k.inForce().keys != before {
		t.Error("they are in force too early")
	}
	use()
	if p := k.of(strict); len(p.Keys.IDs()) != 2 || k.inForce().keys != p.Keys {
		t.Error("they are not in force")
	}
}

// TestNoKey has an agent without a key, which is as it ever was.
func TestNoKey(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := os.Stat("/etc/holdfast/key"); err == nil {
		t.Skip("this machine has a key")
	}
	k := newKeyring("", "ctl1")
	s := withMode(spec.Strict)
	use, err := k.read(s)
	if err != nil || use() != nil {
		t.Fatal(err)
	}
	if p := k.of(s); p.Keys != nil || p.Signs() || p.Demands() {
		t.Errorf("%+v", p)
	}
	// Named by nobody, it may come later; systemd's credential is the first that is looked for.
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := os.WriteFile(filepath.Join(dir, "holdfast-key"), []byte("bad"), 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := k.read(s); err == nil {
		t.Error("a bad file is taken, where there was none")
	}
	if err := os.WriteFile(filepath.Join(dir, "holdfast-key"), []byte(oneKey), 0o400); err != nil {
		t.Fatal(err)
	}
	if use, err = k.read(s); err != nil || use() != nil || !k.of(s).Demands() {
		t.Errorf("systemd's credential is not in force: %v", err)
	}
}

func TestNotStrict(t *testing.T) {
	for _, test := range []struct {
		mode     auth.Mode
		unsigned []string
		want     string
	}{
		{auth.ReceiveOnly, []string{"ctl2"}, "agent.authentication: permissive in the spec of all"},
		{auth.Permissive, nil, "agent.authentication: strict in the spec of all"},
		{auth.Permissive, []string{"ctl2", "ctl3"}, "have ctl2 and ctl3 sign first"},
	} {
		if f := notStrict(test.mode, test.unsigned); f.Severity != status.Info || !strings.Contains(f.Remedy, test.want) || !strings.Contains(f.Text, test.mode.String()) {
			t.Errorf("%+v, want %s", f, test.want)
		}
	}
}
