package journal

import (
	"bufio"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/status"
)

func testJournal(t testing.TB, path string) *Journal {
	t.Helper()
	j := Open(Options{Path: path, Controller: "ctl1", Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(j.Close)
	return j
}

func TestJournalSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	j := testJournal(t, path)
	j.Add(status.Event{Kind: "vip-active", Text: "took vip api", Took: time.Millisecond})
	j.Close()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("half a li"); err != nil { // the power went
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	again := testJournal(t, path)
	again.Add(status.Event{Kind: "agent-started"})
	got := again.Last(10)
	if len(got) != 2 || got[0].Seq != 1 || got[1].Seq != 2 {
		t.Errorf("after a restart the journal counts on with %+v", got)
	}
	if len(got) != 2 || got[0].Kind != "vip-active" || got[0].Controller != "ctl1" || got[0].Took != time.Millisecond {
		t.Errorf("after a restart the journal has %+v", got)
	}
}

// TestJournalHasWhatComesAfterALongLine reads on after an event that names more than
// a scanner's 64 KiB.
func TestJournalHasWhatComesAfterALongLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	j := testJournal(t, path)
	j.Add(status.Event{Kind: "reload", Text: strings.Repeat("x", 100<<10)})
	j.Add(status.Event{Kind: "vip-active"})
	j.Close()
	if got := testJournal(t, path).Last(10); len(got) != 2 || got[1].Kind != "vip-active" && got[0].Kind != "vip-active" {
		t.Errorf("after a restart the journal has %d events, want both", len(got))
	}
}

func TestJournalOutlivesItsDisk(t *testing.T) {
	dir := t.TempDir()
	j := testJournal(t, filepath.Join(dir, "events.jsonl"))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	j.Add(status.Event{Kind: "reload"})
	if got := j.Last(1); len(got) != 1 || got[0].Kind != "reload" {
		t.Errorf("got %+v, want the event kept in memory", got)
	}
}

// TestJournalThatCannotBeRead begins without what was there.
func TestJournalThatCannotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.Mkdir(path, 0o700); err != nil { // EISDIR, also for root
		t.Fatal(err)
	}
	j := testJournal(t, path)
	j.Add(status.Event{Kind: "reload"})
	if got := j.Last(1); len(got) != 1 || got[0].Kind != "reload" {
		t.Errorf("got %+v, want the event kept in memory", got)
	}
}

// TestJournalOfADiskThatStandsStill adds events while no write to the file comes
// back: a FIFO that nobody reads.
func TestJournalOfADiskThatStandsStill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	j := testJournal(t, path)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"haproxy-down", "haproxy-running"} {
		j.Add(status.Event{Kind: kind})
	}
	if got := j.Last(9); len(got) != 2 {
		t.Errorf("got %+v, want both events", got)
	}
	file, err := os.Open(path) // the disk goes on
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // only read
	line, err := bufio.NewReader(file).ReadString('\n')
	if err != nil || !strings.Contains(line, "haproxy-down") {
		t.Errorf("the file got %q, %v", line, err)
	}
}

func TestJournalIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	j := testJournal(t, path)
	text := strings.Repeat("x", 64<<10)
	for range kept + 10 {
		j.keep(status.Event{})
	}
	for range 3 * fileBytes / len(text) {
		j.Add(status.Event{Text: text})
		j.file.Flush(time.Minute) // no more than has room may wait
	}
	if n := len(j.Last(10 * kept)); n != kept {
		t.Errorf("%d events in memory, want %d", n, kept)
	}
	for _, name := range []string{path, path + ".1"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > fileBytes+int64(2*len(text)) {
			t.Errorf("%s has %d bytes", name, info.Size())
		}
	}
}

// TestJournalNotesItsClock has each event say how far the clock was off when it came.
func TestJournalNotesItsClock(t *testing.T) {
	j := testJournal(t, filepath.Join(t.TempDir(), "events.jsonl"))
	j.opt.ClockAhead = func() time.Duration { return 3 * time.Hour }
	at := time.Date(2026, 12, 1, 5, 0, 0, 0, time.UTC)
	j.Add(status.Event{Kind: "reload", Time: at})
	if got := j.Last(1)[0].When(); !got.Equal(at.Add(-3 * time.Hour)) {
		t.Errorf("an event of a clock that is 3h ahead was at %v, want 3h earlier than it says", got)
	}
}

func TestSlowFollowerDoesNotHoldTheJournalUp(t *testing.T) {
	j := testJournal(t, filepath.Join(t.TempDir(), "events.jsonl"))
	events, stop := j.Follow()
	for range 3 * followerBuffer {
		j.Add(status.Event{Kind: "reload"})
	}
	if len(events) != followerBuffer {
		t.Errorf("a follower that never read has %d events waiting, want %d", len(events), followerBuffer)
	}
	stop()
	j.Add(status.Event{})
	if len(j.followers) != 0 {
		t.Error("a follower that left is still served")
	}
}

// TestNumbersAreGivenOnce has events be lost, as the disk with the file is full, and the agent
// be killed: who has heard of them by their numbers hears of no others by these.
func TestNumbersAreGivenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	open := func() *Journal {
		return Open(Options{Path: path, Controller: "ctl1", Log: slog.New(slog.DiscardHandler)})
	}
	j := open()
	j.Add(status.Event{Kind: "reload"})
	j.file.Flush(time.Minute)
	if err := os.Rename(path, path+".kept"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // nothing can be written there
		t.Fatal(err)
	}
	j.Add(status.Event{Kind: "host-down"})
	j.file.Flush(time.Minute)
	lost := j.Last(1)[0].Seq
	if err := errors.Join(os.Remove(path), os.Rename(path+".kept", path)); err != nil {
		t.Fatal(err)
	}
	again := open() // nobody has closed the one before
	again.Add(status.Event{Kind: "host-down"})
	if got := again.Last(1)[0].Seq; got <= lost {
		t.Errorf("the number %d is given, and %d was", got, lost)
	}
	// One that is closed leaves none out.
	again.Close()
	last := open()
	last.Add(status.Event{Kind: "agent-started"})
	last.Close()
	if before, got := again.Last(1)[0].Seq, last.Last(1)[0].Seq; got != before+1 {
		t.Errorf("after %d comes %d", before, got)
	}
}

// TestNumbersNeedNoRoom has the disk be full from before the agent starts: the place that the
// numbers have is enough.
func TestNumbersNeedNoRoom(t *testing.T) {
	n := &numbers{path: filepath.Join(t.TempDir(), "seq"), log: slog.New(slog.DiscardHandler)}
	n.give(1)
	before, err := os.Stat(n.path)
	if err != nil {
		t.Fatal(err)
	}
	n.give(1 << 60)
	after, err := os.Stat(n.path)
	if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() {
		t.Errorf("%v: it has another place, or size", err)
	}
	if got, err := n.read(); err != nil || got != 1<<60+ahead {
		t.Errorf("%d, %v", got, err)
	}
	if err := os.WriteFile(n.path, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.read(); err == nil || !strings.Contains(err.Error(), n.path) {
		t.Errorf("what is no number: %v", err)
	}
}
