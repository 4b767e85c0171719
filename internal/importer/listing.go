package importer

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"

	"holdfast/internal/keystone"
	"holdfast/internal/status"
)

// Bounds of a listing. The largest catalogs seen have some thousand endpoints,
// about 300 bytes each.
const (
	// MaxListing is the size in bytes above which a listing is refused.
	MaxListing = 16 << 20
	// maxEndpoints is how many endpoints are read; the rest is left out.
	maxEndpoints = 20_000
	// maxUnreadable is how many findings about rows are given; the rest are counted.
	maxUnreadable = 100
)

// ParseListing reads what "openstack endpoint list" printed: the table as it
// stands on a terminal, wrapped or not and with prompts around it, or the
// output of -f json, -f csv or -f yaml; any of the columns in any order, as
// long as there are the URL and the service's name or type. Name is the file's
// name for the findings.
//
// A row that cannot be read is a warning with its line, and the rest is read.
// When there is no endpoint to give, one of the findings is an error.
func ParseListing(name string, data []byte) ([]keystone.Endpoint, []status.Finding) {
	l := &listing{name: name}
	if len(data) > MaxListing {
		l.fail(0, status.CodeTooLarge, fmt.Sprintf("%d bytes are more than a listing has", len(data)),
			fmt.Sprintf("give the output of %q, at most %d MiB", listCommand, MaxListing>>20))
		return nil, l.findings
	}
	l.lines = splitLines(decodeText(data))
	l.read()
	l.closeFindings()
	return l.endpoints, l.findings
}

// The command that prints listings, for hints.
const listCommand = "openstack endpoint list"

// listing is a listing being read.
type listing struct {
	name       string
	lines      []string
	endpoints  []keystone.Endpoint
	findings   []status.Finding
	unreadable int
	said       map[string]bool // by text: what is said once for the whole listing
}

// read finds the format by the first line that has one, and reads from there.
func (l *listing) read() {
	for i, line := range l.lines {
		switch formatOf(line) {
		case "table":
			l.readTable(i)
		case "json":
			l.readJSON(i)
		case "csv":
			l.readCSV(i)
		case "yaml":
			l.readYAML(i)
		default:
			continue
		}
		return
	}
	l.refuse()
}

// formatOf tells which format a line begins, "" for none.
func formatOf(line string) string {
	t := strings.TrimSpace(line)
	switch {
	case isBorder(t), strings.HasPrefix(t, "| "):
		return "table"
	case t == "[", t == "[]", t == "{", strings.HasPrefix(t, "[{"), strings.HasPrefix(t, `{"`),
		strings.HasPrefix(t, "[ {"), strings.HasPrefix(t, `{ "`):
		return "json"
	case isCSVHeader(t):
		return "csv"
	}
	if key, _, ok := strings.Cut(strings.TrimPrefix(t, "- "), ":"); ok && strings.HasPrefix(t, "- ") {
		if _, known := columnOf(key); known {
			return "yaml"
		}
	}
	return ""
}

// refuse says why a text that has no format of a listing is none.
func (l *listing) refuse() {
	for i, line := range l.lines {
		if strings.Contains(line, "://") && len(strings.Fields(line)) > 1 && !strings.Contains(line, listCommand) {
			l.fail(i+1, status.CodeValueFormat, "this does not say which column is which, as with -f value",
				fmt.Sprintf("give the output of %q as it is, or with -f json", listCommand))
			return
		}
	}
	l.fail(0, status.CodeNoListing, "there is no list of endpoints in it",
		fmt.Sprintf("give the output of %q: the table, or with -f json, -f csv or -f yaml", listCommand))
}

// fail adds an error that concerns the whole listing; line is 0 for no line.
func (l *listing) fail(line int, code, text, remedy string) {
	l.add(status.Error, line, code, text, remedy, l.line(line))
}

// once adds a finding about the whole listing, unless it was said before.
func (l *listing) once(severity status.Severity, line int, code, text, remedy string) {
	if l.said[text] {
		return
	}
	if l.said == nil {
		l.said = map[string]bool{}
	}
	l.said[text] = true
	l.add(severity, line, code, text, remedy, l.line(line))
}

// skip adds the finding of a row that cannot be read, up to a bound.
func (l *listing) skip(line int, shown, why string) {
	l.unreadable++
	if l.unreadable > maxUnreadable {
		return
	}
	l.add(status.Warning, line, status.CodeUnreadableRow, "the row cannot be read: "+why, "it is left out; write it by hand", shown)
}

func (l *listing) add(severity status.Severity, line int, code, text, remedy, shown string) {
	l.findings = append(l.findings, status.Finding{
		Severity: severity, Code: code, Text: text, Remedy: remedy, Line: shown,
		Where: status.Position{File: l.name, Line: line},
	})
}

// closeFindings says what remains to be said at the end. What stopped a part
// of the listing is a warning after all when another part gave endpoints.
func (l *listing) closeFindings() {
	if more := l.unreadable - maxUnreadable; more > 0 {
		l.add(status.Warning, 0, status.CodeUnreadableRow, fmt.Sprintf("%d more rows cannot be read", more), "", "")
	}
	if len(l.endpoints) == 0 {
		if status.Worst(l.findings) != status.Error {
			l.fail(0, status.CodeNoEndpoints, "the listing has no endpoint that can be read",
				fmt.Sprintf("see what %q prints; it needs a user with the admin or reader role", listCommand))
		}
		return
	}
	for i := range l.findings {
		if l.findings[i].Severity == status.Error {
			l.findings[i].Severity = status.Warning
		}
	}
}

// line gives the text of line n, "" for none.
func (l *listing) line(n int) string {
	if n < 1 || n > len(l.lines) {
		return ""
	}
	return l.lines[n-1]
}

// decodeText gives data as text: without a byte order mark, from UTF-16 where
// the mark says so (what PowerShell's ">" writes), no-break spaces as spaces.
func decodeText(data []byte) string {
	s := string(data)
	switch {
	case strings.HasPrefix(s, "\xff\xfe"):
		s = decodeUTF16(data[2:], binary.LittleEndian)
	case strings.HasPrefix(s, "\xfe\xff"):
		s = decodeUTF16(data[2:], binary.BigEndian)
	default:
		s = strings.TrimPrefix(s, "\ufeff")
	}
	return strings.ReplaceAll(s, "\u00a0", " ")
}

func decodeUTF16(data []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return string(utf16.Decode(units))
}

// splitLines cuts s at its line ends, whichever they are.
func splitLines(s string) []string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Split(strings.ReplaceAll(s, "\r", "\n"), "\n")
}
