package zone

import (
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"

	"holdfast/internal/dns"
	"holdfast/internal/dns/dnstest"
	"holdfast/internal/spec"
)

// cloudSpec has two VIPs with a hostname each, one of them with IPv6.
const cloudSpec = `
cloud: test
vips:
  - name: public
    addresses: [192.0.2.10/24, 2001:db8::10/64]
    hostname: api.example.org
    endpoints: [public]
    interface: eno1
    vrrp: {router_id: 51}
  - name: internal
    addresses: [10.0.0.10/24]
    hostname: int.example.org
    endpoints: [internal, admin]
    interface: eno2
    vrrp: {router_id: 52}
controllers:
  - {name: ctl1, address: 10.0.0.13}
services:
  keystone: {}
`

// cloudZone has an alias for the one hostname, and the wrong addresses for the other.
const cloudZone = `api 600 IN CNAME ctl1.example.org.
ctl1 600 IN A 10.0.0.13
int 1234 IN A 10.0.0.13
int 1234 IN A 10.0.0.14
int 77 IN AAAA 2001:db8::13
int 99 IN TXT "stays as it is"
`

// bed is a BIND primary with the zone above, and what it takes to change it.
type bed struct {
	t       testing.TB
	net     *dnstest.Net
	primary netip.AddrPort
	others  []netip.AddrPort // further servers to ask
	state   string
	zone    string
}

func newBed(t testing.TB, zone string, notify ...netip.AddrPort) *bed {
	t.Helper()
	n := dnstest.New(t)
	return newBedOn(t, n, n.Addr(), zone, notify...)
}

func newBedOn(t testing.TB, n *dnstest.Net, primary netip.AddrPort, zone string, notify ...netip.AddrPort) *bed {
	t.Helper()
	b := &bed{t: t, net: n, primary: primary, state: t.TempDir(), zone: "example.org"}
	text := dnstest.Text("example.org", map[string]netip.AddrPort{"ns1.example.org": primary}, "ns1.example.org")
	n.Primary(primary, dnstest.Zone{Name: "example.org", Text: text + zone, Notify: notify})
	return b
}

func (b *bed) key() *dns.Key {
	b.t.Helper()
	data, err := os.ReadFile(b.net.KeyFile)
	if err != nil {
		b.t.Fatal(err)
	}
	keys, err := dns.ParseKeys(b.net.KeyFile, data)
	if err != nil {
		b.t.Fatal(err)
	}
	return &keys[0]
}

func (b *bed) looker() Looker {
	return Looker{Servers: append([]netip.AddrPort{b.primary}, b.others...), Key: b.key(), Timeout: 10 * time.Second, Now: time.Now}
}

func (b *bed) applier() *Applier {
	return &Applier{
		Looker: b.looker(), Editor: Updater{b.looker()}, Journals: JournalsIn(b.state),
		Cloud: "test", KeyFile: b.net.KeyFile, Wait: 20 * time.Second, Now: time.Now, Tell: func(string) {},
		pause: 20 * time.Millisecond,
	}
}

func (b *bed) plan(opt dns.PlanOptions, hosts ...string) dns.Plan {
	b.t.Helper()
	return planFor(b.t, b.looker(), opt, hosts...)
}

// planFor looks and plans for the cloud above; for those of hosts only, if any.
func planFor(t testing.TB, l Looker, opt dns.PlanOptions, hosts ...string) dns.Plan {
	t.Helper()
	s, findings := spec.Parse("spec", []byte(cloudSpec))
	if s == nil {
		t.Fatal(findings)
	}
	wants, err := dns.Wants(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	wants = slices.DeleteFunc(wants, func(w dns.Want) bool { return len(hosts) > 0 && !slices.Contains(hosts, w.Hostname) })
	var names []string
	for _, w := range wants {
		names = append(names, w.Hostname)
	}
	return dns.MakePlan(s, wants, l.LookAll(t.Context(), names), opt)
}

// transfer gives the whole zone as the server at addr has it, sorted, without
// its serial number.
func (b *bed) transfer(addr netip.AddrPort) []string {
	b.t.Helper()
	m := new(mdns.Msg)
	m.SetAxfr("example.org.")
	records, err := new(mdns.Transfer).In(m, addr.String())
	if err != nil {
		b.t.Fatal(err)
	}
	var all []string
	for envelope := range records {
		if envelope.Error != nil {
			b.t.Fatal(envelope.Error)
		}
		for _, rr := range envelope.RR {
			if soa, ok := rr.(*mdns.SOA); ok {
				soa.Serial = 0
			}
			all = append(all, rr.String())
		}
	}
	slices.Sort(all)
	return all
}

// same fails the test if the zone is not want.
func (b *bed) same(want []string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.transfer(b.primary)); diff != "" {
		b.t.Errorf("the zone is not as it should be (-want +got):\n%s", diff)
	}
}

// latest gives the journals that a rollback undoes.
func (b *bed) latest() []Journal {
	b.t.Helper()
	all, err := b.applier().Journals.Latest()
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// update makes somebody else's change: delete what name has of typ, add these.
func (b *bed) update(name string, qtype uint16, records ...string) {
	b.t.Helper()
	m := new(mdns.Msg)
	m.SetUpdate("example.org.")
	m.RemoveRRset([]mdns.RR{&mdns.ANY{Hdr: mdns.RR_Header{Name: mdns.Fqdn(name), Rrtype: qtype}}})
	for _, text := range records {
		rr, err := mdns.NewRR(text)
		if err != nil {
			b.t.Fatal(err)
		}
		m.Insert([]mdns.RR{rr})
	}
	m.SetTsig(mdns.Fqdn(b.net.KeyName), mdns.HmacSHA256, 300, time.Now().Unix())
	client := &mdns.Client{Net: "tcp", Timeout: 10 * time.Second, TsigSecret: map[string]string{mdns.Fqdn(b.net.KeyName): b.net.Secret}}
	r, _, err := client.Exchange(m, b.primary.String())
	if err != nil || r.Rcode != mdns.RcodeSuccess {
		b.t.Fatalf("update: %v, %v", err, r)
	}
}
