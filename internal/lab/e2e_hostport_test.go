package lab_test

import (
	"fmt"
	"strings"
	"testing"
)

// hostPorts is a cloud whose hosts listen on other ports than the VIP, one on its own, and
// are checked on others.
const hostPorts = `
cloud: ports
vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 7, interval: 50ms}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  keystone: {port: 13000, host_port: 5000, check: {port: 5001}}
  glance:
    port: 13292
    host_port: 9292
    hosts: [{name: g1, address: 10.64.20.23}, {name: g2, address: 10.64.20.24, port: 9293}]
  lines: {type: lines, port: 7007, host_port: 7107, mode: tcp, check: {path: /healthcheck, port: 7207}}
`

// TestHostPorts has clients reach hosts at ports that are not those of the VIP, a host's
// death seen at the port of its check and at its own, and status say where they are.
func TestHostPorts(t *testing.T) {
	c := newCloud(t, "ports", hostPorts)
	c.await("answers", c.allAnswer)
	c.await("holdfast to call the lab well", c.well)
	out, _ := c.run("ctl1", "holdfast", "status", "-o", "json")
	for _, want := range []string{`"10.64.20.13:5000"`, `"10.64.20.23:9292"`, `"10.64.20.24:9293"`, `"10.64.20.14:7107"`, `"port": 13000`} {
		if !strings.Contains(out, want) {
			t.Errorf("status does not have %s", want)
		}
	}
	for _, f := range []struct{ service, host string }{{"keystone", "ctl2"}, {"glance", "g2"}, {"lines", "ctl1"}} {
		c.fault("service-kill", f.host, f.service)
		c.await(f.service+" to be down on "+f.host, func() error {
			out, code := c.run("ctl1", "holdfast", "status")
			if code != 1 || !strings.Contains(out, f.service) || !strings.Contains(out, f.host) {
				return fmt.Errorf("exit code %d:\n%s", code, out)
			}
			return nil
		})
		c.await("answers", c.allAnswer)
		c.fault("service-back", f.host, f.service)
		c.await("holdfast to call the lab well", c.well)
	}
}
