package spec_test

import (
	"fmt"

	"holdfast/internal/spec"
)

// A good spec has every default filled in.
func ExampleParse() {
	s, findings := spec.Parse("holdfast.yaml", []byte(`
cloud: eqiad1
vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: openstack.example.org, interface: eno1, vrrp: {router_id: 51}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  keystone: {}
`))
	svc := s.Services[0]
	fmt.Println(len(findings), s.VIPs[0].VRRP.Interval, svc.Name, svc.Port, svc.Check.Path, len(svc.Hosts))
	// Output:
	// 0 100ms keystone 5000 /healthcheck 2
}

// A bad one has all that is wrong with it said at once, where it is and what to
// write instead.
func ExampleParse_findings() {
	_, findings := spec.Parse("holdfast.yaml", []byte(`
cloud: eqiad1
vips:
  - {name: api, addresses: [10.64.20.10], hostname: openstack.example.org, interface: eno1}
controller:
  - {name: ctl1, address: 10.64.20.13}
services:
  keyston: {}
`))
	for _, f := range findings {
		fmt.Println(f)
	}
	// Output:
	// holdfast.yaml:4:5: vips[0] has no "vrrp"; write the settings of its virtual router, as in "vrrp: {router_id: 51}"
	// holdfast.yaml:4:29: vips[0].addresses[0] "10.64.20.10" has no prefix length; write 10.64.20.10/24, if that is how long the prefix of its network is
	// holdfast.yaml:5:1: unknown key "controller"; did you mean "controllers"?
	// holdfast.yaml:8:3: service "keyston" is not a known one, so it needs a type and a port; did you mean "keystone"? If not, write its type and port, as in "keyston: {type: keyston, port: 5668}"
}
