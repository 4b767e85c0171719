package holdfast_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/status"
)

// read gives a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// filesOf gives the repository's files, but for what was built, whose name ends in one of endings.
func filesOf(t *testing.T, endings ...string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || path == "bin") {
			return filepath.SkipDir
		}
		if err == nil && !d.IsDir() && slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(path, e) }) {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
)

// anchors gives what GitHub lets a link in text end with: a heading's words in
// small letters, blanks as hyphens, and nothing else but hyphens and underscores.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		words := link.ReplaceAllString(h[1], "")
		words = strings.ToLower(strings.TrimSpace(words))
		slug := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(words, "")
		all[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return all
}

// TestLinksLeadSomewhere follows each link from one document to another.
func TestLinksLeadSomewhere(t *testing.T) {
	followed := 0
	for _, path := range filesOf(t, ".md") {
		for _, l := range link.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, path), ""), -1) {
			if strings.Contains(l[1], "://") || strings.HasPrefix(l[1], "mailto:") {
				continue
			}
			followed++
			file, anchor, _ := strings.Cut(l[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which there is not", path, l[1])
			} else if anchor != "" && strings.HasSuffix(target, ".md") && !anchors(read(t, target))[anchor] {
				t.Errorf("%s links to %s: %s has no such heading", path, l[1], target)
			}
		}
	}
	if followed < 50 {
		t.Errorf("found %d links only", followed)
	}
}

// TestDecisionsAreListed holds the index of decisions to the folder.
func TestDecisionsAreListed(t *testing.T) {
	index := read(t, "docs/adr/README.md")
	for _, path := range filesOf(t, ".md") {
		name := filepath.Base(path)
		if filepath.Dir(path) == "docs/adr" && name != "README.md" && !strings.Contains(index, "]("+name+")") {
			t.Errorf("docs/adr/README.md does not list %s", name)
		}
	}
}

// TestTablesOfPackages holds the table of docs/architecture.md, and that of
// allowed imports, to packages that there are; and each package of ours, the
// lab's own rooms and tests' aside, to a row.
func TestTablesOfPackages(t *testing.T) {
	there := map[string]bool{}
	for _, p := range packages(t) {
		there[p.short()] = true
	}
	for name := range mayImport {
		if !there[name] {
			t.Errorf("the table of imports has %s, which there is not", name)
		}
	}
	_, after, found := strings.Cut(read(t, "docs/architecture.md"), "\n## Packages\n")
	table, _, _ := strings.Cut(after, "\n## ")
	if !found {
		t.Fatal("docs/architecture.md has no table of packages")
	}
	rows := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z/]+)` \\|").FindAllStringSubmatch(table, -1) {
		rows["internal/"+row[1]] = true
		if !there["internal/"+row[1]] {
			t.Errorf("docs/architecture.md has the package %s, which there is not", row[1])
		}
	}
	for name := range there {
		room, ours := strings.CutPrefix(name, "internal/")
		if ours && !rows[name] && !strings.HasPrefix(room, "lab/") && !strings.HasSuffix(room, "test") {
			t.Errorf("docs/architecture.md does not say what %s is", room)
		}
	}
}

// TestEventKindsAreListed has docs/json.md say what each kind of event says, and an
// agent write none that is not in the one table of these.
func TestEventKindsAreListed(t *testing.T) {
	_, after, _ := strings.Cut(read(t, "docs/json.md"), "\n#### Kinds of events\n")
	table, _, _ := strings.Cut(after, "\n## ")
	var want []string
	for _, k := range status.EventKinds() {
		want = append(want, fmt.Sprintf("| `%s` | %s |", k.Kind, k.Means))
	}
	if got := regexp.MustCompile("(?m)^\\| `.*$").FindAllString(table, -1); !slices.Equal(got, want) {
		t.Errorf("docs/json.md lists\n%s\nand is to list\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, path := range filesOf(t, ".go") {
		rooms := []string{"internal/agent/", "internal/rollout/", "internal/vips/", "internal/drain/", "internal/handover/", "internal/health/watch/", "internal/certificate/keep/", "internal/hearing/", "internal/journal/"}
		if strings.HasSuffix(path, "_test.go") || !slices.ContainsFunc(rooms, func(room string) bool { return strings.HasPrefix(path, room) }) {
			continue
		}
		for _, kind := range regexp.MustCompile(`Kind:\s+"([a-z-]+)"[,}]`).FindAllStringSubmatch(read(t, path), -1) {
			t.Errorf("%s writes the event %q, which is no constant of package status", path, kind[1])
		}
	}
}

// TestFindingCodesAreListed has docs/json.md say of each kind of finding how grave it
// is, or docs/spec.md have it, and nobody make one that is not in the one table of these.
func TestFindingCodesAreListed(t *testing.T) {
	_, after, _ := strings.Cut(read(t, "docs/spec.md"), "\n## Findings\n")
	ofSpec, _, _ := strings.Cut(after, "\n## ")
	_, after, _ = strings.Cut(read(t, "docs/json.md"), "\n## Finding\n")
	tables, _, _ := strings.Cut(after, "\n## ")
	_, tables, _ = strings.Cut(tables, "\n| code |") // after that of the fields
	listed, quoted := map[string]string{}, regexp.MustCompile("`([a-z-]+)`")
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\| ([^|]*) \\|").FindAllStringSubmatch(tables+ofSpec, -1) {
		for _, code := range quoted.FindAllStringSubmatch(row[1], -1) {
			if _, twice := listed[code[1]]; !twice {
				listed[code[1]] = row[2]
			}
		}
	}
	acts := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\| [^|]* \\| ((?:now|soon|none)[^|]*) \\|").FindAllStringSubmatch(tables, -1) {
		for _, code := range quoted.FindAllStringSubmatch(row[1], -1) {
			acts[code[1]], _, _ = strings.Cut(row[2], " of an error, else ")
			if status.ActionFor(status.Finding{Code: code[1], Severity: status.Error}) != status.Action(acts[code[1]]) {
				t.Errorf("docs/json.md says of an error of the code %s that a person acts %s", code[1], row[2])
			}
			if !strings.HasSuffix(row[2], string(status.ActionOf(code[1]))) {
				t.Errorf("docs/json.md says of the code %s that a person acts %s, and it is %s", code[1], row[2], status.ActionOf(code[1]))
			}
		}
	}
	for _, c := range status.FindingCodes() {
		if _, there := acts[c.Code]; there != (c.Action != "") {
			t.Errorf("the code %s has the action %q, and docs/json.md %v", c.Code, c.Action, there)
		}
		said, there := listed[c.Code]
		if !there {
			t.Errorf("neither docs/json.md nor docs/spec.md lists the code %s", c.Code)
		} else if c.Severity != "" && said != string(c.Severity) && !strings.Contains(ofSpec, "`"+c.Code+"`") {
			t.Errorf("docs/json.md says of the code %s %q, and it is always %s", c.Code, said, c.Severity)
		}
		delete(listed, c.Code)
	}
	for code := range listed {
		t.Errorf("the code %s is listed, and no constant of package status", code)
	}
	literal := regexp.MustCompile(`(?:Code:\s*|\bCode [!=]= |\.(?:fail|warn)\(|(?:status\.(?:Error|Warning|Info)|severity), (?:[\w.]+, )?)"([a-z]+(?:-[a-z]+)*)"[,)} ]`)
	for _, path := range filesOf(t, ".go") {
		if strings.HasPrefix(path, "internal/") && !strings.HasPrefix(path, "internal/lab/") && !strings.HasSuffix(path, "_test.go") {
			for _, l := range literal.FindAllStringSubmatch(read(t, path), -1) {
				if strings.Contains(l[0], "status.Code") {
					continue // it is said of what
				}
				t.Errorf("%s has the code %q, which is no constant of package status", path, l[1])
			}
		}
	}
}

// TestTroubleshooting has docs/troubleshooting.md have one entry for each kind of finding of a running
// cloud, that says whether a person must act as the table of these does, and no other.
func TestTroubleshooting(t *testing.T) {
	entries := map[string]string{}
	for _, e := range regexp.MustCompile(`(?m)^### ([a-z-]+)\n\n.+\n\n- Act: (.+)\.$`).FindAllStringSubmatch(read(t, "docs/troubleshooting.md"), -1) {
		if _, twice := entries[e[1]]; twice {
			t.Errorf("%s has two entries", e[1])
		}
		entries[e[1]] = e[2]
	}
	words := map[status.Action]string{status.ActNow: "now", status.ActSoon: "soon", status.ActNone: "no"}
	for _, c := range status.FindingCodes() {
		said, there := entries[c.Code]
		delete(entries, c.Code)
		if there != (c.Action != "") {
			t.Errorf("the code %s has the action %q, and an entry: %v", c.Code, c.Action, there)
		}
		if !there {
			continue
		}
		want := words[c.Action]
		if status.ActionFor(status.Finding{Code: c.Code, Severity: status.Error}) != c.Action {
			want = "now if it is an error, else soon"
		}
		if said != want {
			t.Errorf("the entry of %s says %q, want %q", c.Code, said, want)
		}
	}
	for code := range entries {
		t.Errorf("there is an entry of %s, and no such code", code)
	}
}

// TestFaultsAreTested holds docs/faults.md, and docs/rfc9568.md, to the truth: each test
// that they name is there.
func TestFaultsAreTested(t *testing.T) {
	var sources strings.Builder
	for _, path := range filesOf(t, "_test.go") {
		sources.WriteString(read(t, path))
	}
	for _, doc := range []string{"docs/faults.md", "docs/rfc9568.md"} {
		names := testName.FindAllStringSubmatch(read(t, doc), -1)
		if len(names) < 50 {
			t.Errorf("%s names %d tests only", doc, len(names))
		}
		for _, n := range names {
			if !strings.Contains(sources.String(), "func "+n[1]+"(") {
				t.Errorf("%s names %s, which there is not", doc, n[1])
			}
		}
	}
}

var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")

// TestRFCIsWhole has docs/rfc9568.md say something of every clause that asks something
// of a router, and of each erratum; and name a test wherever it does not differ.
func TestRFCIsWhole(t *testing.T) {
	text := read(t, "docs/rfc9568.md")
	differs, rest, found := strings.Cut(text, "\n## Packets\n")
	if !found {
		t.Fatal("docs/rfc9568.md has no table of packets")
	}
	said := map[string]bool{}
	row := regexp.MustCompile(`(?m)^\| ([^|]+) \|(.*)$`)
	number := regexp.MustCompile(`[0-9]+(?:\.[0-9]+)*`)
	for i, part := range []string{differs, rest} {
		for _, r := range row.FindAllStringSubmatch(part, -1) {
			numbers := number.FindAllString(r[1], -1)
			for _, n := range numbers {
				said[n] = true
			}
			if i == 1 && len(numbers) > 0 && !testName.MatchString(r[2]) {
				t.Errorf("docs/rfc9568.md names no test of %s", r[1])
			}
		}
	}
	for clause := range strings.FieldsSeq(`2.5 5.1.1.1 5.1.1.2 5.1.1.3 5.1.1.4 5.1.2.1 5.1.2.2 5.1.2.3 5.1.2.4
		5.2.1 5.2.2 5.2.3 5.2.4 5.2.5 5.2.6 5.2.7 5.2.8 5.2.9 6.1 6.4.1 6.4.2 6.4.3 7.1 7.2 7.3 7.4
		8.1.2 8.1.3 8.2.1 8.2.2 8.2.3 8.2.4 8.3.1 8.3.2 8.4 9 7947 7949 8298 8299 8300 8301`) {
		if !said[clause] {
			t.Errorf("docs/rfc9568.md says nothing of %s", clause)
		}
	}
}
