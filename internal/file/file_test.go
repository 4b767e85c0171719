package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestWriteOutlivesAPowerCut proves that the disk has the content of a file before it
// has the name, and the name in its directory at the end.
func TestWriteOutlivesAPowerCut(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "last-good.yaml")
	var synced []string
	sync := func(f *os.File) error {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		what := "the file"
		if f.Name() == dir {
			what = "its directory"
		}
		synced = append(synced, fmt.Sprintf("%s, with %q in place", what, data))
		return f.Sync()
	}
	if err := write(path, []byte("new"), 0o640, sync); err != nil {
		t.Fatal(err)
	}
	if want := `the file, with "" in place; its directory, with "new" in place`; strings.Join(synced, "; ") != want {
		t.Errorf("on the disk: %s; want %s", strings.Join(synced, "; "), want)
	}
	full := errors.New("no room")
	err := write(path, []byte("newer"), 0o640, func(f *os.File) error {
		if f.Name() == dir {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) {
		t.Errorf("a name that may not be on the disk: %v", err)
	}
}

// What cannot be written leaves the file before it, and nothing else.
func TestWriteThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "drain.json")
	if err := Write(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no room")
	if err := write(path, []byte("new"), 0o640, func(*os.File) error { return full }); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("the directory has %v, %v", names, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 || info.Size() != int64(len("old")) {
		t.Errorf("the file is %v, %v", info, err)
	}
	if err := Write(filepath.Join(dir, "none", "x"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where there is no directory: %v", err)
	}
}

// TestRead reads what is a file, so much of it, and waits at no pipe.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	path, pipe := filepath.Join(dir, "data"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(path, []byte("12345"), 0o640), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for most, want := range map[int]string{3: "1234", 4: "12345", 5: "12345", 9: "12345"} {
		data, info, err := Read(path, most)
		if string(data) != want || err != nil || info.Size() != 5 || info.Mode() != 0o640 {
			t.Errorf("at most %d: %q, %v, %v", most, data, info, err)
		}
	}
	for _, other := range []string{pipe, dir} {
		if data, _, err := Read(other, 9); !errors.Is(err, ErrNotRegular) || data != nil {
			t.Errorf("%s: %q, %v", other, data, err)
		}
	}
	if _, _, err := Read(filepath.Join(dir, "none"), 9); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "trial.json")
	if err := Write(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Remove(path); err != nil {
			t.Error(err)
		}
	}
	if err := Remove(filepath.Dir(path)); err != nil { // it is empty
		t.Error(err)
	}
	if err := Write(path, nil, 0o600); err == nil {
		t.Error("written into a directory that is gone")
	}
}

// Of a Write that never came to its end nothing stays after a Sweep, which leaves all else.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	cut := errors.New("the power went")
	func() {
		defer func() { _ = recover() }()
		_ = write(filepath.Join(dir, "haproxy.cfg"), []byte("new"), 0o600, func(*os.File) error { panic(cut) })
	}()
	for _, name := range []string{"haproxy.cfg", ".hidden", "drain.json.1", ".a.b"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names := func() []string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return all
	}
	if before := names(); len(before) != 5 {
		t.Fatalf("before: %v, want what was cut short, and four", before)
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(), " "); got != ".a.b .hidden drain.json.1 haproxy.cfg" {
		t.Errorf("after: %s", got)
	}
	if err := Sweep(filepath.Join(dir, "none")); err != nil {
		t.Errorf("of a directory that is not there: %v", err)
	}
}
