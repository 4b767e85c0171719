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
		head, lines := r.summaryOf(group)
		if len(lines) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		table(&b, head, lines)
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

func table(b *strings.Builder, head []string, lines [][]string) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, line := range lines {
		fmt.Fprintf(b, "| %s |\n", strings.Join(line, " | "))
	}
}
