package tui

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// usageIndent is that of what goes on on another line.
const usageIndent = 6

// Reflow fills the lines of each paragraph of text anew, for HelpWidth. What is
// indented stays.
func Reflow(text string) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, p := range paragraphs {
		lines := strings.Split(p, "\n")
		if strings.HasPrefix(lines[0], " ") || strings.HasPrefix(lines[0], "\t") {
			continue
		}
		paragraphs[i] = strings.Join(Fold(strings.Join(lines, " "), HelpWidth, 0), "\n")
	}
	return strings.Join(paragraphs, "\n\n")
}

// described is a line of a list: a name, and at some distance what it is.
var described = regexp.MustCompile(`^ *\S+(?: \S+)* {2,}`)

// A FoldingWriter breaks lines that are wider than HelpWidth.
type FoldingWriter struct {
	Out  io.Writer
	rest []byte // of a line that has not ended yet
}

func (w *FoldingWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	end := bytes.LastIndexByte(w.rest, '\n') + 1
	whole := string(w.rest[:end])
	w.rest = w.rest[end:]
	for line := range strings.Lines(whole) {
		line = strings.TrimSuffix(line, "\n")
		if _, err := io.WriteString(w.Out, strings.Join(Fold(line, HelpWidth, hanging(line)), "\n")+"\n"); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// hanging is how far what goes on on another line is indented: as far as it began.
func hanging(line string) int {
	if head := described.FindString(line); head != "" && len(head) <= HelpWidth/2 {
		return len(head)
	}
	return usageIndent
}

// Fold breaks a line at spaces so that no part is wider than width; all parts but the
// first are indented.
func Fold(line string, width, indent int) []string {
	var parts []string
	for Visible(line) > width && width > 2*indent {
		at := breakAt(line, width)
		parts = append(parts, strings.TrimRight(line[:at], " "))
		line = strings.Repeat(" ", indent) + strings.TrimLeft(line[at:], " ")
	}
	return append(parts, line)
}

// breakAt gives the byte at which to break line: before the last word that
// ends within width, or in the middle of a word that is wider.
func breakAt(line string, width int) int {
	space, hard := 0, len(line)
	seen := 0
	for i, r := range line {
		if inEscape(line, i) {
			continue
		}
		if seen == width {
			hard = i
			break
		}
		if r == ' ' && strings.TrimLeft(line[:i], " ") != "" {
			space = i
		}
		seen++
	}
	if space > 0 {
		return space
	}
	return hard
}

// inEscape reports whether byte i of line is part of a sequence of Paint's.
func inEscape(line string, i int) bool {
	start := strings.LastIndexByte(line[:i+1], '\x1b')
	return start >= 0 && strings.IndexByte(line[start:], 'm')+start >= i
}

// Visible returns the number of columns that line takes.
func Visible(line string) int {
	n := utf8.RuneCountInString(line)
	for rest := line; ; {
		_, after, ok := strings.Cut(rest, "\x1b[")
		if !ok {
			return n
		}
		sgr, after, _ := strings.Cut(after, "m")
		n -= len("\x1b[") + len(sgr) + len("m")
		rest = after
	}
}

// FoldCommand breaks a command for a shell at spaces, so that its lines can be pasted as they
// are. One word that is wider stays whole, as it would be another one in two.
func FoldCommand(line string, width, indent int) []string {
	var parts []string
	pad := strings.Repeat(" ", indent)
	line = pad + line
	for Visible(line) > width {
		at := strings.LastIndexByte(line[:width-1], ' ')
		if at < indent {
			next := strings.IndexByte(line[indent:], ' ')
			if next < 0 {
				break
			}
			at = indent + next
		}
		parts = append(parts, line[:at]+" \\")
		line = pad + line[at+1:]
	}
	return append(parts, line)
}
