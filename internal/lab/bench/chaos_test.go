package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
	"holdfast/internal/spec"
)

var vip = netip.MustParseAddr("10.64.20.10")

// an episode that lasts from 0 to 1 s and is over at 2 s.
func episode(kind string, holder bool) Episode {
	e := Episode{Kind: kind, Node: "ctl1", Holder: holder, From: at(0), Undone: at(time.Second), Whole: at(2 * time.Second)}
	if kindOf(kind).work {
		e.Work = "holdfast handover"
	}
	return e
}

// TestChaosKinds holds that chaos does every fault of the lab, with all that it
// takes, or says why not, and none that there is not.
func TestChaosKinds(t *testing.T) {
	parsed, findings := spec.Parse("bench.yaml", []byte(benchSpec))
	if parsed == nil {
		t.Fatal(findings)
	}
	c := &chaos{bed: &testbed{system: Holdfast, spec: parsed}, random: rand.New(rand.NewPCG(1, 1))}
	drawn := map[string]plan{}
	for range 100 * len(chaosKinds()) {
		p := c.draw()
		drawn[p.kind.name] = p
	}
	reasons := notDrawn()
	for _, k := range lab.FaultKinds() {
		p, does := drawn[k.Name]
		reason, says := reasons[k.Name]
		delete(drawn, k.Name)
		delete(reasons, k.Name)
		if does == (says && reason != "") {
			t.Errorf("%s: drawn is %v, and the reason why not %q", k.Name, does, reason)
		}
		if !does {
			continue
		}
		f, words := p.fault, strings.Fields(k.Args)
		has := map[string]bool{
			"NODE": f.Node != "", "[NODE]": true, "FROM": f.Node != "", "TO": f.To != "" && f.To != f.Node,
			"[SERVICE]": f.Service == service, "SET": len(f.Sets) == 2, "SET...": true,
		}
		for _, word := range words {
			if filled, known := has[word]; known && !filled || !known && f.Value == "" {
				t.Errorf("%s %s is drawn as %+v, without %s", k.Name, k.Args, f, word)
			}
		}
	}
	if len(drawn) > 0 || len(reasons) > 0 {
		t.Errorf("these are no faults of the lab: %v, %v", drawn, reasons)
	}
}

// TestChaosOnly has chaos do no other faults than those that are named.
func TestChaosOnly(t *testing.T) {
	opt := ChaosOptions{Duration: MinChaos, Binary: "x", Faults: []string{"blind", "late"}}
	if err := opt.complete(); err != nil {
		t.Fatal(err)
	}
	if got := opt.kinds(); len(got) != 2 || got[0].name != "late" || got[1].name != "blind" {
		t.Errorf("the kinds are %+v", got)
	}
	opt.Faults = []string{"heal"}
	if err := opt.complete(); err == nil || !strings.Contains(err.Error(), `chaos does no fault "heal": it ends others`) {
		t.Error(err)
	}
}

// TestExplains holds chaos to what a fault may cost. The address moves at 60 ms.
func TestExplains(t *testing.T) {
	moves := []time.Time{at(-time.Hour), at(60 * msec), at(time.Hour)}
	underWay := failed(-5*msec, 20*msec, load.Reset)
	before := failed(-50*msec, 20*msec, load.Reset) // over when the fault comes
	newInGap := failed(30*msec, msec, load.Refused)
	openedInGap := failed(30*msec, 60*msec, load.Reset)
	openedInGap.Opened = at(31 * msec)
	old := onOld(failed(10*time.Minute, msec, load.Reset), -time.Minute)
	afterGap := failed(170*msec, msec, load.Refused)
	young := onOld(failed(500*msec, msec, load.Reset), 200*msec)
	refused := failed(600*msec, msec, load.ServerError)
	still := onOld(failed(10*time.Minute, msec, load.Timeout), -time.Minute)
	all := []load.Record{underWay, before, newInGap, openedInGap, old, afterGap, young, refused, still}
	const names = "underWay before newInGap openedInGap old afterGap young refused still"
	tests := []struct {
		e     Episode
		moves []time.Time
		want  string
	}{
		{episode("haproxy-kill", true), moves, "underWay newInGap openedInGap old still"},
		{episode("power-off", true), moves, "underWay newInGap openedInGap old still"},
		{episode("agent-kill", true), moves, "underWay openedInGap old still"},
		{episode("agent-hang", true), moves, "underWay openedInGap old still"},
		{episode("partition", true), moves, "underWay newInGap openedInGap old still"},
		{episode("partition", false), moves, ""},
		{episode("partition", false), []time.Time{at(1010 * msec)}, "underWay newInGap openedInGap old afterGap young refused still"}, // the other side won
		{episode("partition", false), nil, ""},
		{episode("haproxy-kill", true), nil, "underWay old still"},
		{episode("haproxy-kill", false), moves, ""},
		{episode("power-off", false), moves, ""},
		{episode("agent-kill", false), moves, ""},
		{episode("service-kill", true), moves, ""},
		{episode("service-hang", true), moves, ""},
		{episode("one-way", true), moves, "underWay newInGap openedInGap old still"},
		{episode("one-way", false), moves, ""},
		{episode("loss", false), moves, "underWay newInGap openedInGap old still"}, // it takes over for a moment
		{episode("loss", false), nil, ""},
		{episode("unplug", false), moves, ""},
		{episode("source-guard", true), moves, ""},
		{episode("source-guard", false), moves, "underWay openedInGap old"},
		{episode("flush-rules", true), moves, "underWay openedInGap old"},
		{episode("flush-rules", true), nil, ""}, // nothing moved
		{episode("blind", true), moves, ""},
		{episode("push-back", false), nil, "refused"},
		{episode("busy", true), moves, ""},
		{episode("haproxy-no-files", true), nil, "underWay newInGap openedInGap old afterGap young refused still"},
		{episode("haproxy-no-files", false), nil, ""},
	}
	for _, tt := range tests {
		var got []string
		for i, name := range strings.Fields(names) {
			if tt.e.explains(all[i], tt.moves) {
				got = append(got, name)
			}
		}
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("%s on holder %v, %d moves: explains %q, want %q", tt.e.Kind, tt.e.Holder, len(tt.moves), got, tt.want)
		}
	}
	episodes := []Episode{episode("service-kill", true), episode("haproxy-kill", true)}
	left := unexplained(all, episodes, moves)
	if diff := cmp.Diff([]load.Record{before, afterGap, young, refused}, left); diff != "" || episodes[1].Failed != 5 || episodes[0].Failed != 0 {
		t.Errorf("explained %d and %d; unexplained (-want +got):\n%s", episodes[0].Failed, episodes[1].Failed, diff)
	}
}

// TestBoth counts the time of two holders, without that in which they were apart.
func TestBoth(t *testing.T) {
	has := func(d time.Duration, node string, held bool) lab.Holding {
		return lab.Holding{Time: at(d), Address: vip, Node: node, Held: held}
	}
	cut := episode("partition", true)
	cut.Undone = at(5 * time.Second)
	tests := []struct {
		name     string
		changes  []lab.Holding
		episodes []Episode
		want     []time.Duration
	}{
		{"one after the other", []lab.Holding{has(0, "a", true), has(5, "a", false), has(9, "b", true)}, nil, nil},
		{"for a while", []lab.Holding{has(0, "a", true), has(time.Second, "b", true), has(3*time.Second, "a", false)}, nil, []time.Duration{2 * time.Second}},
		{"three of them", []lab.Holding{has(0, "a", true), has(1000*msec, "b", true), has(2000*msec, "c", true), has(2500*msec, "a", false), has(3000*msec, "b", false)}, nil, []time.Duration{2 * time.Second}},
		{"for ever", []lab.Holding{has(0, "a", true), has(time.Second, "b", true)}, nil, []time.Duration{9 * time.Second}},
		{
			"cut apart, and healed late",
			[]lab.Holding{has(-time.Hour, "a", true), has(60*msec, "b", true), has(5500*msec, "a", false)},
			[]Episode{cut},
			[]time.Duration{500 * msec},
		},
		{
			"before, while and after a cut",
			[]lab.Holding{has(-time.Hour, "a", true), has(-time.Second, "b", true), has(6*time.Second, "a", false)},
			[]Episode{cut, episode("agent-kill", true)},
			[]time.Duration{time.Second, time.Second},
		},
		{"another address", []lab.Holding{has(0, "a", true), {Time: at(1), Address: netip.MustParseAddr("10.0.0.1"), Node: "b", Held: true}}, nil, nil},
	}
	for _, tt := range tests {
		var got []time.Duration
		for _, s := range both(tt.changes, vip, tt.episodes, at(10*time.Second)) {
			got = append(got, s.length())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestReadUsage(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	status := func(kib int) *fstest.MapFile {
		return file(fmt.Sprintf("Name:\tx\nVmPeak:\t 99999 kB\nVmRSS:\t    %d kB\nThreads:\t1\n", kib))
	}
	proc := fstest.MapFS{
		"1/comm": file("holdfast\n"), "1/cmdline": file("/l/bin/holdfast\x00lab\x00node\x00"), "1/status": status(1), "1/fd/0": file(""),
		"12/comm": file("holdfast\n"), "12/cmdline": file("/l/bin/holdfast\x00agent\x00-f\x00x\x00"), "12/status": status(2000),
		"12/fd/0": file(""), "12/fd/1": file(""), "12/fd/10": file(""),
		"30/comm": file("haproxy\n"), "30/status": status(100), "30/fd/0": file(""),
		"31/comm": file("haproxy\n"), "31/status": status(300), "31/fd/0": file(""), "31/fd/3": file(""),
		"40/comm": file("haproxy\n"), // has just ended
		"self":    file(""),
	}
	want := Usage{Agent: Processes{1, 2000 << 10, 3}, HAProxy: Processes{2, 400 << 10, 3}}
	got, err := ReadUsage(proc)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	sum := got
	if err := sum.add(data); err != nil || sum.Agent.Memory != 4000<<10 || sum.HAProxy.Count != 4 {
		t.Errorf("the sum of two is %+v, %v", sum, err)
	}
}

func TestGrowth(t *testing.T) {
	samples := func(n int, of func(i int) Usage) []usageAt {
		var all []usageAt
		for i := range n {
			all = append(all, usageAt{at(time.Duration(i) * time.Second), of(i)})
		}
		return all
	}
	flat := Usage{Agent: Processes{3, 60 << 20, 80}, HAProxy: Processes{6, 70 << 20, 150}}
	tests := []struct {
		name string
		of   func(int) Usage
		want string
	}{
		{"flat", func(int) Usage { return flat }, ""},
		{"up and down", func(i int) Usage {
			u := flat
			u.Agent.Memory += int64(i%3) * 20 << 20
			return u
		}, ""},
		{"grows while it warms up", func(i int) Usage {
			u := flat
			u.Agent.Memory -= 30 << 20 * int64(max(0, 8-i)) / 8
			return u
		}, ""},
		{"the agents' memory", func(i int) Usage {
			u := flat
			u.Agent.Memory += int64(i) << 20
			return u
		}, "memory of the agents grew from"},
		{"HAProxy's descriptors", func(i int) Usage {
			u := flat
			u.HAProxy.Files += 10 * i
			return u
		}, "descriptors of the HAProxys grew from"},
	}
	for _, tt := range tests {
		_, _, grown := growth(samples(60, tt.of))
		got := strings.Join(grown, "; ")
		if got != tt.want && (tt.want == "" || !strings.HasPrefix(got, tt.want)) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if _, _, grown := growth(samples(5, func(i int) Usage { return Usage{Agent: Processes{Memory: int64(i) << 30}} })); grown != nil {
		t.Errorf("too few samples tell %q", grown)
	}
}

// TestWatch keeps failures, counts answers by when they came, and forgets what
// the load's own end cut off.
func TestWatch(t *testing.T) {
	w := &watch{}
	var lines strings.Builder
	enc := json.NewEncoder(&lines)
	for _, r := range []load.Record{
		{Due: at(0), Took: 12 * msec, Method: "GET"},
		{Due: at(5 * msec), Took: 9 * msec, Method: "POST"},
		failed(20*msec, time.Second, load.Timeout), post(failed(31*msec, msec, load.Reset)), failed(40*msec, msec, load.Cancelled),
		{Due: at(45 * msec), Took: 3 * msec, Method: "GET"},
	} {
		if err := enc.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	text := lines.String()
	for _, part := range []string{text[:100], text[100:]} {
		if n, err := w.Write([]byte(part)); err != nil || n != len(part) {
			t.Fatal(n, err)
		}
	}
	if w.requests != 5 || len(w.failed) != 1 || len(w.lost) != 1 || w.posts != 2 || w.slowest.Took != 12*msec {
		t.Errorf("%d requests, %d failed, %d POSTs of %d, slowest %v", w.requests, len(w.failed), len(w.lost), w.posts, w.slowest.Took)
	}
	w.note(load.Record{Due: at(3 * time.Second), Took: 500 * msec, Method: "GET"})
	w.note(load.Record{Due: at(3 * time.Second), Took: 400 * msec, Method: "GET"})
	for from, want := range map[time.Duration]time.Duration{0: 0, 2900 * msec: 500 * msec, 3300 * msec: 500 * msec, 3600 * msec: 0} {
		if got := w.slowestIn(at(from), at(from+200*msec)); got != want {
			t.Errorf("the slowest from %v on took %v, want %v", from, got, want)
		}
	}
	ok, bad := w.strip(at(0), 6)
	if ok != ".2..1." || bad != "..11.." {
		t.Errorf("answered %s, failed %s", ok, bad)
	}
}

// TestLength draws short faults and long ones within their bounds, the same
// for the same seed.
func TestLength(t *testing.T) {
	draw := func(seed uint64) []time.Duration {
		c := &chaos{random: rand.New(rand.NewPCG(seed, 1))}
		var all []time.Duration
		for range 1000 {
			all = append(all, c.length())
		}
		return all
	}
	below := 0
	for _, d := range draw(1) {
		if d < shortest || d > longest {
			t.Fatalf("a fault of %v", d)
		}
		if d < 1550*msec {
			below++
		}
	}
	if below < 400 || below > 600 {
		t.Errorf("%d of 1000 are below the middle", below)
	}
	if diff := cmp.Diff(draw(2), draw(2)); diff != "" {
		t.Errorf("a seed gives two lists: %s", diff)
	}
}

func TestChaosText(t *testing.T) {
	r := ChaosReport{
		Seed: 3, Started: at(0), Episodes: []Episode{episode("haproxy-kill", true)},
		Violations: []Violation{{At: at(90*time.Second + 5*msec), Text: "two had it", Around: []string{"a", "b"}}}, Logs: "/tmp/x",
	}
	for _, want := range []string{"BROKEN at 1:30.005: two had it\n    a\n    b\n", "1 thing broken", "/tmp/x", "haproxy-kill          1          1"} {
		if text := r.Text(); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	r.Violations = nil
	if text := r.Text(); !strings.Contains(text, "nothing is broken") {
		t.Error(text)
	}
}
