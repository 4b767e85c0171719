package keystone_test

import (
	"fmt"

	"holdfast/internal/catalog"
	"holdfast/internal/keystone"
	"holdfast/internal/spec"
)

// A plan moves endpoints to the VIP: scheme, host and port change, the path stays.
func ExampleMakePlan() {
	s, _ := spec.Parse("holdfast.yaml", []byte(`
cloud: eqiad1
vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: openstack.example.org, interface: eno1, vrrp: {router_id: 51}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  cinder: {}
`))
	known, err := catalog.Load()
	if err != nil {
		panic(err)
	}
	plan := keystone.MakePlan(keystone.State{
		Regions:  []string{"RegionOne"},
		Services: []keystone.ServiceRecord{{ID: "s1", Name: "cinderv3", Type: "volumev3", Enabled: true}},
		Endpoints: []keystone.Record{{
			ID: "e1", Region: "RegionOne", ServiceID: "s1", ServiceName: "cinderv3", ServiceType: "volumev3",
			Interface: "public", URL: "http://10.64.20.13:8776/v3/%(project_id)s", Enabled: true,
		}},
	}, s, known, keystone.PlanOptions{})
	for _, c := range plan.Changes {
		fmt.Println(c)
	}
	// Output:
	// public endpoint of cinderv3 (volumev3): http://10.64.20.13:8776/v3/%(project_id)s -> http://openstack.example.org:8776/v3/%(project_id)s
}

// The URL of an endpoint has templates, which are no URL escapes.
func ExampleLocate() {
	at, err := keystone.Locate("http://ctl1:8776/v3/$(tenant_id)s")
	fmt.Println(at.Host, at.Port, at.Path, err)
	// Output:
	// ctl1 8776 /v3/$(tenant_id)s <nil>
}
