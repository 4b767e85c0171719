package dns_test

import (
	"fmt"
	"net/netip"
	"time"

	"holdfast/internal/dns"
	"holdfast/internal/spec"
)

// What a name server says of a hostname, beside what the spec wants of it.
func ExampleMakePlan() {
	s, _ := spec.Parse("holdfast.yaml", []byte(`
cloud: eqiad1
vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: openstack.example.org, interface: eno1, vrrp: {router_id: 51}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  keystone: {}
`))
	wants, err := dns.Wants(s, nil)
	if err != nil {
		panic(err)
	}
	plan := dns.MakePlan(s, wants, []dns.View{{
		Hostname: "openstack.example.org", Time: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Zone: "example.org",
		Servers: []dns.Server{{
			Name: "ns1.example.org", Address: netip.MustParseAddrPort("192.0.2.53:53"), Primary: true, NegativeTTL: 300,
			A:    dns.Answer{Rcode: "NOERROR", Authoritative: true, Addresses: []netip.Addr{netip.MustParseAddr("10.64.20.13")}, TTL: 300},
			AAAA: dns.Answer{Rcode: "NOERROR", Authoritative: true, TTL: 300},
		}},
	}}, dns.PlanOptions{})
	for _, f := range plan.Findings {
		fmt.Println(f)
	}
	fmt.Print(plan.ZoneLines())
	// Output:
	// openstack.example.org: its A records have 10.64.20.13 (controller ctl1); the VIP has 10.64.20.10
	// ; openstack.example.org, zone example.org: in place of all A, AAAA and CNAME records of this name
	// ; remove: openstack.example.org.    300 IN A     10.64.20.13
	// openstack.example.org.    300 IN A     10.64.20.10
	// ; and raise the serial of the zone's SOA record
}

// A key file is what tsig-keygen writes.
func ExampleParseKeys() {
	keys, err := dns.ParseKeys("tsig.key", []byte(`key "holdfast" { algorithm hmac-sha256; secret "c2VjcmV0"; };`))
	fmt.Println(keys[0].Name, keys[0].Algorithm, err)
	_, err = dns.ParseKeys("tsig.key", []byte(`key "holdfast" { algorithm hmac-sha256; };`))
	fmt.Println(err)
	// Output:
	// holdfast hmac-sha256 <nil>
	// tsig.key:1: the key holdfast has no secret
}
