package keystone

import (
	"strings"
	"testing"

	"holdfast/internal/changelog"
)

func rec(id, url string) *Record {
	return &Record{ID: id, Region: "r", ServiceID: "s", ServiceName: "glance", ServiceType: "image", Interface: "public", URL: url, Enabled: true}
}

// line is one of a journal of endpoint changes.
type line = changelog.Line[Entry]

// lines encodes all.
func lines(t testing.TB, all ...line) string {
	t.Helper()
	var b strings.Builder
	for _, l := range all {
		text, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

func sampleJournal(t testing.TB) string {
	return lines(t,
		line{Kind: changelog.Begin, Version: 1, Plan: "p", Total: 2, Detail: Entry{AuthURL: "http://a:5000/v3"}},
		line{Kind: changelog.Intend, N: 1, Detail: Entry{Op: Update, Before: rec("e1", "http://a"), After: rec("e1", "http://b")}},
		line{Kind: changelog.Changed, N: 1},
		line{Kind: changelog.Verified, N: 1},
		line{Kind: changelog.Intend, N: 2, Detail: Entry{Op: Create, After: rec("", "http://b"), Existing: []string{"e1"}}},
		line{Kind: changelog.Changed, N: 2, Detail: Entry{ID: "e2"}},
		line{Kind: changelog.Applied},
		line{Kind: changelog.Restored, N: 2},
		line{Kind: changelog.Back})
}

func TestParseJournal(t *testing.T) {
	text := sampleJournal(t)
	j, err := changelog.Parse[Entry]("j", []byte(text))
	if err != nil || j.Torn || j.End != changelog.Applied || !j.RolledBack || len(j.Changes) != 2 ||
		!j.Changes[0].IsVerified || j.Changes[1].Detail.ID != "e2" || !j.Changes[1].Undone || j.Changes[0].Undone {
		t.Fatalf("%+v, %v", j, err)
	}
	// Cut anywhere, it is what was written up to there.
	for n := range text {
		cut, err := changelog.Parse[Entry]("j", []byte(text[:n]))
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if whole := strings.Count(text[:n], "\n"); len(cut.Changes) > whole {
			t.Fatalf("cut at %d: %d changes of %d lines", n, len(cut.Changes), whole)
		}
	}
}

func TestParseJournalRefuses(t *testing.T) {
	begin := lines(t, line{Kind: changelog.Begin, Version: 1})
	for name, text := range map[string]string{
		"no journal":             "hello\nworld\n",
		"a version to come":      lines(t, line{Kind: changelog.Begin, Version: 2}),
		"no beginning":           lines(t, line{Kind: changelog.Applied}),
		"two beginnings":         begin + begin,
		"a change without what":  begin + lines(t, line{Kind: changelog.Intend, N: 1, Detail: Entry{Op: Update, After: rec("e1", "x")}}),
		"a change of two things": begin + lines(t, line{Kind: changelog.Intend, N: 1, Detail: Entry{Op: Update, Before: rec("e1", "x"), After: rec("e2", "y")}}),
		"an unknown operation":   begin + lines(t, line{Kind: changelog.Intend, N: 1, Detail: Entry{Op: "delete", Before: rec("e1", "x"), After: rec("e1", "x")}}),
		"nothing created":        begin + lines(t, line{Kind: changelog.Intend, N: 1, Detail: Entry{Op: Create}}),
		"a result of nothing":    begin + lines(t, line{Kind: changelog.Changed, N: 7}),
		"the same change twice": begin + lines(t, line{Kind: changelog.Intend, N: 1, Detail: Entry{Op: Create, After: rec("", "x")}},
			line{Kind: changelog.Intend, N: 1, Detail: Entry{Op: Create, After: rec("", "x")}}),
		"an unknown kind":       begin + lines(t, line{Kind: "other"}),
		"garbage in the middle": begin + "garbage\n" + lines(t, line{Kind: changelog.Applied}),
	} {
		if _, err := changelog.Parse[Entry]("j.jsonl", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "j.jsonl:") {
			t.Errorf("%s: got %v, want an error with the line", name, err)
		}
	}
}

func TestUndoStep(t *testing.T) {
	before, after := rec("e1", "http://a"), rec("e1", "http://b")
	disabled := *after
	disabled.Enabled = false
	update := Entry{Op: Update, Before: before, After: after}
	made := rec("", "http://b")
	create := Entry{Op: Create, After: made, Existing: []string{"e1"}}
	known := create
	known.ID = "e2"
	service := Entry{Op: CreateService, After: &Record{ServiceName: "n", ServiceType: "t"}, Existing: []string{"s1"}}
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
		c    Entry
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

func FuzzJournal(f *testing.F) {
	f.Add([]byte(sampleJournal(f)))
	f.Add([]byte(sampleJournal(f))[:300])
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := changelog.Parse[Entry]("j", data)
		if err != nil {
			return
		}
		now := State{Services: []ServiceRecord{}, Endpoints: []Record{*rec("e1", "http://b"), *rec("e2", "http://b")}}
		for _, c := range j.Changes {
			if _, _, err := c.Detail.UndoStep(now); err != nil {
				t.Errorf("change %d: %v", c.N, err)
			}
			_ = Change{Op: c.Detail.Op, Before: c.Detail.Before, After: *c.Detail.After}.String()
		}
	})
}
