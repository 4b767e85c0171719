package haproxy_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// modelOf gives what is kept beside the text of c.
func modelOf(t testing.TB, c *haproxy.Config) []byte {
	t.Helper()
	model, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return model
}

// What an agent leaves beside the text tells the next one all that is in it.
func TestReadConfig(t *testing.T) {
	files, err := filepath.Glob("testdata/render/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := render(parse(t, archive.Files[0].Data))
		got := haproxy.ReadConfig(want.Bytes(), modelOf(t, want))
		if d := cmp.Diff(want.Sections, got.Sections, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(haproxy.Line{}, "Spec"), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" || !got.Known() {
			t.Errorf("%s: known %t\n%s", file, got.Known(), d)
		}
		if c := haproxy.PlanChange(got, want, workerOf(t, want)); c.Reload != "" || len(c.Steps) > 0 {
			t.Errorf("%s: from itself to itself: %+v", file, c)
		}
	}
}

// An agent of an earlier release has left a text only, and one of another release may
// leave a model that is another's. What is in the text is then not known, and a change
// of it takes a reload.
func TestReadConfigOfAnotherRelease(t *testing.T) {
	c := render(changeable())
	s := changeable()
	s.Services[0].Hosts[0].Weight = 32
	changed := render(s)
	model := modelOf(t, c)
	for name, bad := range map[string][]byte{
		"none":                 nil,
		"empty":                []byte("{}"),
		"null":                 []byte("null"),
		"no JSON":              []byte("haproxy"),
		"cut short":            model[:len(model)/2],
		"of another text":      modelOf(t, changed),
		"another release's":    bytes.Replace(model, []byte(`"bind":`), []byte(`"binds":`), 1),
		"with a line the less": bytes.Replace(model, []byte(`{"text":"mode http"},`), nil, 1),
	} {
		got := haproxy.ReadConfig(c.Bytes(), bad)
		if got.Known() || !bytes.Equal(got.Bytes(), c.Bytes()) {
			t.Errorf("%s: known %t", name, got.Known())
		}
		if change := haproxy.PlanChange(got, changed, workerOf(t, c)); change.Reload != haproxy.Unknown || len(change.Steps) > 0 {
			t.Errorf("%s: %+v", name, change)
		}
		if got.Binds() != nil || len(got.H2Addresses()) > 0 {
			t.Errorf("%s: it is not known where it listens: %v", name, got.Binds())
		}
		states, err := haproxy.ServerStates([]byte("1\n3 nova 1 ctl1 10.0.0.1 2 0 16 16 3 15 3 4 6 0 0 1 - 8774 - 0 0 - - 0\n"), got)
		if err != nil || string(states) != haproxy.EmptyState {
			t.Errorf("%s: states that nothing is known of: %q, %v", name, states, err)
		}
	}
	if change := haproxy.PlanChange(haproxy.ReadConfig(c.Bytes(), model), changed, workerOf(t, c)); change.Reload != "" || len(change.Steps) != 5 {
		t.Errorf("with its model: %+v", change)
	}
	if (*haproxy.Config)(nil).Known() || (*haproxy.Config)(nil).Bytes() != nil {
		t.Error("something is known of none")
	}
}

func TestWhereItListens(t *testing.T) {
	s := large(2, 2)
	cfg := haproxy.Render(s, haproxy.Local{RunDir: "/run/holdfast"})
	var got []string
	var binds []netip.AddrPort
	for _, section := range cfg.Sections {
		if section.Bind != nil {
			got, binds = append(got, section.Name+" "+section.Bind.Address.String()), append(binds, section.Bind.Address)
		}
	}
	want := []string{
		"api-v4-service1 10.0.0.10:10000", "api-v4-service2 10.0.0.10:10001",
		"api-v6-service1 [2001:db8::10]:10000", "api-v6-service2 [2001:db8::10]:10001",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if !reflect.DeepEqual(cfg.Binds(), binds) {
		t.Errorf("it listens on %v, and not on %v", cfg.Binds(), binds)
	}
	for i, line := range strings.Split(string(cfg.Bytes()), "\n") {
		if got := cfg.Line(i + 1); got != strings.TrimSpace(line) {
			t.Errorf("line %d is %q, not %q", i+1, line, got)
		}
	}
	other := cfg.WithStateFile("/tmp/x y")
	if !bytes.Contains(other, []byte("\n    server-state-file '/tmp/x y'\n")) || bytes.Contains(other, []byte("/run/holdfast/haproxy.state")) {
		t.Error("the state file was not replaced")
	}
	if bytes.Count(other, []byte("\n")) != bytes.Count(cfg.Bytes(), []byte("\n")) {
		t.Error("lines moved")
	}
	if !bytes.Equal(haproxy.ReadConfig(cfg.Bytes(), nil).WithStateFile("/tmp/x y"), other) {
		t.Error("it is another where only the text is known")
	}
	if !bytes.Contains(cfg.Bytes(), []byte("/run/holdfast/haproxy.state")) || !haproxy.ReadConfig(cfg.Bytes(), modelOf(t, cfg)).Known() {
		t.Error("the configuration itself changed")
	}
}

func TestH2Addresses(t *testing.T) {
	s := large(1, 1)
	if cfg := haproxy.Render(s, haproxy.Local{RunDir: "/run/holdfast"}); len(cfg.H2Addresses()) > 0 || !cfg.HasClosingList() {
		t.Errorf("without TLS: %v, list %t", cfg.H2Addresses(), cfg.HasClosingList())
	}
	s.VIPs[0].TLS = &spec.TLS{}
	want := map[netip.Addr]bool{netip.MustParseAddr("10.0.0.10"): true, netip.MustParseAddr("2001:db8::10"): true}
	if got := haproxy.Render(s, haproxy.Local{}).H2Addresses(); !reflect.DeepEqual(got, want) {
		t.Errorf("with TLS: %v", got)
	}
	s.Services[0].Mode = spec.TCP
	if cfg := haproxy.Render(s, haproxy.Local{RunDir: "/run/holdfast"}); len(cfg.H2Addresses()) > 0 || cfg.HasClosingList() {
		t.Errorf("without HTTP: %v, list %t", cfg.H2Addresses(), cfg.HasClosingList())
	}
}

// Whatever is on the disk, a model is used only where its text is the one beside it.
func FuzzReadConfig(f *testing.F) {
	c := haproxy.Render(large(1, 1), haproxy.Local{RunDir: "/run/holdfast"})
	f.Add(c.Bytes(), modelOf(f, c), 12)
	f.Add([]byte("a\n bind\n bind x\n server\n server a b\n"), []byte(`{"sections":[{"kind":"a","bind":{}}]}`), 0)
	f.Add([]byte("global\n    x\n"), []byte(`{"sections":[{"kind":"global","lines":[{"text":"x"}]}]}`), 2)
	f.Fuzz(func(t *testing.T, text, model []byte, n int) {
		c := haproxy.ReadConfig(text, model)
		if !bytes.Equal(c.Bytes(), text) {
			t.Errorf("the text is %q", c.Bytes())
		}
		c.Line(n)
		c.H2Addresses()
		c.Binds()
		c.WithStateFile("/x")
		if c.Known() && !haproxy.ReadConfig(text, modelOf(t, c)).Known() {
			t.Errorf("what it leaves is not what it takes: %s", modelOf(t, c))
		}
	})
}

// An agent that starts reads the model of a large cloud once.
func BenchmarkReadConfig100x50(b *testing.B) {
	c := haproxy.Render(large(100, 50), haproxy.Local{})
	model := modelOf(b, c)
	for b.Loop() {
		if !haproxy.ReadConfig(c.Bytes(), model).Known() {
			b.Fatal("not known")
		}
	}
	b.ReportMetric(float64(len(model)), "bytes")
}
