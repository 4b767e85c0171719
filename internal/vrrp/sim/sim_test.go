package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/vrrp"
)

// TestRandomSchedules runs random schedules until the address has moved ten
// thousand times; "make sim" does it a million times. What it finds it prints as
// small as it can, to be kept in testdata/schedules.
func TestRandomSchedules(t *testing.T) {
	most := int64(10_000)
	if testing.Short() {
		most /= 10
	}
	var seed, moves atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for moves.Load() < most && !t.Failed() {
				s := Random(uint64(seed.Add(1)))
				r := Check(s, Lab{})
				moves.Add(int64(r.Moves))
				if r.Violation != nil {
					report(t, s)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d schedules, in which the address moved %d times", seed.Load(), moves.Load())
}

// report says what goes wrong in s.
func report(t *testing.T, s Schedule) {
	t.Helper()
	small, r := Shrink(s, Lab{})
	if r.Violation == nil {
		t.Errorf("seed %d: what goes wrong in it does not when it is run again", s.Seed)
		return
	}
	t.Errorf("seed %d: %v\n\n%s\n%s", s.Seed, r.Violation, small, strings.Join(r.Trace[max(0, len(r.Trace)-60):], "\n"))
}

// TestSchedules runs what was found once, and was mended.
func TestSchedules(t *testing.T) {
	files, err := filepath.Glob("testdata/schedules/*.txt")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d schedules, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			s.Quiet = max(s.Quiet, 3*time.Second)
			if r := Check(s, Lab{}); r.Violation != nil {
				report(t, s)
			}
		})
	}
}

// broken is a machine that something is wrong with.
type broken struct {
	*vrrp.Machine
	hears func(*vrrp.Machine, vrrp.Event) vrrp.Event // nil for nothing
	does  func(vrrp.Event, vrrp.Output) vrrp.Output
	says  vrrp.Config // if it is another than it acts by
}

func (b *broken) Step(now time.Time, e vrrp.Event) vrrp.Output {
	if b.hears != nil {
		if e = b.hears(b.Machine, e); e == nil {
			e = vrrp.Timer{} // not due, most of the time
		}
	}
	out := b.Machine.Step(now, e)
	if b.does != nil {
		out = b.does(e, out)
	}
	return out
}

func (b *broken) Config() vrrp.Config {
	if b.says.Interval > 0 {
		return b.says
	}
	return b.Machine.Config()
}

// TestEachInvariantCanFail breaks the machine, or the world, in one way after the
// other: each is found, and by a schedule of a few steps.
func TestEachInvariantCanFail(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute under the race detector, which has nothing to find in it")
	}
	hearing := func(f func(*vrrp.Machine, vrrp.Event) vrrp.Event) Lab {
		return Lab{New: func(c vrrp.Config) Router { return &broken{Machine: vrrp.NewMachine(c), hears: f} }}
	}
	doing := func(f func(vrrp.Event, vrrp.Output) vrrp.Output) Lab {
		return Lab{New: func(c vrrp.Config) Router { return &broken{Machine: vrrp.NewMachine(c), does: f} }}
	}
	advert := func(change func(m *vrrp.Machine, a *vrrp.AdvertReceived) bool) Lab {
		return hearing(func(m *vrrp.Machine, e vrrp.Event) vrrp.Event {
			if a, is := e.(vrrp.AdvertReceived); is {
				if !change(m, &a) {
					return nil
				}
				return a
			}
			return e
		})
	}
	tests := []struct {
		what string
		lab  Lab
		want Invariant
		from uint64 // the first seed, where the fault shows seldom
	}{
		{"priority 0 says nothing", advert(func(_ *vrrp.Machine, a *vrrp.AdvertReceived) bool { return a.Priority > 0 }), InTime, 0},
		{"a handover is not waited for", hearing(func(_ *vrrp.Machine, e vrrp.Event) vrrp.Event {
			if _, is := e.(vrrp.Yield); is {
				return vrrp.Eligible{Reason: "gives way"}
			}
			return e
		}), Seamless, 0},
		{"the lease does not end", Lab{Lease: time.Hour}, NotTwo, 0},
		{"nobody has a skew", Lab{New: func(c vrrp.Config) Router {
			says := c
			c.Priority = 254
			return &broken{Machine: vrrp.NewMachine(c), says: says, hears: func(_ *vrrp.Machine, e vrrp.Event) vrrp.Event {
				if c, is := e.(vrrp.Configure); is {
					c.Priority = 254
					return c
				}
				return e
			}}
		}}, One, 0},
		{"who is active hears nobody", advert(func(m *vrrp.Machine, _ *vrrp.AdvertReceived) bool { return m.State() != vrrp.Active }), NotTwo, 0},
		{"nobody takes over", hearing(func(m *vrrp.Machine, e vrrp.Event) vrrp.Event {
			if _, is := e.(vrrp.Timer); is && m.State() == vrrp.Backup {
				return vrrp.Stay{}
			}
			return e
		}), OneHolder, 0},
		{"who waits is in a hurry", advert(func(_ *vrrp.Machine, a *vrrp.AdvertReceived) bool {
			a.Interval /= 16
			return true
		}), AtRest, 0},
		{"HAProxy's death is not heard of", hearing(func(_ *vrrp.Machine, e vrrp.Event) vrrp.Event {
			if el, is := e.(vrrp.Eligible); is && !el.OK && el.Reason == notReady.String() {
				return nil
			}
			return e
		}), Alive, 0},
		{"only who takes over announces", doing(func(_ vrrp.Event, out vrrp.Output) vrrp.Output {
			out.Announce = out.Claim
			return out
		}), LastWord, 0},
		{"nobody releases", doing(func(_ vrrp.Event, out vrrp.Output) vrrp.Output {
			out.Release = false
			return out
		}), Sane, 0},
		{"twice as many adverts", Lab{New: func(c vrrp.Config) Router {
			says := c
			c.Interval /= 2
			return &broken{Machine: vrrp.NewMachine(c), says: says}
		}}, Quiet, 0},
		{"a forger is believed", Lab{Gullible: true}, Unmoved, 0},
	}
	found := map[Invariant]bool{}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			for seed := tt.from; seed < tt.from+3000; seed++ {
				s := Random(seed)
				r := Check(s, tt.lab)
				if r.Violation == nil || r.Violation.Invariant != tt.want {
					continue
				}
				small, r := Shrink(s, tt.lab)
				if r.Violation == nil {
					t.Fatalf("seed %d does not fail again when it is shrunk", seed)
				}
				found[r.Violation.Invariant] = true
				if r.Violation.Invariant != tt.want || len(small.Steps) > 12 {
					t.Errorf("seed %d, %d steps: %v, want %q\n%s\n%s", seed, len(small.Steps), r.Violation, tt.want, small, strings.Join(r.Trace, "\n"))
				}
				t.Logf("seed %d, %d of %d steps: %v", seed, len(small.Steps), len(s.Steps), r.Violation)
				return
			}
			t.Error("3000 schedules do not find it")
		})
	}
	for _, i := range []Invariant{OneHolder, InTime, One, Seamless, NotTwo, Alive, AtRest, LastWord, Quiet, Sane, Unmoved} {
		if !found[i] {
			t.Errorf("nothing that was broken made this fail: %s", i)
		}
	}
}

// TestSameScheduleSameRun runs schedules again, as they are printed.
func TestSameScheduleSameRun(t *testing.T) {
	for seed := range uint64(50) {
		s := Random(seed)
		again, err := Parse(s.String())
		if err != nil {
			t.Fatal(err)
		}
		a, b := Run(s, Lab{Trace: true}), Run(again, Lab{Trace: true})
		if !slices.Equal(a.Trace, b.Trace) || len(a.Trace) < 10 {
			t.Fatalf("seed %d: traces of %d and %d lines differ", seed, len(a.Trace), len(b.Trace))
		}
	}
}

func TestParseErrors(t *testing.T) {
	const node = "node 254 0\n"
	for text, want := range map[string]string{
		"":                                    "0 nodes are not 1 to 9",
		node + "seed x":                       `line 2, "seed x": strconv.ParseUint`,
		node + "what":                         "it is neither a setting nor a step",
		node + "1s explode 1":                 `there is no step "explode"`,
		node + "1s kill":                      "kill has 1 arguments, not 0",
		node + "1s kill 10":                   "there is no node 10",
		node + "1s loss 101%":                 "101% is not 0% to 100%",
		node + "1s forge 1 2 256":             "priority 256 is not 0 to 255",
		node + "2s kill 1\n1s kill 1":         "is before the one before it",
		node + "1s interval 1 1ms":            "the interval is not 10ms to 40.95s",
		node + "interval 1ms":                 "interval 1ms is not",
		node + "travel 2ms 1ms":               "packets cannot travel for 2ms to 1ms",
		node + "quiet 90m":                    "it is longer than 1h0m0s",
		"node 0 0":                            "the priority is not 1 to 254",
		node + "1s stop 1 2h":                 "2h0m0s is not 0 to 1h0m0s",
		strings.Repeat(node, 10):              "10 nodes are not 1 to 9",
		node + strings.Repeat("1s heal\n", 3): "",
	} {
		_, err := Parse(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// FuzzParse checks that what Parse takes it takes again, and that short ones run.
func FuzzParse(f *testing.F) {
	for seed := range uint64(5) {
		f.Add(Random(seed).String())
	}
	for v := Kill; v <= Replay; v++ {
		f.Add("node 254 10\nnode 230 -10\nkey\n" + Step{At: time.Second, Verb: v, Node: 1, Other: 2, For: time.Second, Value: 50}.String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%v\n%s\nis not\n%s", err, again, s)
		}
		if n := len(s.Steps); n < 20 && (n == 0 || s.Steps[n-1].At < 20*time.Second) && s.Quiet < 10*time.Second && s.Interval < time.Second {
			for _, step := range s.Steps {
				if step.For > 10*time.Second {
					return
				}
			}
			Run(s, Lab{})
		}
	})
}

func ExampleRun() {
	s, err := Parse(`
		interval 100ms
		node 254 0
		node 230 0
		5s poweroff holder
	`)
	if err != nil {
		fmt.Println(err)
		return
	}
	r := Run(s, Lab{})
	last := r.Gains[len(r.Gains)-1]
	fmt.Printf("node %d has it %v after the power went\n", last.Node, (last.At - 5*time.Second).Round(10*time.Millisecond))
	// Output: node 1 has it 280ms after the power went
}
