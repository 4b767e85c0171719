package rollout

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// A list and a page of the spec are copied for HAProxy. One that is bad has the spec refused;
// when nothing is in force yet, the copy of before serves, and that is said.
func TestFilesAreKept(t *testing.T) {
	dir := t.TempDir()
	list, page := filepath.Join(dir, "deny.list"), filepath.Join(dir, "sorry.html")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, b := newRollout(dir)
	s := &spec.Spec{ErrorPages: []spec.ErrorPage{{Code: 503, File: page}}, Services: []spec.Service{{Name: "nova", Access: spec.Access{DenyFile: list}}}}
	write(list, "# who may not\n192.0.2.66 # a scanner\n\n10.0.0.0/8\n")
	write(page, "sorry")
	if err := r.keepFiles(s, false); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{list: "192.0.2.66/32\n10.0.0.0/8\n", page: "sorry"} {
		if got, err := os.ReadFile(r.copyOf(path)); err != nil || string(got) != want {
			t.Errorf("the copy of %s: %q, %v", path, got, err)
		}
	}
	write(list, "192.0.2.66\nscanner.example.org\n")
	if err := r.keepFiles(s, false); err == nil || !strings.Contains(err.Error(), list+`: line 2: "scanner.example.org" is neither an address nor a network`) {
		t.Errorf("a bad list: %v", err)
	}
	write(page, strings.Repeat("x", 20_000))
	if err := r.keepFiles(s, true); err != nil {
		t.Errorf("at the start, with copies: %v", err)
	}
	if all := b.found(); len(all) != 2 || all[0].Code != status.CodeFileRefused {
		t.Errorf("findings %+v", all)
	}
	if got, _ := os.ReadFile(r.copyOf(page)); string(got) != "sorry" {
		t.Errorf("the copy of the page: %q", got)
	}
	r.sweepFiles(&spec.Spec{})
	if left, _ := filepath.Glob(filepath.Join(dir, "files", "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := r.keepFiles(s, true); err == nil {
		t.Error("at the start, without copies: no error")
	}
}

// A list that changes is used when it was the same twice; one that is bad changes nothing.
func TestListChanges(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "allow.list")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		write("10.0.0.0/8\n")
		text := strings.Replace(twoServices, "glance: {}", "glance: {allow: "+list+"}", 1)
		b := newBench(t, t.TempDir(), text, "keystone", "glance")
		defer b.ended()
		s, _ := spec.Parse("x", []byte(text))
		if err := b.r.keepFiles(s, false); err != nil {
			t.Fatal(err)
		}
		copied := func() string {
			time.Sleep(3 * filesEvery)
			synctest.Wait()
			got, _ := os.ReadFile(b.r.copyOf(list))
			return string(got)
		}
		refused := func() bool {
			for _, f := range b.found() {
				if f.Code == status.CodeFileRefused {
					return true
				}
			}
			return false
		}
		write("10.0.0.0/8\n192.0.2.0/24\n")
		if got := copied(); got != "10.0.0.0/8\n192.0.2.0/24\n" || refused() {
			t.Errorf("after a change: %q, refused %t", got, refused())
		}
		write("nonsense\n")
		if got := copied(); got != "10.0.0.0/8\n192.0.2.0/24\n" || !refused() {
			t.Errorf("after a bad change: %q, refused %t", got, refused())
		}
		write("192.0.2.1\n")
		if got := copied(); got != "192.0.2.1/32\n" || refused() {
			t.Errorf("after it was mended: %q, refused %t", got, refused())
		}
	})
}

// HAProxy gets a list that changed although a spec that came into force meanwhile has made the
// copy anew, and one that is back as it was is no longer said to be bad.
func TestListChangesWithTheSpec(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "deny.list")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, b := newRollout(dir)
	s := &spec.Spec{Services: []spec.Service{{Name: "nova", Access: spec.Access{DenyFile: list}}}}
	seen, used := map[string]seenFile{}, []string{}
	look := func() {
		for range 3 {
			r.lookAt(listFile(list), seen, false, func(c fileContent) error {
				used = append(used, string(c.data))
				return nil
			})
		}
	}
	for _, text := range []string{"192.0.2.1/32\n", "192.0.2.2/32\n"} {
		write(text)
		if err := r.keepFiles(s, false); err != nil {
			t.Fatal(err)
		}
		look()
	}
	if len(used) != 1 || used[0] != "192.0.2.2/32\n" {
		t.Errorf("HAProxy, which has read the first, was given %q", used)
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	look()
	if all := b.found(); len(all) != 1 || all[0].Code != status.CodeFileRefused {
		t.Errorf("without the file: %+v", all)
	}
	write("192.0.2.2/32\n")
	look()
	if all := b.found(); len(all) != 0 || len(used) != 1 {
		t.Errorf("when it is back: %+v, and HAProxy was given %q", all, used)
	}
}

// TestListIsParsedOnce has a list looked at again and again: it is parsed where its text changed,
// and used where what it says did.
func TestListIsParsedOnce(t *testing.T) {
	dir := t.TempDir()
	r, _ := newRollout(dir)
	f := listFile(filepath.Join(dir, "deny.list"))
	parsed, used := 0, 0
	parse := f.parse
	f.parse = func(path string, text []byte) (fileContent, error) { parsed++; return parse(path, text) }
	seen := map[string]seenFile{}
	for _, step := range []struct {
		text         string
		parsed, used int
	}{
		{"192.0.2.1\n", 2, 1}, // twice the same before it is used
		{"192.0.2.1\n", 0, 0},
		{"192.0.2.1 # why\n", 1, 0},
		{"192.0.2.2\n", 2, 1},
	} {
		if err := os.WriteFile(f.path, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		parsed, used = 0, 0
		for range 5 {
			r.lookAt(f, seen, false, func(fileContent) error { used++; return nil })
		}
		if parsed != step.parsed || used != step.used {
			t.Errorf("%q was parsed %d times and used %d times, want %d and %d", step.text, parsed, used, step.parsed, step.used)
		}
	}
}
