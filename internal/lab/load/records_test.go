package load

import (
	"testing"
	"time"
)

// TestRecords takes lines that come in pieces, and refuses what is no record.
func TestRecords(t *testing.T) {
	start := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	r := &Records{}
	for _, piece := range []string{`{"due":"2026-11-22T09:00:00Z","target":"no`, `va","host":"a"}` + "\n" + `{"due":"2026-11-22T09:00:01Z",`, `"target":"nova","host":"b"}` + "\n"} {
		if _, err := r.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.All(); len(got) != 2 || got[1].Host != "b" {
		t.Errorf("records %+v", got)
	}
	if got := r.Since(start.Add(time.Millisecond)); len(got) != 1 || got[0].Host != "b" {
		t.Errorf("records since: %+v", got)
	}
	if got := Busiest(r.All(), ""); got != "a" {
		t.Errorf("busiest of two with one answer each: %q, want the first by name", got)
	}
	if got := Busiest(r.All(), "a"); got != "b" {
		t.Errorf("busiest but for a: %q, want b", got)
	}
	if _, err := r.Write([]byte("panic: whatever\n")); err == nil {
		t.Error("took what is no record")
	}
}
