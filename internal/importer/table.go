package importer

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"holdfast/internal/status"
)

// table reads the client's table. The client makes it with PrettyTable: a
// border, a row of headings, a border, the rows without anything between them,
// a border. On a narrow terminal the cells of a row go on in the lines below
// it, and only the values tell such a line from a new row.
type table struct {
	*listing
	columns []column
	edges   []int // where the headings' "|" stand, in runes
	unknown bool  // the headings are not those of an endpoint list
	ruled   bool  // a border came, and nothing but the table since
	inside  bool  // rows came, and no border since
	open    *tableRow
}

// tableRow is a row that may go on in the next line.
type tableRow struct {
	line   int
	text   string
	cells  []string
	filled []bool // whether the last line of each cell is full
}

// readTable reads tables from line index from on to the end of the listing.
func (l *listing) readTable(from int) {
	t := &table{listing: l}
	for i := from; i < len(l.lines); i++ {
		t.readLine(i+1, strings.TrimSpace(l.lines[i]))
	}
	t.close()
}

// readLine reads one line without the white space around it.
func (t *table) readLine(n int, line string) {
	switch {
	case isBorder(line):
		t.close()
		t.ruled, t.inside = true, false
	case strings.HasPrefix(line, "|"):
		t.row(n, line)
	case t.inside:
		t.close()
		if line != "" {
			t.skip(n, line, "it is within the table, but no row of it")
		}
	default: // between tables: the next one has headings of its own
		t.columns, t.ruled, t.unknown = nil, false, false
	}
}

// row reads a line of cells: headings, a new row, or more of the last one.
func (t *table) row(n int, line string) {
	cells := splitCells(line)
	if t.header(n, line, cells) || t.unknown {
		return
	}
	if t.columns == nil && !t.guess(n, cells) {
		return
	}
	t.inside = true
	cells, ok := t.fit(line, cells)
	if !ok {
		t.close()
		t.skip(n, line, fmt.Sprintf("it does not have the %d cells of the table", len(t.columns)))
		return
	}
	if t.open != nil && t.continues(cells) {
		t.join(cells)
		return
	}
	t.close()
	t.open = &tableRow{line: n, text: line, cells: make([]string, len(cells)), filled: make([]bool, len(cells))}
	t.join(cells)
}

// header takes cells as the headings if they are such. The first row under a
// rule is, whatever it says.
func (t *table) header(n int, line string, cells []string) bool {
	columns, known := headings(cells)
	foreign := t.ruled && t.columns == nil
	if strings.Contains(line, "://") || known < min(2, len(cells)) && !foreign {
		return false
	}
	t.close()
	t.columns, t.edges = columns, edges(line)
	t.unknown = !t.usable(n, columns, cells)
	return true
}

// guess takes the client's standard columns for rows that came without
// headings, as from "| grep public"; reports false if they cannot be those.
func (t *table) guess(n int, cells []string) bool {
	standard := standardColumns()
	if len(cells) != len(standard) || !strings.Contains(cells[len(cells)-1], "://") {
		t.once(status.Error, n, status.CodeNoHeadings, "the table has no line with the headings",
			"give the whole output, with its first three lines")
		return false
	}
	t.once(status.Info, n, status.CodeNoHeadings, "the table has no line with the headings; the client's usual columns are taken", "")
	t.columns = standard
	return true
}

// fit brings the cells of a line into as many as there are columns. A value
// with a "|" of its own makes too many: then the headings' edges decide.
func (t *table) fit(line string, cells []string) ([]string, bool) {
	if !strings.HasSuffix(line, "|") {
		return nil, false
	}
	if len(cells) == len(t.columns) {
		return cells, true
	}
	runes := []rune(line)
	if len(t.edges) != len(t.columns)+1 || len(runes) != t.edges[len(t.edges)-1]+1 {
		return nil, false
	}
	cells = cells[:0]
	for i, edge := range t.edges[:len(t.columns)] {
		if runes[edge] != '|' {
			return nil, false
		}
		cells = append(cells, strings.TrimSpace(string(runes[edge+1:t.edges[i+1]])))
	}
	return cells, true
}

// continues reports whether a line with these cells belongs to the open row. A
// line whose URL begins anew does not. Enabled and Interface are never wrapped
// (the client wraps no column below 8 characters), so a line with them is a
// row too. Otherwise it must have an empty cell, or more of a URL that filled
// its cell.
func (t *table) continues(cells []string) bool {
	empty, more := false, false
	for i, c := range t.columns {
		switch {
		case c == colURL && hasScheme(cells[i]):
			return false
		case (c == colEnabled || c == colInterface) && cells[i] != "":
			return false
		case c == colURL:
			more = cells[i] != "" && (t.open.filled[i] || strings.HasSuffix(t.open.cells[i], "-"))
		}
		empty = empty || cells[i] == ""
	}
	return empty || more
}

// hasScheme reports whether s begins as a URL does.
func hasScheme(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && scheme != "" && strings.Trim(strings.ToLower(scheme), "abcdefghijklmnopqrstuvwxyz0123456789+.-") == ""
}

// join appends cells to the open row. Only a service's name has spaces, which
// are lost where a line ends; there is one unless the word had to be broken.
func (t *table) join(cells []string) {
	for i, cell := range cells {
		if cell == "" {
			continue
		}
		if t.columns[i] == colName && t.open.cells[i] != "" && !t.open.filled[i] {
			t.open.cells[i] += " "
		}
		t.open.cells[i] += cell
		t.open.filled[i] = len(t.edges) > i+1 && utf8.RuneCountInString(cell) >= t.edges[i+1]-t.edges[i]-3
	}
}

// close makes an endpoint of the open row.
func (t *table) close() {
	if t.open == nil {
		return
	}
	v := values{}
	for i, c := range t.columns {
		v[c] = t.open.cells[i]
	}
	t.endpoint(t.open.line, t.open.text, v)
	t.open = nil
}

// isBorder reports whether a line is a table's rule: "+----+-----+", or
// "|----|-----|" where somebody made Markdown of it.
func isBorder(line string) bool {
	if len(line) < 3 || line[0] != '+' && line[0] != '|' {
		return false
	}
	return strings.Trim(line, "+|-=: ") == "" && strings.Contains(line, "--")
}

// splitCells cuts "| a | b |" into its cells.
func splitCells(line string) []string {
	cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

// edges gives where the "|" of line stand, in runes.
func edges(line string) []int {
	var at []int
	n := 0
	for _, r := range line {
		if r == '|' {
			at = append(at, n)
		}
		n++
	}
	return at
}
