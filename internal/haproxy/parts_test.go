package haproxy_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

const partsSpec = `vips: [{name: api, addresses: [10.0.0.10/24, "fd00::10/64"], hostname: api.example.org, interface: eno1, vrrp: {router_id: 7}}]
controllers: [{name: ctl1, address: 10.0.0.1}, {name: ctl2, address: 10.0.0.2}]
services:
  keystone: {}
  glance: {}
  mariadb: {}
`

func TestPartsTellWhichServicesAreOthers(t *testing.T) {
	parts := func(text string) map[string]string {
		s, findings := spec.Parse("test", []byte(text))
		if s == nil {
			t.Fatal(findings)
		}
		return haproxy.Parts(haproxy.Render(s, haproxy.Local{RunDir: "/run", StateDir: "/lib"}), s)
	}
	before := parts(partsSpec)
	if len(before) != 3 || !strings.Contains(before["keystone"], "10.0.0.1:5000") || !strings.Contains(before["keystone"], "[fd00::10]:5000") {
		t.Fatalf("parts: %v", before)
	}
	for _, tt := range []struct {
		name, old, new string
		want           []string
	}{
		{"nothing", "", "", nil},
		{"the check of one", "glance: {}", "glance: {check: {path: /nope}}", []string{"glance"}},
		{"the port of one", "keystone: {}", "keystone: {port: 5001}", []string{"keystone"}},
		{"another service", "glance: {}", "glance: {}\n  nova: {}", []string{"nova"}},
		{"without one", "  glance: {}\n", "", []string{"glance"}},
		{"the hosts of all", "address: 10.0.0.2}", "address: 10.0.0.3}", []string{"glance", "keystone", "mariadb"}},
		{"where all listen", "fd00::10/64", "fd00::11/64", []string{"glance", "keystone", "mariadb"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			after := parts(strings.Replace(partsSpec, tt.old, tt.new, 1))
			var got []string
			all := maps.Clone(before)
			maps.Copy(all, after)
			for _, name := range slices.Sorted(maps.Keys(all)) {
				if before[name] != after[name] {
					got = append(got, name)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("others are %v, want %v", got, tt.want)
			}
		})
	}
}
