package tokens

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/lab"
	"holdfast/internal/lab/bench"
)

var update = flag.Bool("update", false, "write the golden files anew")

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func TestParsePoints(t *testing.T) {
	got, err := ParsePoints("0.5, loop12,one")
	want := []Point{{ID: "0.5", Share: 0.5}, {ID: "loop12", Loops: 12}, {ID: "one", Share: 0.5, One: true}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := ParsePoints(DefaultPoints); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "0", "-1", "6", "half", "loop", "loop0", "loop-3", "loop1000", "0.5,,1", "NaN"} {
		if got, err := ParsePoints(bad); err == nil {
			t.Errorf("%q gives %+v", bad, got)
		}
	}
}

// TestRefuses says what is wrong before anything is built.
func TestRefuses(t *testing.T) {
	good := Options{Length: time.Second, Clients: 1, Points: []Point{{Share: 1}}}
	for want, change := range map[string]func(*Options){
		`"pacemaker"`: func(o *Options) { o.Only = []bench.System{"pacemaker"} },
		"21 runs":     func(o *Options) { o.Runs = 21 },
		"at least 1s": func(o *Options) { o.Length = 0 },
		"0 clients":   func(o *Options) { o.Clients = 0 },
		"no load":     func(o *Options) { o.Points = nil },
		"capacity":    func(o *Options) { o.Capacity = -1 },
	} {
		o := good
		change(&o)
		_, err := Run(t.Context(), o)
		if _, wrong := errors.AsType[*lab.OptionsError](err); !wrong || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

// TestVerdict has what is told of a host that went out.
func TestVerdict(t *testing.T) {
	for line, want := range map[string]string{
		`{"time":"2026-12-01T15:03:33Z","level":"WARN","msg":"keystone at ctl2 is taken out","controller":"ctl1","event":"host-taken-out","subject":"keystone/ctl2","cause":"it hangs"}`: "2026-12-01T15:03:33Z ctl1: keystone at ctl2 is taken out (it hangs)",
		`{"time":"2026-12-01T15:03:33Z","msg":"vip api is active here","controller":"ctl1","event":"vip-active"}`:                                                                        "",
		"panic: no JSON": "",
	} {
		if got := verdict([]byte(line)); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestSum(t *testing.T) {
	start := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	var all []Session
	for i := range 100 { // the i-th takes so many ms; the last of them fails
		all = append(all, Session{Due: start.Add(ms(10 * i)), Took: ms(i), Sent: 2, Late: ms(i % 7)})
	}
	all[99].Failure, all[99].Sent = NoHost, 1
	got := sum(all, 500*time.Millisecond)
	want := Measure{
		Sessions: 100, Failed: 1, Kinds: map[Failure]int{NoHost: 1}, PerSecond: 99 / 1.089,
		P50: ms(49), P99: ms(98), Slowest: ms(98), Sent: 199, Late: ms(6),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := sum(nil, time.Second); got.Sessions != 0 || got.P99 != 0 || got.PerSecond != 0 {
		t.Errorf("of nothing: %+v", got)
	}
}

// TestCounts counts a host that two backends see go down together once for
// each HAProxy, and one that was started anew from its beginning.
func TestCounts(t *testing.T) {
	stat := func(downA, downB, none, retries uint64) []output.Row {
		return []output.Row{
			{Kind: output.KindFrontend, Proxy: "keystone_front", Downs: 1000},
			{Kind: output.KindServer, Proxy: "keystone", Name: "a", Status: "UP", Downs: downA},
			{Kind: output.KindServer, Proxy: "keystone", Name: "b", Status: "DOWN 1/2", Downs: downB},
			{Kind: output.KindBackend, Proxy: "keystone", Downs: none, Retries: retries},
			{Kind: output.KindServer, Proxy: "keystone:once", Name: "a", Status: "no check", Downs: downA},
			{Kind: output.KindServer, Proxy: "keystone:once", Name: "b", Status: "UP 1/3", Downs: downB},
			{Kind: output.KindBackend, Proxy: "keystone:once", Downs: none, Retries: 1},
			{Kind: output.KindServer, Proxy: "glance", Name: "a", Status: "DOWN", Downs: 1000},
		}
	}
	gather := func(one, two []output.Row) counts {
		c := counts{downs: map[[2]string]uint64{}, none: map[string]uint64{}}
		c.add("ctl1", one)
		c.add("ctl2", two)
		return c
	}
	before := gather(stat(5, 2, 1, 10), stat(50, 50, 50, 0))
	after := gather(stat(7, 3, 2, 14), stat(1, 0, 0, 0))
	var m Measure
	m.addCounts(before, after)
	if want := (Measure{Down: 2 + 1 + 1, None: 1, Retries: 4}); !cmp.Equal(want, m) {
		t.Errorf("-want +got:\n%s", cmp.Diff(want, m))
	}
	if want := []string{"b is DOWN 1/2 at ctl1", "b is DOWN 1/2 at ctl2"}; !cmp.Equal(want, after.out) {
		t.Errorf("not up: %q", after.out)
	}
}

// TestLogs reads what was written since it read last, whole lines only.
func TestLogs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keystone.log")
	const at = "[pid: 8|app: 0|req: 18/18] 10.64.20.15 () {24 vars in 286 bytes} [Sun Nov 29 05:44:47 2026] "
	l := newLogs()
	l.add(path)
	for _, step := range []struct {
		text string
		want arrivals
	}{
		{at + "GET /healthcheck => generated 0 bytes in 4 msecs (HTTP/1.1 200) 4 headers\n" +
			at + "GET /v3 => generated 267 bytes in 2 msecs (HTTP/1.1 200)\n" + at + "POST /v3/auth/tok", arrivals{requests: 1, checks: 1}},
		{"ens => generated 906 bytes in 98 msecs (HTTP/1.1 201)\n" + at + "GET /v3/auth/tokens => generated 906 bytes\n" +
			"2026-11-29 05:44:47 8 ERROR keystone OSError: GET /v3 => write error\n" + at + "GET / => generated 3 bytes\n", arrivals{requests: 2}},
		{"", arrivals{}},
	} {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = file.WriteString(step.text)
		}
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		if got, err := l.read(); err != nil || got != step.want {
			t.Errorf("%+v, %v, want %+v", got, err, step.want)
		}
	}
}

// report is of two systems, two runs each: medians and ratios are to be made.
func report() *Report {
	cell := func(s bench.System, failed, down int, p99 ...int) Cell {
		c := Cell{System: s}
		for _, p := range p99 {
			c.Runs = append(c.Runs, Measure{
				Rate: 12, Sessions: 360, Failed: failed, Kinds: map[Failure]int{NoHost: failed}, PerSecond: 11.5,
				P50: ms(p / 4), P99: ms(p), Slowest: ms(p + 1), Sent: 810, Seen: 810 + 5*failed, Down: down, Checks: 1.5,
			})
		}
		return c
	}
	r := &Report{
		Runs: 2, Length: 30 * time.Second, Machine: bench.Machine{CPU: "a CPU", Cores: 2, HAProxy: "2.6.12"},
		Capacities: []Capacity{{bench.Kolla, 24}},
		Rows: []Row{
			{Name: "0.5 of capacity", Cells: []Cell{cell(bench.Kolla, 0, 0, 400, 800), cell(bench.Holdfast, 0, 0, 200, 1000)}},
			{Name: "1.2 of capacity", Cells: []Cell{cell(bench.Kolla, 0, 0, 4000, 4000), cell(bench.Holdfast, 20, 3, 12000, 12000)}},
			{Name: "1.3 of capacity"},
		},
		Problems: []string{"kolla: the database is away"}, Interrupted: "interrupted",
	}
	r.finish([]bench.System{bench.Holdfast, bench.Kolla})
	return r
}

// TestText holds a promise by what kolla does: the median of the ratios of each run.
func TestText(t *testing.T) {
	got := report().Text()
	path := filepath.Join("testdata", "text.txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if diff := cmp.Diff(string(want), got); err != nil || diff != "" {
		t.Errorf("%v; -update writes it anew (-want +got):\n%s", err, diff)
	}
}
