// Package dnstest runs real DNS servers for tests, on 127.0.0.1 and ports of
// their own: BIND as a primary that takes updates, as a secondary and as a caching
// resolver, and Knot DNS, PowerDNS and NSD with a zone. It is for tests only, and
// asserts nothing itself.
package dnstest

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
)

// A Net is some servers and a TSIG key.
type Net struct {
	t       testing.TB
	KeyName string
	KeyFile string // as tsig-keygen writes it
	Secret  string // of the key, base64
}

// New begins a Net. A server of it that is not installed skips the test.
func New(t testing.TB) *Net {
	t.Helper()
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	n := &Net{t: t, KeyName: "holdfast-test", Secret: base64.StdEncoding.EncodeToString(random)}
	n.KeyFile = filepath.Join(t.TempDir(), "tsig.key")
	n.write(n.KeyFile, n.keyStatement())
	return n
}

func (n *Net) keyStatement() string {
	return fmt.Sprintf("key %q {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\n", n.KeyName, n.Secret)
}

// A Zone is one zone of a primary.
type Zone struct {
	Name string // without final dot
	Text string // its records; see Text
	// Notify are told of each change.
	Notify []netip.AddrPort
	// Update says who may update it; empty is the key of the Net, everything.
	Update string
	// Options are further statements of the zone's clause, each with its ";".
	Options string
}

// Text begins a zone's text: its SOA record with the name servers named, each
// with its address.
func Text(zone string, servers map[string]netip.AddrPort, primary string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s.\n$TTL 3600\n@ 3600 IN SOA %s. hostmaster 10 3600 600 86400 60\n", zone, primary)
	for name, addr := range servers {
		fmt.Fprintf(&b, "@ IN NS %s.\n%s. IN A %s\n", name, name, addr.Addr())
	}
	return b.String()
}

// Primary starts a primary at addr for zones. The key of n may update them.
func (n *Net) Primary(addr netip.AddrPort, zones ...Zone) *Server {
	n.t.Helper()
	s := n.server(addr)
	var b strings.Builder
	for _, z := range zones {
		file := filepath.Join(s.Dir, z.Name+".zone")
		n.write(file, z.Text)
		update := cmp.Or(z.Update, fmt.Sprintf("allow-update { key %q; };", n.KeyName))
		fmt.Fprintf(&b, "zone %q {\n type primary;\n file %q;\n %s\n notify explicit;\n also-notify {%s };\n%s\n};\n",
			z.Name, file, update, list(z.Notify), z.Options)
	}
	s.start(n.keyStatement()+"options {\n recursion no;\n notify-delay 0;\n allow-transfer { any; };\n", b.String(), zones[0].Name)
	return s
}

// Secondary starts a secondary at addr for the zone of primary.
func (n *Net) Secondary(addr, primary netip.AddrPort, zone string) *Server {
	n.t.Helper()
	s := n.server(addr)
	s.start("options {\n recursion no;\n", fmt.Sprintf("zone %q {\n type secondary;\n file %q;\n primaries {%s };\n};\n",
		zone, filepath.Join(s.Dir, "copy"), list([]netip.AddrPort{primary})), zone)
	return s
}

// Resolver starts a caching resolver at addr, which asks to for everything in zone.
func (n *Net) Resolver(addr, to netip.AddrPort, zone string) *Server {
	n.t.Helper()
	s := n.server(addr)
	s.start("options {\n recursion yes;\n allow-recursion { any; };\n qname-minimization off;\n", fmt.Sprintf("zone %q {\n type forward;\n forward only;\n forwarders {%s };\n};\n",
		zone, list([]netip.AddrPort{to})), zone)
	return s
}

// Views starts a primary at addr with two zones of one name: inside is for what
// is signed with the key of n, outside for everybody else.
func (n *Net) Views(addr netip.AddrPort, inside, outside Zone) *Server {
	n.t.Helper()
	s := n.server(addr)
	var b strings.Builder
	for name, z := range map[string]Zone{"inside": inside, "outside": outside} {
		n.write(filepath.Join(s.Dir, name), z.Text)
	}
	for _, name := range []string{"inside", "outside"} { // the first view that matches counts
		match := "any"
		if name == "inside" {
			match = fmt.Sprintf("key %q", n.KeyName)
		}
		fmt.Fprintf(&b, "view %s {\n match-clients { %s; };\n zone %q {\n type primary;\n file %q;\n allow-update { key %q; };\n%s };\n};\n",
			name, match, inside.Name, filepath.Join(s.Dir, name), n.KeyName, inside.Options)
	}
	s.start(n.keyStatement()+"options {\n recursion no;\n", b.String(), outside.Name)
	return s
}

func list(addrs []netip.AddrPort) string {
	var b strings.Builder
	for _, a := range addrs {
		fmt.Fprintf(&b, " %s port %d;", a.Addr(), a.Port())
	}
	return b.String()
}

// start writes the configuration and runs named until it answers for zone.
func (s *Server) start(options, zones, zone string) {
	s.net.t.Helper()
	addr := s.Addr.Addr()
	conf := filepath.Join(s.Dir, "named.conf")
	s.net.write(conf, fmt.Sprintf(`%s directory %q;
 listen-on port %d { %s; };
 listen-on-v6 { none; };
 query-source address %s;
 transfer-source %s;
 notify-source %s;
 pid-file none;
 session-keyfile none;
 dnssec-validation no;
 empty-zones-enable no;
 allow-query { any; };
};
controls { };
%s`, options, s.Dir, s.Addr.Port(), addr, addr, addr, addr, zones))
	s.run(zone, program(s.net.t, "named", "bind9"), "-g", "-n", "1", "-c", conf)
}
