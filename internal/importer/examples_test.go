package importer

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/spec"
)

func example(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The specs among the examples are valid, without so much as a warning.
func TestExampleSpecs(t *testing.T) {
	paths, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(paths) < 2 {
		t.Fatalf("got %v, %v; want at least two specs", paths, err)
	}
	for _, path := range paths {
		s, findings := spec.Parse(path, example(t, filepath.Base(path)))
		if s == nil || len(findings) > 0 {
			t.Errorf("%s: %v", path, findings)
		}
	}
}

// Both example lists give the example of an imported spec, which is that of
// the README's command; the one with all columns knows the region, too.
func TestExampleLists(t *testing.T) {
	opt := options(t, `
--vip 10.64.20.10/24
--hostname openstack.eqiad1.wikimediacloud.org
--interface eno1
--controller cloudcontrol1003=10.64.20.13
--controller cloudcontrol1004=10.64.20.14
--controller cloudcontrol1005=10.64.20.15
--host designate:cloudservices1003=10.64.20.23
--host designate:cloudservices1004=10.64.20.24
--host proxy:proxy1=10.64.20.33
--host proxy:proxy2=10.64.20.34
`)
	want, findings := spec.Parse("imported.yaml", example(t, "imported.yaml"))
	if want == nil {
		t.Fatal(findings)
	}
	for _, list := range []string{"endpoint-list.txt", "endpoint-list.json"} {
		opt.Source = list
		endpoints, findings := ParseListing(list, example(t, list))
		if len(findings) > 0 {
			t.Fatal(findings)
		}
		drafted, err := Draft(endpoints, opt, loadCatalog(t))
		if err != nil || len(drafted.Findings) > 0 || len(drafted.FillIn) > 0 {
			t.Fatalf("%s: %v, findings %v, marks %v", list, err, drafted.Findings, drafted.FillIn)
		}
		if list == "endpoint-list.txt" {
			if diff := cmp.Diff(string(example(t, "imported.yaml")), string(drafted.Spec)); diff != "" {
				t.Errorf("-imported.yaml +drafted:\n%s", diff)
			}
		}
		got, findings := spec.Parse(list, drafted.Spec)
		if got == nil {
			t.Fatal(findings)
		}
		if diff := cmp.Diff(want.Services, got.Services, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: the services: -want +got:\n%s", list, diff)
		}
	}
}
