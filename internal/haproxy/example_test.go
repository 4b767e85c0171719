package haproxy_test

import (
	"fmt"
	"strings"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// The configuration depends on the spec and on local paths only, so it is the same on
// every controller.
func ExampleRender() {
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
	cfg := haproxy.Render(s, haproxy.Local{RunDir: "/run/holdfast", StateDir: "/var/lib/holdfast"})
	for line := range strings.Lines(string(cfg.Bytes())) {
		if strings.HasPrefix(line, "frontend api") || strings.HasPrefix(line, "    bind 10.64.20.10") {
			fmt.Print(line)
		}
	}
	// Output:
	// frontend api-v4-keystone
	//     bind 10.64.20.10:5000 transparent
}
