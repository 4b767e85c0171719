package web

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/web/page"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got); go test -update writes it anew:\n%s", path, diff)
	}
}

func TestPage(t *testing.T) {
	for name, v := range demoViews() {
		t.Run(name, func(t *testing.T) {
			s := demoServer(v)
			m := s.model(v)
			m.Stamp = "STAMP"
			html, err := s.page.Render("page.html", m)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".html", html)
		})
	}
}

// TestPageOfManyHosts proves that a service on more hosts than fit shows those
// that need a look.
func TestPageOfManyHosts(t *testing.T) {
	a := demoAnswers(20)
	demoHost(a, "nova", demoName(6), status.Down, 0, "connection refused")
	v := view{cloud: cloud.Merge(demoNow, "", a)}
	s := demoServer(v)
	html, err := s.page.Render("services", s.model(v))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"19 of 20 up", "20 of 20 up", "connection refused"} {
		if !strings.Contains(string(html), want) {
			t.Errorf("no %q in\n%s", want, html)
		}
	}
	if strings.Contains(string(html), demoName(5)) {
		t.Error("a host that is well is shown")
	}
}

// TestPageEscapes proves that words of other machines stay words.
func TestPageEscapes(t *testing.T) {
	const hostile = `"><script>alert(1)</script>`
	a := demoAnswers(2)
	s := a[0].Snapshot
	s.Cloud, s.Version, s.Config.Digest, s.HAProxy.Reason = hostile, hostile, hostile, hostile
	s.VIPs[0].Hostname, s.VIPs[0].Reason = hostile, hostile
	s.Services[0].Hosts[0].Check, s.Services[0].Hosts[0].State = hostile, status.Down
	s.Services[0].Hosts[0].Name = hostile
	a[1].Snapshot, a[1].Error, a[1].Address = nil, hostile, "javascript:alert(1)"
	v := viewOf(a, []status.Event{{Controller: hostile, Text: hostile, Cause: hostile, Subject: hostile}})
	server := demoServer(v)
	html, err := server.page.Render("page.html", server.model(v))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(html), "<script"); n != 1 {
		t.Errorf("%d scripts:\n%s", n, html)
	}
	if strings.Contains(string(html), `href="javascript`) {
		t.Error("an address became a script")
	}
}

// TestPageIsSelfContained proves that the page asks no other host for anything,
// and has all that its script fills.
func TestPageIsSelfContained(t *testing.T) {
	for _, name := range []string{"page.html", "style.css", "live.js"} {
		data, err := os.ReadFile("page/assets/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.Index(string(data), "//"); name != "live.js" && i >= 0 {
			t.Errorf("%s names another host: %s", name, data[i:min(i+60, len(data))])
		}
	}
	s := demoServer(view{})
	html, err := s.page.Render("page.html", s.model(view{}))
	if err != nil {
		t.Fatal(err)
	}
	missing := slices.DeleteFunc(page.Parts(), func(id string) bool { return strings.Contains(string(html), `id="`+id+`"`) })
	if len(missing) > 0 {
		t.Errorf("the page has no element for %v", missing)
	}
}
