package spec_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"holdfast/internal/spec"
	"holdfast/internal/status"
)

func mustParse(t testing.TB, text string) *spec.Spec {
	t.Helper()
	s, findings := spec.Parse("holdfast.yaml", []byte(text))
	for _, f := range findings {
		if f.Severity == status.Error {
			t.Error(f)
		}
	}
	if s == nil {
		t.Fatal("no spec")
	}
	return s
}

// base is a whole spec around services, which are given without their key.
func base(services string) string {
	return `vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 51}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  ` + strings.ReplaceAll(strings.TrimSpace(services), "\n", "\n  ") + "\n"
}

// An example with every key, and what every default of it is.
func TestDesignExample(t *testing.T) {
	text := read(t, "testdata/design.yaml")
	s, findings := spec.Parse("holdfast.yaml", []byte(text))
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	wantVIPs := []spec.VIP{{
		Name:      "api",
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.64.20.10/24")},
		Hostname:  "openstack.eqiad1.wikimediacloud.org",
		Announce:  spec.AnnounceVRRP,
		Interface: "eno1",
		Device:    spec.Direct,
		Endpoints: []string{"public", "internal", "admin"},
		Prefer:    []string{"cloudcontrol1003", "cloudcontrol1004", "cloudcontrol1005"},
		VRRP:      spec.VRRP{RouterID: 51, Interval: 100 * time.Millisecond, Peers: spec.Unicast, Checksum: spec.ChecksumRFC, StartupDelay: 30 * time.Second},
		TLS:       &spec.TLS{Certificate: "/etc/holdfast/tls/api.pem", MinVersion: "1.2"},
	}}
	if diff := cmp.Diff(wantVIPs, s.VIPs, cmpopts.EquateComparable(netip.Prefix{}, netip.AddrPort{})); diff != "" {
		t.Errorf("vips: %s", diff)
	}
	var names []string
	for _, svc := range s.Services {
		names = append(names, svc.Name)
	}
	if want := []string{"keystone", "glance", "neutron", "nova", "designate", "proxy"}; !slices.Equal(names, want) {
		t.Errorf("services %v, want %v, the order of the file", names, want)
	}
	if s.Cloud != "eqiad1" || s.Region != "eqiad1-r" || s.Agent != (spec.Agent{Port: 9470, CheckPort: 9471, HandoverLimit: time.Hour, Authentication: spec.ReceiveOnly}) || len(s.Digest) != 12 {
		t.Errorf("got %+v", s)
	}
	if c := s.Controllers[2]; s.Interface(s.VIPs[0], c) != "enp2s0" {
		t.Errorf("interface of %s is %s", c.Name, s.Interface(s.VIPs[0], c))
	}
}

func TestDefaultsOfTheFile(t *testing.T) {
	s := mustParse(t, base("keystone:"))
	if s.Region != "RegionOne" || s.Cloud != "RegionOne" || s.Release != "" {
		t.Errorf("cloud %q, region %q, release %q", s.Cloud, s.Region, s.Release)
	}
	v := s.VIPs[0]
	if v.Device != spec.Direct || v.VRRP.Preempt || v.VRRP.Peers != spec.Unicast || v.TLS != nil || len(v.Endpoints) != 3 {
		t.Errorf("vip: %+v", v)
	}
}

// What the file says of a service is laid over what the catalog knows of it.
func TestServices(t *testing.T) {
	usual := []spec.CodeRange{{From: 200, To: 399}}
	ok := []spec.CodeRange{{From: 200, To: 200}}
	hosts := []spec.Host{{Name: "ctl1", Address: netip.MustParseAddr("10.64.20.13"), Weight: 16}, {Name: "ctl2", Address: netip.MustParseAddr("10.64.20.14"), Weight: 16}}
	for _, tt := range []struct {
		name, text, release string
		want                spec.Service
	}{
		{"null is {}", "placement:", "", spec.Service{
			Name: "placement", Type: "placement", Types: []string{"placement"}, Port: 8778, Mode: "http",
			Check: spec.Check{Layer: 7, Method: "GET", Path: "/", Expect: ok}, Affinity: "source",
		}},
		{"alias keeps its name", "cinderv3: {}", "", spec.Service{
			Name: "cinderv3", Type: "block-storage", Types: []string{"block-storage", "volumev3", "volumev2", "volume", "block-store"},
			Port: 8776, Path: "/v3/%(project_id)s", Mode: "http", Affinity: "source", Timeout: spec.Timeout{Server: 2 * time.Minute},
			Check: spec.Check{Layer: 7, Method: "GET", Path: "/healthcheck", Expect: ok},
		}},
		{"each key overrides", "glance: {type: image2, port: 19292, path: /g, affinity: token, timeout: {server: 1h}, check: {expect: 204}}", "", spec.Service{
			Name: "glance", Type: "image2", Types: []string{"image2"}, Port: 19292, Path: "/g", Mode: "http", Affinity: "token",
			Timeout: spec.Timeout{Client: 6 * time.Hour, Server: time.Hour},
			Check:   spec.Check{Layer: 7, Method: "GET", Path: "/healthcheck", Expect: []spec.CodeRange{{From: 204, To: 204}}},
		}},
		{"codes belong to a path", "barbican: {check: {path: /v1}}", "", spec.Service{
			Name: "barbican", Type: "key-manager", Types: []string{"key-manager"}, Port: 9311, Mode: "http", Affinity: "source",
			Check: spec.Check{Layer: 7, Method: "GET", Path: "/v1", Expect: usual},
		}},
		{"codes belong to a method", "barbican: {check: {method: HEAD}}", "", spec.Service{
			Name: "barbican", Type: "key-manager", Types: []string{"key-manager"}, Port: 9311, Mode: "http", Affinity: "source",
			Check: spec.Check{Layer: 7, Method: "HEAD", Path: "/healthcheck", Expect: usual},
		}},
		{"an older release", "barbican: {}", "victoria", spec.Service{
			Name: "barbican", Type: "key-manager", Types: []string{"key-manager"}, Port: 9311, Mode: "http", Affinity: "source",
			Check: spec.Check{Layer: 7, Method: "GET", Path: "/", Expect: []spec.CodeRange{{From: 200, To: 200}, {From: 300, To: 300}}},
		}},
		{"of your own", "web: {type: web, port: 8000}", "", spec.Service{
			Name: "web", Type: "web", Types: []string{"web"}, Port: 8000, Mode: "http", Affinity: "source",
			Check: spec.Check{Layer: 7, Method: "GET", Path: "/", Expect: usual},
		}},
		{"tcp of your own", "redis: {mode: tcp, port: 6379, affinity: none}", "", spec.Service{
			Name: "redis", Port: 6379, Mode: "tcp", Affinity: "none", Check: spec.Check{Layer: 4},
		}},
		{"tcp with a request", "redis: {mode: tcp, port: 6379, check: {path: /health}}", "", spec.Service{
			Name: "redis", Port: 6379, Mode: "tcp", Affinity: "source", Check: spec.Check{Layer: 7, Method: "GET", Path: "/health", Expect: usual},
		}},
		{"a database", "mariadb:", "", spec.Service{
			Name: "mariadb", Port: 3306, Mode: "tcp", Affinity: "source", Check: spec.Check{Layer: 4},
			Timeout: spec.Timeout{Client: 90 * time.Minute, Server: 90 * time.Minute},
		}},
		{"browsers", "horizon:", "", spec.Service{
			Name: "horizon", Port: 80, Mode: "http", Affinity: "cookie",
			Check: spec.Check{Layer: 7, Method: "GET", Path: "/", Expect: []spec.CodeRange{{From: 200, To: 302}}},
		}},
		{"made tcp", "horizon: {mode: tcp, port: 443}", "", spec.Service{
			Name: "horizon", Port: 443, Mode: "tcp", Affinity: "source", Check: spec.Check{Layer: 4},
		}},
		{"a mere connect", "web: {type: web, port: 8000, check: {layer: 4}}", "", spec.Service{
			Name: "web", Type: "web", Types: []string{"web"}, Port: 8000, Mode: "http", Affinity: "source", Check: spec.Check{Layer: 4},
		}},
		{"metadata", "nova-metadata:", "", spec.Service{
			Name: "nova-metadata", Port: 8775, Mode: "http", Affinity: "source", KeepForwarded: true,
			Check: spec.Check{Layer: 7, Method: "GET", Path: "/", Expect: ok},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := base(tt.text)
			if tt.release != "" {
				text = "release: " + tt.release + "\n" + text
			}
			got := mustParse(t, text).Services[0]
			tt.want.Hosts = hosts
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWeights(t *testing.T) {
	s := mustParse(t, base("glance: {hosts: [{name: a, address: 10.64.20.23, weight: 1}, {name: b, address: 10.64.20.24, weight: 256}, {name: c, address: 10.64.20.25}]}"))
	var got []int
	for _, h := range s.Services[0].Hosts {
		got = append(got, h.Weight)
	}
	if want := []int{1, 256, spec.DefaultWeight}; !slices.Equal(got, want) {
		t.Errorf("weights %v, want %v", got, want)
	}
}

func TestSafePostsComeFromTheCatalog(t *testing.T) {
	s := mustParse(t, base("keystone:"))
	if !slices.Contains(s.Services[0].SafePosts, "/v3/auth/tokens") {
		t.Errorf("keystone's safe posts: %v", s.Services[0].SafePosts)
	}
}

func TestDigestIsThatOfTheBytes(t *testing.T) {
	a, b := mustParse(t, base("keystone:")), mustParse(t, base("keystone:")+"# a comment\n")
	if a.Digest == b.Digest {
		t.Error("another file has the same digest")
	}
	if a.Digest != mustParse(t, base("keystone:")).Digest {
		t.Error("the same file has another digest")
	}
}

// What one file can have us say and hold is bounded.
func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		name, text, code string
	}{
		{"huge file", strings.Repeat("# nothing\n", 1<<19), "too-large"},
		{"deep file", strings.Repeat("[", 100_000), "syntax"},
		{"many findings", "services:\n" + strings.Repeat("  ? [a]\n  : b\n", 5000), "too-many"},
		{"many aliases", bomb(), "too-large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, findings := spec.Parse("f", []byte(tt.text))
			found := slices.ContainsFunc(findings, func(f status.Finding) bool { return f.Code == tt.code })
			if s != nil || !found || len(findings) > 1001 {
				t.Errorf("spec %v, %d findings, want %q among them", s != nil, len(findings), tt.code)
			}
		})
	}
}

// bomb is 3000 services with the same 1000 hosts each, in 100 kB.
func bomb() string {
	var b strings.Builder
	b.WriteString("services:\n  a:\n    hosts: &h\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "    - {name: h%d, address: 10.65.%d.%d}\n", i, i/200, i%200+1)
	}
	for i := range 3000 {
		fmt.Fprintf(&b, "  s%d: {hosts: *h}\n", i)
	}
	return b.String()
}

func TestLongLinesAreCut(t *testing.T) {
	_, findings := spec.Parse("f", []byte("cloud: x\n"+strings.Repeat("a", 5000)+": 1\n"))
	for _, f := range findings {
		if len(f.Line) > 1010 || len(f.String()) > 1000 {
			t.Errorf("a finding with a line of %d and a text of %d bytes", len(f.Line), len(f.String()))
		}
	}
}

// What a caller does with a Spec must not fail, whatever the file was.
func FuzzParse(f *testing.F) {
	f.Add([]byte(base("keystone: {}\nredis: {mode: tcp, port: 6379}")))
	f.Add([]byte(base("glance: &a {hosts: [{name: a, address: ::1}], check: {expect: 200}}\nnova: {<<: *a}")))
	f.Add([]byte("cloud: [a\n"))
	f.Add([]byte("\ufeff# x\r\n---\nservices: FILL_IN\n"))
	for _, input := range goldenInputs(f) {
		f.Add(input)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, findings := spec.Parse("f", data)
		if (s == nil) != (status.Worst(findings) == status.Error) {
			t.Fatalf("spec is nil: %v, findings: %v", s == nil, findings)
		}
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, finding := range findings {
			if finding.Where.Line > lines || finding.Text == "" || finding.Code == "" || strings.Contains(finding.String(), "\n") {
				t.Errorf("odd finding %+v", finding)
			}
		}
		if s != nil {
			checkConsistent(t, s)
		}
	})
}

func checkConsistent(t *testing.T, s *spec.Spec) {
	if len(s.VIPs) == 0 || len(s.Controllers) == 0 || len(s.Services) == 0 {
		t.Fatalf("a spec without what it is made of: %+v", s)
	}
	ports := map[int]bool{s.Agent.Port: true, s.Agent.CheckPort: true}
	if len(ports) != 2 {
		t.Error("the agents' ports are one")
	}
	for _, svc := range s.Services {
		if svc.Port < 1 || svc.Port > 65535 || ports[svc.Port] || len(svc.Hosts) == 0 || svc.Mode == "" || svc.Affinity == "" {
			t.Errorf("odd service %+v", svc)
		}
		ports[svc.Port] = true
		if k := svc.Check; k.Layer != 4 && (k.Layer != 7 || k.Method == "" || k.Path == "" || len(k.Expect) == 0) {
			t.Errorf("odd check %+v", k)
		}
	}
	addrs := map[netip.Addr]bool{}
	for _, c := range s.Controllers {
		if !c.Address.IsValid() || addrs[c.Address] || s.Priority(s.VIPs[0], c.Name) < 1 {
			t.Errorf("odd controller %+v", c)
		}
		addrs[c.Address] = true
	}
	if b := s.BGP; len(s.Announced()) > 0 && (b == nil || b.Engine == spec.EngineEmbedded && (b.ASN == 0 || len(b.Peers) == 0 || b.HoldTime == 0 || len(b.RouterIDs) < len(s.Controllers))) {
		t.Errorf("odd bgp %+v", b)
	}
	for _, v := range s.VIPs {
		if len(v.Addresses) == 0 || v.Hostname == "" || v.Announce == spec.AnnounceVRRP && (v.VRRP.RouterID < 1 || v.VRRP.Interval < 10*time.Millisecond) {
			t.Errorf("odd VIP %+v", v)
		}
		for _, p := range v.Addresses {
			if !p.IsValid() || addrs[p.Addr()] {
				t.Errorf("odd address %v", p)
			}
			addrs[p.Addr()] = true
		}
		for _, c := range s.Controllers {
			if s.Interface(v, c) == "" {
				t.Errorf("%s does not know where to activate %s", c.Name, v.Name)
			}
		}
	}
}

// large is 100 services on 50 hosts each.
func large() string {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "svc%d:\n  type: type%d\n  port: %d\n  check: {path: /healthcheck, expect: \"200,300\"}\n  hosts:\n", i, i, 10000+i)
		for h := range 50 {
			fmt.Fprintf(&b, "    - {name: host%d, address: 10.65.%d.%d}\n", h, h/200, h%200+1)
		}
	}
	return base(b.String())
}

func BenchmarkParse(b *testing.B) {
	for name, text := range map[string]string{"design": read(b, "testdata/design.yaml"), "100services50hosts": large()} {
		b.Run(name, func(b *testing.B) {
			data := []byte(text)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if s, findings := spec.Parse("f", data); s == nil {
					b.Fatal(findings)
				}
			}
		})
	}
}
