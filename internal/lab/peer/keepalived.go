package peer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/spec"
)

// priority gives that of the index-th controller of the spec: kolla-ansible
// numbers its hosts, and by hand they are as far apart as the skew time (RFC
// 9568 section 6.1) allows.
func (k Kind) priority(index, of int) int {
	if k == Kolla {
		return index + 1
	}
	return 250 - index*240/max(1, of)
}

// check gives the script by which keepalived looks at HAProxy, and how often.
func (k Kind) check() (script, settings string) {
	if k == Kolla {
		return fmt.Sprintf(kollaCheck, portSocket), "    interval 2\n    fall 2\n    rise 10\n"
	}
	return fmt.Sprintf(tunedCheck, portAlive), "    interval 1\n    timeout 1\n    fall 1\n    rise 1\n"
}

// kollaCheck does what kolla's own does with socat: it asks HAProxy's socket,
// waits half a second for an answer (socat's -t), and is content without one.
// Only a socket that nobody listens on fails it.
const kollaCheck = `#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/%d || exit 1
echo "show info" >&3
read -r -t 0.5 -u 3
exit 0
`

// tunedCheck wants an answer to an HTTP request, from the event loop that the
// clients' requests go through.
const tunedCheck = `#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/%d || exit 1
printf 'GET / HTTP/1.0\r\n\r\n' >&3
read -r -t 0.4 -u 3 line && [[ $line == *" 200 "* ]]
`

// keepalivedConfig gives the keepalived.conf of kind k for controller; script
// is the path of the check.
func keepalivedConfig(k Kind, s *spec.Spec, controller spec.Controller, script string) string {
	var b strings.Builder
	b.WriteString("global_defs {\n    router_id " + controller.Name + "\n    script_user root\n")
	if k == Tuned {
		b.WriteString("    vrrp_rt_priority 50\n    vrrp_garp_master_refresh 10\n")
	}
	_, settings := k.check()
	fmt.Fprintf(&b, "}\n\nvrrp_script check_alive {\n    script %q\n%s}\n", script, settings)
	index := slices.IndexFunc(s.Controllers, func(c spec.Controller) bool { return c.Name == controller.Name })
	for _, v := range s.VIPs {
		writeInstance(&b, k, s, v, controller, k.priority(index, len(s.Controllers)))
	}
	return b.String()
}

func writeInstance(b *strings.Builder, k Kind, s *spec.Spec, v spec.VIP, c spec.Controller, priority int) {
	device := s.Interface(v, c)
	fmt.Fprintf(b, "\nvrrp_instance %s {\n    state BACKUP\n    nopreempt\n    interface %s\n    virtual_router_id %d\n    priority %d\n",
		v.Name, device, v.VRRP.RouterID, priority)
	if k == Kolla {
		b.WriteString("    version 2\n    advert_int 1\n")
		b.WriteString("    authentication {\n        auth_type PASS\n        auth_pass benchmrk\n    }\n")
	} else {
		fmt.Fprintf(b, "    version 3\n    advert_int %s\n    unicast_src_ip %s\n    unicast_peer {\n", seconds(v.VRRP.Interval), c.Address)
		for _, other := range s.Controllers {
			if other.Name != c.Name {
				fmt.Fprintf(b, "        %s\n", other.Address)
			}
		}
		b.WriteString("    }\n")
	}
	b.WriteString("    virtual_ipaddress {\n")
	for _, a := range v.Addresses {
		address := a.Addr().String()
		if k == Tuned {
			address = a.String()
		}
		fmt.Fprintf(b, "        %s dev %s\n", address, device)
	}
	b.WriteString("    }\n    track_script {\n        check_alive\n    }\n}\n")
}

// seconds gives d as keepalived reads it: 0.02.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
}
