package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whoever writes to a log that nobody takes waits, from the next octet on, and nothing
// is lost when it is taken again.
func TestStuckLog(t *testing.T) {
	var g gate
	path := filepath.Join(t.TempDir(), "log")
	w, err := g.pipe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(line string) {
		t.Helper()
		if _, err := w.WriteString(line); err != nil {
			t.Fatal(err)
		}
	}
	has := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			text, err := os.ReadFile(path)
			if err == nil && string(text) == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the log is %q, %v; want %q", text, err, want)
			}
		}
	}
	write("one\n")
	has("one\n")
	if err := g.close(); err != nil {
		t.Fatal(err)
	}
	if err := w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := w.WriteString("x"); n != 0 || !os.IsTimeout(err) {
		t.Errorf("wrote %d octets to a log that is stuck, %v", n, err)
	}
	if err := w.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	g.open()
	long := strings.Repeat("a long line ", 10000) + "\n"
	write(long)
	has("one\n" + long)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
