package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Save writes r to dir as latest.json, latest.md and latest.html.
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
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

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

// Summary gives the first table as Markdown: what was promised and what came
// of it, beside the peers.
func (r *Report) Summary() string {
	head := []string{"fault", "promised", "failed / gap", ""}
	work := []string{"planned work", "failed / reset / cut / gap", ""}
	for _, s := range r.Systems {
		if s.Name != Holdfast {
			head = append(head, string(s.Name)+": failed / gap")
			work = append(work, string(s.Name))
		}
	}
	var faults, works [][]string
	for _, row := range r.Rows {
		line := []string{row.Name, row.Promise, row.result(Holdfast).String(), row.verdict()}
		if row.Planned {
			line = []string{row.Name, row.workResult(Holdfast).String(), row.verdict()}
		}
		for _, s := range r.Systems {
			switch {
			case s.Name == Holdfast:
			case row.Planned:
				line = append(line, row.workResult(s.Name).String())
			default:
				line = append(line, row.result(s.Name).String())
			}
		}
		if row.Planned {
			works = append(works, line)
		} else {
			faults = append(faults, line)
		}
	}
	var b strings.Builder
	if len(faults) > 0 {
		table(&b, head, faults)
	}
	if len(works) > 0 {
		b.WriteString("\n")
		table(&b, work, works)
	}
	for _, row := range r.Rows {
		for _, text := range row.missed() {
			fmt.Fprintf(&b, "\n%s: %s", row.Name, text)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
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
