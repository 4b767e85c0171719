package dns

import (
	"errors"
	"fmt"
	"strings"
)

// lexer splits a configuration file in BIND's form into words, braces and
// semicolons. It has no word in its errors: any may be a secret.
type lexer struct {
	text string
	line int
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenOpen
	tokenClose
	tokenSemicolon
)

type token struct {
	kind tokenKind
	text string
}

func (l *lexer) fail(file string, err error) error { return fmt.Errorf("%s:%d: %w", file, l.line, err) }

// next gives the next token.
func (l *lexer) next() (token, error) {
	if err := l.space(); err != nil {
		return token{}, err
	}
	if l.text == "" {
		return token{}, nil
	}
	switch l.text[0] {
	case '{':
		return l.one(tokenOpen), nil
	case '}':
		return l.one(tokenClose), nil
	case ';':
		return l.one(tokenSemicolon), nil
	case '"':
		return l.quoted()
	}
	end := strings.IndexAny(l.text, " \t\r\n\f\v{};\"")
	if end < 0 {
		end = len(l.text)
	}
	t := token{tokenWord, l.text[:end]}
	l.text = l.text[end:]
	return t, nil
}

func (l *lexer) one(kind tokenKind) token {
	l.text = l.text[1:]
	return token{kind, ""}
}

// quoted reads a string in quotes.
func (l *lexer) quoted() (token, error) {
	end := strings.IndexByte(l.text[1:], '"')
	if end < 0 {
		return token{}, errors.New("a quote is not closed")
	}
	t := token{tokenWord, l.text[1 : end+1]}
	l.line += strings.Count(t.text, "\n")
	l.text = l.text[end+2:]
	return t, nil
}

// space passes over blanks and comments: "# ...", "// ..." and "/* ... */".
func (l *lexer) space() error {
	for l.text != "" {
		switch {
		case l.text[0] == '\n':
			l.line++
			l.text = l.text[1:]
		case strings.IndexByte(" \t\r\f\v", l.text[0]) >= 0:
			l.text = l.text[1:]
		case l.text[0] == '#' || strings.HasPrefix(l.text, "//"):
			_, rest, _ := strings.Cut(l.text, "\n")
			if len(rest) < len(l.text) && strings.Contains(l.text, "\n") {
				l.line++
			}
			l.text = rest
		case strings.HasPrefix(l.text, "/*"):
			comment, rest, closed := strings.Cut(l.text[2:], "*/")
			if !closed {
				return errors.New("a comment is not closed")
			}
			l.line += strings.Count(comment, "\n")
			l.text = rest
		default:
			return nil
		}
	}
	return nil
}

// expect gives the next token, which has to be of kind.
func (l *lexer) expect(kind tokenKind, what string) (token, error) {
	t, err := l.next()
	if err != nil {
		return token{}, err
	}
	if t.kind != kind {
		return token{}, errors.New("missing is " + what)
	}
	return t, nil
}

// skip passes over the statement that first begins.
func (l *lexer) skip(first token) error {
	depth := 0
	for t := first; ; {
		switch t.kind {
		case tokenEnd:
			return errors.New("a statement does not end with \";\"")
		case tokenOpen:
			depth++
		case tokenClose:
			depth--
		case tokenSemicolon:
			if depth <= 0 {
				return nil
			}
		case tokenWord:
		}
		if depth < 0 {
			return errors.New("a \"}\" closes nothing")
		}
		var err error
		if t, err = l.next(); err != nil {
			return err
		}
	}
}
