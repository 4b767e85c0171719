package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestPriorities proves that journald is told how severe each line is, with the
// attributes of the logger, and that nothing but the line itself is JSON.
func TestPriorities(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newPriorities(&b, &slog.HandlerOptions{Level: slog.LevelInfo})).With("controller", "ctl1").WithGroup("of")
	log.Debug("not written")
	log.Info("one", "n", 1)
	log.Warn("two")
	log.Error("three")
	var got []string
	for line := range strings.Lines(b.String()) {
		var said struct {
			Msg, Controller string
			Of              struct{ N int }
		}
		if len(line) < 3 || json.Unmarshal([]byte(line[3:]), &said) != nil || said.Controller != "ctl1" {
			t.Fatalf("the line %q", line)
		}
		got = append(got, fmt.Sprintf("%s %s %d", line[:3], said.Msg, said.Of.N))
	}
	if want := "<6> one 1, <4> two 0, <3> three 0"; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
}

// TestIsJournal proves that priorities are written to journald only: a file that
// stderr was led to has none.
func TestIsJournal(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // nothing is in it
	var s syscall.Stat_t
	if err := syscall.Fstat(int(file.Fd()), &s); err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[string]bool{
		fmt.Sprintf("%d:%d", s.Dev, s.Ino):   true,
		fmt.Sprintf("%d:%d", s.Dev, s.Ino+1): false,
		"":                                   false, "x": false,
	} {
		t.Setenv("JOURNAL_STREAM", stream)
		if got := isJournal(file); got != want {
			t.Errorf("$JOURNAL_STREAM %q: %v", stream, got)
		}
		if isJournal(&bytes.Buffer{}) {
			t.Error("what is no file is the journal")
		}
	}
}
