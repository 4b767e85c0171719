package paths

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/spec"
	"holdfast/internal/status"
)

const specWithHosts = `cloud: test
vips:
  - name: api
    addresses: [192.0.2.10/24]
    hostname: api.example.org
    interface: eno1
    vrrp: {router_id: 7, interval: 20ms}
controllers:
  - {name: ctl1, address: 192.0.2.1}
  - {name: ctl2, address: 192.0.2.2}
services:
  keystone: {}
  nova:
    hosts:
      - {name: ctl1, address: 192.0.2.1}
      - {name: nova1, address: 192.0.2.20}
  designate:
    hosts:
      - {name: dns1, address: 192.0.2.30}
      - {name: dns2, address: 192.0.2.31}
  proxy:
    type: proxy
    port: 5668
    check: {path: /, expect: "200-499"}
    hosts:
      - {name: dns1, address: 192.0.2.30}
`

// TestPathTargets has one way to each other host, and to no service of this one.
func TestPathTargets(t *testing.T) {
	s, findings := spec.Parse("holdfast.yaml", []byte(specWithHosts))
	if s == nil {
		t.Fatal(findings)
	}
	var got []string
	targets := targetsOf(s, "ctl1")
	for _, target := range targets {
		got = append(got, strings.Join(append([]string{target.host, target.at.String()}, target.services...), " "))
	}
	want := []string{"ctl2 192.0.2.2:9471", "nova1 192.0.2.20:8774 nova", "dns1 192.0.2.30:9001 designate", "dns2 192.0.2.31:9001 designate"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	p := &Paths{targets: targets}
	host := func(address string, state status.ServiceState, condition status.Condition) status.Host {
		return status.Host{Address: address, State: state, Condition: condition}
	}
	needs := p.Needs([]status.Service{
		{Name: "keystone", Hosts: []status.Host{host("192.0.2.1:5000", status.Up, status.Well), host("192.0.2.2:5000", status.Up, status.Well)}},
		{Name: "nova", Hosts: []status.Host{host("192.0.2.1:8774", status.Down, status.Dead), host("192.0.2.20:8774", status.Up, status.Late)}},
		{Name: "designate", Hosts: []status.Host{host("192.0.2.30:9001", status.Up, status.Well), host("192.0.2.31:9001", status.Up, status.Hung)}},
		{Name: "proxy", Hosts: []status.Host{host("192.0.2.30:5668", status.Up, status.Well)}},
		{Name: "swift", Hosts: []status.Host{host("192.0.2.30:9001", status.Down, status.Dead)}},
	})
	wantNeeds := map[string][]string{"nova": {"192.0.2.20"}, "designate": {"192.0.2.30", "192.0.2.31"}}
	if diff := cmp.Diff(wantNeeds, needs); diff != "" {
		t.Errorf("what services need (-want +got):\n%s", diff)
	}
}
