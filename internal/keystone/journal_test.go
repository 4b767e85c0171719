package keystone

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func rec(id, url string) *Record {
	return &Record{ID: id, Region: "r", ServiceID: "s", ServiceName: "glance", ServiceType: "image", Interface: "public", URL: url, Enabled: true}
}

// lines encodes entries.
func lines(t testing.TB, entries ...Entry) string {
	t.Helper()
	var b strings.Builder
	for _, e := range entries {
		line, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
	}
	return b.String()
}

func sampleJournal(t testing.TB) string {
	return lines(t,
		Entry{Kind: Begin, Version: 1, Plan: "p", AuthURL: "http://a:5000/v3", Total: 2},
		Entry{Kind: Intend, N: 1, Op: Update, Before: rec("e1", "http://a"), After: rec("e1", "http://b")},
		Entry{Kind: Changed, N: 1},
		Entry{Kind: Verified, N: 1},
		Entry{Kind: Intend, N: 2, Op: Create, After: rec("", "http://b"), Existing: []string{"e1"}},
		Entry{Kind: Changed, N: 2, ID: "e2"},
		Entry{Kind: Applied},
		Entry{Kind: Restored, N: 2},
		Entry{Kind: Back})
}

func TestParseJournal(t *testing.T) {
	text := sampleJournal(t)
	j, err := ParseJournal("j", []byte(text))
	if err != nil || j.Torn || j.End != Applied || !j.RolledBack || len(j.Changes) != 2 ||
		!j.Changes[0].IsVerified || j.Changes[1].CreatedID != "e2" || !j.Changes[1].Undone || j.Changes[0].Undone {
		t.Fatalf("%+v, %v", j, err)
	}
	// Cut anywhere, it is what was written up to there.
	for n := range text {
		cut, err := ParseJournal("j", []byte(text[:n]))
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if whole := strings.Count(text[:n], "\n"); len(cut.Changes) > whole {
			t.Fatalf("cut at %d: %d changes of %d lines", n, len(cut.Changes), whole)
		}
	}
}

func TestParseJournalRefuses(t *testing.T) {
	begin := lines(t, Entry{Kind: Begin, Version: 1})
	for name, text := range map[string]string{
		"no journal":             "hello\nworld\n",
		"a version to come":      lines(t, Entry{Kind: Begin, Version: 2}),
		"no beginning":           lines(t, Entry{Kind: Applied}),
		"two beginnings":         begin + begin,
		"a change without what":  begin + lines(t, Entry{Kind: Intend, N: 1, Op: Update, After: rec("e1", "x")}),
		"a change of two things": begin + lines(t, Entry{Kind: Intend, N: 1, Op: Update, Before: rec("e1", "x"), After: rec("e2", "y")}),
		"an unknown operation":   begin + lines(t, Entry{Kind: Intend, N: 1, Op: "delete", Before: rec("e1", "x"), After: rec("e1", "x")}),
		"nothing created":        begin + lines(t, Entry{Kind: Intend, N: 1, Op: Create}),
		"a result of nothing":    begin + lines(t, Entry{Kind: Changed, N: 7}),
		"the same change twice": begin + lines(t, Entry{Kind: Intend, N: 1, Op: Create, After: rec("", "x")},
			Entry{Kind: Intend, N: 1, Op: Create, After: rec("", "x")}),
		"an unknown kind":       begin + lines(t, Entry{Kind: "other"}),
		"garbage in the middle": begin + "garbage\n" + lines(t, Entry{Kind: Applied}),
	} {
		if _, err := ParseJournal("j.jsonl", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "j.jsonl:") {
			t.Errorf("%s: got %v, want an error with the line", name, err)
		}
	}
}

func TestUndoStep(t *testing.T) {
	before, after := rec("e1", "http://a"), rec("e1", "http://b")
	disabled := *after
	disabled.Enabled = false
	update := JournalChange{Entry: Entry{Op: Update, N: 1, Before: before, After: after}}
	made := rec("", "http://b")
	create := JournalChange{Entry: Entry{Op: Create, N: 1, After: made, Existing: []string{"e1"}}}
	known := create
	known.Confirmed, known.CreatedID = true, "e2"
	service := JournalChange{Entry: Entry{Op: CreateService, N: 1, After: &Record{ServiceName: "n", ServiceType: "t"}, Existing: []string{"s1"}}}
	state := func(endpoints ...*Record) State {
		s := State{Services: []ServiceRecord{{"s", "glance", "image", true}}, Endpoints: []Record{}}
		for _, e := range endpoints {
			s.Endpoints = append(s.Endpoints, *e)
		}
		return s
	}
	services := func(s State, more ...ServiceRecord) State {
		s.Services = append(s.Services, more...)
		return s
	}
	for _, tt := range []struct {
		name string
		c    JournalChange
		now  State
		want Step
		id   string
	}{
		{"it did not come about", update, state(before), StepNone, "e1"},
		{"it did", update, state(after), StepPut, "e1"},
		{"somebody else came", update, state(rec("e1", "http://c")), StepConflict, "e1"},
		{"somebody disabled it", update, state(&disabled), StepConflict, "e1"},
		{"somebody deleted it", update, state(), StepGone, "e1"},
		{"not created", create, state(rec("e1", "http://b")), StepNone, ""},
		{"created, and nobody heard of it", create, state(rec("e1", "http://b"), rec("e7", "http://b")), StepDelete, "e7"},
		{"another one like it", create, state(rec("e7", "http://c")), StepNone, ""},
		{"created", known, state(rec("e1", "http://b"), rec("e2", "http://b")), StepDelete, "e2"},
		{"created, and changed by somebody", known, state(rec("e2", "http://c")), StepConflict, "e2"},
		{"created, and deleted by somebody", known, state(rec("e7", "http://b")), StepNone, "e2"},
		{"service not created", service, services(state(), ServiceRecord{"s1", "n", "t", true}), StepNone, ""},
		{"service created, and nobody heard of it", service, services(state(), ServiceRecord{"s2", "n", "t", true}), StepDelete, "s2"},
		{"service in use by others", service, services(state(&Record{ID: "x", ServiceID: "s2"}), ServiceRecord{"s2", "n", "t", true}), StepConflict, "s2"},
	} {
		step, id, err := tt.c.UndoStep(tt.now)
		if err != nil || step != tt.want || id != tt.id {
			t.Errorf("%s: got %s %q, %v; want %s %q", tt.name, step, id, err, tt.want, tt.id)
		}
	}
	if _, _, err := update.UndoStep(State{}); err == nil {
		t.Error("a state that is not known was taken for one without endpoints")
	}
}

func TestJournalsInOrder(t *testing.T) {
	j := Journals{t.TempDir()}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var want []string
	for range 12 {
		f, name, err := j.create(func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := j.Names()
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
	j := Journals{t.TempDir()}
	text := sampleJournal(t)
	at := strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n") + 1
	if err := os.WriteFile(filepath.Join(j.Dir, "a.jsonl"), []byte(text[:at+9]), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := j.reopen("a.jsonl", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.write(Entry{Kind: Back}); err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	got, err := j.Load("a.jsonl")
	if err != nil || got.Torn || !got.RolledBack {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(sampleJournal(f)))
	f.Add([]byte(sampleJournal(f))[:300])
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := ParseJournal("j", data)
		if err != nil {
			return
		}
		now := State{Services: []ServiceRecord{}, Endpoints: []Record{*rec("e1", "http://b"), *rec("e2", "http://b")}}
		for _, c := range j.Changes {
			if _, _, err := c.UndoStep(now); err != nil {
				t.Errorf("change %d: %v", c.N, err)
			}
			_ = Change{Op: c.Op, Before: c.Before, After: *c.After}.String()
		}
	})
}
