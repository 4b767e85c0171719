package process

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
)

// at gives a time ms milliseconds into a test.
func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

func TestHangDetector(t *testing.T) {
	good := func(ms int) try { return try{at(ms), at(ms), at(ms + 1), alive, false, 0} }
	bad := func(ms int) try { return try{at(ms), at(ms), at(ms + 100), silent, false, 0} }
	quick := func(ms int) try { return try{at(ms), at(ms), at(ms), silent, false, 0} }           // refused at once
	late := func(ms int) try { return try{at(ms), at(ms + 80), at(ms + 180), silent, false, 0} } // the agent overslept
	own := func(ms int) try { return try{at(ms), at(ms), at(ms), unsure, false, 0} }             // or there was nobody to ask
	slow := func(ms int) try { return try{at(ms), at(ms), at(ms + 300), silent, false, 0} }      // the agent stood still meanwhile
	busy := func(ms int) try { return try{at(ms), at(ms), at(ms + 100), silent, true, 0} }
	for _, c := range []struct {
		name  string
		tries []try
		want  []verdict
	}{
		{"well", []try{good(0), good(100)}, []verdict{alive, alive}},
		{"hung after three", []try{good(0), bad(100), bad(200), bad(300)}, []verdict{alive, unsure, unsure, silent}},
		{"busy is not hung soon", []try{busy(0), busy(100), busy(200), busy(300), bad(400)}, []verdict{unsure, unsure, unsure, unsure, unsure}},
		{"but after a while", []try{busy(0), busy(400), busy(800), busy(1000)}, []verdict{unsure, unsure, unsure, silent}},
		{"stopped in the middle of a try", []try{busy(0), bad(100), bad(200)}, []verdict{unsure, unsure, silent}},
		{"two and back", []try{bad(0), bad(100), good(200), bad(300)}, []verdict{unsure, unsure, alive, unsure}},
		{"refused takes its time too", []try{quick(0), quick(100), quick(200), quick(300)}, []verdict{unsure, unsure, unsure, silent}},
		{"an agent that oversleeps proves nothing", []try{bad(0), bad(100), late(200), bad(300), bad(400), bad(500)}, []verdict{unsure, unsure, unsure, unsure, unsure, silent}},
		{"an agent that stands still proves nothing", []try{bad(0), bad(100), slow(200), bad(600)}, []verdict{unsure, unsure, unsure, unsure}},
		{"an agent without descriptors proves nothing", []try{bad(0), own(100), own(200), own(300), own(400), bad(500)}, []verdict{unsure, unsure, unsure, unsure, unsure, unsure}},
		{"a hang ends after three good ones", []try{bad(0), bad(100), bad(200), good(300), good(400), good(500)}, []verdict{unsure, unsure, silent, unsure, unsure, alive}},
		{"a hang with a gap", []try{bad(0), bad(100), bad(200), good(300), bad(400), good(500), good(600), good(700)}, []verdict{unsure, unsure, silent, unsure, unsure, unsure, unsure, alive}},
	} {
		d := &hangDetector{after: 300 * time.Millisecond, busy: time.Second, tries: 3, back: 3, slack: 50 * time.Millisecond}
		var got []verdict
		for _, try := range c.tries {
			try.limit = 100 * time.Millisecond
			got = append(got, d.see(try))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{first: 250 * time.Millisecond, most: time.Second, stable: 10 * time.Second}
	var got []time.Duration
	for _, ran := range []time.Duration{time.Hour, 0, 0, 0, 0, 9 * time.Second, 10 * time.Second, 0} {
		got = append(got, b.pause(ran))
	}
	ms := time.Millisecond
	if d := cmp.Diff([]time.Duration{0, 250 * ms, 500 * ms, 1000 * ms, 1000 * ms, 1000 * ms, 0, 250 * ms}, got); d != "" {
		t.Error(d)
	}
}

// Lines come out once and whole, also when the file is emptied beneath.
func TestLogFile(t *testing.T) {
	l := logFile{path: filepath.Join(t.TempDir(), "log")}
	if said, err := l.read(); said != nil || err != nil {
		t.Errorf("no file: %v, %v", said, err)
	}
	f, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	texts := func() (all []string) {
		t.Helper()
		said, err := l.read()
		if err != nil {
			t.Error(err)
		}
		for _, m := range said {
			all = append(all, m.Text)
		}
		return all
	}
	say := func(s string) {
		t.Helper()
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	say("[ALERT]    (1) : one\n[ALERT]    (1) : tw")
	if d := cmp.Diff([]string{"one"}, texts()); d != "" {
		t.Error(d)
	}
	say("o\n")
	if d := cmp.Diff([]string{"two"}, texts()); d != "" {
		t.Error(d)
	}
	if why := l.why(); why != "one; two" {
		t.Errorf("why: %q", why)
	}
	l.forget()
	say(strings.Repeat("[NOTICE]   (1) : x\n", maxLog/15))
	for n := 0; ; n++ {
		if said := texts(); len(said) == 0 {
			break
		} else if n > 100 {
			t.Fatal("it does not end")
		}
	}
	if info, err := f.Stat(); err != nil || info.Size() > 1000 {
		t.Errorf("not emptied: %v, %v", info, err)
	}
	say("[ALERT]    (1) : three\n")
	if d := cmp.Diff([]string{"three"}, texts()); d != "" {
		t.Error(d)
	}
	if why := l.why(); why != "three" {
		t.Errorf("why: %q", why)
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"PATH=/bin", "NOTIFY_SOCKET=x", "WATCHDOG_PID=1", "WATCHDOG_USEC=1", "LISTEN_PID=1", "LISTEN_FDS=1", "HAPROXY_X=1", "JOURNAL_STREAM=1:2", "TZ=UTC"})
	if d := cmp.Diff([]string{"PATH=/bin", "TZ=UTC"}, got); d != "" {
		t.Error(d)
	}
}

func TestCheckErrorIsOneLine(t *testing.T) {
	e := newCheckError([]output.Message{
		{Severity: "ALERT", Line: 2, Text: "bad"}, {Severity: "WARNING", Text: "odd"}, {Text: "x"}, {Text: "y"}, {Text: "z"},
	}, haproxy.ReadConfig([]byte("global\n    balance sideways\n"), nil))
	if got, want := e.Error(), "haproxy -c: line 2: bad (balance sideways); odd; x; and 2 more"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestActivity(t *testing.T) {
	for stat, want := range map[string]byte{
		"12 (haproxy) S 1 2":   'S',
		"12 (a) R) (b) T 1 2":  'T',
		"12 (haproxy) R 1 2 3": 'R',
		"12 (haproxy":          0,
		"":                     0,
		"12 (haproxy)":         0,
	} {
		if got := threadState([]byte(stat)); got != want {
			t.Errorf("%q: state %q, want %q", stat, got, want)
		}
	}
	if got := ranAndWaited([]byte("700 300 5\n")); got != 1000 {
		t.Errorf("ran and waited for %d ns", got)
	}
	if ranAndWaited(nil) != 0 || ranAndWaited([]byte("x y")) != 0 {
		t.Error("nothing is something")
	}
	// This very process is busy while it asks.
	before := activityOf(os.Getpid())
	if !activityOf(os.Getpid()).busySince(before) {
		t.Error("this process did nothing between two looks at it")
	}
	if idle := (activity{spent: 7}); idle.busySince(idle) {
		t.Error("nothing happened, and that is busy")
	}
}

// TestActivityOf tells a process that sleeps from one that spins.
func TestActivityOf(t *testing.T) {
	for script, want := range map[string]bool{"exec sleep 100": false, "while :; do :; done": true} {
		cmd := exec.Command("sh", "-c", script)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = errors.Join(cmd.Process.Kill(), cmd.Wait()) }) // it was killed
		var busy bool
		for range 100 { // until it has begun
			before := activityOf(cmd.Process.Pid)
			time.Sleep(20 * time.Millisecond)
			if busy = activityOf(cmd.Process.Pid).busySince(before); busy == want {
				break
			}
		}
		if busy != want {
			t.Errorf("%s: busy is %v", script, busy)
		}
	}
}

// One host that goes is a dozen lines of HAProxy; these are some of 2.6.
func TestLoudness(t *testing.T) {
	for text, want := range map[string]slog.Level{
		`[WARNING]  (7) : Server nova/ctl1 is DOWN, reason: Layer4 connection problem, info: "No route to host", check duration: 350ms. 2 active and 3 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.`: slog.LevelDebug,
		`[WARNING]  (7) : Server nova:even/ctl1 is DOWN via nova/ctl1. 2 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.`:                                                                  slog.LevelDebug,
		`[WARNING]  (7) : Backup Server nova/ctl1:last is DOWN via nova:accepts/ctl1. 1 active and 2 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.`:                                                   slog.LevelDebug,
		`[NOTICE]   (7) : Backup Server nova/ctl1:last is UP via nova:accepts/ctl1. 1 active and 2 backup servers online. 0 sessions requeued, 0 total in queue.`:                                                                 slog.LevelDebug,
		`[ALERT]    (7) : backend 'nova:even' has no server available!`:                 slog.LevelDebug,
		`[ALERT]    (7) : backend 'nova' has no server available!`:                      slog.LevelError,
		`[ALERT]    (7) : Current worker (9) exited with code 139 (Segmentation fault)`: slog.LevelError,
		`[WARNING]  (7) : Process 9 exited with code 0`:                                 slog.LevelWarn,
	} {
		said := output.ParseMessages(text)
		if len(said) != 1 {
			t.Fatalf("%q is %d messages", text, len(said))
		}
		if got := loudness(said[0]); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
