package dns

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// reply makes a reply whose answer and authority sections have these records,
// as zone files have them; "SOA ..." goes into authority.
func reply(t testing.TB, name string, qtype uint16, rcode int, records ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.Response, m.Authoritative, m.Rcode = true, true, rcode
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		if rr.Header().Rrtype == dns.TypeSOA {
			m.Ns = append(m.Ns, rr)
		} else {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

func TestReadAnswer(t *testing.T) {
	const soa = "example.org. 900 IN SOA ns. hostmaster. 7 1 1 1 60"
	for _, c := range []struct {
		name    string
		rcode   int
		records []string
		want    Answer
	}{
		{
			"two, sorted, with the lower TTL", 0,
			[]string{"api.example.org. 300 IN A 10.0.0.2", "API.example.org. 60 IN A 10.0.0.1", "api.example.org. 60 IN A 10.0.0.1"},
			Answer{Rcode: "NOERROR", Addresses: addrs("10.0.0.1", "10.0.0.2"), TTL: 60},
		},
		{"of another name", 0, []string{"other.example.org. 300 IN A 10.0.0.1"}, Answer{Rcode: "NOERROR"}},
		{"of another type and class", 0, []string{"api.example.org. 300 IN AAAA ::1", "api.example.org. 300 CH A 10.0.0.1"}, Answer{Rcode: "NOERROR"}},
		{"no such name", dns.RcodeNameError, []string{soa}, Answer{Rcode: "NXDOMAIN", TTL: 60}},
		{"no such name, by another zone", dns.RcodeNameError, []string{"example.net. 900 IN SOA ns. hostmaster. 7 1 1 1 60"}, Answer{Rcode: "NXDOMAIN"}},
		{"refused", dns.RcodeRefused, nil, Answer{Rcode: "REFUSED"}},
		{"unknown code", 3000, nil, Answer{Rcode: "RCODE3000"}},
		{
			"alias", 0,
			[]string{"a.example.net. 30 IN A 10.0.0.1", "b.example.org. 5 IN CNAME a.example.net.", "api.example.org. 600 IN CNAME B.example.org."},
			Answer{Rcode: "NOERROR", Addresses: addrs("10.0.0.1"), TTL: 30, Alias: "b.example.org", AliasTTL: 600},
		},
		{
			"alias that goes round", 0,
			[]string{"api.example.org. 600 IN CNAME b.example.org.", "b.example.org. 600 IN CNAME api.example.org."},
			Answer{Rcode: "NOERROR", Alias: "b.example.org", AliasTTL: 600},
		},
		{
			"alias by DNAME", 0,
			[]string{"example.org. 60 IN DNAME example.net.", "api.example.org. 60 IN CNAME api.example.net.", "api.example.net. 30 IN A 10.0.0.1"},
			Answer{Rcode: "NOERROR", Addresses: addrs("10.0.0.1"), TTL: 30, Alias: "api.example.net", AliasTTL: 60, Above: "example.org"},
		},
		{"TTL out of range", 0, []string{"api.example.org. 4294967295 IN A 10.0.0.1"}, Answer{Rcode: "NOERROR", Addresses: addrs("10.0.0.1")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Authoritative = true
			if c.want.Addresses == nil {
				c.want.Addresses = []netip.Addr{}
			}
			got := readAnswer(reply(t, "api.example.org", dns.TypeA, c.rcode, c.records...), "api.example.org", dns.TypeA)
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func TestCheckReply(t *testing.T) {
	q := query("api.example.org", dns.TypeA, false, true)
	good := func() *dns.Msg { m := new(dns.Msg); m.SetReply(q); return m }
	if err := checkReply(q, good()); err != nil {
		t.Errorf("a good reply: %v", err)
	}
	for name, spoil := range map[string]func(*dns.Msg){
		"no reply":       func(m *dns.Msg) { m.Response = false },
		"other id":       func(m *dns.Msg) { m.Id++ },
		"other opcode":   func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate },
		"no question":    func(m *dns.Msg) { m.Question = nil },
		"other name":     func(m *dns.Msg) { m.Question[0].Name = "x.example.org." },
		"other type":     func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA },
		"two questions":  func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"other class":    func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"no such, blank": func(m *dns.Msg) { m.Rcode, m.Question = dns.RcodeNameError, nil },
	} {
		m := good()
		m.Question = slices.Clone(m.Question)
		spoil(m)
		if err := checkReply(q, m); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	blank := good()
	blank.Rcode, blank.Question = dns.RcodeFormatError, nil
	if err := checkReply(q, blank); err != nil {
		t.Errorf("an error without a question: %v", err)
	}
}

// TestUpdateMessage shows the updates as nsupdate(1) would print them.
func TestUpdateMessage(t *testing.T) {
	alias := Records{{Type: "CNAME", TTL: 600, Values: []string{"ctl1.example.org"}}}
	old := Records{{Type: "A", TTL: 600, Values: []string{"10.0.0.13"}}}
	both := Records{{Type: "A", TTL: 60, Values: []string{"10.0.0.10"}}, {Type: "AAAA", TTL: 60, Values: []string{"2001:db8::10"}}}
	for _, c := range []struct {
		name          string
		before, after Records
		prerequisites []string
		updates       []string
	}{
		{
			"from nothing", nil, both,
			[]string{"0 NONE A", "0 NONE AAAA", "0 NONE CNAME"},
			[]string{"60 IN A 10.0.0.10", "60 IN AAAA 2001:db8::10"},
		},
		{
			"to nothing", both, nil,
			[]string{"0 IN A 10.0.0.10", "0 IN AAAA 2001:db8::10", "0 NONE CNAME"},
			[]string{"0 CLASS255 A", "0 CLASS255 AAAA"},
		},
		{
			"one stays", both, both[:1],
			[]string{"0 IN A 10.0.0.10", "0 IN AAAA 2001:db8::10", "0 NONE CNAME"},
			[]string{"0 CLASS255 AAAA"},
		},
		{
			"from an alias", alias, both,
			[]string{"0 NONE A", "0 NONE AAAA", "0 IN CNAME ctl1.example.org."},
			[]string{"0 CLASS255 CNAME", "60 IN A 10.0.0.10", "60 IN AAAA 2001:db8::10"},
		},
		{
			"back to an alias", both, alias,
			[]string{"0 IN A 10.0.0.10", "0 IN AAAA 2001:db8::10", "0 NONE CNAME"},
			[]string{"0 CLASS255 A", "0 CLASS255 AAAA", "600 IN CNAME ctl1.example.org."},
		},
		{
			"another TTL", old,
			Records{{Type: "A", TTL: 60, Values: []string{"10.0.0.13"}}},
			[]string{"0 IN A 10.0.0.13", "0 NONE AAAA", "0 NONE CNAME"},
			[]string{"0 CLASS255 A", "60 IN A 10.0.0.13"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := updateMessage("example.org", "api.example.org", c.before, c.after)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Pack(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.prerequisites, shown(m.Answer)); diff != "" {
				t.Errorf("prerequisites: %s", diff)
			}
			if diff := cmp.Diff(c.updates, shown(m.Ns)); diff != "" {
				t.Errorf("updates: %s", diff)
			}
		})
	}
}

func shown(rrs []dns.RR) []string {
	var all []string
	for _, rr := range rrs {
		text := strings.TrimPrefix(rr.String(), "api.example.org.\t")
		all = append(all, strings.Join(strings.Fields(text), " "))
	}
	return all
}

// TestRefusal: what each response code means, by the make of the server.
func TestRefusal(t *testing.T) {
	for _, c := range []struct {
		code   int
		make   serverMake
		signed bool
		want   []string
	}{
		{dns.RcodeNXRrset, unknownMake, true, []string{"other records now (NXRRSET)"}},
		{dns.RcodeYXRrset, unknownMake, true, []string{"(YXRRSET)"}},
		{dns.RcodeRefused, makeBIND, true, []string{"see allow-update or update-policy of the zone example.org", "frozen zone"}},
		{dns.RcodeRefused, makePowerDNS, true, []string{"ALLOW-DNSUPDATE-FROM", "TSIG-ALLOW-DNSUPDATE"}},
		{dns.RcodeRefused, makePowerDNS, false, []string{"key that it does not accept", "ALLOW-DNSUPDATE-FROM"}},
		{dns.RcodeRefused, makeKnot, true, []string{"knotc zone-thaw"}},
		{dns.RcodeRefused, unknownMake, true, []string{"BIND's allow-update", "PowerDNS's dnsupdate", "with Knot, whether"}},
		{dns.RcodeNotAuth, makeBIND, true, []string{"it is not authoritative for the zone example.org (NOTAUTH)"}},
		{dns.RcodeNotAuth, makeKnot, false, []string{"it has not the zone example.org, or no rule"}},
		{dns.RcodeNotAuth, unknownMake, false, []string{"or does not accept the key"}},
		{dns.RcodeNotZone, unknownMake, true, []string{"NOTZONE"}},
		{dns.RcodeNotImplemented, makeNSD, false, []string{"NOTIMP", "--print"}},
		{dns.RcodeServerFailure, makePowerDNS, true, []string{"SERVFAIL", "secondary"}},
		{11, unknownMake, true, []string{"it answers "}},
	} {
		err := refused{c.code, "example.org", c.signed, c.make}.err()
		if err == nil || errors.Is(err, ErrChanged) != strings.Contains(c.want[0], "RRSET") {
			t.Errorf("%d of %s: %v", c.code, c.make, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%d of %s: %v, want %q", c.code, c.make, err, want)
			}
		}
		if c.make == makePowerDNS && strings.Contains(err.Error(), "allow-update") {
			t.Errorf("PowerDNS has no allow-update: %v", err)
		}
	}
}

func TestNewer(t *testing.T) {
	n := func(v uint32) *uint32 { return &v }
	for _, c := range []struct {
		a, b *uint32
		want bool
	}{{n(2), n(1), true}, {n(1), n(2), false}, {n(1), n(1), false}, {n(3), n(4294967295), true}, {n(4294967295), n(3), false}, {n(1), nil, true}, {nil, n(1), false}, {nil, nil, false}} {
		if got := newer(c.a, c.b); got != c.want {
			t.Errorf("newer(%v, %v) = %v", c.a, c.b, got)
		}
	}
}

func TestNames(t *testing.T) {
	if got := canonical("API.Example.ORG."); got != "api.example.org" {
		t.Errorf("canonical: %q", got)
	}
	if got := canonical("."); got != "" {
		t.Errorf("canonical root: %q", got)
	}
	var up []string
	for n := "a.b.org"; n != ""; n = parent(n) {
		up = append(up, n)
	}
	if diff := cmp.Diff([]string{"a.b.org", "b.org", "org"}, up); diff != "" {
		t.Error(diff)
	}
	if !isBelow("a.b.org", "b.org") || !isBelow("b.org", "b.org") || isBelow("ab.org", "b.org") || !isBelow("a", "") {
		t.Error("isBelow is wrong")
	}
}

// FuzzReply reads what hostile servers may send: no panic, and nothing but
// addresses and printable names comes of it.
func FuzzReply(f *testing.F) {
	for _, m := range []*dns.Msg{
		reply(f, "api.example.org", dns.TypeA, 0, "api.example.org. 300 IN A 10.0.0.2", "api.example.org. 60 IN CNAME \\000b.example.org."),
		reply(f, "api.example.org", dns.TypeAAAA, 0, "example.org. 60 IN DNAME example.net.", "api.example.org. 60 IN CNAME api.example.net.", "api.example.net. 30 IN AAAA ::ffff:1.2.3.4"),
		reply(f, "api.example.org", dns.TypeA, 3, "example.org. 900 IN SOA ns. hostmaster. 7 1 1 1 60"),
		reply(f, "example.org", dns.TypeNS, 0, "example.org. 900 IN NS ns1.example.org."),
	} {
		data, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := new(dns.Msg)
		if m.Unpack(data) != nil {
			return
		}
		s := Server{}
		s.A = readAnswer(m, "api.example.org", dns.TypeA)
		s.AAAA = readAnswer(m, "api.example.org", dns.TypeAAAA)
		records := s.Records()
		if err := records.check(); err != nil {
			t.Errorf("records that cannot be written: %v: %v", records, err)
		}
		if _, err := updateMessage("example.org", "api.example.org", records, nil); err != nil {
			t.Error(err)
		}
		text := shownAnswers(s.A, s.AAAA) + strings.Join(records.lines("api.example.org"), "") + strings.Join(readNames(m, "example.org"), "") + s.A.Above + s.A.Rcode
		if soa := soaFor(m.Ns, "api.example.org"); soa != nil {
			text += canonical(soa.Hdr.Name) + canonical(soa.Ns)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("a terminal would obey %q", text)
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
	})
}
