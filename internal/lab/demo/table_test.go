package demo

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/bench"
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
	steps := map[string]bench.Promise{}
	for _, s := range (&demo{}).steps() {
		steps[s.name] = s.promise
	}
	nothing, crash, agent, hang := steps["nothing"], steps["HAProxy killed"], steps["agent killed"], steps["nova hung"]
	one := lab.Takeover{To: []string{"ctl2"}, Taken: ms(20)}
	tests := []struct {
		name    string
		promise bench.Promise
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

// TestPromised has each step promise what the benchmark holds holdfast to, in the
// words of the table.
func TestPromised(t *testing.T) {
	want := map[string]string{
		"nothing": "0, no gap", "nova killed": "0, no gap", "nova hung": "0, slowest 1 s", "HAProxy killed": "in flight, 50 ms",
		"HAProxy hung": "in flight, 500 ms", "agent killed": "in flight, no gap", "power cut": "in flight, 100 ms",
		"its return": "0, no gap", "handed over": "0, no gap",
	}
	for _, s := range (&demo{}).steps() {
		if got := promised(s.promise); got != want[s.name] || s.promise.Failed == "" {
			t.Errorf("%s: promised is %q, want %q", s.name, got, want[s.name])
		}
		delete(want, s.name)
	}
	if len(want) > 0 {
		t.Errorf("no step for %v", want)
	}
}
