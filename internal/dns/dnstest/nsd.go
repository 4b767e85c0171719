package dnstest

import (
	"fmt"
	"net/netip"
	"path/filepath"
)

// NSD starts an NSD at addr for zone, of which name is without final dot. It
// knows no updates, and has the key of n only where withKey.
func (n *Net) NSD(addr netip.AddrPort, name, text string, withKey bool) *Server {
	n.t.Helper()
	nsd := program(n.t, "nsd", "nsd")
	s := n.server(addr)
	n.write(filepath.Join(s.Dir, "zone"), text)
	key := ""
	if withKey {
		key = fmt.Sprintf("key:\n    name: %q\n    algorithm: hmac-sha256\n    secret: %q\n", n.KeyName, n.Secret)
	}
	conf := filepath.Join(s.Dir, "nsd.conf")
	n.write(conf, fmt.Sprintf(`server:
    ip-address: %[2]s@%[3]d
    server-count: 1
    username: ""
    database: ""
    zonesdir: %[1]q
    pidfile: ""
    xfrdfile: "%[1]s/xfrd"
    xfrdir: %[1]q
    zonelistfile: "%[1]s/zone.list"
    rrl-ratelimit: 0
remote-control:
    control-enable: no
%[4]szone:
    name: %[5]q
    zonefile: zone
    provide-xfr: 127.0.0.1 NOKEY
`, s.Dir, addr.Addr(), addr.Port(), key, name))
	s.run(name, nsd, "-d", "-c", conf)
	return s
}
