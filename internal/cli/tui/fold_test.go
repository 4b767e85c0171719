package tui

import (
	"strings"
	"testing"
)

func TestReflowed(t *testing.T) {
	for text, want := range map[string]string{
		"one\ntwo\n\nthree":         "one two\n\nthree",
		"one\n\n  a list\n  of two": "one\n\n  a list\n  of two",
		strings.Repeat("word ", 20): strings.TrimSpace(strings.Repeat("word ", 16)) + "\n" + strings.TrimSpace(strings.Repeat("word ", 4)),
	} {
		if got := Reflow(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
