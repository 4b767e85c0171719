package wire

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"

	"holdfast/internal/dns"
)

// reply makes a reply whose answer and authority sections have these records,
// as zone files have them; "SOA ..." goes into authority.
func reply(t testing.TB, name string, qtype uint16, rcode int, records ...string) *mdns.Msg {
	t.Helper()
	m := new(mdns.Msg)
	m.SetQuestion(mdns.Fqdn(name), qtype)
	m.Response, m.Authoritative, m.Rcode = true, true, rcode
	for _, text := range records {
		rr, err := mdns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		if rr.Header().Rrtype == mdns.TypeSOA {
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
		want    dns.Answer
	}{
		{
			"two, sorted, with the lower TTL", 0,
			[]string{"api.example.org. 300 IN A 10.0.0.2", "API.example.org. 60 IN A 10.0.0.1", "api.example.org. 60 IN A 10.0.0.1"},
			dns.Answer{Rcode: "NOERROR", Addresses: addrs("10.0.0.1", "10.0.0.2"), TTL: 60},
		},
		{"of another name", 0, []string{"other.example.org. 300 IN A 10.0.0.1"}, dns.Answer{Rcode: "NOERROR"}},
		{"of another type and class", 0, []string{"api.example.org. 300 IN AAAA ::1", "api.example.org. 300 CH A 10.0.0.1"}, dns.Answer{Rcode: "NOERROR"}},
		{"no such name", mdns.RcodeNameError, []string{soa}, dns.Answer{Rcode: "NXDOMAIN", TTL: 60}},
		{"no such name, by another zone", mdns.RcodeNameError, []string{"example.net. 900 IN SOA ns. hostmaster. 7 1 1 1 60"}, dns.Answer{Rcode: "NXDOMAIN"}},
		{"refused", mdns.RcodeRefused, nil, dns.Answer{Rcode: "REFUSED"}},
		{"unknown code", 3000, nil, dns.Answer{Rcode: "RCODE3000"}},
		{
			"alias", 0,
			[]string{"a.example.net. 30 IN A 10.0.0.1", "b.example.org. 5 IN CNAME a.example.net.", "api.example.org. 600 IN CNAME B.example.org."},
			dns.Answer{Rcode: "NOERROR", Addresses: addrs("10.0.0.1"), TTL: 30, Alias: "b.example.org", AliasTTL: 600},
		},
		{
			"alias that goes round", 0,
			[]string{"api.example.org. 600 IN CNAME b.example.org.", "b.example.org. 600 IN CNAME api.example.org."},
			dns.Answer{Rcode: "NOERROR", Alias: "b.example.org", AliasTTL: 600},
		},
		{
			"alias by DNAME", 0,
			[]string{"example.org. 60 IN DNAME example.net.", "api.example.org. 60 IN CNAME api.example.net.", "api.example.net. 30 IN A 10.0.0.1"},
			dns.Answer{Rcode: "NOERROR", Addresses: addrs("10.0.0.1"), TTL: 30, Alias: "api.example.net", AliasTTL: 60, Above: "example.org"},
		},
		{"TTL out of range", 0, []string{"api.example.org. 4294967295 IN A 10.0.0.1"}, dns.Answer{Rcode: "NOERROR", Addresses: addrs("10.0.0.1")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Authoritative = true
			if c.want.Addresses == nil {
				c.want.Addresses = []netip.Addr{}
			}
			got := ReadAnswer(reply(t, "api.example.org", mdns.TypeA, c.rcode, c.records...), "api.example.org", mdns.TypeA)
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
	q := Query("api.example.org", mdns.TypeA, false, true)
	good := func() *mdns.Msg { m := new(mdns.Msg); m.SetReply(q); return m }
	if err := CheckReply(q, good()); err != nil {
		t.Errorf("a good reply: %v", err)
	}
	for name, spoil := range map[string]func(*mdns.Msg){
		"no reply":       func(m *mdns.Msg) { m.Response = false },
		"other id":       func(m *mdns.Msg) { m.Id++ },
		"other opcode":   func(m *mdns.Msg) { m.Opcode = mdns.OpcodeUpdate },
		"no question":    func(m *mdns.Msg) { m.Question = nil },
		"other name":     func(m *mdns.Msg) { m.Question[0].Name = "x.example.org." },
		"other type":     func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeAAAA },
		"two questions":  func(m *mdns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"other class":    func(m *mdns.Msg) { m.Question[0].Qclass = mdns.ClassCHAOS },
		"no such, blank": func(m *mdns.Msg) { m.Rcode, m.Question = mdns.RcodeNameError, nil },
	} {
		m := good()
		m.Question = slices.Clone(m.Question)
		spoil(m)
		if err := CheckReply(q, m); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	blank := good()
	blank.Rcode, blank.Question = mdns.RcodeFormatError, nil
	if err := CheckReply(q, blank); err != nil {
		t.Errorf("an error without a question: %v", err)
	}
}

// TestUpdateMessage shows the updates as nsupdate(1) would print them.
func TestUpdateMessage(t *testing.T) {
	alias := dns.Records{{Type: "CNAME", TTL: 600, Values: []string{"ctl1.example.org"}}}
	old := dns.Records{{Type: "A", TTL: 600, Values: []string{"10.0.0.13"}}}
	both := dns.Records{{Type: "A", TTL: 60, Values: []string{"10.0.0.10"}}, {Type: "AAAA", TTL: 60, Values: []string{"2001:db8::10"}}}
	for _, c := range []struct {
		name          string
		before, after dns.Records
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
			dns.Records{{Type: "A", TTL: 60, Values: []string{"10.0.0.13"}}},
			[]string{"0 IN A 10.0.0.13", "0 NONE AAAA", "0 NONE CNAME"},
			[]string{"0 CLASS255 A", "60 IN A 10.0.0.13"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := UpdateMessage("example.org", "api.example.org", c.before, c.after)
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

func shown(rrs []mdns.RR) []string {
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
		make   ServerMake
		signed bool
		want   []string
	}{
		{mdns.RcodeNXRrset, UnknownMake, true, []string{"other records now (NXRRSET)"}},
		{mdns.RcodeYXRrset, UnknownMake, true, []string{"(YXRRSET)"}},
		{mdns.RcodeRefused, makeBIND, true, []string{"see allow-update or update-policy of the zone example.org", "frozen zone"}},
		{mdns.RcodeRefused, makePowerDNS, true, []string{"ALLOW-DNSUPDATE-FROM", "TSIG-ALLOW-DNSUPDATE"}},
		{mdns.RcodeRefused, makePowerDNS, false, []string{"key that it does not accept", "ALLOW-DNSUPDATE-FROM"}},
		{mdns.RcodeRefused, makeKnot, true, []string{"knotc zone-thaw"}},
		{mdns.RcodeRefused, UnknownMake, true, []string{"BIND's allow-update", "PowerDNS's dnsupdate", "with Knot, whether"}},
		{mdns.RcodeNotAuth, makeBIND, true, []string{"it is not authoritative for the zone example.org (NOTAUTH)"}},
		{mdns.RcodeNotAuth, makeKnot, false, []string{"it has not the zone example.org, or no rule"}},
		{mdns.RcodeNotAuth, UnknownMake, false, []string{"or does not accept the key"}},
		{mdns.RcodeNotZone, UnknownMake, true, []string{"NOTZONE"}},
		{mdns.RcodeNotImplemented, makeNSD, false, []string{"NOTIMP", "--print"}},
		{mdns.RcodeServerFailure, makePowerDNS, true, []string{"SERVFAIL", "secondary"}},
		{11, UnknownMake, true, []string{"it answers "}},
	} {
		err := Refused{c.code, "example.org", c.signed, c.make}.Err()
		if err == nil || errors.Is(err, dns.ErrChanged) != strings.Contains(c.want[0], "RRSET") {
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

// TestTryMessage: its prerequisites cannot both hold, and what it asks for is
// what is there.
func TestTryMessage(t *testing.T) {
	before := dns.Records{{Type: "A", TTL: 600, Values: []string{"10.0.0.13"}}, {Type: "AAAA", TTL: 60, Values: []string{"2001:db8::13"}}}
	after := dns.Records{{Type: "A", TTL: 600, Values: []string{"10.0.0.10"}}}
	m, err := TryMessage("example.org", "api.example.org", before, after)
	if err != nil {
		t.Fatal(err)
	}
	if got := shown(m.Answer); !slices.Equal(got, []string{"0 CLASS255 A", "0 NONE A"}) {
		t.Errorf("prerequisites: %q", got)
	}
	if got := shown(m.Ns); !slices.Equal(got, []string{"600 IN A 10.0.0.13", "60 IN AAAA 2001:db8::13"}) {
		t.Errorf("updates: %q", got)
	}
	if m, err = TryMessage("example.org", "api.example.org", after, before); err != nil {
		t.Fatal(err)
	}
	if got := shown(m.Ns); !slices.Equal(got, []string{"600 IN A 10.0.0.10", "0 CLASS255 AAAA"}) {
		t.Errorf("updates: %q", got)
	}
}

// TestNotAuthSignature: a NOTAUTH that is signed has to be signed right, and what
// it says of the clock or the zone is not believed otherwise.
func TestNotAuthSignature(t *testing.T) {
	key := dns.Key{Name: "k", Algorithm: "hmac-sha256", Secret: strings.Repeat("QUJD", 10)}
	for _, c := range []struct {
		name   string
		secret string
		fault  uint16
		want   string // "" is for good
	}{
		{"right", key.Secret, 0, ""},
		{"right, and the clock", key.Secret, mdns.RcodeBadTime, "BADTIME"},
		{"another secret", strings.Repeat("REVG", 10), 0, "the signature of its reply is not that of the key k (hmac-sha256)"},
		{"another secret, and the clock", strings.Repeat("REVG", 10), mdns.RcodeBadTime, "the signature of its reply is not that"},
	} {
		q := Query("example.org", mdns.TypeSOA, false, true)
		_, mac, err := Packed(q, &key, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r := new(mdns.Msg)
		r.SetRcode(q, mdns.RcodeNotAuth)
		r.Extra = nil
		r.SetTsig("k.", mdns.HmacSHA256, fudge, time.Now().Unix())
		r.IsTsig().Error = c.fault
		wire, _, err := mdns.TsigGenerate(r, c.secret, mac, false)
		if err != nil {
			t.Fatal(err)
		}
		got := new(mdns.Msg)
		if err := got.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		err = CheckSigned(wire, got, key, mac, mdns.OpcodeQuery)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// FuzzReply reads what hostile servers may send: no panic, and nothing but
// addresses and printable names comes of it.
func FuzzReply(f *testing.F) {
	for _, m := range []*mdns.Msg{
		reply(f, "api.example.org", mdns.TypeA, 0, "api.example.org. 300 IN A 10.0.0.2", "api.example.org. 60 IN CNAME \\000b.example.org."),
		reply(f, "api.example.org", mdns.TypeAAAA, 0, "example.org. 60 IN DNAME example.net.", "api.example.org. 60 IN CNAME api.example.net.", "api.example.net. 30 IN AAAA ::ffff:1.2.3.4"),
		reply(f, "api.example.org", mdns.TypeA, 3, "example.org. 900 IN SOA ns. hostmaster. 7 1 1 1 60"),
		reply(f, "example.org", mdns.TypeNS, 0, "example.org. 900 IN NS ns1.example.org."),
	} {
		data, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := new(mdns.Msg)
		if m.Unpack(data) != nil {
			return
		}
		s := dns.Server{}
		s.A = ReadAnswer(m, "api.example.org", mdns.TypeA)
		s.AAAA = ReadAnswer(m, "api.example.org", mdns.TypeAAAA)
		records := s.Records()
		if err := records.Check(); err != nil {
			t.Errorf("records that cannot be written: %v: %v", records, err)
		}
		if _, err := UpdateMessage("example.org", "api.example.org", records, nil); err != nil {
			t.Error(err)
		}
		text := dns.ShownAnswers(s.A, s.AAAA) + strings.Join(records.Lines("api.example.org"), "") + strings.Join(ReadNames(m, "example.org"), "") + s.A.Above + s.A.Rcode
		if soa := SOAFor(m.Ns, "api.example.org"); soa != nil {
			text += dns.Canonical(soa.Hdr.Name) + dns.Canonical(soa.Ns)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("a terminal would obey %q", text)
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
	})
}
