package cli

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// tone is how a word is coloured: SGR parameters of ECMA-48. The word says the
// same without.
type tone string

const (
	calm tone = ""
	good tone = "32" // green
	warn tone = "33" // yellow
	bad  tone = "1;31"
	dim  tone = "2"
)

// paint colours text, if colour is wanted.
func paint(text string, t tone, colour bool) string {
	if !colour || t == calm || text == "" {
		return text
	}
	return "\x1b[" + string(t) + "m" + text + "\x1b[0m"
}

// printable gives s without what a terminal would obey: it may be another
// machine's word.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return '?'
	}, s)
}

// A cell is a word in a table.
type cell struct {
	text string
	tone tone
	// spans says that it runs on over the columns after it.
	spans bool
}

func plain(text string) cell { return marked(text, calm) }

func marked(text string, t tone) cell { return cell{text: printable(text), tone: t} }

func words(all ...string) []cell {
	var cells []cell
	for _, w := range all {
		cells = append(cells, marked(w, dim))
	}
	return cells
}

// A table has columns that are as wide as their widest cell.
type table struct {
	head []cell
	rows [][]cell
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

const gap = 2 // between columns

// widths gives the width of each column.
func (t *table) widths() []int {
	widths := make([]int, len(t.head))
	for _, row := range append([][]cell{t.head}, t.rows...) {
		for i, c := range row {
			if !c.spans {
				widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
			}
		}
	}
	return widths
}

// width gives the width of the table.
func (t *table) width() int {
	sum := -gap
	for _, w := range t.widths() {
		sum += w + gap
	}
	return sum
}

// narrow leaves out columns from the end, but for the first three, until the
// table fits into width.
func (t *table) narrow(width int) {
	for n := len(t.head) - 1; n >= 3 && t.width() > width; n-- {
		t.head = t.head[:n]
		for i, row := range t.rows {
			t.rows[i] = row[:min(n, len(row))]
		}
	}
}

// lines gives the table, a head and a line for each row; nothing without rows.
func (t *table) lines(colour bool) []string {
	if len(t.rows) == 0 {
		return nil
	}
	var lines []string
	widths := t.widths()
	for _, row := range append([][]cell{t.head}, t.rows...) {
		var line strings.Builder
		for i, c := range row {
			line.WriteString(paint(c.text, c.tone, colour))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+gap))
			}
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return lines
}
