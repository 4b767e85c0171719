package lab

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"holdfast/internal/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestPlan lays out the specs of testdata/plan and compares nodes, interfaces,
// addresses, routes, services and /etc/hosts with what stands below each.
func TestPlan(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("golden files: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := render(t, archive.Files[0].Data)
			if *update {
				archive.Files = append(archive.Files[:1], txtar.File{Name: "plan", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

// render gives the plan of a spec, or its error, as text.
func render(t *testing.T, data []byte) string {
	t.Helper()
	s, findings := spec.Parse("holdfast.yaml", data)
	if s == nil {
		t.Fatalf("spec: %v", findings)
	}
	p, err := newPlan(s)
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	for _, n := range p.nodes {
		fmt.Fprintf(&b, "%s %s\n", n.role, n.name)
		for _, l := range n.links {
			fmt.Fprintf(&b, "  %s %v", l.name, l.addresses)
			if len(l.routes) > 0 {
				fmt.Fprintf(&b, " routes %v", l.routes)
			}
			b.WriteString("\n")
		}
		for _, at := range n.services {
			fmt.Fprintf(&b, "  %s as %s at %s\n", at.service.Name, at.host.Name, at.service.At(at.host))
		}
	}
	return b.String() + "\n" + p.hostsFile()
}

// TestSampleIsGood holds the sample to what a lab takes.
func TestSampleIsGood(t *testing.T) {
	s, findings := spec.Parse("sample.yaml", Sample())
	if s == nil || len(findings) > 0 {
		t.Fatalf("the sample has findings: %v", findings)
	}
	if got := len(s.Services); got != 6 {
		t.Errorf("the sample has %d services, want the proposal's 6", got)
	}
}
