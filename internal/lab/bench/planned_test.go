package bench

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/lab/load"
	"holdfast/internal/spec"
)

// connects gives an attempt to connect each millisecond from before the work
// until after the watch, of which those from silent until back are refused.
func connects(silent, back time.Duration) []load.Record {
	var all []load.Record
	for due := -time.Second; due < 2500*msec; due += msec {
		r := load.Record{Kind: load.Connect, Due: at(due), Took: msec / 10}
		if due >= silent && due < back {
			r.Failure = load.Refused
		}
		all = append(all, r)
	}
	return all
}

// transfers gives n downloads that began before the work and ended after it,
// the last one with failure.
func transfers(n int, failure load.Failure) []load.Record {
	var all []load.Record
	for i := range n {
		r := load.Record{Kind: load.Download, Method: "GET", Due: at(-500*msec + time.Duration(i)*msec), Took: 2 * time.Second}
		if i == n-1 {
			r.Failure = failure
		}
		all = append(all, r)
	}
	return all
}

func TestWork(t *testing.T) {
	onIdle := load.Record{Due: at(10 * msec), Took: msec, Method: "GET", IdleResets: 2}
	tests := []struct {
		name     string
		all      []load.Record
		connects []load.Record
		want     Work
	}{
		{"untroubled", transfers(10, ""), connects(0, 0), Work{Connects: 2000, ConnectGap: msec / 10, ConnectNoise: msec / 10, Downloads: 10}},
		{
			"moved badly", slices.Concat(transfers(10, load.Reset), []load.Record{
				failed(5*msec, msec, load.Reset), failed(6*msec, msec, load.Closed), onIdle,
				failed(-20*msec, 10*msec, load.Reset),  // over before it
				failed(2100*msec, 10*msec, load.Reset), // after the watch
			}), connects(100*msec, 103*msec),
			Work{
				Connects: 2000, ConnectsFailed: 3, ConnectGap: 3*msec + msec/10, ConnectNoise: msec / 10,
				Downloads: 10, Cut: 1, Resets: 4,
			},
		},
		{
			"noise before it", append(transfers(2, load.Closed), load.Record{Kind: load.Download, Due: at(msec), Took: msec, Failure: load.Reset}),
			connects(-50*msec, -30*msec),
			Work{Connects: 2000, ConnectGap: msec / 10, ConnectNoise: 20*msec + msec/10, Downloads: 2, Cut: 1, Resets: 1},
		},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, work(watched, tt.all, tt.connects)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestJudgeWork(t *testing.T) {
	good := Measure{Requests: 1800, Gap: 12 * msec, Work: Work{Connects: 3000, ConnectGap: msec, Downloads: 10}}
	tests := []struct {
		m    func(*Measure)
		want string // empty: nothing is missed
	}{
		{func(*Measure) {}, ""},
		{func(m *Measure) { m.Failed = 2 }, "2 failed"},
		{func(m *Measure) { m.PostsFailed = 1 }, "1 POSTs failed"},
		{func(m *Measure) { m.Work.Resets = 3 }, "3 connections reset"},
		{func(m *Measure) { m.Work.ConnectsFailed = 4 }, "4 of 3000 attempts"},
		{func(m *Measure) { m.Work.Cut = 1 }, "1 of 10 downloads cut"},
		{func(m *Measure) { m.Work.Downloads = 0 }, "no download was in flight"},
		{func(m *Measure) { m.Work.ConnectGap = 5 * msec }, ""},
		{func(m *Measure) { m.Work.ConnectGap = 6 * msec }, "no new connection for 6.0 ms"},
		{func(m *Measure) { m.Work.ConnectGap, m.Work.ConnectNoise = 6*msec, 2*msec }, ""},
		{func(m *Measure) { m.Work.ConnectGap, m.Work.ConnectNoise = 11*msec, 50*msec }, "no new connection for 11 ms"},
		{func(m *Measure) { m.Gap = 300 * msec }, "gap of 300 ms"},
	}
	for _, f := range planned() {
		for _, tt := range tests {
			m := good
			tt.m(&m)
			got := strings.Join(f.Promise.judge(m, spacing), "; ")
			if got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
				t.Errorf("%s %+v:\n got %q\nwant %q", f.ID, m, got, tt.want)
			}
		}
	}
}

// TestUndone misses the promise of work that was not done, however little it cost.
func TestUndone(t *testing.T) {
	b := newBench(Options{Only: Systems(), Runs: 3})
	f := planned()[0]
	for i := range 3 {
		s := Sample{Measure: Measure{Requests: 1800, Work: Work{Downloads: 10}}}
		if i > 0 {
			s.Error = "holdfast handover: exit code 2"
		}
		b.outcomes = append(b.outcomes, outcome{Holdfast, scenario{f}, []Sample{s}})
	}
	c := b.cell(f, Holdfast)
	if !slices.Equal(c.Missed, []string{"holdfast handover: exit code 2"}) || c.runsMissed() != 2 {
		t.Errorf("missed %q, in %d runs", c.Missed, c.runsMissed())
	}
	b.outcomes = b.outcomes[:2]
	if c := b.cell(f, Holdfast); len(c.Missed) > 0 || c.runsMissed() != 1 {
		t.Errorf("missed %q, in %d runs", c.Missed, c.runsMissed())
	}
}

// TestJobs has each system do its share, what needs TLS at the end, and no
// peer ahead of holdfast.
func TestJobs(t *testing.T) {
	b := newBench(Options{Only: Systems(), Runs: 5, Seed: 1})
	for system, want := range map[System][2]int{Holdfast: {5, 5}, Kolla: {2, 1}, Tuned: {3, 1}} {
		runs := map[string]int{}
		secure := false
		for _, j := range b.todo[system] {
			runs[j.scenario[0].ID]++
			if secure && !j.needsTLS() {
				t.Errorf("%s: %s comes after what needs TLS", system, j.scenario[0].ID)
			}
			secure = j.needsTLS()
		}
		if got := [2]int{runs["haproxy-kill"], runs["handover"]}; got != want || runs["certificate"] != want[1] {
			t.Errorf("%s: runs %v, want %v", system, runs, want)
		}
	}
	if b.ahead(Kolla) || b.ahead(Holdfast) {
		t.Error("somebody is ahead at the start")
	}
	b.done[Kolla] = 1
	if !b.ahead(Kolla) || b.ahead(Holdfast) {
		t.Error("kolla is not ahead, or holdfast is")
	}
	b.done[Holdfast], b.done[Tuned] = 10, 5
	if b.ahead(Kolla) {
		t.Error("kolla is ahead")
	}
}

// TestFits adds up what "make bench" takes: it must be 25 minutes at most, as the
// margins around each row leave room for the labs that are built.
func TestFits(t *testing.T) {
	// To start the load, to wait for the last answers and to undo what was done.
	const around = 800 * time.Millisecond
	b := newBench(Options{Only: Systems(), Runs: DefaultRuns, Seed: 1})
	var all time.Duration
	for _, system := range Systems() {
		var sum time.Duration
		for _, j := range b.todo[system] {
			sum += j.lead() + slack + around
			for _, f := range j.scenario {
				sum += f.watch(system) + f.drains()
			}
		}
		t.Logf("%s: %d scenarios, %v", system, len(b.todo[system]), sum)
		all += sum
	}
	t.Logf("all: %v", all)
	if all > 25*time.Minute {
		t.Errorf("make bench takes %v", all)
	}
}

// TestGroups chooses rows by their kind.
func TestGroups(t *testing.T) {
	count := func(faults ...string) int {
		o := Options{Faults: faults}
		if err := o.complete(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, s := range scenarios(o.wants) {
			n += len(s)
		}
		return n
	}
	all, work := count(), count(string(GroupPlanned))
	sum := 0
	for _, g := range Groups() {
		sum += count(string(g))
	}
	faults := count(string(GroupFaults))
	if all != len(Faults()) || work != len(planned()) || sum != all || faults != len(unplanned()) || count("faults", "handover") != faults+1 {
		t.Errorf("%d rows, %d of planned work, %d of faults, %d in all groups", all, work, faults, sum)
	}
}

// TestSteps can be done by every system, and names nothing but what is there.
func TestSteps(t *testing.T) {
	vars := map[string]string{"HOLDER": "ctl1", "NEXT": "ctl2", "PROGRAM": "/x/haproxy", "TIMEOUT": "61s"}
	for _, f := range planned() {
		for _, system := range Systems() {
			if !f.does(system) {
				t.Errorf("%s is not done to %s", f.ID, system)
			}
			for _, s := range flat(f.Work[system]) {
				if len(s.Args) == 0 {
					continue
				}
				text := strings.Join(commandOf(s, vars), " ")
				for name := range vars {
					if strings.Contains(text, "$"+name) {
						t.Errorf("%s of %s: %s", f.ID, system, text)
					}
				}
			}
		}
	}
	if got := wording(commandOf(operate("stop", "keepalived"), vars), "ctl1"); got != "stop keepalived on ctl1" {
		t.Errorf("told as %q", got)
	}
	if got := onEach(wording(commandOf(shell(editSpec), vars), "ctl2"), "ctl2"); got != "configuration changed on each" {
		t.Errorf("told as %q", got)
	}
}

// flat gives steps with those that are done on each controller among them.
func flat(steps []Step) []Step {
	var all []Step
	for _, s := range steps {
		all = append(append(all, s), flat(s.Each)...)
	}
	return all
}

func TestCertificateChanged(t *testing.T) {
	shown := func(due time.Duration, serial string) load.Record {
		return load.Record{Due: at(due), Took: msec, Certificate: serial}
	}
	tests := []struct {
		all  []load.Record
		want bool
	}{
		{[]load.Record{shown(-100*msec, "a"), shown(500*msec, "a"), shown(1900*msec, "b")}, true},
		{[]load.Record{shown(-100*msec, "a"), shown(500*msec, "b"), shown(1900*msec, "a")}, false},
		{[]load.Record{shown(-100*msec, "a"), {Due: at(1900 * msec)}}, false},
	}
	for i, tt := range tests {
		if got := certificateChanged(tt.all, watched); got != tt.want {
			t.Errorf("%d: %v, want %v", i, got, tt.want)
		}
	}
}

// TestSecureCloud is the same cloud, with TLS.
func TestSecureCloud(t *testing.T) {
	s, findings := spec.Parse("bench.yaml", []byte(cloudOf(true)))
	if s == nil || len(findings) > 0 || s.VIPs[0].TLS == nil {
		t.Fatalf("findings %v", findings)
	}
}
