package dns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// dnsPort is the usual port of DNS servers.
const dnsPort = 53

// A Looker asks DNS servers what they say of hostnames.
type Looker struct {
	// Servers are asked in place of the zone's own name servers. The first is
	// where updates go, unless Primary is set.
	Servers []netip.AddrPort
	// Primary is where updates go; not valid: where the SOA record says.
	Primary netip.AddrPort
	// Resolvers are asked for the zone, for the addresses of its name servers,
	// and for the hostname.
	Resolvers []netip.AddrPort
	// Port is that of name servers; 0 is 53.
	Port uint16
	// Key signs what is asked of the primary, so that it answers as it does to
	// the updates, if it has views. Nil signs nothing.
	Key *Key
	// Timeout bounds one try; a server has two of them. 0 is 2 seconds.
	Timeout time.Duration
	// Now gives the time; never nil.
	Now func() time.Time
}

// ReadResolvers reads the resolvers of a resolv.conf(5). Without any there it is
// the one on this machine, as in the C library.
func ReadResolvers(file string) ([]netip.AddrPort, error) {
	local := []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), dnsPort)}
	config, err := dns.ClientConfigFromFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return local, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the resolvers: %w", err)
	}
	var all []netip.AddrPort
	for _, server := range config.Servers {
		if addr, err := netip.ParseAddr(server); err == nil && len(all) < 3 { // MAXNS of the C library
			all = append(all, netip.AddrPortFrom(addr, dnsPort))
		}
	}
	if len(all) == 0 {
		return local, nil
	}
	return all, nil
}

func (l Looker) asker() asker { return asker{l.Timeout, l.Now} }

// LookAll looks for all hostnames at once; the views are in their order.
func (l Looker) LookAll(ctx context.Context, hostnames []string) []View {
	views := make([]View, len(hostnames))
	var wg sync.WaitGroup
	for i, name := range hostnames {
		wg.Go(func() { views[i] = l.Look(ctx, name) })
	}
	wg.Wait()
	return views
}

// Look finds the zone of hostname and its name servers, and asks each of these
// and each resolver. What fails is in the View.
func (l Looker) Look(ctx context.Context, hostname string) View {
	v := View{Hostname: hostname, Time: l.Now(), Servers: []Server{}, Resolvers: make([]Resolver, len(l.Resolvers)), named: len(l.Servers) > 0}
	var wg sync.WaitGroup
	for i, addr := range l.Resolvers {
		wg.Go(func() { v.Resolvers[i] = l.askResolver(ctx, addr, hostname) })
	}
	zone, mname, err := l.findZone(ctx, hostname)
	if err == nil {
		v.Zone = zone
		v.Servers = l.askServers(ctx, l.serversOf(ctx, zone, mname), zone, hostname)
	} else {
		v.ZoneError = err.Error()
	}
	wg.Wait()
	return v
}

func (l Looker) askResolver(ctx context.Context, addr netip.AddrPort, hostname string) Resolver {
	r := Resolver{Address: addr}
	var wg sync.WaitGroup
	wg.Go(func() { r.A = l.answer(ctx, addr, nil, hostname, dns.TypeA, true) })
	wg.Go(func() { r.AAAA = l.answer(ctx, addr, nil, hostname, dns.TypeAAAA, true) })
	wg.Wait()
	return r
}

// answer asks for the addresses of one family of name.
func (l Looker) answer(ctx context.Context, addr netip.AddrPort, key *Key, name string, qtype uint16, recursive bool) Answer {
	r, err := l.asker().ask(ctx, addr, key, func(edns bool) *dns.Msg { return query(name, qtype, recursive, edns) })
	if err != nil {
		_, noRoute := errors.AsType[*routeError](err)
		_, noKey := errors.AsType[*keyError](err)
		return Answer{Error: err.Error(), NoRoute: noRoute, KeyRefused: noKey, Addresses: []netip.Addr{}}
	}
	return readAnswer(r, name, qtype)
}

// findZone finds the zone that hostname is in, and the primary that its SOA
// record names. It asks the servers that were named, or else the resolvers.
func (l Looker) findZone(ctx context.Context, hostname string) (zone, mname string, err error) {
	ask, recursive := l.Resolvers, true
	if len(l.Servers) > 0 {
		ask, recursive = l.Servers, false
	}
	err = errNoResolver
	var soa *dns.SOA
	for _, addr := range ask {
		if soa, err = l.findSOA(ctx, addr, hostname, recursive); err == nil {
			return canonical(soa.Hdr.Name), canonical(soa.Ns), nil
		}
	}
	if l.Primary.IsValid() {
		if soa, failed := l.findSOA(ctx, l.Primary, hostname, false); failed == nil {
			return canonical(soa.Hdr.Name), canonical(soa.Ns), nil
		}
	}
	return "", "", err
}

// errNoResolver is for a Looker that has neither servers nor resolvers.
var errNoResolver = errors.New("there is no resolver to ask")

// findSOA walks up from hostname until addr has a SOA record.
func (l Looker) findSOA(ctx context.Context, addr netip.AddrPort, hostname string, recursive bool) (*dns.SOA, error) {
	for name := hostname; name != ""; name = parent(name) {
		build := func(edns bool) *dns.Msg { return query(name, dns.TypeSOA, recursive, edns) }
		r, err := l.asker().ask(ctx, addr, l.keyFor(addr, !recursive), build)
		if _, noKey := errors.AsType[*keyError](err); noKey {
			// The zone is the same for all; what becomes of the key is said with the server.
			r, err = l.asker().ask(ctx, addr, nil, build)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", shownAddr(addr), err)
		}
		if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
			return nil, fmt.Errorf("%s answers %s when asked for the zone of %s", shownAddr(addr), rcodeName(r.Rcode), name)
		}
		soa := soaFor(r.Answer, name)
		if soa == nil {
			soa = soaFor(r.Ns, name)
		}
		if soa != nil && canonical(soa.Hdr.Name) == "" {
			return nil, fmt.Errorf("%s says that not even the top-level domain of %s exists", shownAddr(addr), hostname)
		}
		if soa != nil {
			return soa, nil
		}
	}
	return nil, fmt.Errorf("%s has no SOA record for it or anything above it", shownAddr(addr))
}

// keyFor gives the key to sign with what is asked of addr.
func (l Looker) keyFor(addr netip.AddrPort, authoritative bool) *Key {
	if !authoritative {
		return nil
	}
	if addr == l.Primary || !l.Primary.IsValid() && len(l.Servers) > 0 && addr == l.Servers[0] {
		return l.Key
	}
	return nil
}

// serversOf gives the servers of zone, not yet asked.
func (l Looker) serversOf(ctx context.Context, zone, mname string) []Server {
	var all []Server
	if len(l.Servers) > 0 {
		for i, addr := range l.Servers {
			all = append(all, Server{Address: addr, Primary: i == 0 && !l.Primary.IsValid()})
		}
	} else {
		all = l.nameServers(ctx, zone, mname)
	}
	if !l.Primary.IsValid() {
		return all
	}
	for i := range all {
		all[i].Primary = all[i].Address == l.Primary
	}
	if !slices.ContainsFunc(all, func(s Server) bool { return s.Primary }) {
		all = append(all, Server{Address: l.Primary, Primary: true, Hidden: true})
	}
	return all
}

// nameServers looks for the NS records of zone and their addresses. A primary
// that is not among them is there as a hidden one.
func (l Looker) nameServers(ctx context.Context, zone, mname string) []Server {
	names := []string{}
	if r, err := l.fromResolvers(ctx, zone, dns.TypeNS); err == nil {
		names = readNames(r, zone)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	listed := len(names)
	if !l.Primary.IsValid() && mname != "" && !slices.Contains(names, mname) {
		names = append(names, mname)
	}
	found := make([][]netip.Addr, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { found[i] = l.addressesOf(ctx, name) })
	}
	wg.Wait()
	var all []Server
	for i, name := range names {
		for _, addr := range found[i] {
			all = append(all, Server{Name: name, Address: netip.AddrPortFrom(addr, l.port()), Primary: name == mname, Hidden: i >= listed})
		}
		if len(found[i]) == 0 && i < listed {
			all = append(all, unnamed(name))
		}
	}
	return all
}

// unnamed is a name server whose name has no address.
func unnamed(name string) Server {
	why := Answer{Error: "its name has no address", Addresses: []netip.Addr{}}
	return Server{Name: name, A: why, AAAA: why}
}

func (l Looker) port() uint16 {
	if l.Port == 0 {
		return dnsPort
	}
	return l.Port
}

// addressesOf gives the addresses of a name server, at most a few.
func (l Looker) addressesOf(ctx context.Context, name string) []netip.Addr {
	const most = 8
	var all []netip.Addr
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if r, err := l.fromResolvers(ctx, name, qtype); err == nil {
			all = append(all, readAnswer(r, name, qtype).Addresses...)
		}
	}
	return all[:min(len(all), most)]
}

// fromResolvers gives the reply of the first resolver that has one.
func (l Looker) fromResolvers(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	err := errNoResolver
	var r *dns.Msg
	for _, addr := range l.Resolvers {
		if r, err = l.asker().ask(ctx, addr, nil, func(edns bool) *dns.Msg { return query(name, qtype, true, edns) }); err == nil {
			return r, nil
		}
	}
	return nil, err
}

// askServers asks all servers at once.
func (l Looker) askServers(ctx context.Context, servers []Server, zone, hostname string) []Server {
	out := slices.Clone(servers)
	var wg sync.WaitGroup
	for i := range out {
		if out[i].Address.IsValid() {
			wg.Go(func() { l.askServer(ctx, &out[i], zone, hostname) })
		}
	}
	wg.Wait()
	if out == nil {
		return []Server{}
	}
	return out
}

// askServer fills in what the server s says.
func (l Looker) askServer(ctx context.Context, s *Server, zone, hostname string) {
	var key *Key
	if s.Primary {
		key = l.Key
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.A = l.answer(ctx, s.Address, key, hostname, dns.TypeA, false) })
	wg.Go(func() { s.AAAA = l.answer(ctx, s.Address, key, hostname, dns.TypeAAAA, false) })
	wg.Go(func() {
		r, err := l.asker().ask(ctx, s.Address, key, func(edns bool) *dns.Msg { return query(zone, dns.TypeSOA, false, edns) })
		if err != nil {
			return // the other two say what there is to say
		}
		if soa := soaFor(r.Answer, zone); soa != nil && canonical(soa.Hdr.Name) == zone {
			s.Serial, s.NegativeTTL = &soa.Serial, negativeTTL(soa)
		}
	})
	wg.Wait()
	if s.Condition() == Good {
		s.Wildcard = l.wildcard(ctx, *s, key, zone, hostname)
	}
}

// wildcard gives the wildcard that answers for hostname at s. A name that exists
// hides every wildcard above from the names below it (RFC 4592 section 3.3.1):
// so if one below it gets the same answer, the hostname does not exist.
func (l Looker) wildcard(ctx context.Context, s Server, key *Key, zone, hostname string) string {
	qtype, has := dns.TypeA, s.A
	if len(has.Addresses) == 0 && has.Alias == "" {
		qtype, has = dns.TypeAAAA, s.AAAA
	}
	if len(has.Addresses) == 0 && has.Alias == "" {
		return ""
	}
	below := l.answer(ctx, s.Address, key, "holdfast-no-such-name."+hostname, qtype, false)
	if !below.same(has) {
		return ""
	}
	for above := parent(hostname); above != "" && isBelow(above, zone); above = parent(above) {
		if star := l.answer(ctx, s.Address, key, "*."+above, qtype, false); star.same(has) {
			return "*." + above
		}
	}
	return ""
}
