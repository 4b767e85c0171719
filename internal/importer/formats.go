package importer

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/status"
)

// readJSON reads the array of -f json that begins at line index from, or a
// single object. What follows it is not read.
func (l *listing) readJSON(from int) {
	text := strings.Join(l.lines[from:], "\n")
	dec := json.NewDecoder(strings.NewReader(text))
	array := strings.HasPrefix(strings.TrimSpace(text), "[")
	if array {
		if _, err := dec.Token(); err != nil {
			l.fail(from+1, status.CodeBadJSON, "the JSON cannot be read: "+err.Error(), "")
			return
		}
	}
	line, seen := from+1, 0 // the line of text[seen]
	for dec.More() {
		at := int(dec.InputOffset())
		at += len(text[at:]) - len(strings.TrimLeft(text[at:], ", \t\n"))
		line += strings.Count(text[seen:at], "\n")
		seen = at
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			l.skip(line, l.line(line), jsonReason(err)+"; nothing after it can be read either")
			return
		}
		l.readObject(line, raw)
		if !array {
			return
		}
	}
	if _, err := dec.Token(); err != nil {
		l.add(status.Warning, len(l.lines), status.CodeUnreadableRow, "the JSON ends too early, rows may be missing", "print the list again", "")
	}
}

// jsonReason says err without the decoder's own words for the end.
func jsonReason(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "the JSON ends in the midst of it"
	}
	return err.Error()
}

// readObject reads one element of the array.
func (l *listing) readObject(line int, raw json.RawMessage) {
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		l.skip(line, l.line(line), "it is no JSON object")
		return
	}
	row := map[string]string{}
	for key, value := range fields {
		switch v := value.(type) {
		case nil:
			row[key] = ""
		case string:
			row[key] = v
		case bool, float64:
			row[key] = fmt.Sprint(v)
		default: // a list or an object
			if _, known := columnOf(key); known {
				l.skip(line, l.line(line), "it has more than one value in one column")
				return
			}
			row[key] = ""
		}
	}
	l.record(line, row)
}

// record reads a row of names and values.
func (l *listing) record(line int, row map[string]string) {
	names := slices.Sorted(maps.Keys(row))
	columns, _ := headings(names)
	if !l.usable(line, columns, names) {
		return
	}
	v := values{}
	for i, name := range names {
		if columns[i] != colOther {
			v[columns[i]] = row[name]
		}
	}
	l.endpoint(line, show(v), v)
}

// isCSVHeader reports whether line has the headings of -f csv.
func isCSVHeader(line string) bool {
	if !strings.Contains(line, ",") {
		return false
	}
	_, known := headings(strings.Split(line, ","))
	return known >= 2
}

// readCSV reads -f csv, whose headings are at line index from. The client puts
// each row on a line of its own, so one that is broken spoils no other.
func (l *listing) readCSV(from int) {
	names, err := csvRecord(l.lines[from])
	if err != nil {
		l.fail(from+1, status.CodeBadCSV, "the headings cannot be read: "+err.Error(), "")
		return
	}
	columns, _ := headings(names)
	if !l.usable(from+1, columns, names) {
		return
	}
	for i := from + 1; i < len(l.lines); i++ {
		line := l.lines[i]
		if strings.TrimSpace(line) == "" || line == l.lines[from] || isPrompt(line) {
			continue
		}
		cells, err := csvRecord(line)
		switch {
		case err != nil:
			l.skip(i+1, line, err.Error())
		case len(cells) != len(columns):
			l.skip(i+1, line, fmt.Sprintf("it has %d values, the headings are %d", len(cells), len(columns)))
		default:
			v := values{}
			for j, c := range columns {
				v[c] = cells[j]
			}
			l.endpoint(i+1, line, v)
		}
	}
}

// csvRecord reads one line of CSV.
func csvRecord(line string) ([]string, error) {
	r := csv.NewReader(strings.NewReader(strings.TrimSpace(line)))
	cells, err := r.Read()
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, parse.Err
	}
	return cells, err
}

// isPrompt reports whether a line is a shell's prompt, with or without a
// command, rather than a row of CSV.
func isPrompt(line string) bool {
	t := strings.TrimSpace(line)
	if strings.Contains(t, ",") {
		return false
	}
	return strings.HasSuffix(t, "$") || strings.HasSuffix(t, "#") || strings.HasSuffix(t, ">") ||
		strings.Contains(t, "$ ") || strings.Contains(t, "# ")
}

// readYAML reads -f yaml: a list of mappings that begins at line index from.
// Each is parsed on its own, so that one that is broken spoils no other.
func (l *listing) readYAML(from int) {
	indent := len(l.lines[from]) - len(strings.TrimLeft(l.lines[from], " "))
	dash := strings.Repeat(" ", indent) + "-"
	further := strings.Repeat(" ", indent+1)
	start := -1 // of the open item
	for i := from; i < len(l.lines); i++ {
		line := l.lines[i]
		if strings.TrimSpace(line) == "" || start >= 0 && strings.HasPrefix(line, further) {
			continue
		}
		if start >= 0 {
			l.readItem(start, i)
			start = -1
		}
		if strings.HasPrefix(line, dash) {
			start = i
		} else if !isPrompt(line) {
			l.skip(i+1, line, "it is no item of the list")
		}
	}
	if start >= 0 {
		l.readItem(start, len(l.lines))
	}
}

// readItem reads the list item of the lines with index from up to, not with, to.
func (l *listing) readItem(from, to int) {
	var doc yaml.Node
	if err := yaml.Load([]byte(strings.Join(l.lines[from:to], "\n")), &doc); err != nil {
		l.skip(from+1, l.line(from+1), "it is no YAML")
		return
	}
	for (doc.Kind == yaml.DocumentNode || doc.Kind == yaml.SequenceNode) && len(doc.Content) == 1 {
		doc = *doc.Content[0]
	}
	if doc.Kind != yaml.MappingNode {
		l.skip(from+1, l.line(from+1), "it is no mapping")
		return
	}
	row := map[string]string{}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		key, value := doc.Content[i], doc.Content[i+1]
		if key.Kind != yaml.ScalarNode || value.Kind != yaml.ScalarNode {
			l.skip(from+1, l.line(from+1), "it has more than one value in one column")
			return
		}
		row[key.Value] = value.Value
	}
	l.record(from+1, row)
}
