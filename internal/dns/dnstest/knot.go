package dnstest

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// A KnotRule is one rule of a Knot zone's acl, as its configuration has it.
type KnotRule string

// KnotUpdates is the rule that docs/dns.md shows: the key of n may update these
// names of the zone, and nothing else.
func (n *Net) KnotUpdates(names ...string) KnotRule {
	return KnotRule(fmt.Sprintf(`key: %s
    action: update
    update-type: [A, AAAA, CNAME]
    update-owner: name
    update-owner-match: equal
    update-owner-name: [%s]`, n.KeyName, strings.Join(names, ", ")))
}

// Knot starts a Knot DNS primary at addr for zone, of which name is without
// final dot. It knows the key of n; what that may do is in rules. Everybody may
// transfer the zone.
func (n *Net) Knot(addr netip.AddrPort, name, text string, rules ...KnotRule) *Server {
	n.t.Helper()
	knotd := program(n.t, "knotd", "knot")
	s := n.server(addr)
	n.write(filepath.Join(s.Dir, "zone"), text)
	var acl strings.Builder
	ids := []string{"transfer"}
	for i, rule := range rules {
		id := fmt.Sprintf("rule%d", i)
		ids = append(ids, id)
		fmt.Fprintf(&acl, "  - id: %s\n    %s\n", id, rule)
	}
	conf := filepath.Join(s.Dir, "knot.conf")
	n.write(conf, fmt.Sprintf(`server:
    rundir: %[1]q
    listen: %[2]s@%[3]d
    background-workers: 1
    udp-workers: 1
    tcp-workers: 1
database:
    storage: %[1]q
log:
  - target: stderr
    any: info
key:
  - id: %[4]s
    algorithm: hmac-sha256
    secret: %[5]s
acl:
  - id: transfer
    address: 127.0.0.1
    action: transfer
%[6]szone:
  - domain: %[7]s
    storage: %[1]q
    file: zone
    acl: [%[8]s]
`, s.Dir, addr.Addr(), addr.Port(), n.KeyName, n.Secret, acl.String(), name, strings.Join(ids, ", ")))
	s.run(name, knotd, "-c", conf)
	return s
}
