package changelog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// step is what lines of these tests say.
type step struct {
	Way  string `json:"way,omitempty"`
	What string `json:"what,omitempty"`
}

func (s step) Of() string                  { return "steps" }
func (s step) CheckBegin() error           { return nil }
func (s step) CheckChange() error          { return nil }
func (s step) Made(how step) (step, error) { return step{s.Way, s.What + how.What}, nil }
func (s step) SameWay(other step) bool     { return s.Way == other.Way }

// lock gives a folder of tests.
func lock(t *testing.T) *Held[step] {
	t.Helper()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	held, err := Folder[step]{Dir: t.TempDir(), Command: "holdfast test", Now: func() time.Time { return now }}.Lock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Release() })
	return held
}

// apply writes the journal of an apply by way that intends and makes n changes,
// and is then killed. It gives the journal's name.
func apply(t *testing.T, held *Held[step], way string, n int) string {
	t.Helper()
	w, err := held.Create()
	if err == nil {
		err = w.Begin("p", "c", n, step{Way: way})
	}
	for i := range n {
		if err == nil {
			err = w.Intend(i+1, step{What: fmt.Sprint(w.Name, " ", i+1)})
		}
		if err == nil {
			err = w.Made(i+1, step{What: "!"})
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.Name
}

func TestJournalsInOrder(t *testing.T) {
	held := lock(t)
	var want []string
	for range 12 {
		want = append(want, apply(t, held, "", 0))
	}
	got, err := held.Names()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-made +listed:\n%s", diff)
	}
	if !slices.Contains(got, "20260102T030405Z-12.jsonl") {
		t.Errorf("names %v", got)
	}
}

// TestReopenCutsTornLine goes on writing where a crash left half a line.
func TestReopenCutsTornLine(t *testing.T) {
	held := lock(t)
	name := apply(t, held, "", 1)
	path := filepath.Join(held.Dir, name)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)-1], 0o600); err != nil { // longer than the line to come
		t.Fatal(err)
	}
	if torn, err := held.Load(name); err != nil || !torn.Torn || torn.Changes[0].Made {
		t.Errorf("torn: %+v, %v", torn, err)
	}
	w, err := held.reopen(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.write(Line[step]{Kind: Back}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := held.Load(name)
	if err != nil || got.Torn || !got.RolledBack {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestRollbackOrder undoes the newest journal first, and each from its last
// change; what is left ends it, and it can be called again.
func TestRollbackOrder(t *testing.T) {
	held := lock(t)
	first, second := apply(t, held, "", 2), apply(t, held, "", 2)
	stuck, order := true, []string{}
	undo := func(c Change[step], u Undoing[step]) error {
		if stuck && c.Detail.What == second+" 1!" {
			u.Leave("somebody else has it")
			return nil
		}
		order = append(order, c.Detail.What)
		return u.Restored(true)
	}
	rollback := func(undone, left int) {
		t.Helper()
		journals, err := held.Latest()
		if err != nil {
			t.Fatal(err)
		}
		out, err := held.Rollback(journals, undo)
		if err != nil || out.Undone != undone || len(out.Left) != left {
			t.Errorf("%+v, %v; want %d undone, %d left", out, err, undone, left)
		}
	}
	rollback(1, 1)
	stuck = false
	rollback(3, 0)
	if diff := cmp.Diff([]string{second + " 2!", second + " 1!", first + " 2!", first + " 1!"}, order); diff != "" {
		t.Errorf("-want +undone:\n%s", diff)
	}
	rollback(0, 0) // there is nothing left
}

// TestLatestIsOfOneWay: what undoes the newest journal may not be able to undo
// one that was made otherwise.
func TestLatestIsOfOneWay(t *testing.T) {
	held := lock(t)
	apply(t, held, "a", 1)
	second := apply(t, held, "b", 1)
	third := apply(t, held, "b", 1)
	journals, err := held.Latest()
	if err != nil || len(journals) != 2 || journals[0].Name != third || journals[1].Name != second {
		t.Errorf("%+v, %v", journals, err)
	}
}

// TestTooLarge: of a journal that is too large no part is taken for all of it.
func TestTooLarge(t *testing.T) {
	held := lock(t)
	name := apply(t, held, "", 1)
	if err := os.Truncate(filepath.Join(held.Dir, name), maxSize+1); err != nil {
		t.Fatal(err)
	}
	if j, err := held.Load(name); err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("%d changes, %v", len(j.Changes), err)
	}
}

// TestLine: a detail's fields stand beside those of every line, and no other.
func TestLine(t *testing.T) {
	for want, l := range map[string]Line[step]{
		`{"kind":"change","time":"0001-01-01T00:00:00Z","n":1,"what":"x"}`: {Kind: Intend, N: 1, Detail: step{What: "x"}},
		`{"kind":"applied","time":"0001-01-01T00:00:00Z"}`:                 {Kind: Applied},
	} {
		text, err := l.Encode()
		if err != nil || string(text) != want+"\n" {
			t.Errorf("%s, %v; want %s", text, err, want)
		}
		if got, err := decode[step](text); err != nil || got != l {
			t.Errorf("%+v, %v; want %+v", got, err, l)
		}
	}
}
