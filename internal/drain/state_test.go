package drain

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/file"
	"holdfast/internal/status"
)

func testState(t *testing.T) (*state, *time.Time) {
	t.Helper()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	d := newState(filepath.Join(t.TempDir(), "drain.json"), "ctl1")
	d.now = func() time.Time { return now }
	return d, &now
}

// again reads what d has written, as the next agent does.
func again(t *testing.T, d *state) *state {
	t.Helper()
	next := newState(d.path, d.controller)
	next.now = d.now
	if err := next.load(); err != nil {
		t.Fatal(err)
	}
	return next
}

// TestDrainAnswers holds what HAProxys are told of a service, with a cookie and
// without, before, during and after a drain, and by the next agent.
func TestDrainAnswers(t *testing.T) {
	d, now := testState(t)
	want := func(what, nova, horizon string) {
		t.Helper()
		for _, x := range []*state{d, again(t, d)} {
			if got := x.answer("nova", false); got != nova {
				t.Errorf("%s: nova: %q, want %q", what, got, nova)
			}
		}
		if got := d.answer("horizon", true); got != horizon {
			t.Errorf("%s: horizon, which has a cookie: %q, want %q", what, got, horizon)
		}
	}
	want("at first", "up ready", "up ready")
	d.put([]status.Drained{{Service: "nova", Since: *now}})
	want("nova drained", "drain", "up ready")
	d.put([]status.Drained{{Since: *now, Until: now.Add(time.Minute), Reason: "kernel"}})
	want("all drained", "drain", "maint")
	d.end(func(e status.Drained) bool { return e.Service == "nova" })
	want("nova put back, but not the controller", "drain", "maint")
	*now = now.Add(time.Minute - 1)
	if gone := d.expire(); gone != nil {
		t.Errorf("ended before its time: %v", gone)
	}
	*now = now.Add(1)
	gone := d.expire()
	if len(gone) != 1 || gone[0].Reason != "kernel" {
		t.Errorf("at its time ended %v", gone)
	}
	want("its time over", "up ready", "drain")
	*now = now.Add(comeback)
	want("a while later", "up ready", "up ready")
	if d.expire() != nil {
		t.Error("what has ended ends again")
	}
}

// TestDrainAgain proves that a second drain replaces the first, and that what
// is only intended is told of but not in force.
func TestDrainAgain(t *testing.T) {
	d, now := testState(t)
	d.put([]status.Drained{{Service: "nova", Since: *now, Reason: "one"}, {Service: "glance", Since: *now}})
	d.put([]status.Drained{{Service: "nova", Since: now.Add(1), Reason: "two"}})
	if got := again(t, d).list(); len(got) != 2 || got[0].Reason != "two" || got[1].Service != "glance" {
		t.Errorf("kept: %v", got)
	}
	d.intend([]status.Drained{{Since: *now}, {Service: "glance", Since: *now}})
	if got := d.list(); len(got) != 3 || d.isWhole() || d.answer("cinder", false) != answerReady || len(again(t, d).list()) != 2 {
		t.Errorf("with an intention: %v", got)
	}
	d.intend(nil)
	if got := d.list(); len(got) != 2 {
		t.Errorf("after it was withdrawn: %v", got)
	}
}

// TestDrainDamaged proves that a file that cannot be understood has HAProxys
// told nothing, until somebody says anew what is drained.
func TestDrainDamaged(t *testing.T) {
	good := `{"schema": 1, "controller": "ctl1", "drains": [{"service": "nova", "since": "2026-11-22T12:00:00Z"}]}`
	if _, err := parse([]byte(good), "ctl1"); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "cut short": good[:len(good)-2], "more": good + "{}", "another key": strings.Replace(good, "service", "servize", 1),
		"another schema": strings.Replace(good, "1,", "2,", 1), "another controller": strings.Replace(good, "ctl1", "ctl2", 1),
		"no beginning":    strings.Replace(good, `, "since": "2026-11-22T12:00:00Z"`, "", 1),
		"a wrong end":     strings.Replace(good, `Z"`, `Z", "until": "2026-11-22T11:00:00Z"`, 1),
		"the same twice":  strings.Replace(good, `[`, `[{"service": "nova", "since": "2026-11-22T12:00:00Z"},`, 1),
		"no time":         strings.Replace(good, "2026-11-22T12", "noon", 1),
		"a list":          "[]",
		"far too much":    strings.Repeat(" ", maxFile) + good,
		"a wrong service": strings.Replace(good, `"nova"`, `7`, 1),
	} {
		d, _ := testState(t)
		if err := os.WriteFile(d.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.load(); err == nil || !strings.Contains(err.Error(), d.path) {
			t.Errorf("%s: %v", name, err)
		}
		if got := d.answer("nova", false); got != "" || d.list() != nil {
			t.Errorf("%s: HAProxys are told %q", name, got)
		}
		if gone := d.expire(); gone != nil || d.unknown() == nil {
			t.Errorf("%s: forgotten by itself", name)
		}
		d.end(func(status.Drained) bool { return true })
		if got := d.answer("nova", false); got != answerReady || again(t, d).list() != nil {
			t.Errorf("%s: said anew: %q", name, got)
		}
	}
}

// TestDrainUnkept proves that what cannot be written is in force all the same,
// and is written when it can be.
func TestDrainUnkept(t *testing.T) {
	d, now := testState(t)
	path := d.path
	d.path = filepath.Join(t.TempDir(), "none", "drain.json")
	d.put([]status.Drained{{Since: *now}})
	if err := d.keepLater(); !errors.Is(err, os.ErrNotExist) || d.answer("nova", false) != answerDrain {
		t.Errorf("%v", err)
	}
	d.path = path
	if err := d.keepLater(); err != nil || len(again(t, d).list()) != 1 {
		t.Errorf("not written later: %v", err)
	}
}

// TestDrainStuckDisk proves that a disk that stands still holds up neither what
// HAProxys are told nor an undrain for longer than a moment, and that the newest
// entries are written once it goes on.
func TestDrainStuckDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, now := testState(t)
		goesOn := make(chan struct{})
		d.store = func(path string, data []byte) error {
			<-goesOn
			return file.Write(path, data, 0o640)
		}
		begun := time.Now()
		asked := make(chan string)
		go func() { // while the disk has the file
			time.Sleep(writePatience / 2)
			asked <- d.answer("nova", false)
		}()
		go d.put([]status.Drained{{Service: "nova", Since: *now}})
		if got := <-asked; got != answerDrain || time.Since(begun) > writePatience/2 {
			t.Errorf("HAProxys are told %q after %v", got, time.Since(begun))
		}
		d.put([]status.Drained{{Service: "glance", Since: *now}})
		if err := d.keepLater(); !errors.Is(err, errBeingWritten) || time.Since(begun) > 2*writePatience {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		close(goesOn)
		synctest.Wait()
		if err := d.keepLater(); err != nil || len(again(t, d).list()) != 2 {
			t.Errorf("not written when the disk goes on: %v, %v", err, again(t, d).list())
		}
	})
}

// TestDrainIsLast proves when a controller is the last to take a VIP: once its
// VIPs were offered to others, and at once after a restart.
func TestDrainIsLast(t *testing.T) {
	d, now := testState(t)
	d.put([]status.Drained{{Service: "nova", Since: *now}})
	d.step()
	if d.last() {
		t.Error("for one service")
	}
	d.put([]status.Drained{{Since: *now}})
	if d.last() || !again(t, d).last() {
		t.Error("before its VIPs were offered to others, or not after a restart")
	}
	if d.step(); !d.last() {
		t.Error("not when they were")
	}
	if d.end(func(e status.Drained) bool { return e.Service == "" }); d.last() {
		t.Error("after its end")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema": 1, "controller": "ctl1", "drains": [{"service": "nova", "since": "2026-11-22T12:00:00Z"}]}`))
	f.Add([]byte(`{"schema": 1, "controller": "ctl1", "drains": [{"since": "2026-11-22T12:00:00Z", "until": "2026-11-23T12:00:00Z", "reason": "x"}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parse(data, "ctl1")
		for i, e := range entries {
			if err == nil && (e.Since.IsZero() || find(entries[i+1:], e.Service) >= 0) {
				t.Errorf("%q gave %v", data, entries)
			}
		}
		if err != nil && slices.Contains(entries, status.Drained{}) {
			t.Errorf("%q gave entries with %v", data, err)
		}
	})
}
