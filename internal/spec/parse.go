package spec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/catalog"
	"holdfast/internal/status"
)

// Parse reads a spec from data, whose name in the findings is name. It gives all
// findings at once, in the order of the file. The Spec is nil when one of them
// is an error; warnings come with a Spec.
func Parse(name string, data []byte) (*Spec, []status.Finding) {
	src := newSource(name, data)
	known, err := catalog.Load()
	if err != nil {
		src.report(status.Error, status.CodeInternal, 1, 1, err.Error(), "report this, it is a fault of the program")
		return nil, src.sorted()
	}
	root := src.document(data)
	if root == nil {
		return nil, src.sorted()
	}
	raw := (&decoder{source: src, said: map[saying]bool{}}).spec(root)
	c := &checker{source: src, catalog: known, raw: raw, twins: map[*yaml.Node]bool{}}
	c.check()
	findings := src.sorted()
	if status.Worst(findings) == status.Error {
		return nil, findings
	}
	s := c.build()
	sum := sha256.Sum256(data)
	s.Digest = hex.EncodeToString(sum[:])[:12]
	return s, findings
}

// document gives the content of the one YAML document in data, or nil after it
// has reported why there is none.
func (s *source) document(data []byte) *yaml.Node {
	if len(data) > maxBytes {
		s.report(status.Error, status.CodeTooLarge, 1, 1, fmt.Sprintf("the file has %d bytes, and a spec at most %d", len(data), maxBytes), "is this the right file?")
		return nil
	}
	if !s.readable(data) {
		return nil
	}
	// The BOM is allowed, and YAML does not count it as a column.
	s.lines[0] = strings.TrimPrefix(s.lines[0], "\ufeff")
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		s.syntax(err)
		return nil
	}
	var doc, next yaml.Node
	if err := loader.Load(&doc); err != nil {
		s.noDocument(err)
		return nil
	}
	switch err := loader.Load(&next); {
	case err == nil:
		s.fail(status.CodeSeveralDocuments, &next, "a second YAML document begins here", `remove the "---" line, or what follows it`)
		return nil
	case !errors.Is(err, io.EOF):
		s.syntax(err)
		return nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		s.noDocument(io.EOF)
		return nil
	}
	return root
}

// readable reports whether data is text that an editor and YAML count the lines
// of in the same way, after reporting what is not.
func (s *source) readable(data []byte) bool {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return s.unreadable(1, 1, "the file is UTF-16", "save it as UTF-8")
	}
	line, column := 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		next := i + size
		switch {
		case r == utf8.RuneError && size == 1:
			return s.unreadable(line, column, fmt.Sprintf("byte 0x%02x is not UTF-8", data[i]), "save the file as UTF-8")
		case r == '\r' && (next == len(data) || data[next] != '\n'):
			return s.unreadable(line, column, "a carriage return that ends no line", "save the file with Unix line ends")
		case unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r', r == '\u2028', r == '\u2029', r == '\ufeff' && i > 0:
			return s.unreadable(line, column, fmt.Sprintf("the invisible character %U", r), "remove it")
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		i = next
	}
	return true
}

func (s *source) unreadable(line, column int, text, remedy string) bool {
	s.report(status.Error, status.CodeEncoding, line, column, text, remedy)
	last := &s.findings[len(s.findings)-1]
	last.Line = strings.ToValidUTF8(last.Line, "?")
	return false
}

func (s *source) noDocument(err error) {
	if !errors.Is(err, io.EOF) {
		s.syntax(err)
		return
	}
	s.report(status.Error, status.CodeEmpty, 1, 1, "the file says nothing", `write a spec, or have "holdfast import" make one from an endpoint list`)
}

// syntax reports err, the YAML reader's, in our own words where there are better ones.
func (s *source) syntax(err error) {
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		s.report(status.Error, status.CodeSyntax, 1, 1, "not YAML: "+err.Error(), "correct the file")
		return
	}
	at := e.Mark
	text, remedy := "not YAML: "+e.Message, "check the indentation, quotes and brackets here and in the line before"
	switch c := s.char(at); {
	case c == '\t', strings.Contains(e.Message, "tab character"):
		text, remedy = "a tab where YAML wants spaces", "indent with spaces"
	case strings.Contains(e.Message, "cannot start any token"):
		text, remedy = fmt.Sprintf("a value cannot begin with %c", c), "put the value in quotes"
	case strings.Contains(e.Message, "mapping values are not allowed"):
		text, remedy = `a ":" where no key can be`, `check the indentation, or put the value that has a ": " in it in quotes`
	case strings.Contains(e.Message, "unknown anchor"):
		text, remedy = e.Message, "write the value out, or give it an anchor with & where it is first"
	case strings.Contains(e.ContextMsg, "quoted scalar") && strings.Contains(e.Message, "end of stream"):
		at, text, remedy = e.ContextMark, "a quote that is not closed", "close it"
	case strings.Contains(e.ContextMsg, "flow "):
		at, text, remedy = e.ContextMark, fmt.Sprintf("a bracket that is not closed properly (line %d)", e.Mark.Line), "close it, and write commas between what is in it"
	}
	line, column := s.within(at)
	s.report(status.Error, status.CodeSyntax, line, column, text, remedy)
}

// within gives the place of mark, or the end of the last line with text when
// the YAML reader noticed something only behind it.
func (s *source) within(mark yaml.Mark) (line, column int) {
	last := len(s.lines)
	for last > 1 && strings.TrimSpace(s.lines[last-1]) == "" {
		last--
	}
	if mark.Line <= last {
		return mark.Line, mark.Column
	}
	return last, utf8.RuneCountInString(strings.TrimRight(s.lines[last-1], "\r")) + 1
}

// char gives the character at mark, 0 for none.
func (s *source) char(mark yaml.Mark) rune {
	if mark.Line < 1 || mark.Line > len(s.lines) {
		return 0
	}
	line := []rune(s.lines[mark.Line-1])
	if mark.Column < 1 || mark.Column > len(line) {
		return 0
	}
	return line[mark.Column-1]
}
