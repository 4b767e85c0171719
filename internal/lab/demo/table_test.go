package demo

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// loadOf gives the records of a second of load, 5 ms apart, with change done
// to each.
func loadOf(change func(i int, r *load.Record)) []load.Record {
	var all []load.Record
	for i := range 200 {
		r := load.Record{Due: start.Add(ms(5 * i)), Took: ms(1), Target: "nova", Host: "ctl1"}
		change(i, &r)
		all = append(all, r)
	}
	return all
}

func fail(r *load.Record) { r.Failure, r.Error = load.Refused, "connection refused" }

// TestJudge holds what clients saw against what was promised.
func TestJudge(t *testing.T) {
	nothing := promise{text: "0, no gap"}
	crash := promise{text: "in flight, 50 ms", lost: true, gap: ms(50)}
	agent := promise{text: "in flight, no gap", lost: true, two: ms(2500)}
	hang := promise{text: "0, slowest 1 s", slow: time.Second}
	one := lab.Takeover{To: []string{"ctl2"}, Taken: ms(20)}
	tests := []struct {
		name    string
		promise promise
		change  func(i int, r *load.Record)
		take    lab.Takeover
		broken  string // in what is not kept; empty: all is
	}{
		{"all well", nothing, func(int, *load.Record) {}, one, ""},
		{"one failed", nothing, func(i int, r *load.Record) {
			if i == 7 {
				fail(r)
			}
		}, one, "1 refused"},
		{"lost in the gap", crash, func(i int, r *load.Record) {
			if i < 10 {
				fail(r)
			}
		}, one, ""},
		{"lost after the gap", crash, func(i int, r *load.Record) {
			if i == 100 {
				fail(r)
			}
		}, one, "1 failed that were not in flight"},
		{"lost on a connection that was open", crash, func(i int, r *load.Record) {
			if i == 100 {
				fail(r)
				r.Reused, r.Opened = true, start.Add(-time.Second)
			}
		}, one, ""},
		{"too long a gap", crash, func(i int, r *load.Record) {
			if i < 50 {
				r.Took = ms(255 - 5*i)
			}
		}, one, "the gap is too long"},
		{"a gap that is this machine's own", crash, func(i int, r *load.Record) {
			if i < 50 {
				r.Took, r.Late = ms(255-5*i), ms(250-5*i)
			}
		}, one, ""},
		{"slow", hang, func(i int, r *load.Record) {
			if i%3 == 0 {
				r.Took = ms(900)
			}
		}, one, ""},
		{"too slow", hang, func(i int, r *load.Record) {
			if i == 3 {
				r.Took = ms(1100)
			}
		}, one, "the slowest answer took 1.10 s"},
		{"two for too long", agent, func(int, *load.Record) {}, lab.Takeover{To: []string{"ctl2"}, Two: ms(2600)}, "two had the address for 2.60 s"},
		{"two for as long as a lease", agent, func(int, *load.Record) {}, lab.Takeover{To: []string{"ctl2"}, Two: ms(2100)}, ""},
		{"nobody has the address", crash, func(int, *load.Record) {}, lab.Takeover{}, "0 holders"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records := loadOf(tt.change)
			seen := load.Summarize(records, start, start.Add(time.Second))
			row := judge(step{name: "x", promise: tt.promise}, lab.Fault{}, seen, records, tt.take).String()
			for line := range strings.Lines(tableHead() + "\n" + row) {
				if len(strings.TrimSuffix(line, "\n")) > 80 {
					t.Errorf("wider than 80 columns: %s", line)
				}
			}
			kept := !strings.Contains(row, "NOT KEPT")
			if kept != (tt.broken == "") || !strings.Contains(row, tt.broken) {
				t.Errorf("row:\n%s\nwant in it: %q", row, tt.broken)
			}
		})
	}
}

// TestNarrow has the proposal's list fit a terminal, with every name and URL whole.
func TestNarrow(t *testing.T) {
	got := narrow(endpointList)
	for line := range strings.Lines(got) {
		if len(strings.TrimSuffix(line, "\n")) > 80 {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
	if n := strings.Count(got, "\n"); n != 6 || !strings.HasSuffix(got, "/dynamicproxy-api/v1/$(tenant_id)s\n") {
		t.Errorf("%d services:\n%s", n, got)
	}
}

func TestAddress(t *testing.T) {
	tests := []struct {
		take lab.Takeover
		want string
	}{
		{lab.Takeover{To: []string{"a"}, Taken: -1}, "a"},
		{lab.Takeover{To: []string{"b"}, Taken: ms(14)}, "b, after 14 ms"},
		{lab.Takeover{To: []string{"b"}, Taken: ms(70), Two: ms(1930)}, "b, after 70 ms; two for 1.93 s"},
	}
	for _, tt := range tests {
		if got := (result{takeover: tt.take}).address(); got != tt.want {
			t.Errorf("%+v is told as %q, want %q", tt.take, got, tt.want)
		}
	}
}

// TestRecorder takes lines that come in pieces, and refuses what is no record.
func TestRecorder(t *testing.T) {
	r := &recorder{}
	for _, piece := range []string{`{"due":"2026-11-22T09:00:00Z","target":"no`, `va","host":"a"}` + "\n" + `{"due":"2026-11-22T09:00:01Z",`, `"target":"nova","host":"b"}` + "\n"} {
		if _, err := r.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.all(); len(got) != 2 || got[1].Host != "b" {
		t.Errorf("records %+v", got)
	}
	if got := r.since(start.Add(ms(1))); len(got) != 1 || got[0].Host != "b" {
		t.Errorf("records since: %+v", got)
	}
	if got := r.busiest("nova", start); got != "a" {
		t.Errorf("busiest of two with one answer each: %q, want the first by name", got)
	}
	if _, err := r.Write([]byte("panic: whatever\n")); err == nil {
		t.Error("took what is no record")
	}
}
