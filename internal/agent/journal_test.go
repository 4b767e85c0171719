package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
)

func testJournal(t *testing.T, path string) *journal {
	t.Helper()
	j, err := openJournal(path, "ctl1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestJournalSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	testJournal(t, path).add(status.Event{Kind: "vip-active", Text: "took vip api", Took: time.Millisecond})
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
	got := testJournal(t, path).last(10)
	if len(got) != 1 || got[0].Kind != "vip-active" || got[0].Controller != "ctl1" || got[0].Took != time.Millisecond {
		t.Errorf("after a restart the journal has %+v", got)
	}
}

func TestJournalOutlivesItsDisk(t *testing.T) {
	dir := t.TempDir()
	j := testJournal(t, filepath.Join(dir, "events.jsonl"))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	j.add(status.Event{Kind: "reload"})
	if got := j.last(1); len(got) != 1 || got[0].Kind != "reload" {
		t.Errorf("got %+v, want the event kept in memory", got)
	}
}

func TestJournalIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	j := testJournal(t, path)
	text := strings.Repeat("x", 64<<10)
	for range journalKept + 10 {
		j.keep(status.Event{})
	}
	for range 3 * journalBytes / len(text) {
		j.add(status.Event{Text: text})
	}
	if n := len(j.last(10 * journalKept)); n != journalKept {
		t.Errorf("%d events in memory, want %d", n, journalKept)
	}
	for _, name := range []string{path, path + ".1"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > journalBytes+int64(2*len(text)) {
			t.Errorf("%s has %d bytes", name, info.Size())
		}
	}
}

func TestSlowFollowerDoesNotHoldTheJournalUp(t *testing.T) {
	j := testJournal(t, filepath.Join(t.TempDir(), "events.jsonl"))
	events, stop := j.follow()
	for range 3 * followerBuffer {
		j.add(status.Event{Kind: "reload"})
	}
	if len(events) != followerBuffer {
		t.Errorf("a follower that never read has %d events waiting, want %d", len(events), followerBuffer)
	}
	stop()
	j.add(status.Event{})
	if len(j.followers) != 0 {
		t.Error("a follower that left is still served")
	}
}
