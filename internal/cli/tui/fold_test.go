package tui

import (
	"slices"
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

// TestFoldCommand has each line of a command end in what a shell reads on from, between words.
func TestFoldCommand(t *testing.T) {
	for _, tt := range []struct {
		line  string
		width int
		want  []string
	}{
		{"ssh ctl1 df -h", 20, []string{"  ssh ctl1 df -h"}},
		{"ssh ctl1 systemctl status holdfast", 24, []string{`  ssh ctl1 systemctl \`, "  status holdfast"}},
		{"ssh a.very.long.name.of.a.host df", 20, []string{`  ssh \`, `  a.very.long.name.of.a.host \`, "  df"}},
		{"a.very.long.name.of.a.host", 20, []string{"  a.very.long.name.of.a.host"}},
	} {
		if got := FoldCommand(tt.line, tt.width, 2); !slices.Equal(got, tt.want) {
			t.Errorf("%q in %d: %q, want %q", tt.line, tt.width, got, tt.want)
		}
	}
}

// TestFit has a table leave out, shorten and cut until it fits.
func TestFit(t *testing.T) {
	make := func() *Table {
		table := &Table{Head: []Cell{{Text: "NAME", Least: 8}, {Text: "ADDRESS", Drop: 2}, {Text: "N", Drop: 1}, {Text: "STATE"}}}
		table.Add(Plain("controller-1003"), Plain("10.64.20.13"), Plain("187"), Plain("up"))
		table.Add(Plain("controller-1004"), Plain("10.64.20.14"), Cell{Text: "NO ANSWER: nothing listens at 10.64.20.14", Spans: true})
		return table
	}
	for width, want := range map[int][]string{
		80: {"NAME             ADDRESS      N    STATE", "controller-1003  10.64.20.13  187  up", "controller-1004  10.64.20.14  NO ANSWER: nothing listens at 10.64.20.14"},
		30: {"NAME             N    STATE", "controller-1003  187  up", "controller-1004  NO ANSWER: .."},
		18: {"NAME         STATE", "contro..003  up", "contro..004  NO .."},
	} {
		table := make()
		table.Fit(width)
		if got := table.Lines(false); !slices.Equal(got, want) {
			t.Errorf("%d: got\n%s\nwant\n%s", width, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
