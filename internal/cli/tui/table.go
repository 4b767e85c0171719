package tui

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// A Cell is a word in a table.
type Cell struct {
	Text string
	Tone Tone
	// Spans says that it runs on over the columns after it.
	Spans bool
	// Drop, of a head, says that the column may be left out where there is no room, the
	// one with the highest first; Least to how many columns it may be shortened. 0: not.
	Drop, Least int
}

// Plain returns a cell without colour.
func Plain(text string) Cell { return Marked(text, Calm) }

// Marked returns a cell in the tone t.
func Marked(text string, t Tone) Cell { return Cell{Text: Printable(text), Tone: t} }

// Words returns the cells of a table's head.
func Words(all ...string) []Cell {
	var cells []Cell
	for _, w := range all {
		cells = append(cells, Marked(w, Dim))
	}
	return cells
}

// A Table has columns that are as wide as their widest cell.
type Table struct {
	Head []Cell
	rows [][]Cell
}

// Add adds a row.
func (t *Table) Add(cells ...Cell) { t.rows = append(t.rows, cells) }

const gap = 2 // between columns

// widths gives the width of each column.
func (t *Table) widths() []int {
	widths := make([]int, len(t.Head))
	for _, row := range append([][]Cell{t.Head}, t.rows...) {
		for i, c := range row {
			if !c.Spans {
				widths[i] = max(widths[i], utf8.RuneCountInString(c.Text))
			}
		}
	}
	return widths
}

// Width returns the width of the table, in columns of the terminal.
func (t *Table) Width() int {
	sum := -gap
	for _, w := range t.widths() {
		sum += w + gap
	}
	return sum
}

// Fit makes the table fit into width: it leaves columns out, those whose head says so in
// the order that it says, and then shortens columns whose head says to how little, the
// widest first. What still does not fit is cut at its end.
func (t *Table) Fit(width int) {
	for t.Width() > width && t.dropOne() {
	}
	for t.Width() > width && t.shortenOne(width) {
	}
	for i := range t.rows {
		for j, c := range t.rows[i] {
			if c.Spans {
				t.rows[i][j].Text = Cut(c.Text, max(1, width-t.offset(j)))
			}
		}
	}
}

// dropOne leaves out the column that can be spared before all others.
func (t *Table) dropOne() bool {
	at := 0
	for i, c := range t.Head {
		if c.Drop > t.Head[at].Drop {
			at = i
		}
	}
	if t.Head[at].Drop == 0 {
		return false
	}
	t.Head = slices.Delete(slices.Clone(t.Head), at, at+1)
	for i, row := range t.rows {
		if at < len(row) && !row[at].Spans {
			t.rows[i] = slices.Delete(slices.Clone(row), at, at+1)
		}
	}
	return true
}

// shortenOne takes what is too much from the widest column that may be shorter.
func (t *Table) shortenOne(width int) bool {
	widths, at := t.widths(), -1
	for i, c := range t.Head {
		if c.Least > 0 && widths[i] > c.Least && (at < 0 || widths[i] > widths[at]) {
			at = i
		}
	}
	if at < 0 {
		return false
	}
	to := max(t.Head[at].Least, widths[at]-(t.Width()-width))
	t.Head[at].Text = Cut(t.Head[at].Text, to)
	for i, row := range t.rows {
		if at < len(row) && !row[at].Spans {
			t.rows[i][at].Text = Shorten(row[at].Text, to)
		}
	}
	return true
}

// offset is where a column begins.
func (t *Table) offset(column int) int {
	at := 0
	for _, w := range t.widths()[:column] {
		at += w + gap
	}
	return at
}

// Cut gives text, or its beginning, in width columns.
func Cut(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	if width <= 2 {
		return string(runes[:max(0, width)])
	}
	return string(runes[:width-2]) + ".."
}

// Shorten gives text, or its beginning and its end, in width columns: names of hosts differ at
// both.
func Shorten(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width || width < 8 {
		return Cut(text, width)
	}
	tail := (width - 2) / 3
	return string(runes[:width-2-tail]) + ".." + string(runes[len(runes)-tail:])
}

// Lines returns the table, a head and a line for each row; nothing without rows.
func (t *Table) Lines(colour bool) []string {
	if len(t.rows) == 0 {
		return nil
	}
	var lines []string
	widths := t.widths()
	for _, row := range append([][]Cell{t.Head}, t.rows...) {
		var line strings.Builder
		for i, c := range row {
			line.WriteString(Paint(c.Text, c.Tone, colour))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.Text)+gap))
			}
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return lines
}
