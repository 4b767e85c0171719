package cli

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"
)

// TestIsJournal has entries be sent to journald only where stderr leads there: a file that
// stderr was led to has lines.
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
