package tui

import (
	"strings"
	"unicode/utf8"
)

// A Cell is a word in a table.
type Cell struct {
	Text string
	Tone Tone
	// Spans says that it runs on over the columns after it.
	Spans bool
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

// Narrow leaves out columns from the end, but for the first three, until the
// table fits into width.
func (t *Table) Narrow(width int) {
	for n := len(t.Head) - 1; n >= 3 && t.Width() > width; n-- {
		t.Head = t.Head[:n]
		for i, row := range t.rows {
			t.rows[i] = row[:min(n, len(row))]
		}
	}
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
