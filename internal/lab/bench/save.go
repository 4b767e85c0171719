package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Save writes r to dir as latest.json, latest.md and latest.html, with the picture
// of a sweep as latest-sweep.svg.
func (r *Report) Save(dir string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	page, err := r.Page()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of the report: %w", err)
	}
	files := map[string][]byte{"latest.json": append(data, '\n'), "latest.html": page, "latest.md": []byte(r.Markdown())}
	if picture := r.SweepPicture(); picture != "" {
		files[pictureFile] = []byte(picture)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

// pictureFile is the name of the sweep's picture.
const pictureFile = "latest-sweep.svg"

// Markdown gives r for a repository: the two tables, and how to read them.
func (r *Report) Markdown() string {
	var b strings.Builder
	b.WriteString("# What each fault costs\n\n")
	fmt.Fprintf(&b, "Written by `make bench`; %s. Timelines of every run: [latest.html](latest.html). All figures: [latest.json](latest.json).\n\n", r.kept())
	b.WriteString(r.Summary())
	b.WriteString("\n## All figures\n\n")
	table(&b, detailHead(), r.details())
	b.WriteString("\n## How to read them\n\n```\n" + strings.Join(r.notes(), "\n") + "\n```\n")
	return b.String()
}

// Summary gives the first tables as Markdown: what was promised and what came of
// it, beside the peers.
func (r *Report) Summary() string {
	var b strings.Builder
	for _, group := range Groups() {
		rows := r.rows(group)
		if len(rows) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		var lines [][]string
		for _, row := range rows {
			lines = append(lines, r.summary(row))
		}
		table(&b, r.summaryHead(group), lines)
		if group == GroupSweep {
			fmt.Fprintf(&b, "\n![p99 and failed requests by load](%s)\n", pictureFile)
		}
	}
	for _, row := range r.Rows {
		for _, text := range row.missed() {
			fmt.Fprintf(&b, "\n%s: %s", row.Name, text)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// summaryHead is the head of a group's table.
func (r *Report) summaryHead(of Group) []string {
	const busyColumns = "failed / p99 / down / seen"
	head := map[Group][]string{
		GroupFaults:  {"fault", "promised", "failed / gap", ""},
		GroupBusy:    {"a busy service", "promised", busyColumns, ""},
		GroupPlanned: {"planned work", "failed / reset / cut / gap", ""},
		GroupSweep:   {"load", "promised", busyColumns, ""},
	}[of]
	for _, s := range r.Systems {
		if s.Name == Holdfast {
			continue
		}
		name := string(s.Name)
		if of == GroupFaults {
			name += ": failed / gap"
		}
		head = append(head, name)
	}
	return head
}

// summary is the line of row in its table.
func (r *Report) summary(row Row) []string {
	result := func(s System) string {
		switch row.Group {
		case GroupPlanned:
			return row.workResult(s).String()
		case GroupBusy, GroupSweep:
			return row.busyResult(s).String()
		case GroupFaults:
		}
		return row.result(s).String()
	}
	line := []string{row.Name, row.Promise, result(Holdfast), row.verdict()}
	if row.Planned {
		line = []string{row.Name, result(Holdfast), row.verdict()}
	}
	for _, s := range r.Systems {
		if s.Name != Holdfast {
			line = append(line, result(s.Name))
		}
	}
	return line
}

// String gives a result in one field of a table.
func (r result) String() string {
	if r.ratio == "" {
		return r.failed + " / " + r.gap
	}
	return fmt.Sprintf("%s / %s (%s)", r.failed, r.gap, r.ratio)
}

func table(b *strings.Builder, head []string, lines [][]string) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, line := range lines {
		fmt.Fprintf(b, "| %s |\n", strings.Join(line, " | "))
	}
}
