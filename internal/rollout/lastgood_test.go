package rollout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"holdfast/internal/status"
)

// TestSpecIsKeptLater takes the state directory away for a while: the spec that
// comes into force meanwhile is there afterwards, and until then that is said.
func TestSpecIsKeptLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	r, b := newRollout(dir)
	r.keep([]byte("old"))
	r.keep([]byte("new"))
	r.KeepLater()
	if f := b.findings[status.CodeLastGoodNotKept]; f.Severity != status.Warning || f.Text == "" || f.Remedy == "" {
		t.Errorf("finding %+v, want a warning", f)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.KeepLater()
	got, err := os.ReadFile(r.lastGood())
	if err != nil || string(got) != "new" {
		t.Errorf("kept %q, %v, want the newest", got, err)
	}
	if f, is := b.findings[status.CodeLastGoodNotKept]; is {
		t.Errorf("finding %+v, want none any more", f)
	}
	before, err := os.Stat(r.lastGood())
	if err != nil {
		t.Fatal(err)
	}
	r.keep([]byte("new"))
	if after, err := os.Stat(r.lastGood()); err != nil || !os.SameFile(before, after) {
		t.Errorf("what is there was written again: %v", err)
	}
	if err := os.Remove(r.lastGood()); err != nil {
		t.Fatal(err)
	}
	r.KeepLater()
	if _, err := os.Stat(r.lastGood()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was kept is written again: %v", err)
	}
	if got := b.kinds(); fmt.Sprint(got) != "[last-good-not-kept last-good-not-kept]" {
		t.Errorf("events %v, want its begin and its end", got)
	}
}
