package asynclog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A stuck writer takes a line only when it is let go.
type stuck struct {
	mayGo chan struct{} // closed: takes everything
	got   bytes.Buffer
}

func (s *stuck) Write(line []byte) (int, error) {
	<-s.mayGo
	return s.got.Write(line)
}

func lost(n int) []byte { return fmt.Appendf(nil, "%d lost\n", n) }

// TestNobodyWaits has more written than there is room for while nothing takes it:
// no Write waits, what there was room for arrives in order, the rest is counted.
func TestNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{mayGo: make(chan struct{})}
		w := New(out, lost)
		line := strings.Repeat("x", 1023)
		for i := range 2000 {
			if n, err := fmt.Fprintf(w, "%d %s\n", i%10, line); n != 1026 || err != nil {
				t.Fatal(n, err)
			}
			if i == 0 {
				synctest.Wait() // it is being written: none but this one makes room below
			}
		}
		if w.Flush(time.Second) {
			t.Error("all was handed on to one that takes nothing")
		}
		close(out.mayGo)
		if !w.Flush(time.Second) {
			t.Error("not handed on to one that takes everything")
		}
		taken := bytes.Count(out.got.Bytes(), []byte("\n"))
		fmt.Fprint(w, "after\n")
		if !w.Close(time.Second) {
			t.Error("not closed")
		}
		want := fmt.Sprintf("%d lost\nafter\n", 2000-taken)
		if got := out.got.String(); taken < 1000 || taken > 1100 || !strings.HasSuffix(got, want) {
			t.Errorf("%d lines arrived, and at the end %q; want %q", taken, got[max(0, len(got)-100):], want)
		}
		fmt.Fprint(w, "too late\n")
		if !w.Flush(time.Second) || strings.Contains(out.got.String(), "too late") {
			t.Error("a line after the end arrived")
		}
	})
}

// TestLostAtTheEnd tells of lines that were lost when no other follows them.
func TestLostAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{mayGo: make(chan struct{})}
		w := New(out, lost)
		fmt.Fprint(w, "first\n")
		fmt.Fprint(w, strings.Repeat("x", maxBytes+1))
		close(out.mayGo)
		if !w.Close(time.Second) || out.got.String() != "first\n1 lost\n" {
			t.Errorf("got %q", out.got.String())
		}
	})
}

// TestLineIsCopied lets the caller use its buffer again, as slog does.
func TestLineIsCopied(t *testing.T) {
	out := &stuck{mayGo: make(chan struct{})}
	w := New(out, lost)
	line := []byte("one\n")
	if _, err := w.Write(line); err != nil {
		t.Fatal(err)
	}
	copy(line, "two\n")
	close(out.mayGo)
	if !w.Close(time.Second) || out.got.String() != "one\n" {
		t.Errorf("got %q", out.got.String())
	}
}
