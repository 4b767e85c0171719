package importer

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
	"golang.org/x/tools/txtar"

	"holdfast/internal/catalog"
	"holdfast/internal/keystone"
	"holdfast/internal/keystone/keystonetest"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// options reads "key value" words of a golden file's head: the lines that begin
// with "--", as a user would give them.
func options(t *testing.T, head string) Options {
	t.Helper()
	opt := Options{Hosts: map[string][]spec.Host{}}
	for line := range strings.Lines(head) {
		words := strings.Fields(line)
		if len(words) != 2 || !strings.HasPrefix(words[0], "--") {
			continue
		}
		v := words[1]
		switch words[0] {
		case "--cloud":
			opt.Cloud = v
		case "--region":
			opt.Region = v
		case "--hostname":
			opt.Hostname = v
		case "--interface":
			opt.Interface = v
		case "--router-id":
			opt.RouterID, _ = strconv.Atoi(v)
		case "--vip":
			opt.VIPs = append(opt.VIPs, netip.MustParsePrefix(v))
		case "--controller":
			opt.Controllers = append(opt.Controllers, host(v))
		case "--host":
			service, rest, _ := strings.Cut(v, ":")
			opt.Hosts[service] = append(opt.Hosts[service], host(rest))
		default:
			t.Fatalf("unknown option %s", words[0])
		}
	}
	return opt
}

func host(s string) spec.Host {
	name, addr, _ := strings.Cut(s, "=")
	return spec.Host{Name: name, Address: netip.MustParseAddr(addr)}
}

func loadCatalog(t testing.TB) catalog.Catalog {
	t.Helper()
	cat, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func TestDraft(t *testing.T) {
	cat := loadCatalog(t)
	keystonetest.Golden(t, "draft", *update, func(t *testing.T, a *txtar.Archive) string {
		opt := options(t, string(a.Comment))
		opt.Source = a.Files[0].Name
		endpoints, findings := ParseListing(opt.Source, a.Files[0].Data)
		if len(findings) > 0 {
			t.Errorf("the listing has findings: %v", findings)
		}
		drafted, err := Draft(endpoints, opt, cat)
		if err != nil {
			return fmt.Sprintf("error: %v\n", err)
		}
		checkMarks(t, drafted)
		out := string(drafted.Spec)
		for _, f := range drafted.FillIn {
			out += fmt.Sprintf("fill in: %d: %s: %s\n", f.Line, f.Path, f.What)
		}
		return out + dump(nil, drafted.Findings)
	})
}

// checkMarks holds a draft to its promise: the only errors of the spec that it
// gives are its marks, one each, on the lines that it says.
func checkMarks(t *testing.T, drafted Drafted) {
	t.Helper()
	if drafted.Spec == nil {
		return
	}
	var want, got []int
	for _, f := range drafted.FillIn {
		want = append(want, f.Line)
	}
	parsed, findings := spec.Parse("spec", drafted.Spec)
	for _, f := range findings {
		switch {
		case f.Code == "not-filled-in":
			got = append(got, f.Where.Line)
		case f.Severity == status.Error:
			t.Errorf("the draft has an error that is no mark: %s\n%s", f, f.Line)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("marks: -said +found:\n%s", diff)
	}
	if len(want) == 0 && parsed == nil {
		t.Error("the draft has no marks, and is not valid")
	}
}

// The proposal's list gives the same spec in whatever form it is printed.
func TestDraftFormatsAgree(t *testing.T) {
	cat := loadCatalog(t)
	var want string
	for _, form := range []string{"table-all-columns", "table-fit-100", "table-fit-60", "csv", "csv-minimal", "yaml"} {
		a, err := txtar.ParseFile("testdata/listing/" + form + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		endpoints, _ := ParseListing("list", a.Files[0].Data)
		drafted, err := Draft(endpoints, Options{Source: "list"}, cat)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = string(drafted.Spec)
		}
		if diff := cmp.Diff(want, string(drafted.Spec)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", form, diff)
		}
	}
}

// However the endpoints of one listing are ordered, the draft is the same.
func TestDraftIgnoresOrder(t *testing.T) {
	a, err := txtar.ParseFile("testdata/listing/json-keystone.txtar")
	if err != nil {
		t.Fatal(err)
	}
	cat := loadCatalog(t)
	endpoints, _ := ParseListing("list", a.Files[0].Data)
	want, err := Draft(endpoints, Options{}, cat)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(endpoints)
	got, err := Draft(endpoints, Options{}, cat)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want.Spec), string(got.Spec)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDraftOptionErrors(t *testing.T) {
	cat := loadCatalog(t)
	endpoints := []keystone.Endpoint{
		{ServiceName: "glance", ServiceType: "image", Enabled: true, Region: "eqiad1-r", URL: "http://ctl1:9292", Row: 1},
		{ServiceName: "proxy", ServiceType: "proxy", Enabled: true, Region: "eqiad1-r", URL: "http://proxy:5668", Row: 2},
	}
	for _, test := range []struct{ opt, want string }{
		{"--region eqiad1", `--region: the listing has no region "eqiad1"; it has eqiad1-r; did you mean "eqiad1-r"?`},
		{"--region Mars", `--region: the listing has no region "Mars"; it has eqiad1-r`},
		{"--host glanse:a=10.0.0.1", `--host: the listing has no service "glanse"; did you mean "glance"?`},
		{"--host nova:a=10.0.0.1", `--host: the listing has no service "nova"; it has glance, proxy`},
	} {
		_, err := Draft(endpoints, options(t, test.opt), cat)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.opt, err, test.want)
		}
	}
	for _, name := range []string{"image", "glance-api", "Glance"} {
		if _, err := Draft(endpoints, options(t, "--host "+name+":a=10.0.0.1"), cat); err != nil {
			t.Errorf("--host %s: %v", name, err)
		}
	}
}

func TestScalar(t *testing.T) {
	for _, s := range []string{
		"glance", "", "yes", "No", "true", "null", "~", "7", "0x10", "1e3", "1_000", "12:30", "2026-11-22", ".inf", "-", "- a",
		"/v1/$(tenant_id)s", "/v3/%(project_id)s", "%TAG", "$x", "a b", "a: b", "a #b", "[x]", "{x}", "a,b", "*a", "&a", "!a", "'", `"`, `\`,
		"2001:db8::1", "10.64.20.10/24", "\n", "a\tb", "\x00", "\u2028", "\ufeff", "é", "😀", "=", "<<", "FILL_IN",
	} {
		for _, doc := range []string{"k: " + scalar(s), "k: {x: " + scalar(s) + "}", "k: [" + scalar(s) + ", z]", scalar(s) + ": v"} {
			var got any
			if err := yaml.Load([]byte(doc), &got); err != nil {
				t.Errorf("%q as %s: %v", s, doc, err)
				continue
			}
			if !strings.Contains(fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", s)) {
				t.Errorf("%q as %s is %#v", s, doc, got)
			}
		}
	}
}

// Whatever endpoints come, what is printed is YAML, and its marks are where it says.
func FuzzDraft(f *testing.F) {
	cat := loadCatalog(f)
	f.Add("glance", "image", "http://ctl1:9292", "nova", "compute", "http://ctl2:8774/v2.1", "public", "R", false)
	f.Add("proxy", "proxy", "http://p:5668/x/v1/$(tenant_id)s", "", "volumev3", "https://[::1]:8776/v3/%(project_id)s", "admin", "", true)
	f.Add("FILL_IN", "a\nb", "http://FILL_IN/FILL_IN", "keystone", "identity", "http://$(x)s:$(y)s", "", "yes", false)
	f.Add("ironic-inspector", "baremetal-introspection", "http://a:5050", "adjutant", "registration", "http://b:5050", "public", "R", false)
	f.Fuzz(func(t *testing.T, name1, type1, url1, name2, type2, url2, iface, region string, given bool) {
		endpoints := []keystone.Endpoint{
			{ServiceName: name1, ServiceType: type1, URL: url1, Enabled: true, Interface: iface, Region: region, Row: 1},
			{ServiceName: name2, ServiceType: type2, URL: url2, Enabled: true, Interface: iface, Region: region, Row: 2},
			{ServiceName: name1, ServiceType: type2, URL: url2, Enabled: true, Region: region, Row: 3},
		}
		opt := Options{Source: name2, Hostname: "api.example.org"}
		if given {
			opt.Controllers = []spec.Host{host("ctl1=10.0.0.1"), host("ctl2=10.0.0.2")}
			opt.VIPs = []netip.Prefix{netip.MustParsePrefix("10.0.0.10/24")}
			opt.Interface = "eno1"
		}
		drafted, err := Draft(endpoints, opt, cat)
		if err != nil {
			t.Fatal(err)
		}
		if drafted.Spec == nil {
			return
		}
		var doc map[string]any
		if err := yaml.Load(drafted.Spec, &doc); err != nil {
			t.Fatalf("%v in:\n%s", err, drafted.Spec)
		}
		if services, ok := doc["services"].(map[string]any); !ok || len(services) != len(drafted.Services) {
			t.Fatalf("want services %q in:\n%s", drafted.Services, drafted.Spec)
		}
		checkMarks(t, drafted)
		if t.Failed() {
			t.Logf("the draft:\n%s", drafted.Spec)
		}
	})
}
