package catalog_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"holdfast/internal/catalog"
)

func load(t testing.TB) catalog.Catalog {
	t.Helper()
	c, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, c catalog.Catalog, name string) catalog.Service {
	t.Helper()
	s, ok := c.Lookup(name)
	if !ok {
		t.Fatalf("no service %q", name)
	}
	return s
}

// Every entry must have all that rendering and checking need.
func TestEveryEntryIsComplete(t *testing.T) {
	c := load(t)
	if n := len(c.Names()); n < 25 {
		t.Errorf("%d services, want at least 25", n)
	}
	for _, name := range c.Names() {
		s := get(t, c, name)
		for _, problem := range problems(c, s) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

func problems(c catalog.Catalog, s catalog.Service) []string {
	var all []string
	check := func(ok bool, problem string) {
		if !ok {
			all = append(all, problem)
		}
	}
	check(regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString(s.Name), "odd name")
	check(s.Port > 0 && s.Port < 65536, "port out of range")
	check(s.Path == "" || strings.HasPrefix(s.Path, "/"), "path without /")
	check(s.Mode == "http" || s.Mode == "tcp", "odd mode")
	check(slices.Contains([]string{"source", "cookie", "token", "none"}, s.Affinity), "odd affinity")
	check(s.Mode == "http" || s.Affinity == "source" || s.Affinity == "none", "affinity that needs HTTP")
	check(s.Mode == "tcp" || s.Check.Layer == 7, "an http service checked in layer 4")
	checks := []catalog.Check{s.Check}
	before := -1
	for _, b := range s.Before {
		at := slices.Index(c.Releases(), b.Release)
		check(at > before, "releases out of order")
		before = at
		checks = append(checks, b.Check)
	}
	for _, k := range checks {
		check(soundCheck(k), "incomplete check")
	}
	for _, r := range s.SafePosts {
		check(r.Method == "POST" && strings.HasPrefix(r.Path, "/") && r.Reason != "", "incomplete safe post")
	}
	return all
}

func soundCheck(k catalog.Check) bool {
	if k.Layer == 4 {
		return k.Method == "" && k.Path == "" && k.Expect == nil
	}
	failing := func(r catalog.CodeRange) bool { return r.To >= 500 || r.From <= 404 && r.To >= 404 }
	other := func(p string) bool { return !strings.HasPrefix(p, "/") || p == k.Path }
	return k.Layer == 7 && !slices.ContainsFunc(k.Others, other) && (k.Method == "GET" || k.Method == "HEAD") && strings.HasPrefix(k.Path, "/") &&
		len(k.Expect) > 0 && !slices.ContainsFunc(k.Expect, failing)
}

// A type must lead to one service, except where two take each other's place.
func TestTypesAreTold(t *testing.T) {
	c := load(t)
	for _, name := range c.Names() {
		for _, typ := range get(t, c, name).Types {
			var found []string
			for _, s := range c.ByType(typ) {
				found = append(found, s.Name)
			}
			if len(found) != 1 && !slices.Equal(found, []string{"swift", "rgw"}) {
				t.Errorf("type %s is that of %v", typ, found)
			}
		}
	}
}

// Every entry says in its comment where its facts come from.
func TestEveryEntryHasASource(t *testing.T) {
	data, err := os.ReadFile("services.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Load(data, &doc); err != nil {
		t.Fatal(err)
	}
	source := regexp.MustCompile(`\b(guide|paste|kolla|osa|tripleo|wmf|measured)\b`)
	root := doc.Content[0]
	services := root.Content[len(root.Content)-1]
	for _, entry := range services.Content {
		comment := entry.HeadComment + entry.Content[0].HeadComment
		if !source.MatchString(comment) {
			t.Errorf("line %d: %s has no source", entry.Line, entry.Content[1].Value)
		}
	}
}

// The facts that hurt when they are wrong.
func TestChecks(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		service, release string
		want             string
	}{
		{"keystone", "", "GET /healthcheck 200"},
		{"glance", "zed", "GET /healthcheck 200"},
		{"nova", "", "GET / 200,300"},
		{"nova-metadata", "", "GET / 200"},
		{"placement", "", "GET / 200"},
		{"neutron", "", "GET /healthcheck 200"},
		{"neutron", "victoria", "GET /healthcheck 200"},
		{"neutron", "ussuri", "GET / 200"},
		{"neutron", "Train", "GET / 200"},
		{"cinder", "ussuri", "GET / 200,300"},
		{"cinder", "2023.1", "GET /healthcheck 200"},
		{"cinder", "antelope", "GET /healthcheck 200"},
		{"barbican", "victoria", "GET / 200,300"},
		{"barbican", "wallaby", "GET /healthcheck 200"},
		{"designate", "", "GET /healthcheck 200"},
		{"blazar", "", "GET / 200,300,401"},
		{"serial", "", "HEAD / 405"},
		{"rgw", "", "GET /swift/healthcheck 200"},
		{"grafana", "", "GET /api/health 200"},
		{"prometheus", "", "GET /-/healthy 200,401"},
		{"opensearch", "", "GET / 200,401"},
		{"proxysql", "", "  "},
		{"mariadb", "", "  "},
	} {
		k := c.CheckFor(get(t, c, tt.service), tt.release)
		var codes []string
		for _, r := range k.Expect {
			codes = append(codes, r.String())
		}
		if got := k.Method + " " + k.Path + " " + strings.Join(codes, ","); got != tt.want {
			t.Errorf("%s in %q: %q, want %q", tt.service, tt.release, got, tt.want)
		}
	}
}

func TestLookup(t *testing.T) {
	c := load(t)
	for alias, want := range map[string]string{
		"keystone": "keystone", "cinderv3": "cinder", "Nova": "nova", "nova-novncproxy": "novnc", "manilav2": "manila", "mysql": "mariadb",
	} {
		if got := get(t, c, alias).Name; got != want {
			t.Errorf("Lookup(%q) = %s, want %s", alias, got, want)
		}
	}
	if s, ok := c.Lookup("proxy"); ok {
		t.Errorf("proxy is not known, got %v", s)
	}
	for port, want := range map[int][]string{9292: {"glance"}, 5050: {"ironic-inspector", "adjutant"}, 1: nil} {
		var got []string
		for _, s := range c.ByPort(port) {
			got = append(got, s.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("ByPort(%d) = %v, want %v", port, got, want)
		}
	}
	if got := c.ByType("volumev3"); len(got) != 1 || got[0].Name != "cinder" {
		t.Errorf("ByType(volumev3) = %v", got)
	}
	if got, _ := c.Nearest("keystnoe"); got != "keystone" {
		t.Errorf("Nearest(keystnoe) = %q", got)
	}
}

func TestReleases(t *testing.T) {
	c := load(t)
	for name, want := range map[string]string{"zed": "zed", "Antelope": "2023.1", "2023.1": "2023.1", "": "", "essex": ""} {
		if got, ok := c.Release(name); got != want || ok != (want != "") {
			t.Errorf("Release(%q) = %q, %v, want %q", name, got, ok, want)
		}
	}
}

func TestSafePosts(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		service, method, path string
		want                  bool
	}{
		{"keystone", "POST", "/v3/auth/tokens", true},
		{"keystone", "GET", "/v3/auth/tokens", false},
		{"keystone", "POST", "/v3/users", false},
		{"keystone", "POST", "/v3/auth/tokens/", false},
		{"heat", "POST", "/v1/0123abc/validate", true},
		{"heat", "POST", "/v1//validate", false},
		{"heat", "POST", "/v1/0123abc/stacks", false},
		{"heat", "POST", "/v1/a/b/validate", false},
		{"nova", "POST", "/v2.1/servers", false},
	} {
		got := slices.ContainsFunc(get(t, c, tt.service).SafePosts, func(r catalog.Request) bool { return matches(r, tt.method, tt.path) })
		if got != tt.want {
			t.Errorf("%s %s of %s is safe to repeat: %v, want %v", tt.method, tt.path, tt.service, got, tt.want)
		}
	}
}

// matches reports whether r covers a request of method for path (without query).
func matches(r catalog.Request, method, path string) bool {
	if method != r.Method {
		return false
	}
	want, got := strings.Split(r.Path, "/"), strings.Split(path, "/")
	return slices.EqualFunc(want, got, func(w, g string) bool {
		return w == g || w == "*" && g != ""
	})
}

func TestParseCodes(t *testing.T) {
	for _, tt := range []struct {
		list string
		want []catalog.CodeRange
	}{
		{"200", []catalog.CodeRange{{200, 200}}},
		{"200-499", []catalog.CodeRange{{200, 499}}},
		{" 300-308 , 200", []catalog.CodeRange{{200, 200}, {300, 308}}},
		{"201,200,202-204", []catalog.CodeRange{{200, 204}}},
		{"200-299,250", []catalog.CodeRange{{200, 299}}},
		{"", nil},
		{"200-", nil},
		{"-200", nil},
		{"99", nil},
		{"600", nil},
		{"499-200", nil},
		{"2xx", nil},
		{"200,,300", nil},
		{"+20", nil},
		{"0200", nil},
	} {
		got, err := catalog.ParseCodes(tt.list)
		if (err == nil) != (tt.want != nil) {
			t.Errorf("ParseCodes(%q): %v", tt.list, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("ParseCodes(%q): %s", tt.list, diff)
		}
	}
}

func TestNearest(t *testing.T) {
	candidates := []string{"affinity", "check", "hosts", "mode", "path", "port", "timeout", "type"}
	for word, want := range map[string]string{
		"prot": "port", "ports": "port", "host": "hosts", "timout": "timeout", "tiemout": "timeout", "typ": "type",
		"afinity": "affinity", "affinitty": "affinity", "check": "check", "mdoe": "mode", "aff": "affinity",
		"x": "", "": "", "backend": "", "healthcheck": "", "pa": "", "TYPE": "",
	} {
		if got, ok := catalog.Nearest(word, candidates); got != want || ok != (want != "") {
			t.Errorf("Nearest(%q) = %q, %v, want %q", word, got, ok, want)
		}
	}
}
