package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/status"
)

const (
	// maxBytes bounds the file: 100 services on 50 hosts each are 350 kB.
	maxBytes = 4 << 20
	// maxFindings bounds what one file can have us say.
	maxFindings = 1000
	// maxLine bounds, in characters, the text of a line in a finding.
	maxLine = 1000
)

// source is a file being read, with what was found in it so far.
type source struct {
	file     string
	lines    []string
	findings []status.Finding
	more     int // findings above maxFindings
}

func newSource(file string, data []byte) *source {
	if len(data) > maxBytes {
		return &source{file: file}
	}
	return &source{file: file, lines: strings.Split(string(data), "\n")}
}

// fail reports an error at n, warn a warning.
func (s *source) fail(code string, n *yaml.Node, text, remedy string) {
	s.report(status.Error, code, n.Line, n.Column, text, remedy)
}

func (s *source) warn(code string, n *yaml.Node, text, remedy string) {
	s.report(status.Warning, code, n.Line, n.Column, text, remedy)
}

func (s *source) report(severity status.Severity, code string, line, column int, text, remedy string) {
	if len(s.findings) >= maxFindings {
		s.more++
		return
	}
	line, column = max(line, 1), max(column, 1)
	s.findings = append(s.findings, status.Finding{
		Severity: severity,
		Code:     code,
		Where:    status.Position{File: s.file, Line: line, Column: column},
		Text:     oneLine(text),
		Remedy:   oneLine(remedy),
		Line:     s.line(line),
	})
}

// line gives the text of line number n, cut when it is very long.
func (s *source) line(n int) string {
	if n > len(s.lines) {
		return ""
	}
	return cut(strings.TrimSuffix(s.lines[n-1], "\r"), maxLine)
}

// sorted gives the findings in the order of the file.
func (s *source) sorted() []status.Finding {
	slices.SortStableFunc(s.findings, func(a, b status.Finding) int {
		return cmp.Or(cmp.Compare(a.Where.Line, b.Where.Line), cmp.Compare(a.Where.Column, b.Where.Column))
	})
	if s.more > 0 {
		s.findings = append(s.findings, status.Finding{
			Severity: status.Error, Code: status.CodeTooMany, Where: status.Position{File: s.file},
			Text: fmt.Sprintf("%d more findings are not shown", s.more), Remedy: "correct these first",
		})
	}
	return s.findings
}

// oneLine makes a finding's text printable on one line, whatever the file had in it.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// cut shortens text to n characters.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n]) + "..."
}

// quote shows a value of the file in a finding.
func quote(value string) string { return `"` + cut(value, 80) + `"` }

// list joins words as people do: "a, b and c", or with "or".
func list(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}
