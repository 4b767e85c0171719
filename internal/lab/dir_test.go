package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	for _, name := range []string{"", "A", "a/b", "..", "-x", "a b", strings.Repeat("a", 33)} {
		if dir, _, err := claim(name); err == nil {
			t.Errorf("a lab could be called %q, in %s", name, dir)
		}
	}
}

// TestRunDir holds the paths of an agent's sockets to what the kernel takes.
func TestRunDir(t *testing.T) {
	d := Dir("/run/holdfast-lab/lab")
	if got, want := d.runDir(3, "ctl1"), "/run/holdfast-lab/lab/nodes/ctl1/run"; got != want {
		t.Errorf("run directory %s, want %s", got, want)
	}
	long := d.runDir(3, strings.Repeat("n", 63))
	if want := "/run/holdfast-lab/lab/r/3"; long != want {
		t.Errorf("run directory of a long name %s, want %s", long, want)
	}
}

// TestLock lets one lab of a name run, and clears away what it left.
func TestLock(t *testing.T) {
	d := Dir(filepath.Join(t.TempDir(), "lab"))
	first, err := d.takeLock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.takeLock(); err == nil || !strings.Contains(err.Error(), "runs already") {
		t.Fatalf("a second lab of the same name: %v, want that one runs already", err)
	}
	// The first one ends and takes its files away; a lock on them is none.
	if err := d.remove(); err != nil {
		t.Fatal(err)
	}
	if d.isLock(first) {
		t.Error("the lock of a lab that is gone still counts")
	}
	second, err := d.takeLock()
	if err != nil {
		t.Fatalf("after the first had ended: %v", err)
	}
	if !d.isLock(second) {
		t.Error("the second lab's lock does not count")
	}
	for _, f := range []*os.File{first, second} {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFind picks the lab that is meant. A directory whose lab has crashed is
// none.
func TestFind(t *testing.T) {
	base, err := os.MkdirTemp("", "labs") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	check := func(name, want, wantErr string) {
		t.Helper()
		d, err := find(t.Context(), base, name)
		if err == nil && (wantErr != "" || d.Name() != want) || err != nil && (wantErr == "" || !strings.Contains(err.Error(), wantErr)) {
			t.Errorf("find %q: %s, %v; want %q, %q", name, d, err, want, wantErr)
		}
	}
	check("", "", "no lab runs; start one")
	crashed := Dir(filepath.Join(base, "crashed"))
	if err := crashed.remake(); err != nil {
		t.Fatal(err)
	}
	check("", "", "no lab runs")
	check("crashed", "", "no lab runs")
	serve(t, Dir(filepath.Join(base, "one")))
	check("", "one", "")
	check("one", "one", "")
	check("two", "", `no lab called "two" runs; running: one`)
	serve(t, Dir(filepath.Join(base, "two")))
	check("", "", "2 labs run; say which with --name: one, two")
	check("two", "two", "")
}

// serve answers for a lab in d.
func serve(t *testing.T, d Dir) {
	t.Helper()
	if err := d.remake(); err != nil {
		t.Fatal(err)
	}
	s := testServer(t)
	s.dir = d
	l, err := s.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.accept(t.Context(), l)
	}()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
}

func TestNodeEnv(t *testing.T) {
	outer := []string{"HOME=/root", "PATH=/opt/bin:/bin", "HOLDFAST_FILE=/etc/x.yaml", "NOTIFY_SOCKET=/run/n", "TERM=vt100"}
	got := nodeEnv(outer, "/lab/bin", "/lab/spec.yaml", "/lab/run")
	want := []string{
		"HOME=/root", "TERM=vt100", "PATH=/lab/bin:/opt/bin:/bin:" + systemPath,
		"HOLDFAST_FILE=/lab/spec.yaml", "HOLDFAST_RUN_DIR=/lab/run",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(strings.Repeat("early\n", 50)+"the reason\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := tail(path)
	if lines := strings.Count(got, "\n") + 1; lines != tailLines || !strings.HasSuffix(got, "    the reason") {
		t.Errorf("tail of %d lines: %q", lines, got)
	}
	if got := tail(path + ".none"); !strings.Contains(got, "no such file") {
		t.Errorf("tail of no log: %q", got)
	}
}

func TestCut(t *testing.T) {
	got := pairs([][]string{{"a", "b"}, {"c"}})
	want := [][2]string{{"a", "c"}, {"b", "c"}, {"c", "a"}, {"c", "b"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pairs (-want +got):\n%s", diff)
	}
}

// waitFor waits until is holds; a condition that never comes fails the test.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 1500 {
		if is() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("waited half a minute for: %s", what)
}

// TestSweep removes what a lab has left that was killed, and nothing of one that
// runs, or is only called otherwise.
func TestSweep(t *testing.T) {
	base := t.TempDir()
	killed, other, runs := Dir(filepath.Join(base, "killed")), Dir(filepath.Join(base, "other")), Dir(filepath.Join(base, "runs"))
	for _, d := range []Dir{killed, other, runs} {
		if err := d.remake(); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := runs.takeLock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, step := range []struct{ name, want, left string }{
		{"nobody", "", "killed other runs runs.lock"},
		{"killed", "killed", "other runs runs.lock"},
		{"", "other", "runs runs.lock"},
		{"", "", "runs runs.lock"},
	} {
		swept, err := sweep(base, step.name)
		if err != nil || strings.Join(swept, " ") != step.want {
			t.Errorf("sweep %q: %v, %v; want %q", step.name, swept, err, step.want)
		}
		entries, err := os.ReadDir(base)
		var left []string
		for _, e := range entries {
			left = append(left, e.Name())
		}
		if err != nil || strings.Join(left, " ") != step.left {
			t.Errorf("after sweep %q there is %v, %v; want %q", step.name, left, err, step.left)
		}
	}
}
