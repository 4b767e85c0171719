package spec_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"holdfast/internal/spec"
	"holdfast/internal/status"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each testdata/*.txtar has pairs of files: NAME.yaml is parsed, NAME.out is what
// is found in it, one finding a line behind its code.
func TestFindings(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { testGolden(t, file) })
	}
}

func testGolden(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rewritten := &txtar.Archive{Comment: archive.Comment}
	for i, f := range archive.Files {
		name, isInput := strings.CutSuffix(f.Name, ".yaml")
		if !isInput {
			continue
		}
		got := outcome(t, f.Name, unescape(f.Data))
		rewritten.Files = append(rewritten.Files, f, txtar.File{Name: name + ".out", Data: []byte(got)})
		if *update {
			continue
		}
		if i+1 == len(archive.Files) || archive.Files[i+1].Name != name+".out" {
			t.Errorf("%s has no %s.out behind it; run with -update", f.Name, name)
			continue
		}
		if diff := cmp.Diff(string(archive.Files[i+1].Data), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(rewritten), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// goldenInputs gives what the golden files parse.
func goldenInputs(t testing.TB) [][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var inputs [][]byte
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if strings.HasSuffix(f.Name, ".yaml") {
				inputs = append(inputs, unescape(f.Data))
			}
		}
	}
	return inputs
}

// unescape puts bytes into a golden file's input that a text file cannot have,
// written <0xNN>, and for "# BASE" at its end the sections that make it whole.
func unescape(data []byte) []byte {
	data = regexp.MustCompile(`<0x[0-9a-f]{2}>`).ReplaceAllFunc(data, func(m []byte) []byte {
		var b byte
		if _, err := fmt.Sscanf(string(m), "<0x%02x>", &b); err != nil {
			panic(err)
		}
		return []byte{b}
	})
	text := string(data)
	for _, section := range []string{
		"services: {keystone: }",
		"controllers: [{name: ctl1, address: 10.64.20.13}, {name: ctl2, address: 10.64.20.14}]",
		"vips: [{name: api, addresses: [10.64.20.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 51}}]",
	} {
		key, _, _ := strings.Cut(section, " ")
		if strings.HasSuffix(text, "# BASE\n") && !strings.Contains("\n"+text, "\n"+key) {
			text = strings.TrimSuffix(text, "# BASE\n") + section + "\n# BASE\n"
		}
	}
	return []byte(text)
}

func outcome(t *testing.T, name string, data []byte) string {
	t.Helper()
	s, findings := spec.Parse(name, data)
	if (s == nil) != (status.Worst(findings) == status.Error) {
		t.Errorf("%s: spec is nil: %v, with findings %v", name, s == nil, findings)
	}
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s: %s\n", f.Code, f)
		if f.Where.Line > 0 && f.Where.Column > len([]rune(f.Line))+1 && !strings.HasSuffix(f.Line, "...") {
			t.Errorf("%s: column %d is outside of the line %q", name, f.Where.Column, f.Line)
		}
	}
	if len(findings) == 0 {
		b.WriteString("ok\n")
	}
	return b.String()
}

// Every kind of finding that the code can make has a golden case, and a place
// in the reference.
func TestEveryKindOfFindingIsTested(t *testing.T) {
	var goldens strings.Builder
	for _, pattern := range []string{"testdata/*.txtar", "parse_test.go"} {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			goldens.WriteString(read(t, f))
		}
	}
	reference := read(t, "../../docs/spec.md")
	for _, code := range codes(t) {
		if !strings.Contains(goldens.String(), code+":") && !strings.Contains(goldens.String(), `"`+code+`"`) {
			t.Errorf("no golden case has a finding %q", code)
		}
		if !strings.Contains(reference, "`"+code+"`") {
			t.Errorf("docs/spec.md does not have the finding %q", code)
		}
	}
}

func codes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, m := range regexp.MustCompile(`(Code\w+) += "([a-z-]+)"`).FindAllStringSubmatch(read(t, "../status/codes.go"), -1) {
		values[m[1]] = m[2]
	}
	in := regexp.MustCompile(`\bstatus\.(Code[A-Z]\w+)`)
	found := map[string]bool{}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		for _, m := range in.FindAllStringSubmatch(read(t, f), -1) {
			found[values[m[1]]] = true
		}
	}
	delete(found, "internal") // a fault of the built-in catalog, which its own tests find
	var all []string
	for c := range found {
		all = append(all, c)
	}
	slices.Sort(all)
	if len(all) < 30 {
		t.Fatalf("only %d codes found in the source: %v", len(all), all)
	}
	return all
}

func read(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
