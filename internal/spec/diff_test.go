package spec_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/spec"
)

const diffBase = `cloud: one
vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 51}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  keystone: {}
  glance: {}
  designate:
    hosts: [{name: ns1, address: 10.64.20.23}, {name: ns2, address: 10.64.20.24}]
`

func diffLine(c spec.Change) string {
	return fmt.Sprintf("%s %s|%s|%s|%s", c.Kind, c.Subject, c.Key, c.Old, c.New)
}

func TestDiff(t *testing.T) {
	for _, tt := range []struct {
		name, old, new string
		want           []string
	}{
		{"nothing", "", "", nil},
		{"the writing only", "glance: {}", "# a comment\n  glance: {port: 9292, affinity: source}", nil},
		{"the top", "cloud: one", "cloud: two\nagent: {handover_limit: 2h}", []string{"changed spec|cloud|one|two", "changed spec|agent.handover_limit|1h|2h"}},
		{"a timeout and a check", "glance: {}", "glance: {timeout: {server: 90s}, check: {expect: \"200,300-308\"}}", []string{
			"changed service glance|check|GET /healthcheck: 200|GET /healthcheck: 200,300-308", "changed service glance|timeout.server|6h|1m30s",
		}},
		{"a service comes", "glance: {}", "glance: {}\n  nova: {}", []string{"added service nova|||port 8774, type compute, compute_legacy, computev21, check GET /: 200,300, affinity source"}},
		{"a service comes with hosts", "glance: {}", "glance: {}\n  etcd: {hosts: [{name: a, address: 10.64.20.30}, {name: b, address: 10.64.20.31}]}", []string{
			"added service etcd|||port 2379, check GET /health: 200, affinity source, mode tcp, on a, b",
		}},
		{"a service goes", "  glance: {}\n", "", []string{"removed service glance||port 9292, type image, check GET /healthcheck: 200, affinity source|"}},
		{"a weight", "address: 10.64.20.24}", "address: 10.64.20.24, weight: 32}", []string{"changed host ns2 of service designate|weight|16|32"}},
		{"a host goes, another comes", "name: ns2, address: 10.64.20.24", "name: ns3, address: 10.64.20.25", []string{
			"added host ns3 of service designate|||address 10.64.20.25, weight 16", "removed host ns2 of service designate||address 10.64.20.24, weight 16|",
		}},
		{"a controller comes", "services:", "  - {name: ctl3, address: 10.64.20.15}\nservices:", []string{"added controller ctl3|||address 10.64.20.15"}},
		{"hosts of its own", "glance: {}", "glance: {hosts: [{name: ctl1, address: 10.64.20.13}, {name: g, address: 10.64.20.30}]}", []string{
			"added host g of service glance|||address 10.64.20.30, weight 16", "removed host ctl2 of service glance||address 10.64.20.14, weight 16|",
		}},
		{
			"the order of preference", "  - {name: ctl1, address: 10.64.20.13}\n  - {name: ctl2, address: 10.64.20.14}\n",
			"  - {name: ctl2, address: 10.64.20.14}\n  - {name: ctl1, address: 10.64.20.13}\n",
			[]string{"changed controllers|order|ctl1, ctl2|ctl2, ctl1", "changed vip api|prefer|ctl1, ctl2|ctl2, ctl1"},
		},
		{"who is to have the vip", "vrrp: {router_id: 51}", "vrrp: {router_id: 51}, prefer: [ctl2]", []string{"changed vip api|prefer|ctl1, ctl2|ctl2, ctl1"}},
		{"the vip", "router_id: 51", "router_id: 52, interval: 20ms", []string{"changed vip api|vrrp.router_id|51|52", "changed vip api|vrrp.interval|100ms|20ms"}},
		{"a port for all", "vrrp: {router_id: 51}", "vrrp: {router_id: 51}, endpoints: [public], tls: {certificate: /a.pem, more: [{certificate: /b.pem, key: /b.key}]}, public: {by: name, services: {glance: /image, designate: {path: /dns, strip: false}}}", []string{
			"changed vip api|endpoints|[public, internal, admin]|[public]", "changed vip api|tls.certificate|none|/a.pem", "changed vip api|tls.more|none|/b.pem with /b.key",
			"changed vip api|tls.min_version|none|1.2", "changed vip api|public|none|by name on port 443", "changed vip api|public.domain|none|example.org", "changed vip api|public.ports|none|false",
			"changed vip api|public.services|none|[glance api.example.org/image, designate api.example.org/dns (kept), keystone keystone.example.org]",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, c := range spec.Diff(mustParse(t, diffBase), mustParse(t, strings.Replace(diffBase, tt.old, tt.new, 1))) {
				got = append(got, diffLine(c))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// Every value that a spec has makes a difference when it changes.
func TestDiffSeesEveryValue(t *testing.T) {
	whole := func() *spec.Spec {
		s := mustParse(t, read(t, "testdata/design.yaml"))
		s.VIPs[0].TLS = &spec.TLS{Certificate: "/a", More: []spec.CertificateFiles{{Certificate: "/b", Key: "/c"}}}
		s.VIPs[0].Public = &spec.Public{By: spec.ByName, Routes: []spec.Route{{Service: "nova", Name: "a", Path: "/b"}}}
		return s
	}
	n := 0
	leaves(reflect.ValueOf(whole()).Elem(), "", func(path string, _ reflect.Value) {
		if path == ".Digest" || strings.HasSuffix(path, ".Type") || strings.Contains(path, ".Prefer[") {
			// Type is the first of Types; in Prefer are the controllers, whose order alone is its own.
			return
		}
		next := whole()
		leaves(reflect.ValueOf(next).Elem(), "", func(p string, v reflect.Value) {
			if p == path {
				alter(t, v)
				n++
			}
		})
		if len(spec.Diff(whole(), next)) == 0 {
			t.Errorf("%s was changed, and Diff does not see it", path)
		}
	})
	if n < 100 {
		t.Errorf("only %d values were looked at", n)
	}
}

// leaves calls f for each value in v that is no struct, pointer or list.
func leaves(v reflect.Value, path string, f func(string, reflect.Value)) {
	switch {
	case v.Type() == reflect.TypeFor[netip.Addr](), v.Type() == reflect.TypeFor[netip.Prefix](), v.Type() == reflect.TypeFor[netip.AddrPort]():
		f(path, v)
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			leaves(v.Elem(), path, f)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			leaves(v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
	case v.Kind() == reflect.Struct:
		for field, value := range v.Fields() {
			leaves(value, path+"."+field.Name, f)
		}
	default:
		f(path, v)
	}
}

func alter(t *testing.T, v reflect.Value) {
	t.Helper()
	switch x := v.Addr().Interface().(type) {
	case *netip.Addr:
		*x = netip.MustParseAddr("192.0.2.99")
	case *netip.Prefix:
		*x = netip.MustParsePrefix("192.0.2.99/24")
	case *netip.AddrPort:
		*x = netip.MustParseAddrPort("192.0.2.99:80")
	case *time.Duration:
		*x += time.Second
	case *int:
		if *x++; *x == 8 { // the layer of a check
			*x = 4
		}
	case *bool:
		*x = !*x
	default:
		if v.Kind() != reflect.String {
			t.Fatalf("a spec has a %s: say how to change it", v.Type())
		}
		v.SetString(v.String() + "x")
	}
}

func TestRetakesOfAnnounced(t *testing.T) {
	const text = `
vips: [{name: api, addresses: [203.0.113.10/32], hostname: api.example.org, announce: bgp}]
controllers: [{name: ctl1, address: 10.64.20.13}, {name: ctl2, address: 10.64.20.14}]
services: {keystone: {}}
bgp: {asn: 64710, peers: [{address: 10.64.20.1, asn: 64800}]}
`
	for _, tt := range []struct{ name, old, next, want string }{
		{"a controller's address", "10.64.20.13", "10.64.20.15", "[]"},
		{"an address more", "[203.0.113.10/32]", "[203.0.113.10/32, 203.0.113.11/32]", "[]"},
		{"another interface", "announce: bgp", "announce: bgp, interface: vip0", "[]"},
		{"another address", "203.0.113.10", "203.0.113.11", "[{api [ctl1 ctl2] false [its addresses]}]"},
		{
			"by VRRP", "203.0.113.10/32], hostname: api.example.org, announce: bgp", "203.0.113.10/32], hostname: api.example.org, interface: eno1, vrrp: {router_id: 7}",
			"[{api [ctl1 ctl2] false [its interface its router id]}]",
		},
	} {
		old, next := mustParse(t, text), mustParse(t, strings.Replace(text, tt.old, tt.next, 1))
		if got := fmt.Sprint(spec.Retakes(old, next)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestRetakes(t *testing.T) {
	for _, tt := range []struct {
		name, old, new, want string
	}{
		{"an interval", "router_id: 51", "router_id: 51, interval: 20ms, preempt: true", "[]"},
		{"a hostname", "api.example.org", "other.example.org", "[]"},
		{"a service", "glance: {}", "nova: {}", "[]"},
		{"the order", "  - {name: ctl1, address: 10.64.20.13}\n  - {name: ctl2, address: 10.64.20.14}\n", "  - {name: ctl2, address: 10.64.20.14}\n  - {name: ctl1, address: 10.64.20.13}\n", "[]"},
		{"the router id", "router_id: 51", "router_id: 52", "[{api [ctl1 ctl2] false [its router id]}]"},
		{"an address and the device", "10.64.20.10/24]", "10.64.20.11/24], device: macvlan", "[{api [ctl1 ctl2] false [its addresses its device]}]"},
		{"multicast", "router_id: 51", "router_id: 51, peers: multicast", "[{api [ctl1 ctl2] false [its peers (unicast or multicast)]}]"},
		{"the interface of one", "address: 10.64.20.14}", "address: 10.64.20.14, interface: eno2}", "[{api [ctl2] false [its interface]}]"},
		{"the interface of one, as it is", "address: 10.64.20.14}", "address: 10.64.20.14, interface: eno1}", "[]"},
		{"the address of one", "address: 10.64.20.14}", "address: 10.64.20.15}", "[{api [ctl2] false [the controller's own address]}]"},
		{"another name", "name: api", "name: apis", "[{api [ctl1 ctl2] true []}]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := fmt.Sprint(spec.Retakes(mustParse(t, diffBase), mustParse(t, strings.Replace(diffBase, tt.old, tt.new, 1))))
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestDiffTellsNoSecret has whom incidents are told be named, and nothing of a URL's path or of
// a command's arguments, though a change of these is seen.
func TestDiffTellsNoSecret(t *testing.T) {
	parse := func(token string) *spec.Spec {
		t.Helper()
		s, findings := spec.Parse("f", []byte(diffBase+"notify:\n  webhook: https://hook.example.org/"+token+"\n  command: [/usr/local/bin/page, --token, "+token+"]\n"))
		if s == nil {
			t.Fatal(findings)
		}
		return s
	}
	var keys []string
	for _, c := range spec.Diff(parse("secret1"), parse("secret2")) {
		keys = append(keys, c.Key)
		if line := diffLine(c); strings.Contains(line, "secret") || strings.Contains(line, "--token") {
			t.Errorf("it tells %s", line)
		}
	}
	if !slices.Equal(keys, []string{"notify.webhook", "notify.command"}) {
		t.Errorf("it sees changes of %q", keys)
	}
}
