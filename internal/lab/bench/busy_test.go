package bench

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/lab"
	"holdfast/internal/lab/busy"
	"holdfast/internal/lab/load"
)

func TestDownsSince(t *testing.T) {
	before := map[string]int{"ctl1 ctl1": 5, "ctl1 ctl2": 0, "ctl2 ctl1": 7}
	after := map[string]int{"ctl1 ctl1": 6, "ctl1 ctl2": 2, "ctl2 ctl1": 1, "ctl3 ctl1": 1} // ctl2's HAProxy is another
	if got := downsSince(before, after); got != 1+2+1+1 {
		t.Errorf("marked down %d times, want 5", got)
	}
}

// TestHosts counts what clients sent, and the uploads that were in flight.
func TestHosts(t *testing.T) {
	upload := func(due, took time.Duration, failure load.Failure) load.Record {
		return load.Record{Kind: load.Upload, Due: at(due), Took: took, Failure: failure}
	}
	all := []load.Record{
		{Due: at(0)},
		failed(10*msec, msec, load.Reset),
		upload(-time.Second, 5*time.Second, ""),
		upload(-time.Second, 2*time.Second, load.ServerError),
		upload(-time.Second, msec, load.ServerError), // over before it
		upload(time.Second, msec, load.Reset),        // sent after it
		{Kind: load.Download, Due: at(0)},
	}
	got := hosts(watched, all,
		sight{map[string]int{"ctl1 ctl1": 1}, busy.Counts{Requests: 10, Keyed: 5, Checks: 100}},
		sight{map[string]int{"ctl1 ctl1": 3}, busy.Counts{Requests: 20, Keyed: 12, Checks: 140}})
	want := Hosts{Sent: 6, Seen: 7, Checks: 40, Down: 2, Uploads: 2, Cut: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r := got.ratio(); math.Abs(r-7.0/6) > 1e-9 || (Hosts{}).ratio() != 0 {
		t.Errorf("ratio %v", r)
	}
}

// TestJudgeBusy holds a busy service to what it costs behind kolla's settings,
// and to what is never done.
func TestJudgeBusy(t *testing.T) {
	rows := map[string]Fault{}
	for _, f := range append(busyRows(), sweepRows()...) {
		rows[f.ID] = f
	}
	kolla := Measure{Requests: 1000, Failed: 3, P99: 100 * msec}
	tests := []struct {
		row  string
		m    func(*Measure)
		want string // empty: nothing is missed
	}{
		{"load-90", func(*Measure) {}, ""},
		{"load-90", func(m *Measure) { m.Failed, m.P99 = 3, 110*msec }, ""},
		{"load-90", func(m *Measure) { m.Failed = 4 }, "4 failed, beside 3 of kolla"},
		{"load-90", func(m *Measure) { m.P99 = 111 * msec }, "p99 of 111 ms, beside 100 ms of kolla"},
		{"load-90", func(m *Measure) { m.Hosts.Down = 1 }, "marked down 1 times"},
		{"load-90", func(m *Measure) { m.Hosts.Seen = 1100 }, ""},
		{"load-90", func(m *Measure) { m.Hosts.Seen = 1101 }, "hosts saw 1.10 times"},
		{"overload", func(m *Measure) { m.Failed, m.P99 = 8, time.Minute }, ""},
		{"overload", func(m *Measure) { m.Failed = 9 }, "9 failed"},
		{"late-one", func(m *Measure) { m.Hosts.Down = 3 }, "marked down 3 times"},
		{"stall-all", func(m *Measure) { m.Hosts.Down = 9 }, ""},
		{"stall-all", func(m *Measure) { m.Failed = 1 }, "1 failed that should not have"},
		{"stall-one", func(m *Measure) { m.PostsTwice = 1 }, "carried out twice"},
		{"hang-idle", func(m *Measure) { m.Hosts.Down = 3 }, ""},
		{"hang-idle", func(m *Measure) { m.Slowest = 1001 * msec }, "slowest took 1.00 s"},
		{"hang-idle", func(m *Measure) { m.Failed = 1 }, "1 failed that should not have"},
		{"graceful-restart", func(m *Measure) { m.Hosts.Uploads = 30 }, ""},
		{"graceful-restart", func(m *Measure) { m.Hosts.Uploads, m.Hosts.Cut = 30, 1 }, "1 of 30 uploads cut"},
		{"graceful-restart", func(*Measure) {}, "no upload was in flight"},
		{"push-back", func(m *Measure) { m.Failed = 900 }, ""},
		{"push-back", func(m *Measure) { m.Hosts.Seen = 2000 }, "hosts saw 2.00 times"},
	}
	for _, tt := range tests {
		f, ok := rows[tt.row]
		if !ok {
			t.Fatalf("no row %s", tt.row)
		}
		m := Measure{Requests: 1000, P99: 90 * msec, Hosts: Hosts{Sent: 1000, Seen: 990}}
		tt.m(&m)
		got := strings.Join(append(f.Promise.judge(m, spacing), f.Promise.besides(m, kolla)...), "; ")
		if got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
			t.Errorf("%s %+v:\n got %q\nwant %q", tt.row, m, got, tt.want)
		}
	}
}

// TestBeside judges holdfast beside kolla's medians where both were measured, and
// calls a load of the sweep neither held nor missed where they were not.
func TestBeside(t *testing.T) {
	f := sweepRows()[0]
	sample := func(failed int) []Sample {
		return []Sample{{Measure: Measure{Requests: 960, Failed: failed, P99: 100 * msec, Hosts: Hosts{Sent: 960, Seen: 960}}}}
	}
	b := newBench(Options{Only: Systems(), Runs: 1})
	b.outcomes = append(b.outcomes, outcome{Holdfast, scenario{f}, sample(1)})
	if row := b.report(0).Rows[0]; row.verdict() != "" {
		t.Errorf("alone it is %q", row.verdict())
	}
	b.outcomes = append(b.outcomes, outcome{Kolla, scenario{f}, sample(0)})
	if row := b.report(0).Rows[0]; row.verdict() != "MISSED" || !strings.Contains(strings.Join(row.missed(), ""), "1 failed, beside 0 of kolla") {
		t.Errorf("beside kolla it is %q: %q", row.verdict(), row.missed())
	}
}

// TestBusyLoads are what the promises are of.
func TestBusyLoads(t *testing.T) {
	for _, f := range append(busyRows(), sweepRows()...) {
		n := 0
		if f.Load != nil {
			for _, p := range f.Load.Phases {
				n += p.Requests()
			}
		}
		if f.ID == "overload" && (n != 5328 || f.drains() != time.Second) {
			t.Errorf("overload: %d requests, and %v until the queue is empty", n, f.drains())
		}
		if f.ID == "load-200" && f.drains() != sweepTime {
			t.Errorf("twice the capacity takes %v until the queue is empty", f.drains())
		}
		for _, a := range append(f.Before, f.Action) {
			if a.Kind != "" && a.fault("ctl1").Service != service {
				t.Errorf("%s: %s is not done to the service under load", f.ID, a.Kind)
			}
		}
	}
	if diff := cmp.Diff(lab.Fault{Kind: "power-off", Node: "ctl1"}, Action{Kind: "power-off"}.fault("ctl1")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSweepAlone is measured as often as is said, once if nothing is.
func TestSweepAlone(t *testing.T) {
	for _, tt := range []struct {
		faults    []string
		runs      int
		wantKolla int
	}{{[]string{"sweep"}, 0, 1}, {[]string{"load-50", "load-90"}, 3, 3}, {nil, 0, 1}, {[]string{"sweep", "overload"}, 10, 2}} {
		o := Options{Faults: tt.faults, Runs: tt.runs}
		if err := o.complete(); err != nil {
			t.Fatal(err)
		}
		if got := newBench(o).runsOf(Kolla, GroupSweep); got != tt.wantKolla {
			t.Errorf("%q, %d runs: kolla has %d, want %d", tt.faults, tt.runs, got, tt.wantKolla)
		}
	}
}

// TestSweepPicture has a line of each system, and none of a time where nothing
// succeeded.
func TestSweepPicture(t *testing.T) {
	cell := func(s System, failed int) Cell {
		return Cell{System: s, Median: Measure{Requests: 100, Failed: failed, P99: 123 * msec}}
	}
	r := &Report{Systems: []SystemInfo{{Name: Holdfast}, {Name: Kolla}}}
	for _, f := range sweepRows()[:2] {
		r.Rows = append(r.Rows, Row{Group: GroupSweep, Load: f.Load, Cells: []Cell{cell(Holdfast, 0), cell(Kolla, 100)}})
	}
	picture := r.SweepPicture()
	for text, n := range map[string]int{
		`class="line holdfast"`: 2, `class="line kolla"`: 1, "p99 of 123 ms": 2, "100 of 100 failed": 2, "holdfast at 80 %": 2,
	} {
		if got := strings.Count(picture, text); got != n {
			t.Errorf("%q %d times, want %d:\n%s", text, got, n, picture)
		}
	}
	if got := (&Report{}).SweepPicture(); got != "" {
		t.Errorf("a picture of nothing: %s", got)
	}
}

// drains is the longest that the last answers of f can be in coming after its
// load has ended.
func (f Fault) drains() time.Duration {
	if f.Load == nil || len(f.Before) == 0 || f.Before[0].Kind != "busy" {
		return 0
	}
	queue := 0.0
	for _, p := range f.Load.Phases {
		queue = max(0, queue+(p.Rate-capacity)*p.Duration.Seconds())
	}
	return time.Duration(queue / capacity * float64(time.Second))
}
