package zone

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"sync"
	"time"

	mdns "github.com/miekg/dns"

	"holdfast/internal/dns"
	"holdfast/internal/dns/wire"
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
	Key *dns.Key
	// Timeout bounds one try; a server has two of them. 0 is 2 seconds.
	Timeout time.Duration
	// Now gives the time; never nil.
	Now func() time.Time
}

// ReadResolvers reads the resolvers of a resolv.conf(5). Without any there it is
// the one on this machine, as in the C library.
func ReadResolvers(file string) ([]netip.AddrPort, error) {
	local := []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), dnsPort)}
	config, err := mdns.ClientConfigFromFile(file)
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
func (l Looker) LookAll(ctx context.Context, hostnames []string) []dns.View {
	views := make([]dns.View, len(hostnames))
	var wg sync.WaitGroup
	for i, name := range hostnames {
		wg.Go(func() { views[i] = l.Look(ctx, name) })
	}
	wg.Wait()
	return views
}

// Look finds the zone of hostname and its name servers, and asks each of these
// and each resolver. What fails is in the View.
func (l Looker) Look(ctx context.Context, hostname string) dns.View {
	v := dns.View{Hostname: hostname, Time: l.Now(), Servers: []dns.Server{}, Resolvers: make([]dns.Resolver, len(l.Resolvers)), Named: len(l.Servers) > 0}
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

// AskResolvers asks each resolver for the addresses of hostname, and nobody else.
func (l Looker) AskResolvers(ctx context.Context, hostname string) []dns.Resolver {
	all := make([]dns.Resolver, len(l.Resolvers))
	var wg sync.WaitGroup
	for i, addr := range l.Resolvers {
		wg.Go(func() { all[i] = l.askResolver(ctx, addr, hostname) })
	}
	wg.Wait()
	return all
}

func (l Looker) askResolver(ctx context.Context, addr netip.AddrPort, hostname string) dns.Resolver {
	r := dns.Resolver{Address: addr}
	var wg sync.WaitGroup
	wg.Go(func() { r.A = l.answer(ctx, addr, nil, hostname, mdns.TypeA, true) })
	wg.Go(func() { r.AAAA = l.answer(ctx, addr, nil, hostname, mdns.TypeAAAA, true) })
	wg.Wait()
	return r
}

// answer asks for the addresses of one family of name.
func (l Looker) answer(ctx context.Context, addr netip.AddrPort, key *dns.Key, name string, qtype uint16, recursive bool) dns.Answer {
	r, err := l.asker().ask(ctx, addr, key, func(edns bool) *mdns.Msg { return wire.Query(name, qtype, recursive, edns) })
	if err != nil {
		_, noRoute := errors.AsType[*routeError](err)
		_, noKey := errors.AsType[*wire.KeyError](err)
		return dns.Answer{Error: err.Error(), NoRoute: noRoute, KeyRefused: noKey, Addresses: []netip.Addr{}}
	}
	return wire.ReadAnswer(r, name, qtype)
}

// findZone finds the zone that hostname is in, and the primary that its SOA
// record names. It asks the servers that were named, or else the resolvers.
func (l Looker) findZone(ctx context.Context, hostname string) (zone, mname string, err error) {
	ask, recursive := l.Resolvers, true
	if len(l.Servers) > 0 {
		ask, recursive = l.Servers, false
	}
	err = errNoResolver
	var soa *mdns.SOA
	for _, addr := range ask {
		if soa, err = l.findSOA(ctx, addr, hostname, recursive); err == nil {
			return dns.Canonical(soa.Hdr.Name), dns.Canonical(soa.Ns), nil
		}
	}
	if l.Primary.IsValid() {
		if soa, failed := l.findSOA(ctx, l.Primary, hostname, false); failed == nil {
			return dns.Canonical(soa.Hdr.Name), dns.Canonical(soa.Ns), nil
		}
	}
	return "", "", err
}

// errNoResolver is for a Looker that has neither servers nor resolvers.
var errNoResolver = errors.New("there is no resolver to ask")

// findSOA walks up from hostname until addr has a SOA record.
func (l Looker) findSOA(ctx context.Context, addr netip.AddrPort, hostname string, recursive bool) (*mdns.SOA, error) {
	for name := hostname; name != ""; name = dns.Parent(name) {
		build := func(edns bool) *mdns.Msg { return wire.Query(name, mdns.TypeSOA, recursive, edns) }
		r, err := l.asker().ask(ctx, addr, l.keyFor(addr, !recursive), build)
		if _, noKey := errors.AsType[*wire.KeyError](err); noKey {
			// The zone is the same for all; what becomes of the key is said with the server.
			r, err = l.asker().ask(ctx, addr, nil, build)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dns.ShownAddr(addr), err)
		}
		if r.Rcode != mdns.RcodeSuccess && r.Rcode != mdns.RcodeNameError {
			return nil, fmt.Errorf("%s answers %s when asked for the zone of %s", dns.ShownAddr(addr), wire.RcodeName(r.Rcode), name)
		}
		soa := wire.SOAFor(r.Answer, name)
		if soa == nil {
			soa = wire.SOAFor(r.Ns, name)
		}
		if soa != nil && dns.Canonical(soa.Hdr.Name) == "" {
			return nil, fmt.Errorf("%s says that not even the top-level domain of %s exists", dns.ShownAddr(addr), hostname)
		}
		if soa != nil {
			return soa, nil
		}
	}
	return nil, fmt.Errorf("%s has no SOA record for it or anything above it", dns.ShownAddr(addr))
}

// keyFor gives the key to sign with what is asked of addr.
func (l Looker) keyFor(addr netip.AddrPort, authoritative bool) *dns.Key {
	if !authoritative {
		return nil
	}
	if addr == l.Primary || !l.Primary.IsValid() && len(l.Servers) > 0 && addr == l.Servers[0] {
		return l.Key
	}
	return nil
}

// serversOf gives the servers of zone, not yet asked.
func (l Looker) serversOf(ctx context.Context, zone, mname string) []dns.Server {
	var all []dns.Server
	if len(l.Servers) > 0 {
		for i, addr := range l.Servers {
			all = append(all, dns.Server{Address: addr, Primary: i == 0 && !l.Primary.IsValid()})
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
	if !slices.ContainsFunc(all, func(s dns.Server) bool { return s.Primary }) {
		all = append(all, dns.Server{Address: l.Primary, Primary: true, Hidden: true})
	}
	return all
}

// nameServers looks for the NS records of zone and their addresses. A primary
// that is not among them is there as a hidden one.
func (l Looker) nameServers(ctx context.Context, zone, mname string) []dns.Server {
	names := []string{}
	if r, err := l.fromResolvers(ctx, zone, mdns.TypeNS); err == nil {
		names = wire.ReadNames(r, zone)
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
	var all []dns.Server
	for i, name := range names {
		for _, addr := range found[i] {
			all = append(all, dns.Server{Name: name, Address: netip.AddrPortFrom(addr, l.port()), Primary: name == mname, Hidden: i >= listed})
		}
		if len(found[i]) == 0 && i < listed {
			all = append(all, unnamed(name))
		}
	}
	return all
}

// unnamed is a name server whose name has no address.
func unnamed(name string) dns.Server {
	why := dns.Answer{Error: "its name has no address", Addresses: []netip.Addr{}}
	return dns.Server{Name: name, A: why, AAAA: why}
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
	for _, qtype := range []uint16{mdns.TypeA, mdns.TypeAAAA} {
		if r, err := l.fromResolvers(ctx, name, qtype); err == nil {
			all = append(all, wire.ReadAnswer(r, name, qtype).Addresses...)
		}
	}
	return all[:min(len(all), most)]
}

// fromResolvers gives the reply of the first resolver that has one.
func (l Looker) fromResolvers(ctx context.Context, name string, qtype uint16) (*mdns.Msg, error) {
	err := errNoResolver
	var r *mdns.Msg
	for _, addr := range l.Resolvers {
		if r, err = l.asker().ask(ctx, addr, nil, func(edns bool) *mdns.Msg { return wire.Query(name, qtype, true, edns) }); err == nil {
			return r, nil
		}
	}
	return nil, err
}

// askServers asks all servers at once.
func (l Looker) askServers(ctx context.Context, servers []dns.Server, zone, hostname string) []dns.Server {
	out := slices.Clone(servers)
	var wg sync.WaitGroup
	for i := range out {
		if out[i].Address.IsValid() {
			wg.Go(func() { l.askServer(ctx, &out[i], zone, hostname) })
		}
	}
	wg.Wait()
	if out == nil {
		return []dns.Server{}
	}
	return out
}

// askServer fills in what the server s says.
func (l Looker) askServer(ctx context.Context, s *dns.Server, zone, hostname string) {
	var key *dns.Key
	if s.Primary {
		key = l.Key
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.A = l.answer(ctx, s.Address, key, hostname, mdns.TypeA, false) })
	wg.Go(func() { s.AAAA = l.answer(ctx, s.Address, key, hostname, mdns.TypeAAAA, false) })
	wg.Go(func() {
		r, err := l.asker().ask(ctx, s.Address, key, func(edns bool) *mdns.Msg { return wire.Query(zone, mdns.TypeSOA, false, edns) })
		if err != nil {
			return // the other two say what there is to say
		}
		if soa := wire.SOAFor(r.Answer, zone); soa != nil && dns.Canonical(soa.Hdr.Name) == zone {
			s.Serial, s.NegativeTTL = &soa.Serial, wire.NegativeTTL(soa)
		}
	})
	wg.Wait()
	if s.Condition() == dns.Good {
		s.Wildcard = l.wildcard(ctx, *s, key, zone, hostname)
	}
}

// wildcard gives the wildcard that answers for hostname at s. A name that exists
// hides every wildcard above from the names below it (RFC 4592 section 3.3.1):
// so if one below it gets the same answer, the hostname does not exist.
func (l Looker) wildcard(ctx context.Context, s dns.Server, key *dns.Key, zone, hostname string) string {
	qtype, has := mdns.TypeA, s.A
	if len(has.Addresses) == 0 && has.Alias == "" {
		qtype, has = mdns.TypeAAAA, s.AAAA
	}
	if len(has.Addresses) == 0 && has.Alias == "" {
		return ""
	}
	below := l.answer(ctx, s.Address, key, "holdfast-no-such-name."+hostname, qtype, false)
	if !below.Same(has) {
		return ""
	}
	for above := dns.Parent(hostname); above != "" && dns.IsBelow(above, zone); above = dns.Parent(above) {
		if star := l.answer(ctx, s.Address, key, "*."+above, qtype, false); star.Same(has) {
			return "*." + above
		}
	}
	return ""
}
