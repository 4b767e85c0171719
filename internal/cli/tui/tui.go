// Package tui is what the terminal looks like, in one place: how wide text is
// and where it breaks, tables, colours and findings.
//
// It makes text of words and decides nothing: what is told, and in which order,
// is the commands'. Plain ASCII; meaning is never by colour alone, and what
// another machine said is made printable.
package tui

import (
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// How many columns text for people takes.
const (
	// HelpWidth is what help takes at most: the columns of a console, and of a
	// terminal whose window nobody has made wider.
	HelpWidth = 80
	// DefaultWidth is what a status takes where there is no terminal to ask.
	DefaultWidth = 80
)

// ClearLine clears the rest of a line, on terminals as xterm.
const ClearLine = "\x1b[K"

// A Tone is how a word is coloured: SGR parameters of ECMA-48. The word says the
// same without.
type Tone string

// The tones.
const (
	Calm Tone = ""
	Good Tone = "32" // green
	Warn Tone = "33" // yellow
	Bad  Tone = "1;31"
	Dim  Tone = "2"
)

// Paint colours text, if colour is wanted.
func Paint(text string, t Tone, colour bool) string {
	if !colour || t == Calm || text == "" {
		return text
	}
	return "\x1b[" + string(t) + "m" + text + "\x1b[0m"
}

// Printable returns s without what a terminal would obey: it may be another
// machine's word.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return '?'
	}, s)
}

// PrintableLines is Printable for a text of several lines.
func PrintableLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(Printable(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.String()
}

// Dash returns s, or "-" when it is empty.
func Dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// IsTerminal reports whether stream, one that a command reads or writes, is a terminal.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
