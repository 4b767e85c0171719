package keyfile

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const line = "key 1 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

func TestCreateAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	old := syscall.Umask(0o777)
	err := Create(path, line)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	keys, err := Load(path)
	if err != nil || keys.Active() != 1 {
		t.Fatalf("%v, %v", keys, err)
	}
	if err := Create(path, "other\n"); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a file was overwritten: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != line {
		t.Errorf("the file is %q, %v", data, err)
	}
}

// TestLoadRefuses has everything that is wrong with a file.
func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string, mode os.FileMode, owner int) {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path(name), mode); err != nil {
			t.Fatal(err)
		}
		if owner != 0 && os.Geteuid() == 0 {
			if err := os.Chown(path(name), owner, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("group", line, 0o640, 0)
	write("world", line, 0o604, 0)
	write("bad", strings.Replace(line, "hex:00", "hex:0", 1), 0o600, 0)
	write("large", strings.Repeat("#\n", 64<<10), 0o600, 0)
	write("theirs", line, 0o600, 1234)
	if err := os.Mkdir(path("dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"group": "has mode 0640, so that others than root may read it: chmod 600 " + path("group"),
		"world": "has mode 0604, so that others than root may read it: chmod 600 " + path("world"),
		"bad":   path("bad") + ": line 1: key 1",
		"large": "more than 64 KiB",
		"dir":   "is no file",
		"pipe":  "is no file",
		"none":  "there is no file of keys " + path("none") + "; make one with holdfast key",
	}
	if os.Geteuid() == 0 {
		tests["theirs"] = "belongs to user 1234, who could change it: chown root:root " + path("theirs")
	}
	for name, want := range tests {
		keys, err := Load(path(name))
		if err == nil || !strings.Contains(err.Error(), want) || keys != nil {
			t.Errorf("%s: %v, want %s", name, err, want)
		} else if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "0102030405") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFind(t *testing.T) {
	credentials := t.TempDir()
	if got := Find("/else/where", credentials); got != "/else/where" {
		t.Errorf("the file that was named is not the one: %s", got)
	}
	if got := Find("", credentials); got != "" && got != Default {
		t.Errorf("found %s", got)
	}
	want := filepath.Join(credentials, Credential)
	if err := os.WriteFile(want, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	if got := Find("", credentials); got != want {
		t.Errorf("found %s, not the credential", got)
	}
}
