package output

import (
	"fmt"
	"strings"
)

// A Message is one thing that HAProxy said on its standard error.
type Message struct {
	Severity string // "ALERT", "WARNING", "NOTICE"…; empty for a line in no known form
	PID      int    // of the process that said it; 0 when it did not say
	File     string // the configuration it is about, and the line in it; empty and 0 when none
	Line     int
	Text     string // one line
}

// String gives m on one line, as "line 28: text" where it has a line.
func (m Message) String() string {
	if m.Line > 0 {
		return fmt.Sprintf("line %d: %s", m.Line, m.Text)
	}
	return m.Text
}

// Bad reports whether m is an alert or a warning.
func (m Message) Bad() bool { return m.Severity == "ALERT" || m.Severity == "WARNING" }

// ParseMessages reads what HAProxy writes on its standard error:
//
//	[ALERT]    (14368) : config : parsing [haproxy.cfg:28] : 'hash-type' only supports …
//
// A line that does not begin so belongs to the message before it.
func ParseMessages(text string) []Message {
	var all []Message
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(strings.TrimSpace(line), "?")))
		if line == "" {
			continue
		}
		m, ok := message(line)
		if !ok && len(all) > 0 && all[len(all)-1].Severity != "" {
			all[len(all)-1].Text += " " + line
			continue
		}
		all = append(all, m)
	}
	return all
}

// printable gives r, or "?" for a control character.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

// message reads one line.
func message(line string) (Message, bool) {
	m := Message{Text: line}
	rest, ok := strings.CutPrefix(line, "[")
	if !ok {
		return m, false
	}
	severity, rest, ok := strings.Cut(rest, "]")
	if !ok || severity == "" || strings.Trim(severity, "ABCDEFGHIJKLMNOPQRSTUVWXYZ.") != "" {
		return m, false
	}
	head, text, ok := strings.Cut(rest, " : ")
	if !ok {
		return m, false
	}
	m.Severity = severity
	if _, pid, ok := strings.Cut(head, "("); ok {
		m.PID = Number(strings.TrimSuffix(strings.TrimSpace(pid), ")"))
	}
	m.Text = strings.TrimPrefix(strings.TrimSpace(text), "config : ")
	m.place()
	return m, true
}

// place takes "parsing [file:line] : " off the text.
func (m *Message) place() {
	rest, ok := strings.CutPrefix(m.Text, "parsing [")
	if !ok {
		return
	}
	at, text, ok := strings.Cut(rest, "] : ")
	if !ok {
		if at, text, ok = strings.Cut(rest, "]: "); !ok {
			return
		}
	}
	i := strings.LastIndexByte(at, ':')
	if i < 0 || Number(at[i+1:]) == 0 {
		return
	}
	m.File, m.Line, m.Text = at[:i], Number(at[i+1:]), text
}

// Complaints gives the alerts and warnings among all, without those that only
// say that there were some.
func Complaints(all []Message) []Message {
	var bad []Message
	for _, m := range all {
		if m.Bad() && !isSummary(m.Text) {
			bad = append(bad, m)
		}
	}
	return bad
}

func isSummary(text string) bool {
	for _, s := range []string{"Error(s) found in configuration file", "Fatal errors found in configuration", "exit-on-failure: "} {
		if strings.HasPrefix(text, s) {
			return true
		}
	}
	return strings.Contains(text, "Some protocols failed to start their listeners")
}
