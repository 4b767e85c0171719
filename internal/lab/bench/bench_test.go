package bench

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
	"holdfast/internal/spec"
)

const (
	msec    = time.Millisecond
	spacing = 10 * msec
)

// strike is when the fault of these tests comes.
var strike = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return strike.Add(d) }

// steady gives the records of a load that goes on untroubled: a request every
// 5 ms, by turns on a new connection and on one that was opened long before,
// but for those due from silent until back, which are left out.
func steady(from, to, silent, back time.Duration) []load.Record {
	var all []load.Record
	for i, due := 0, from; due < to; i, due = i+1, due+5*msec {
		if due >= silent && due < back {
			continue
		}
		r := load.Record{Due: at(due), Took: 2 * msec, Method: http.MethodGet, Status: 200, Host: "ctl1", Opened: at(due)}
		if i%2 == 1 {
			r.Reused, r.Opened = true, at(-time.Minute)
		}
		all = append(all, r)
	}
	return all
}

func failed(due, took time.Duration, kind load.Failure) load.Record {
	return load.Record{Due: at(due), Took: took, Method: http.MethodGet, Failure: kind}
}

func onOld(r load.Record, opened time.Duration) load.Record {
	r.Reused, r.Opened = true, at(opened)
	return r
}

func post(r load.Record) load.Record {
	r.Method = http.MethodPost
	return r
}

var watched = span{at(0), at(2000 * msec)}

func TestMeasure(t *testing.T) {
	untroubled := steady(-time.Second, 2500*msec, 0, 0)
	outage := steady(-time.Second, 2500*msec, 0, 100*msec)
	nobody := lab.Takeover{Taken: -1}
	tests := []struct {
		name    string
		records []load.Record
		moved   lab.Takeover
		first   bool
		want    Measure
	}{
		{
			"untroubled", untroubled, nobody, true,
			Measure{Requests: 400, Gap: 10 * msec, P50: 2 * msec, P99: 2 * msec, Slowest: 2 * msec, Taken: -1},
		},
		{
			"each kind of failure", append(slices.Clone(outage),
				failed(-3*msec, 8*msec, load.Reset),        // under way
				failed(20*msec, 1*msec, load.Refused),      // in the gap
				failed(110*msec, 1*msec, load.Refused),     // after it: nothing explains that
				failed(1500*msec, 1*msec, load.Reset),      // nor that
				failed(2100*msec, 1*msec, load.Reset),      // not watched any longer
				failed(-50*msec, 10*msec, load.Reset),      // over before the fault
				post(failed(30*msec, 1*msec, load.Closed)), // a POST
				onOld(failed(1000*msec, msec, load.Reset), -time.Second),
				onOld(failed(1001*msec, msec, load.Reset), 900*msec), // opened when all was well
			),
			lab.Takeover{Taken: 80 * msec, Two: 70 * msec},
			true,
			Measure{
				Requests: 400 - 20 + 7, Failed: 6, Kinds: map[load.Failure]int{load.Reset: 4, load.Refused: 2},
				UnderWay: 1, InGap: 1, OldConn: 1, Others: 3, Posts: 1, PostsFailed: 1,
				Gap: 110 * msec, P50: 2 * msec, P99: 2 * msec, Slowest: 2 * msec, Taken: 80 * msec, Two: 70 * msec,
			},
		},
		{
			"under way counts once", append(slices.Clone(untroubled), failed(-3*msec, 8*msec, load.Reset)), nobody, false,
			Measure{Requests: 400, Gap: 10 * msec, P50: 2 * msec, P99: 2 * msec, Slowest: 2 * msec, Taken: -1},
		},
		{
			"the address moved after the first answers", append(slices.Clone(untroubled),
				onOld(failed(500*msec, msec, load.Reset), 100*msec)),
			lab.Takeover{Taken: 300 * msec},
			true,
			Measure{
				Requests: 401, Failed: 1, Kinds: map[load.Failure]int{load.Reset: 1}, OldConn: 1,
				Gap: 10 * msec, P50: 2 * msec, P99: 2 * msec, Slowest: 2 * msec, Taken: 300 * msec,
			},
		},
		{
			"a gap long after the fault is not of its making", append(steady(-time.Second, 2500*msec, 1200*msec, 1300*msec),
				failed(700*msec, msec, load.Refused)), nobody, true,
			Measure{
				Requests: 381, Failed: 1, Kinds: map[load.Failure]int{load.Refused: 1}, Others: 1,
				Gap: 110 * msec, P50: 2 * msec, P99: 2 * msec, Slowest: 2 * msec, Taken: -1,
			},
		},
		{
			"it never ends", steady(-time.Second, 0, 0, 0), nobody, true,
			Measure{Gap: 2008 * msec, Taken: -1, Unfinished: true},
		},
		{
			"failing at the end", append(slices.Clone(untroubled), failed(1900*msec, msec, load.ServerError)), nobody, true,
			Measure{
				Requests: 401, Failed: 1, Kinds: map[load.Failure]int{load.ServerError: 1}, Others: 1, Unfinished: true,
				Gap: 10 * msec, P50: 2 * msec, P99: 2 * msec, Slowest: 2 * msec, Taken: -1,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := measure(tt.records, watched, tt.moved, spacing, tt.first)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Measure{}, "Noise")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestNoise looks at the time before the fault, and at no other.
func TestNoise(t *testing.T) {
	for _, tt := range []struct{ silent, back, want time.Duration }{
		{-700 * msec, -600 * msec, 110 * msec}, {100 * msec, 900 * msec, 10 * msec}, {-950 * msec, -900 * msec, 10 * msec},
	} {
		records := steady(-time.Second, 2500*msec, tt.silent, tt.back)
		if got := measure(records, watched, lab.Takeover{Taken: -1}, spacing, true).Noise; got != tt.want {
			t.Errorf("silent from %v to %v: noise %v, want %v", tt.silent, tt.back, got, tt.want)
		}
	}
}

func TestJudge(t *testing.T) {
	fault := map[string]Promise{}
	for _, f := range Faults() {
		fault[f.ID] = f.Promise
	}
	good := Measure{Requests: 400, Gap: 12 * msec, Slowest: 5 * msec}
	tests := []struct {
		fault string
		m     func(*Measure)
		want  string // contained in what is missed; empty: nothing is
	}{
		{"service-kill", func(*Measure) {}, ""},
		{"service-kill", func(m *Measure) { m.Failed, m.UnderWay = 1, 1 }, "1 failed that should not have"},
		{"service-kill", func(m *Measure) { m.Gap = 31 * msec }, "gap of 31 ms"},
		{"service-kill", func(m *Measure) { m.Gap, m.Late = 31*msec, 15*msec }, ""},
		{"service-kill", func(m *Measure) { m.Gap, m.Noise = 31*msec, 22*msec }, ""},
		{"service-kill", func(m *Measure) { m.Gap, m.Noise = 36*msec, 22*msec }, "gap of 36 ms"},
		{"service-kill", func(m *Measure) { m.PostsTwice = 1 }, "carried out twice"},
		{"service-kill", func(m *Measure) { m.PostsFailed = 3 }, ""},
		{"service-kill", func(m *Measure) { m.Requests = 0 }, "no request"},
		{"service-hang", func(m *Measure) { m.Slowest, m.Gap = 999*msec, 69*msec }, ""},
		{"service-hang", func(m *Measure) { m.Gap = 71 * msec }, "gap of 71 ms"},
		{"service-hang", func(m *Measure) { m.Slowest = 1001 * msec }, "slowest took 1.00 s"},
		{"haproxy-kill", func(m *Measure) { m.Failed, m.UnderWay, m.InGap, m.OldConn, m.Gap = 9, 3, 3, 3, 69*msec }, ""},
		{"haproxy-kill", func(m *Measure) { m.Gap = 71 * msec }, "gap of 71 ms"},
		{"haproxy-kill", func(m *Measure) { m.Failed, m.Others = 1, 1 }, "1 failed"},
		{"agent-kill", func(m *Measure) { m.Failed, m.OldConn, m.UnderWay, m.Two = 9, 8, 1, 2500*msec }, ""},
		{"agent-kill", func(m *Measure) { m.Failed, m.InGap = 1, 1 }, "1 failed"},
		{"agent-hang", func(m *Measure) { m.Two = 2600 * msec }, "two holders for 2.60 s"},
		{"holder-lost", func(m *Measure) { m.Failed, m.UnderWay, m.Kinds = 1, 1, map[load.Failure]int{load.Reset: 1} }, ""},
		{"holder-lost", func(m *Measure) { m.Failed, m.UnderWay, m.Kinds = 1, 1, map[load.Failure]int{load.Timeout: 1} }, "1 hung"},
		{"partition", func(m *Measure) { m.Failed, m.Others, m.Gap, m.Two = 99, 99, time.Second, time.Minute }, ""},
		{"healing", func(m *Measure) { m.Two = 21 * msec }, "two holders"},
	}
	for _, tt := range tests {
		m := good
		tt.m(&m)
		p, ok := fault[tt.fault]
		if !ok {
			t.Fatalf("no fault %s", tt.fault)
		}
		got := strings.Join(p.judge(m, spacing), "; ")
		if got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
			t.Errorf("%s %+v:\n got %q\nwant %q", tt.fault, m, got, tt.want)
		}
	}
}

func TestMedians(t *testing.T) {
	all := []Measure{
		{Failed: 3, Gap: 30, Kinds: map[load.Failure]int{load.Reset: 3}, Unfinished: true},
		{Failed: 0, Gap: 10, Kinds: map[load.Failure]int{}},
		{Failed: 9, Gap: 20, Kinds: map[load.Failure]int{load.Reset: 1, load.Refused: 8}, Unfinished: true},
	}
	want := Measure{Failed: 3, Gap: 20, Kinds: map[load.Failure]int{load.Reset: 1}, Unfinished: true}
	if diff := cmp.Diff(want, medians(Holdfast, all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := medians(Holdfast, all[:2]).Failed; got != 3 {
		t.Errorf("the median of 0 and 3 is %d, want the worse", got)
	}
	if got := medians(Tuned, all[:2]).Failed; got != 0 {
		t.Errorf("the median of 0 and 3 of a peer is %d, want the better", got)
	}
}

// TestScenarios takes a row with those that it goes on from, and every row once.
func TestScenarios(t *testing.T) {
	ids := func(all []scenario) string {
		var out []string
		for _, s := range all {
			var one []string
			for _, f := range s {
				one = append(one, f.ID)
			}
			out = append(out, strings.Join(one, "+"))
		}
		return strings.Join(out, " ")
	}
	if got := ids(scenarios(func(f Fault) bool { return f.ID == "healing" || f.ID == "haproxy-kill" })); got != "haproxy-kill partition+healing" {
		t.Errorf("scenarios %s", got)
	}
	if got, want := len(strings.FieldsFunc(ids(scenarios(func(Fault) bool { return true })), func(r rune) bool { return r == ' ' || r == '+' })), len(Faults()); got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
}

// TestOrder is the same for the same seed, another for another run, and never
// without a row.
func TestOrder(t *testing.T) {
	order := func(seed uint64, run int) []string {
		b := &bench{opt: Options{Seed: seed}}
		var ids []string
		for _, s := range b.order(Holdfast, run) {
			ids = append(ids, s[0].ID)
		}
		return ids
	}
	first := order(7, 0)
	if !slices.Equal(first, order(7, 0)) || slices.Equal(first, order(7, 1)) || slices.Equal(first, order(8, 0)) {
		t.Errorf("orders %v, %v, %v", first, order(7, 1), order(8, 0))
	}
	for _, other := range [][]string{order(7, 1), order(8, 0)} {
		slices.Sort(other)
		if want := slices.Sorted(slices.Values(first)); !slices.Equal(other, want) {
			t.Errorf("rows %v, want %v", other, want)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{Runs: -1}, {Runs: MaxRuns + 1}, {Rate: 1}, {Rate: MaxRate + 1}, {Faults: []string{"meteor"}}, {Only: []System{"pacemaker"}},
	} {
		if err := o.complete(); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	o := Options{Only: []System{Tuned, Holdfast}}
	if err := o.complete(); err != nil || !slices.Equal(o.Only, []System{Holdfast, Tuned}) || o.Runs != DefaultRuns || o.Rate != 200 {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestTimeline(t *testing.T) {
	vip := netip.MustParseAddr("10.64.20.10")
	changes := []lab.Holding{
		{Time: at(-time.Hour), Address: vip, Node: "ctl1", Held: true},
		{Time: at(40 * msec), Address: vip, Node: "ctl2", Held: true},
		{Time: at(45 * msec), Address: netip.MustParseAddr("10.64.20.11"), Node: "ctl3", Held: true},
		{Time: at(50 * msec), Address: vip, Node: "ctl1", Held: false},
		{Time: at(time.Hour), Address: vip, Node: "ctl1", Held: true},
	}
	records := []load.Record{
		{Due: at(0), Took: 3 * msec, Method: "GET"},
		{Due: at(5 * msec), Took: 3 * msec, Method: "GET"},
		failed(25*msec, time.Second, load.Timeout), post(failed(31*msec, msec, load.Reset)),
	}
	for range 12 {
		records = append(records, load.Record{Due: at(0), Took: 42 * msec, Method: "GET"})
	}
	got := timeline(records, span{at(0), at(60 * msec)}, changes, vip, "ctl1 killed")
	dots := strings.Repeat(".", 50)
	want := Timeline{
		From: -500 * msec, Step: 10 * msec, OK: dots + "2...+.", Bad: dots + "..1...", Posts: dots + "...1..",
		Marks: []Mark{
			{At: 0, Kind: "fault", Text: "ctl1 killed"},
			{At: 40 * msec, Kind: "takes", Node: "ctl2", Text: "ctl2 takes the address"},
			{At: 50 * msec, Kind: "leaves", Node: "ctl1", Text: "the address leaves ctl1"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// sampleReport measures every row for every system, out of thin air.
func sampleReport(t *testing.T) *Report {
	t.Helper()
	opt := Options{Runs: 3, Seed: 1}
	if err := opt.complete(); err != nil {
		t.Fatal(err)
	}
	b := newBench(opt)
	b.started = strike
	for i, system := range Systems() {
		for _, j := range b.todo[system] {
			o := outcome{system: system, rows: j.scenario}
			for _, f := range j.scenario {
				m := measure(steady(-time.Second, 3*time.Second, 0, time.Duration(i)*900*msec), watched, lab.Takeover{Taken: 31 * msec}, spacing, true)
				m.Slowest, m.Two, m.Failed, m.Kinds = 10017*msec, 12345*msec, 10000*i, map[load.Failure]int{load.Timeout: 10000 * i}
				if (scenario{f}).counted() {
					m.P99, m.Hosts = 10017*msec, Hosts{Sent: 1000, Seen: 1200 - 100*i, Down: 99, Uploads: 30 * i, Cut: i}
				}
				sample := Sample{Measure: m, Node: "ctl1", Done: "<b>&", Timeline: timeline(nil, watched, nil, netip.Addr{}, "<b>&")}
				if f.Promise.Planned {
					one := deed{span: watched, worked: worked{took: time.Second, failed: "<i>&"}}
					sample.addPlanned(f, one, transfers(10, load.Reset), connects(0, time.Duration(i)*900*msec))
				}
				o.runs = append(o.runs, sample)
			}
			b.outcomes = append(b.outcomes, o)
		}
	}
	return b.report(time.Minute)
}

func TestText(t *testing.T) {
	text := sampleReport(t).Text()
	for line := range strings.Lines(text) {
		if n := len(strings.TrimRight(line, "\n")); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, f := range Faults() {
		if strings.Count(text, "\n"+f.Name) != 2 {
			t.Errorf("%q is not in both tables:\n%s", f.Name, text)
		}
	}
	for _, want := range []string{
		"held", "MISSED: two holders for 12.35 s", "91x", "Machine: ", "MISSED: a host was marked down 99 times, hosts saw 1.20 times",
		"uploads cut: kolla 1 of 30, tuned 2 of 60", "100 % of capacity", "of a busy service",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// TestSave writes a page that needs nothing from elsewhere, and JSON that
// comes back as it was.
func TestSave(t *testing.T) {
	report := sampleReport(t)
	dir := filepath.Join(t.TempDir(), "docs")
	if err := report.Save(dir); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	var back Report
	if err := json.Unmarshal([]byte(read("latest.json")), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report, &back, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
	page := read("latest.html")
	for _, foreign := range []string{"src=", "@import", "url(", "<link", "<b>&"} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page has %q", foreign)
		}
	}
	if n := strings.Count(strings.ReplaceAll(page, "http://www.w3.org/2000/svg", ""), "http"); n > 0 {
		t.Errorf("the page names %d addresses", n)
	}
	_, data, _ := strings.Cut(page, `id="data">`)
	data, _, _ = strings.Cut(data, "</script>")
	var rows []viewRow
	if err := json.Unmarshal([]byte(data), &rows); err != nil || len(rows) != len(Faults())-len(sweepPercents()) || len(rows[0].Cells) != len(Systems()) {
		t.Errorf("the page's data: %d rows, %v", len(rows), err)
	}
	md := read("latest.md")
	for _, want := range []string{"| a service is killed | 0 failed, no gap | ", "| 100 % of capacity | ", "](latest-sweep.svg)"} {
		if !strings.Contains(md, want) {
			t.Errorf("no %q in\n%s", want, md)
		}
	}
	if picture := read("latest-sweep.svg"); xml.Unmarshal([]byte(picture), new(struct{})) != nil || !strings.Contains(page, picture) {
		t.Errorf("the picture is none, or not in the page:\n%s", picture)
	}
}

// TestCloud is a spec that every system can be built from.
func TestCloud(t *testing.T) {
	s, findings := spec.Parse("bench.yaml", []byte(benchSpec))
	if s == nil || len(findings) > 0 {
		t.Fatalf("findings %v", findings)
	}
	if !slices.ContainsFunc(load.TargetsOf(s), func(t load.Target) bool { return t.Name == service }) {
		t.Errorf("%s is not in it", service)
	}
}
