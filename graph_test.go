package holdfast_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "draw the imports in docs/architecture.md anew, and say how large packages are")

// Where the drawing is, and what is around it there.
const (
	graphPage  = "docs/architecture.md"
	graphBegin = "```mermaid\nflowchart TB\n"
	graphEnd   = "```\n"
)

// imports gives, for each package below internal that the program is made of, those
// of them that it imports.
func imports(all []goPackage) map[string][]string {
	graph := map[string][]string{}
	for _, p := range all {
		if name, ours := strings.CutPrefix(p.short(), "internal/"); ours && !strings.HasSuffix(name, "test") {
			graph[name] = []string{}
			for _, i := range p.Imports {
				if to, ours := strings.CutPrefix(i, module+"internal/"); ours {
					graph[name] = append(graph[name], to)
				}
			}
		}
	}
	return graph
}

// reaches reports whether to is imported by from, or by what it imports.
func reaches(graph map[string][]string, from, to string) bool {
	return from == to || slices.ContainsFunc(graph[from], func(next string) bool { return reaches(graph, next, to) })
}

// drawing gives the graph for Mermaid, without the arrows that others imply.
func drawing(graph map[string][]string) string {
	var b strings.Builder
	names := make([]string, 0, len(graph))
	for name := range graph {
		names = append(names, name)
	}
	slices.Sort(names)
	id := func(name string) string { return strings.ReplaceAll(name, "/", "_") }
	b.WriteString("  subgraph pure\n")
	for _, name := range names {
		if slices.Contains(pure, "internal/"+name) {
			fmt.Fprintf(&b, "    %s[%s]\n", id(name), name)
		}
	}
	b.WriteString("  end\n")
	for _, name := range names {
		if !slices.Contains(pure, "internal/"+name) {
			fmt.Fprintf(&b, "  %s[%s]\n", id(name), name)
		}
	}
	for _, from := range names {
		var to []string
		for _, next := range graph[from] {
			if !slices.ContainsFunc(graph[from], func(other string) bool { return other != next && reaches(graph, other, next) }) {
				to = append(to, id(next))
			}
		}
		if len(to) > 0 {
			fmt.Fprintf(&b, "  %s --> %s\n", id(from), strings.Join(to, " & "))
		}
	}
	return b.String()
}

// TestImportsAreDrawn holds the picture in docs/architecture.md to the code. With
// -update it draws it ("make graph").
func TestImportsAreDrawn(t *testing.T) {
	all := packages(t)
	graph := imports(all)
	text := read(t, graphPage)
	before, rest, begins := strings.Cut(text, graphBegin)
	_, after, ends := strings.Cut(rest, graphEnd)
	if !begins || !ends {
		t.Fatalf("%s has no drawing of the imports", graphPage)
	}
	want := before + graphBegin + drawing(graph) + graphEnd + after
	if *update {
		if err := os.WriteFile(graphPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Log(sizes(t, all, graph))
	} else if text != want {
		t.Errorf("%s draws other imports than there are: make graph", graphPage)
	}
}

// sizes says how large each package is.
func sizes(t *testing.T, all []goPackage, graph map[string][]string) string {
	t.Helper()
	var b strings.Builder
	arrows, lines := 0, 0
	fmt.Fprintf(&b, "\n%-20s %6s %6s %9s %8s\n", "package", "files", "lines", "exported", "imports")
	for _, p := range all {
		name := strings.TrimPrefix(p.short(), "internal/")
		here, exported := 0, 0
		for _, file := range p.GoFiles {
			source := read(t, filepath.Join(p.Dir, file))
			here += strings.Count(source, "\n")
			parsed, err := parser.ParseFile(token.NewFileSet(), file, source, 0)
			if err != nil {
				t.Fatal(err)
			}
			exported += exportedOf(parsed)
		}
		arrows, lines = arrows+len(graph[name]), lines+here
		fmt.Fprintf(&b, "%-20s %6d %6d %9d %8d\n", name, len(p.GoFiles), here, exported, len(graph[name]))
	}
	fmt.Fprintf(&b, "%d packages, %d lines, %d arrows\n", len(all), lines, arrows)
	return b.String()
}

// exportedOf counts the exported names of a file, methods too.
func exportedOf(file *ast.File) (n int) {
	count := func(names ...*ast.Ident) {
		for _, name := range names {
			if name.IsExported() {
				n++
			}
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			count(d.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					count(s.Name)
				case *ast.ValueSpec:
					count(s.Names...)
				}
			}
		}
	}
	return n
}
