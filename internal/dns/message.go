package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// maxChain bounds how many aliases one answer may lead through.
const maxChain = 16

// udpSize is the size of a UDP reply that is not fragmented on the usual
// networks (DNS flag day 2020), in bytes.
const udpSize = 1232

// query makes a question for one type of record of name. A recursive one is
// for a resolver.
func query(name string, qtype uint16, recursive, edns bool) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.RecursionDesired = recursive
	if edns {
		m.SetEdns0(udpSize, false)
	}
	return m
}

// checkReply refuses what is no reply to q.
func checkReply(q, r *dns.Msg) error {
	switch {
	case r == nil:
		return errors.New("its reply is empty")
	case !r.Response || r.Opcode != q.Opcode || r.Id != q.Id:
		return errors.New("its reply is no reply to the question")
	case len(r.Question) == 0 && r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError:
		return nil // an error may leave the question out
	case len(r.Question) != 1 || !sameQuestion(q.Question[0], r.Question[0]):
		return errors.New("its reply is to another question")
	}
	return nil
}

func sameQuestion(a, b dns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}

// rcodeName gives the name of a response code.
func rcodeName(code int) string {
	if name, ok := dns.RcodeToString[code]; ok {
		return name
	}
	return fmt.Sprintf("RCODE%d", code)
}

// readAnswer takes from r the addresses of name that are of qtype, A or AAAA. It
// believes nothing that the chain from name does not lead to.
func readAnswer(r *dns.Msg, name string, qtype uint16) Answer {
	a := Answer{Rcode: rcodeName(r.Rcode), Authoritative: r.Authoritative, Addresses: []netip.Addr{}}
	at := name
	for range maxChain {
		if ttl, ok := a.take(r.Answer, at, qtype); ok {
			a.TTL = ttl
			return a
		}
		alias := cnameOf(r.Answer, at)
		if alias == nil {
			break
		}
		if at == name {
			a.Alias, a.AliasTTL = canonical(alias.Target), sane(alias.Hdr.Ttl)
			a.Above = dnameAbove(r.Answer, name)
		}
		at = canonical(alias.Target)
	}
	if soa := soaFor(r.Ns, at); soa != nil {
		a.TTL = negativeTTL(soa)
	}
	return a
}

// negativeTTL gives for how many seconds it is cached that a name of the zone
// does not exist (RFC 2308 section 5).
func negativeTTL(soa *dns.SOA) uint32 { return min(sane(soa.Hdr.Ttl), sane(soa.Minttl)) }

// sane takes a TTL with its highest bit set for 0 (RFC 2181 section 8).
func sane(ttl uint32) uint32 {
	if ttl > maxTTL {
		return 0
	}
	return ttl
}

// take takes the addresses of the name at, and gives the lowest of their TTLs
// (RFC 2181 section 5.2) and whether there were any.
func (a *Answer) take(answer []dns.RR, at string, qtype uint16) (uint32, bool) {
	ttl := uint32(maxTTL)
	for _, rr := range answer {
		h := rr.Header()
		if h.Rrtype != qtype || h.Class != dns.ClassINET || canonical(h.Name) != at {
			continue
		}
		addr, ok := addressOf(rr)
		if !ok {
			continue
		}
		a.Addresses = append(a.Addresses, addr)
		ttl = min(ttl, sane(h.Ttl))
	}
	a.Addresses = sortedAddrs(a.Addresses)
	return ttl, len(a.Addresses) > 0
}

func addressOf(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.A:
		return netip.AddrFromSlice(rr.A.To4())
	case *dns.AAAA:
		return netip.AddrFromSlice(rr.AAAA.To16())
	}
	return netip.Addr{}, false
}

func cnameOf(answer []dns.RR, at string) *dns.CNAME {
	for _, rr := range answer {
		if c, ok := rr.(*dns.CNAME); ok && c.Hdr.Class == dns.ClassINET && canonical(c.Hdr.Name) == at {
			return c
		}
	}
	return nil
}

// dnameAbove gives the name of the DNAME record that makes name an alias.
func dnameAbove(answer []dns.RR, name string) string {
	for _, rr := range answer {
		if d, ok := rr.(*dns.DNAME); ok && canonical(d.Hdr.Name) != name && isBelow(name, canonical(d.Hdr.Name)) {
			return shownName(canonical(d.Hdr.Name))
		}
	}
	return ""
}

// soaFor gives the SOA record of a zone that name is in.
func soaFor(section []dns.RR, name string) *dns.SOA {
	for _, rr := range section {
		if soa, ok := rr.(*dns.SOA); ok && soa.Hdr.Class == dns.ClassINET && isBelow(name, canonical(soa.Hdr.Name)) {
			return soa
		}
	}
	return nil
}

// readNames gives the name servers that r lists for zone, at most a few.
func readNames(r *dns.Msg, zone string) []string {
	const most = 32
	var names []string
	for _, rr := range r.Answer {
		if ns, ok := rr.(*dns.NS); ok && canonical(ns.Hdr.Name) == zone && len(names) < most {
			names = append(names, canonical(ns.Ns))
		}
	}
	return names
}

// updateMessage makes the update of RFC 2136 that turns before into after, and
// only if before is what the name has: all three types are prerequisites.
func updateMessage(zone, name string, before, after Records) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetUpdate(dns.Fqdn(zone))
	for _, typ := range knownTypes() {
		was, is := before.of(typ), after.of(typ)
		now, err := was.resources(name)
		if err != nil {
			return nil, err
		}
		if len(now) == 0 {
			m.RRsetNotUsed([]dns.RR{empty(name, typ)})
		} else {
			m.Used(now)
		}
		if was.same(is) {
			continue
		}
		if len(now) > 0 {
			m.RemoveRRset([]dns.RR{empty(name, typ)})
		}
	}
	for _, typ := range knownTypes() {
		if before.of(typ).same(after.of(typ)) {
			continue
		}
		rrs, err := after.of(typ).resources(name)
		if err != nil {
			return nil, err
		}
		m.Insert(rrs)
	}
	return m, nil
}

// tryMessage makes an update of the types that updateMessage would change, which
// no server carries out: of its two prerequisites one cannot hold. And if a server
// looks at neither, it changes nothing either: it takes away what is not there,
// and adds what is.
func tryMessage(zone, name string, before, after Records) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetUpdate(dns.Fqdn(zone))
	m.RRsetUsed([]dns.RR{empty(name, typeA)})
	m.RRsetNotUsed([]dns.RR{empty(name, typeA)})
	for _, typ := range knownTypes() {
		was := before.of(typ)
		if was.same(after.of(typ)) {
			continue
		}
		if len(was.Values) == 0 {
			m.RemoveRRset([]dns.RR{empty(name, typ)})
			continue
		}
		rrs, err := was.resources(name)
		if err != nil {
			return nil, err
		}
		m.Insert(rrs)
	}
	return m, nil
}

// empty is a record of typ without data, which stands for all of that type.
func empty(name, typ string) dns.RR {
	return &dns.ANY{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.StringToType[typ]}}
}

// resources gives s as resource records of name.
func (s RRset) resources(name string) ([]dns.RR, error) {
	var all []dns.RR
	for _, v := range s.Values {
		if !validValue(s.Type, v) {
			return nil, fmt.Errorf("%q is no value of a record of type %s", v, s.Type)
		}
		h := dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.StringToType[s.Type], Class: dns.ClassINET, Ttl: s.TTL}
		if s.Type == typeCNAME {
			all = append(all, &dns.CNAME{Hdr: h, Target: dns.Fqdn(v)})
			continue
		}
		addr, err := netip.ParseAddr(v)
		if err != nil {
			return nil, err
		}
		if s.Type == typeA {
			all = append(all, &dns.A{Hdr: h, A: addr.AsSlice()})
		} else {
			all = append(all, &dns.AAAA{Hdr: h, AAAA: addr.AsSlice()})
		}
	}
	return all, nil
}
