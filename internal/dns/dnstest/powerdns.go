package dnstest

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// powerDNSSchema is that of the database, as the package brings it.
const powerDNSSchema = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"

// A PowerDNS says how one is set up. The zero value takes no updates.
type PowerDNS struct {
	// Updates is whether it takes any: dnsupdate=.
	Updates bool
	// From is who may update the zone, addresses and networks:
	// ALLOW-DNSUPDATE-FROM.
	From []string
	// Keys are those that may update the zone: TSIG-ALLOW-DNSUPDATE.
	Keys []string
	// Secondary makes the zone one of which another server is the primary.
	Secondary bool
}

// PowerDNSUpdates is what docs/dns.md shows: the key of n may update, from
// this machine.
func (n *Net) PowerDNSUpdates() PowerDNS {
	return PowerDNS{Updates: true, From: []string{"127.0.0.0/8"}, Keys: []string{n.KeyName}}
}

// PowerDNS starts a PowerDNS Authoritative Server at addr for zone, of which
// name is without final dot. It knows the key of n. Everybody may transfer the zone.
func (n *Net) PowerDNS(addr netip.AddrPort, name, text string, how PowerDNS) *Server {
	n.t.Helper()
	pdns := program(n.t, "pdns_server", "pdns-server pdns-backend-sqlite3")
	sqlite := program(n.t, "sqlite3", "sqlite3")
	util := program(n.t, "pdnsutil", "pdns-server")
	schema, err := os.ReadFile(powerDNSSchema)
	if err != nil {
		n.t.Skipf("the backend of PowerDNS is not installed: apt-get install pdns-backend-sqlite3: %v", err)
	}
	s := n.server(addr)
	updates := "no"
	if how.Updates {
		updates = "yes"
	}
	n.write(filepath.Join(s.Dir, "pdns.conf"), fmt.Sprintf(`launch=gsqlite3
gsqlite3-database=%[1]s/db
gsqlite3-dnssec=yes
local-address=%[2]s
local-port=%[3]d
socket-dir=%[1]s
dnsupdate=%[4]s
allow-dnsupdate-from=
allow-axfr-ips=127.0.0.0/8
receiver-threads=1
distributor-threads=1
cache-ttl=0
negquery-cache-ttl=0
query-cache-ttl=0
zone-cache-refresh-interval=0
loglevel=6
secondary=yes
security-poll-suffix=
`, s.Dir, addr.Addr(), addr.Port(), updates))
	zone := filepath.Join(s.Dir, "zone")
	n.write(zone, text)
	n.command(string(schema), sqlite, filepath.Join(s.Dir, "db"))
	do := func(args ...string) { n.command("", util, append([]string{"--config-dir=" + s.Dir}, args...)...) }
	do("load-zone", name, zone)
	do("import-tsig-key", n.KeyName, "hmac-sha256", n.Secret)
	if len(how.From) > 0 {
		do(append([]string{"set-meta", name, "ALLOW-DNSUPDATE-FROM"}, how.From...)...)
	}
	if len(how.Keys) > 0 {
		do(append([]string{"set-meta", name, "TSIG-ALLOW-DNSUPDATE"}, how.Keys...)...)
	}
	if how.Secondary {
		do("set-kind", name, "secondary")
	}
	s.run(name, pdns, "--config-dir="+s.Dir, "--daemon=no", "--guardian=no", "--write-pid=no", "--disable-syslog", "--log-timestamp=no")
	return s
}

// command runs a program with input, and fails the test if it fails.
func (n *Net) command(input, path string, args ...string) {
	n.t.Helper()
	cmd := exec.CommandContext(n.t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}
