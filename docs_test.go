package holdfast_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFaultsAreTested holds docs/faults.md to the truth: each test that it names is
// there.
func TestFaultsAreTested(t *testing.T) {
	table, err := os.ReadFile("docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		sources.Write(source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllSubmatch(table, -1)
	if len(names) < 50 {
		t.Errorf("the table names %d tests only", len(names))
	}
	for _, n := range names {
		if !strings.Contains(sources.String(), "func "+string(n[1])+"(") {
			t.Errorf("docs/faults.md names %s, which there is not", n[1])
		}
	}
}
