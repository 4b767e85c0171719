package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"holdfast/internal/importer"
	"holdfast/internal/keystone"
	"holdfast/internal/keystone/keystonetest"
	"holdfast/internal/spec"
)

// filledIn gives a draft with something of use at each of its marks.
func filledIn(t *testing.T, drafted importer.Drafted) string {
	t.Helper()
	lines := strings.Split(string(drafted.Spec), "\n")
	for n, f := range drafted.FillIn {
		place, last := f.Path, f.Path[strings.LastIndexByte(f.Path, '.')+1:]
		network, prefix := "10.64.20.", 24
		if strings.Contains(string(drafted.Spec), `"2001:`) {
			network, prefix = "2001:db8::", 64
		}
		value := map[string]string{
			"hostname": fmt.Sprintf("vip%d.example.net", n), "interface": "eno1", "certificate": "/etc/holdfast/tls/api.pem",
			"name": fmt.Sprintf("host%d", n), "address": fmt.Sprintf("%q", fmt.Sprintf("%s%d", network, 100+n)), "port": fmt.Sprint(7000 + n),
		}[last]
		if strings.HasPrefix(last, "addresses") {
			value = fmt.Sprintf("%q", fmt.Sprintf("%s%d/%d", network, 200+n, prefix))
			if strings.Contains(lines[f.Line-1], "/FILL_IN") {
				value = "24"
			}
		}
		if value == "" {
			t.Fatalf("nothing is known for %s", place)
		}
		lines[f.Line-1] = strings.Replace(lines[f.Line-1], importer.Mark, value, 1)
	}
	return strings.Join(lines, "\n")
}

// What a kind of cloud prints becomes a spec; what that has to be changed of its catalog is
// changed, and then nothing is left to change; and a rollback makes it what it was.
func TestCloudsThereAndBack(t *testing.T) {
	files, err := filepath.Glob("../../importer/testdata/draft/cloud-*.txtar")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d lists, %v", len(files), err)
	}
	cat := known(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			endpoints, findings := importer.ParseListing("list.csv", archive.Files[0].Data)
			if len(findings) > 0 {
				t.Fatal(findings)
			}
			drafted, err := importer.Draft(endpoints, importer.Options{Source: "list.csv"}, cat)
			if err != nil {
				t.Fatal(err)
			}
			s, found := spec.Parse("holdfast.yaml", []byte(filledIn(t, drafted)))
			if s == nil {
				t.Fatalf("%v\n%s", found, drafted.Spec)
			}
			var lines strings.Builder
			for i, e := range endpoints {
				fmt.Fprintf(&lines, "e%02d %s %s %s %s %s\n", i, e.Region, e.ServiceName, e.ServiceType, e.Interface, e.URL)
			}
			first, err := keystonetest.Read(lines.String())
			if err != nil {
				t.Fatal(err)
			}
			there, client := connectTo(t, first)
			a := &Applier{
				Client: client, Prober: &Prober{client: &http.Client{Transport: everywhere{}}}, Journals: Journals{Dir: t.TempDir()}, Spec: s, Catalog: cat,
				Tell: func(string) {}, Wait: time.Minute, pause: time.Millisecond,
			}
			plan := func() keystone.Plan {
				state, err := client.State(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return keystone.MakePlan(state, s, cat, keystone.PlanOptions{})
			}
			was := there.Catalog()
			todo := plan()
			for _, f := range todo.Findings {
				if f.Code == "bad-url" || f.Code == "wrong-type" || f.Code == "loses-tls" {
					t.Errorf("%s", f)
				}
			}
			if !todo.Empty() {
				if _, err := a.Apply(t.Context(), todo, keystone.PlanOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if again := plan(); !again.Empty() {
				t.Errorf("there is still to do:\n%s", again.Diff())
			}
			for _, e := range there.Catalog().Endpoints {
				if e.Region == s.Region && !strings.Contains(e.URL, "example") && !strings.Contains(e.URL, "svc.cluster.local") {
					t.Errorf("%s is as it was", e.URL)
				}
			}
			journals, err := a.Journals.Latest()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Rollback(t.Context(), journals, false); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(was, there.Catalog()); diff != "" {
				t.Errorf("after the rollback, -first +now:\n%s", diff)
			}
		})
	}
}

// everywhere is a network in which all URLs answer.
type everywhere struct{}

func (everywhere) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// connectTo starts a Keystone with that catalog, and connects to it.
func connectTo(t *testing.T, catalog keystonetest.Catalog) (*keystonetest.Keystone, *Client) {
	t.Helper()
	there := keystonetest.New(catalog, 0)
	server := httptest.NewServer(there)
	t.Cleanup(server.Close)
	client, err := Connect(t.Context(), Auth{
		Source: "the test", URL: server.URL + "/v3", Method: ByPassword,
		User: "admin", UserDomainID: "default", Project: "admin", ProjectDomainID: "default", Password: NewSecret(keystonetest.Password),
	})
	if err != nil {
		t.Fatal(err)
	}
	client.identity.HTTPClient = http.Client{Timeout: time.Minute, Transport: ledTo{server.Listener.Addr().String()}}
	return there, client
}

// ledTo is a network in which every name leads to a Keystone, below any path.
type ledTo struct{ address string }

func (l ledTo) RoundTrip(r *http.Request) (*http.Response, error) {
	to := r.Clone(r.Context())
	to.URL.Scheme, to.URL.Host = "http", l.address
	to.URL.Path = to.URL.Path[strings.Index(to.URL.Path, "/v3"):]
	return http.DefaultTransport.RoundTrip(to)
}
