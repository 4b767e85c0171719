package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	mdns "github.com/miekg/dns"

	"holdfast/internal/dns"
)

// maxChain bounds how many aliases one answer may lead through.
const maxChain = 16

// UDPSize is the size of a UDP reply that is not fragmented on the usual
// networks (DNS flag day 2020), in bytes.
const UDPSize = 1232

// Query makes a question for one type of record of name. A recursive one is
// for a resolver.
func Query(name string, qtype uint16, recursive, edns bool) *mdns.Msg {
	m := new(mdns.Msg)
	m.SetQuestion(mdns.Fqdn(name), qtype)
	m.RecursionDesired = recursive
	if edns {
		m.SetEdns0(UDPSize, false)
	}
	return m
}

// CheckReply refuses what is no reply to q.
func CheckReply(q, r *mdns.Msg) error {
	switch {
	case r == nil:
		return errors.New("its reply is empty")
	case !r.Response || r.Opcode != q.Opcode || r.Id != q.Id:
		return errors.New("its reply does not answer the question")
	case len(r.Question) == 0 && r.Rcode != mdns.RcodeSuccess && r.Rcode != mdns.RcodeNameError:
		return nil // an error may leave the question out
	case len(r.Question) != 1 || !sameQuestion(q.Question[0], r.Question[0]):
		return errors.New("its reply is to another question")
	}
	return nil
}

func sameQuestion(a, b mdns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}

// RcodeName gives the name of a response code.
func RcodeName(code int) string {
	if name, ok := mdns.RcodeToString[code]; ok {
		return name
	}
	return fmt.Sprintf("RCODE%d", code)
}

// ReadAnswer takes from r the addresses of name that are of qtype, A or AAAA. It
// believes nothing that the chain from name does not lead to.
func ReadAnswer(r *mdns.Msg, name string, qtype uint16) dns.Answer {
	a := dns.Answer{Rcode: RcodeName(r.Rcode), Authoritative: r.Authoritative, Addresses: []netip.Addr{}}
	at := name
	for range maxChain {
		if ttl, ok := take(&a, r.Answer, at, qtype); ok {
			a.TTL = ttl
			return a
		}
		alias := cnameOf(r.Answer, at)
		if alias == nil {
			break
		}
		if at == name {
			a.Alias, a.AliasTTL = dns.Canonical(alias.Target), sane(alias.Hdr.Ttl)
			a.Above = dnameAbove(r.Answer, name)
		}
		at = dns.Canonical(alias.Target)
	}
	if soa := SOAFor(r.Ns, at); soa != nil {
		a.TTL = NegativeTTL(soa)
	}
	return a
}

// NegativeTTL gives for how many seconds it is cached that a name of the zone
// does not exist (RFC 2308 section 5).
func NegativeTTL(soa *mdns.SOA) uint32 { return min(sane(soa.Hdr.Ttl), sane(soa.Minttl)) }

// sane takes a TTL with its highest bit set for 0 (RFC 2181 section 8).
func sane(ttl uint32) uint32 {
	if ttl > dns.MaxTTL {
		return 0
	}
	return ttl
}

// take takes the addresses of the name at, and gives the lowest of their TTLs
// (RFC 2181 section 5.2) and whether there were any.
func take(a *dns.Answer, answer []mdns.RR, at string, qtype uint16) (uint32, bool) {
	ttl := uint32(dns.MaxTTL)
	for _, rr := range answer {
		h := rr.Header()
		if h.Rrtype != qtype || h.Class != mdns.ClassINET || dns.Canonical(h.Name) != at {
			continue
		}
		addr, ok := addressOf(rr)
		if !ok {
			continue
		}
		a.Addresses = append(a.Addresses, addr)
		ttl = min(ttl, sane(h.Ttl))
	}
	a.Addresses = dns.SortedAddrs(a.Addresses)
	return ttl, len(a.Addresses) > 0
}

func addressOf(rr mdns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *mdns.A:
		return netip.AddrFromSlice(rr.A.To4())
	case *mdns.AAAA:
		return netip.AddrFromSlice(rr.AAAA.To16())
	}
	return netip.Addr{}, false
}

func cnameOf(answer []mdns.RR, at string) *mdns.CNAME {
	for _, rr := range answer {
		if c, ok := rr.(*mdns.CNAME); ok && c.Hdr.Class == mdns.ClassINET && dns.Canonical(c.Hdr.Name) == at {
			return c
		}
	}
	return nil
}

// dnameAbove gives the name of the DNAME record that makes name an alias.
func dnameAbove(answer []mdns.RR, name string) string {
	for _, rr := range answer {
		if d, ok := rr.(*mdns.DNAME); ok && dns.Canonical(d.Hdr.Name) != name && dns.IsBelow(name, dns.Canonical(d.Hdr.Name)) {
			return dns.ShownName(dns.Canonical(d.Hdr.Name))
		}
	}
	return ""
}

// SOAFor gives the SOA record of a zone that name is in.
func SOAFor(section []mdns.RR, name string) *mdns.SOA {
	for _, rr := range section {
		if soa, ok := rr.(*mdns.SOA); ok && soa.Hdr.Class == mdns.ClassINET && dns.IsBelow(name, dns.Canonical(soa.Hdr.Name)) {
			return soa
		}
	}
	return nil
}

// ReadNames gives the name servers that r lists for zone, at most a few.
func ReadNames(r *mdns.Msg, zone string) []string {
	const most = 32
	var names []string
	for _, rr := range r.Answer {
		if ns, ok := rr.(*mdns.NS); ok && dns.Canonical(ns.Hdr.Name) == zone && len(names) < most {
			names = append(names, dns.Canonical(ns.Ns))
		}
	}
	return names
}

// UpdateMessage makes the update of RFC 2136 that turns before into after, and
// only if before is what the name has: all three types are prerequisites.
func UpdateMessage(zone, name string, before, after dns.Records) (*mdns.Msg, error) {
	m := new(mdns.Msg)
	m.SetUpdate(mdns.Fqdn(zone))
	for _, typ := range dns.KnownTypes() {
		was, is := before.Of(typ), after.Of(typ)
		now, err := resources(was, name)
		if err != nil {
			return nil, err
		}
		if len(now) == 0 {
			m.RRsetNotUsed([]mdns.RR{empty(name, typ)})
		} else {
			m.Used(now)
		}
		if was.Same(is) {
			continue
		}
		if len(now) > 0 {
			m.RemoveRRset([]mdns.RR{empty(name, typ)})
		}
	}
	for _, typ := range dns.KnownTypes() {
		if before.Of(typ).Same(after.Of(typ)) {
			continue
		}
		rrs, err := resources(after.Of(typ), name)
		if err != nil {
			return nil, err
		}
		m.Insert(rrs)
	}
	return m, nil
}

// TryMessage makes an update of the types that updateMessage would change, which
// no server carries out: of its two prerequisites one cannot hold. And if a server
// looks at neither, it changes nothing either: it takes away what is not there,
// and adds what is.
func TryMessage(zone, name string, before, after dns.Records) (*mdns.Msg, error) {
	m := new(mdns.Msg)
	m.SetUpdate(mdns.Fqdn(zone))
	m.RRsetUsed([]mdns.RR{empty(name, dns.TypeA)})
	m.RRsetNotUsed([]mdns.RR{empty(name, dns.TypeA)})
	for _, typ := range dns.KnownTypes() {
		was := before.Of(typ)
		if was.Same(after.Of(typ)) {
			continue
		}
		if len(was.Values) == 0 {
			m.RemoveRRset([]mdns.RR{empty(name, typ)})
			continue
		}
		rrs, err := resources(was, name)
		if err != nil {
			return nil, err
		}
		m.Insert(rrs)
	}
	return m, nil
}

// empty is a record of typ without data, which stands for all of that type.
func empty(name, typ string) mdns.RR {
	return &mdns.ANY{Hdr: mdns.RR_Header{Name: mdns.Fqdn(name), Rrtype: mdns.StringToType[typ]}}
}

// resources gives s as resource records of name.
func resources(s dns.RRset, name string) ([]mdns.RR, error) {
	var all []mdns.RR
	for _, v := range s.Values {
		if !dns.ValidValue(s.Type, v) {
			return nil, fmt.Errorf("%q is no value of a record of type %s", v, s.Type)
		}
		h := mdns.RR_Header{Name: mdns.Fqdn(name), Rrtype: mdns.StringToType[s.Type], Class: mdns.ClassINET, Ttl: s.TTL}
		if s.Type == dns.TypeCNAME {
			all = append(all, &mdns.CNAME{Hdr: h, Target: mdns.Fqdn(v)})
			continue
		}
		addr, err := netip.ParseAddr(v)
		if err != nil {
			return nil, err
		}
		if s.Type == dns.TypeA {
			all = append(all, &mdns.A{Hdr: h, A: addr.AsSlice()})
		} else {
			all = append(all, &mdns.AAAA{Hdr: h, AAAA: addr.AsSlice()})
		}
	}
	return all, nil
}
