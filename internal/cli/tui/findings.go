package tui

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"holdfast/internal/status"
)

// maxShown is how many characters of a line are shown below a finding.
const maxShown = 100

// PrintFindings prints each finding on a line of its own, with the line of the
// file below it and a caret under the place.
func PrintFindings(w io.Writer, findings []status.Finding) {
	for _, f := range findings {
		fmt.Fprintln(w, f)
		if f.Line == "" || f.Where.Line == 0 {
			continue
		}
		number := strconv.Itoa(f.Where.Line)
		line, mark := excerpt(f.Line, f.Where.Column)
		fmt.Fprintf(w, "  %s | %s\n", number, line)
		if mark != "" {
			fmt.Fprintf(w, "  %s | %s\n", strings.Repeat(" ", len(number)), mark)
		}
	}
}

// excerpt gives what to show of line so that column (from 1, in characters) is
// in it, and the caret that points there; "" if the line was cut before it.
func excerpt(line string, column int) (shown, mark string) {
	runes := []rune(line)
	for i, r := range runes {
		if unicode.IsControl(r) && r != '\t' {
			runes[i] = '?' // a terminal would obey it
		}
	}
	at := column - 1
	before, after := "", ""
	if at > maxShown*3/4 && len(runes) > maxShown {
		start := min(at-maxShown/2, len(runes)-maxShown/2)
		runes, at, before = runes[start:], at-start, "..."
	}
	if len(runes) > maxShown {
		runes, after = runes[:maxShown], "..."
	}
	shown = before + string(runes) + after
	if at < 0 || at > len(runes) {
		return shown, ""
	}
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, before+string(runes[:at]))
	return shown, pad + "^"
}

// CountFindings returns how many there are, in words: "2 errors and 1 warning".
func CountFindings(findings []status.Finding) string {
	errs, warnings := 0, 0
	for _, f := range findings {
		if f.Severity == status.Error {
			errs++
		} else {
			warnings++
		}
	}
	switch {
	case warnings == 0:
		return status.Count(errs, "error")
	case errs == 0:
		return status.Count(warnings, "warning")
	}
	return status.Count(errs, "error") + " and " + status.Count(warnings, "warning")
}

// ListFindings returns a line for each finding, the worst first, below an empty
// line; nothing where there is none.
func ListFindings(findings []status.Finding) string {
	if len(findings) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n")
	for _, severity := range []status.Severity{status.Error, status.Warning, status.Info} {
		for _, f := range findings {
			if f.Severity == severity {
				fmt.Fprintln(&b, Printable(f.String()))
			}
		}
	}
	return b.String()
}
