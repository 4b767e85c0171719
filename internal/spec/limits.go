package spec

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/status"
)

// Access says who may use a VIP or a service. The controllers and the hosts of services
// always may: see Spec.Own.
type Access struct {
	Allow []netip.Prefix // masked; empty: everybody
	Deny  []netip.Prefix // masked; who is on both lists may not
	// AllowFile and DenyFile are paths of files, on every controller, that have such lists
	// in the place of Allow and Deny; empty: none. See ParseList.
	AllowFile, DenyFile string
}

// Any reports whether a says anything.
func (a Access) Any() bool {
	return len(a.Allow) > 0 || len(a.Deny) > 0 || a.AllowFile != "" || a.DenyFile != ""
}

// A Rate is how often something may be in a time; the zero value: as often as one likes.
type Rate struct {
	N   int           // 1 to 1,000,000
	Per time.Duration // a second, a minute or an hour
}

// String gives r as the file has it: "50/s".
func (r Rate) String() string {
	if r == (Rate{}) {
		return none
	}
	unit, known := map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"}[r.Per]
	if !known {
		unit = r.Per.String()
	}
	return strconv.Itoa(r.N) + "/" + unit
}

// LimitPer says for whom requests are counted.
type LimitPer string

// Those for whom requests are counted. Who has no token, and a request without a project,
// is counted by its address.
const (
	PerClient  LimitPer = "client"  // each address
	PerToken   LimitPer = "token"   // each X-Auth-Token
	PerProject LimitPer = "project" // each project in the path
)

// ClientLimit is what of each client a VIP or a service takes. The controllers and the hosts
// of services have no limit: they ask for many.
type ClientLimit struct {
	Requests Rate     // in mode tcp, new connections
	Per      LimitPer // of Requests
	// Connections is how many each address may have at once; 0: as many as there are.
	Connections int
	// FailedLogins is how often each address may fail to get a token from Keystone.
	FailedLogins Rate
}

// Any reports whether l limits anything.
func (l ClientLimit) Any() bool {
	return l.Requests.N > 0 || l.Connections > 0 || l.FailedLogins.N > 0
}

// The bounds of limits of clients.
const (
	maxRate              = 1_000_000
	maxClientConnections = 40_000 // an HAProxy has no more
)

// rawLimit is a limit: of the hosts (a number), of each client (a rate), or both (a mapping).
type rawLimit struct {
	node                   *yaml.Node
	hosts, connections     item[int]
	requests, failedLogins item[Rate]
	per                    item[string]
}

type rawAccess struct {
	allow, deny         rawList[item[netip.Prefix]]
	allowFile, denyFile item[string]
}

// accessFields are the keys of who may, for a T that has an Access.
func accessFields[T any](of func(*T) *rawAccess) []field[T] {
	return []field[T]{
		{
			"allow", false, "the addresses and networks that may, and nobody else, or a file that has them", "[10.0.0.0/8]",
			func(d *decoder, v value, t *T) { of(t).allow, of(t).allowFile = d.networksOrFile(v) },
		},
		{
			"deny", false, "the addresses and networks that may not, or a file that has them", "[192.0.2.66, 198.51.100.0/24]",
			func(d *decoder, v value, t *T) { of(t).deny, of(t).denyFile = d.networksOrFile(v) },
		},
	}
}

// networksOrFile reads a list, or the path of a file that has one.
func (d *decoder) networksOrFile(v value) (rawList[item[netip.Prefix]], item[string]) {
	if v.node.Kind == yaml.ScalarNode && strings.HasPrefix(v.node.Value, "/") {
		return rawList[item[netip.Prefix]]{}, d.filePath(v)
	}
	return d.networks(v), item[string]{}
}

// networks reads a list of addresses and networks; one by itself will do, too.
func (d *decoder) networks(v value) rawList[item[netip.Prefix]] {
	const what = `write an address or a network, as in "192.0.2.66" or "10.0.0.0/8"`
	if v.node.Kind == yaml.ScalarNode && !isNull(v.node) {
		one := d.network(v)
		return rawList[item[netip.Prefix]]{all: []item[netip.Prefix]{one}, node: v.node, ok: one.ok}
	}
	l := each(d, v, what, d.network)
	if l.ok && len(l.all) == 0 {
		d.fail(status.CodeNoAddress, v.node, v.path+" is empty", "write at least one address or network, or leave it out for everybody")
		l.ok = false
	}
	return l
}

// network reads an address, or a network with its prefix length.
func (d *decoder) network(v value) item[netip.Prefix] {
	t := d.text(v)
	if !t.ok {
		return bad[netip.Prefix](v)
	}
	if !strings.Contains(t.v, "/") {
		a, ok := d.parseAddr(v.node, v.path, t.v)
		if !ok {
			return bad[netip.Prefix](v)
		}
		return good(v, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
	}
	p, err := netip.ParsePrefix(t.v)
	switch {
	case err != nil:
		d.fail(status.CodeBadAddress, v.node, fmt.Sprintf("%s %s is neither an address nor a network", v.path, quote(t.v)), `write one, as in "192.0.2.66" or "10.0.0.0/8"`)
	case p.Masked() != p:
		d.fail(status.CodeBadAddress, v.node, fmt.Sprintf("%s %s is an address in a network, not the network", v.path, quote(t.v)), fmt.Sprintf("write %s, or %s for the address alone", p.Masked(), p.Addr()))
	default:
		return good(v, p)
	}
	return bad[netip.Prefix](v)
}

func (a rawAccess) build() Access {
	return Access{Allow: prefixes(a.allow), Deny: prefixes(a.deny), AllowFile: a.allowFile.v, DenyFile: a.denyFile.v}
}

func prefixes(l rawList[item[netip.Prefix]]) []netip.Prefix {
	var all []netip.Prefix
	for _, p := range l.all {
		all = append(all, p.v)
	}
	return all
}

// serviceLimit reads the limit of a service: a number is of the hosts, a rate of each client.
func (d *decoder) serviceLimit(v value) rawLimit {
	raw := rawLimit{node: v.node}
	switch {
	case v.node.Kind == yaml.MappingNode:
		mapping(d, v, serviceLimitFields(), &raw)
	case v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!str" && strings.Contains(v.node.Value, "/"):
		raw.requests = d.rate(v)
	case v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!str" && !isNumber(v.node.Value) && !d.unfilled(v):
		d.fail(status.CodeBadLimit, v.node, fmt.Sprintf("%s %s is neither a number nor a rate", v.path, quote(v.node.Value)), limitRemedy)
	default:
		raw.hosts = d.integer(v, maxLimit, status.CodeBadLimit)
	}
	return raw
}

const limitRemedy = `write how many requests each host gets at once, as in "16", or how many each client may send, as in "50/s"`

// vipLimit reads the limit of a VIP: a rate is of each client.
func (d *decoder) vipLimit(v value) rawLimit {
	raw := rawLimit{node: v.node}
	if v.node.Kind == yaml.MappingNode {
		mapping(d, v, clientLimitFields(), &raw)
		return raw
	}
	raw.requests = d.rate(v)
	return raw
}

func clientLimitFields() []field[rawLimit] {
	return []field[rawLimit]{
		{
			"requests", false, "how many requests a client may send", "50/s",
			func(d *decoder, v value, r *rawLimit) { r.requests = d.rate(v) },
		},
		{
			"per", false, "client, token or project", "client",
			func(d *decoder, v value, r *rawLimit) {
				r.per = d.choice(v, string(PerClient), string(PerToken), string(PerProject))
			},
		},
		{
			"connections", false, "how many connections an address may have at once", "200",
			func(d *decoder, v value, r *rawLimit) {
				r.connections = d.integer(v, maxClientConnections, status.CodeBadLimit)
			},
		},
	}
}

func serviceLimitFields() []field[rawLimit] {
	return append([]field[rawLimit]{{
		"hosts", false, "how many requests a host gets at once", "16",
		func(d *decoder, v value, r *rawLimit) { r.hosts = d.integer(v, maxLimit, status.CodeBadLimit) },
	}, {
		"failed_logins", false, "how often an address may fail to get a token", "10/m",
		func(d *decoder, v value, r *rawLimit) { r.failedLogins = d.rate(v) },
	}}, clientLimitFields()...)
}

// rate reads a number in a time: "50/s".
func (d *decoder) rate(v value) item[Rate] {
	t, ok := d.scalar(v)
	if !ok {
		return bad[Rate](v)
	}
	digits, unit, _ := strings.Cut(t, "/")
	n, err := strconv.Atoi(digits)
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if err != nil || per == 0 || strconv.Itoa(n) != digits || n < 1 || n > maxRate {
		d.fail(status.CodeBadLimit, v.node, fmt.Sprintf("%s %s is not a rate", v.path, quote(t)), fmt.Sprintf("write a number from 1 to %d and the time it is for, s, m or h, as in 50/s or 600/m", maxRate))
		return bad[Rate](v)
	}
	return good(v, Rate{n, per})
}

// checkLimits finds limits that say nothing, or cannot be kept.
func (c *checker) checkLimits() {
	for _, v := range c.raw.vips.all {
		c.checkLimit(v.at.path, v.limit)
		if LimitPer(v.limit.per.or("")) == PerProject {
			c.fail(status.CodeBadLimit, v.limit.per.node, v.at.path+".limit cannot be per project: where a project is in the path differs by service", "write per: client or per: token, or a limit of the service")
		}
	}
	for _, s := range c.raw.services.all {
		c.checkLimit(s.at.path, s.limit)
		c.checkServiceLimit(s)
	}
}

func (c *checker) checkLimit(path string, l rawLimit) {
	if l.node == nil || l.node.Kind != yaml.MappingNode {
		return
	}
	switch {
	case len(l.node.Content) == 0:
		c.fail(status.CodeBadLimit, l.node, path+".limit limits nothing", `write "requests: 50/s", or remove it`)
	case l.per.given() && !l.requests.given():
		c.fail(status.CodeBadLimit, l.per.node, path+".limit says for whom requests are counted, and not how many there may be", `write "requests: 50/s" beside it`)
	case l.connections.given() && l.per.ok && LimitPer(l.per.v) != PerClient:
		c.fail(status.CodeBadLimit, l.connections.node, fmt.Sprintf("%s.limit counts connections, which are of an address, and requests per %s: HAProxy counts one of both", path, l.per.v), "write per: client, or remove connections")
	}
}

// checkShared finds what cannot be kept where services share a port.
func (c *checker) checkSharedLimits() {
	for _, s := range c.raw.services.all {
		for _, i := range c.placesOf(s) {
			v := c.raw.vips.all[i]
			if v.public.node == nil || c.modeOf(s) == TCP {
				continue
			}
			if len(s.haproxy.Frontend) > 0 {
				c.report(status.Error, status.CodeBadRaw, s.haproxy.Frontend[0].Line, 1, fmt.Sprintf("service %s shares a port of VIP %s with others, and has no frontend of its own there", s.name.v, v.name.v),
					fmt.Sprintf("write the lines under haproxy at the top of the spec, with the condition { var(txn.service) -m str %s }", s.name.v))
				break
			}
			if v.limit.connections.ok && s.limit.requests.ok {
				c.fail(status.CodeBadLimit, s.limit.requests.node, fmt.Sprintf("service %s counts requests by itself on a port that it shares, where VIP %s counts connections: HAProxy counts one of both", s.name.v, v.name.v), "remove connections of the VIP, or the limit of the service")
				break
			}
			if s.limit.connections.ok {
				c.fail(status.CodeBadLimit, s.limit.connections.node, fmt.Sprintf("service %s shares a port of VIP %s, where a connection is for no single service", s.name.v, v.name.v), "write connections under limit of the VIP")
				break
			}
		}
	}
}

// checkServiceLimit finds limits that go with other services only.
func (c *checker) checkServiceLimit(s rawService) {
	per := LimitPer(s.limit.per.or(""))
	known, _ := c.known(s)
	switch {
	case c.modeOf(s) == TCP && (per == PerToken || per == PerProject):
		c.fail(status.CodeBadLimit, s.limit.per.node, fmt.Sprintf("service %s is mode tcp, where nobody sees a %s", s.name.v, per), "write per: client")
	case per == PerProject && projectSegment(s.path.or(known.Path)) == 0:
		c.fail(status.CodeBadLimit, s.limit.per.node, fmt.Sprintf("service %s has no project in its path, so nobody can count by it", s.name.v), "write per: client or per: token")
	}
	if !s.limit.failedLogins.given() {
		return
	}
	typ := s.typ.or("")
	if typ == "" && len(known.Types) > 0 {
		typ = known.Types[0]
	}
	if typ != "identity" || c.modeOf(s) == TCP {
		c.fail(status.CodeBadLimit, s.limit.failedLogins.node, fmt.Sprintf("service %s gives no tokens, so nobody fails to get one", s.name.v), "write failed_logins under keystone")
	}
}

// projectSegment gives the place of the project in a path with Keystone's templates, from 1:
// 2 of "/v3/%(project_id)s". 0: it is in none.
func projectSegment(path string) int {
	for i, part := range strings.Split(path, "/") {
		if strings.Contains(part, "(project_id)s") || strings.Contains(part, "(tenant_id)s") {
			return i
		}
	}
	return 0
}

// ProjectSegment gives the place of the project in the paths of s, from 1; 0: it is in none.
func (s Service) ProjectSegment() int { return projectSegment(s.Path) }

func (l rawLimit) build() ClientLimit {
	out := ClientLimit{Requests: l.requests.or(Rate{}), Connections: l.connections.or(0), FailedLogins: l.failedLogins.or(Rate{})}
	if out.Requests.N > 0 {
		out.Per = LimitPer(l.per.or(string(PerClient)))
	}
	return out
}

// Own gives the addresses of the cloud itself, without doubles: of the controllers, of the
// hosts of services, and of the VIPs. What they ask each other goes through the VIPs, too,
// and from the controller that holds a VIP it comes from that very address: Linux takes the
// one that is asked where it is its own.
func (s *Spec) Own() []netip.Addr {
	seen := map[netip.Addr]bool{}
	var all []netip.Addr
	add := func(a netip.Addr) {
		if a = a.Unmap(); !seen[a] {
			seen[a] = true
			all = append(all, a)
		}
	}
	for _, c := range s.Controllers {
		add(c.Address)
	}
	for _, svc := range s.Services {
		for _, h := range svc.Hosts {
			add(h.Address)
		}
	}
	for _, v := range s.VIPs {
		for _, a := range v.Addrs() {
			add(a)
		}
	}
	return all
}

func accessValues(a Access) []pair {
	return []pair{
		{"allow", networksValue(a.Allow)}, {"deny", networksValue(a.Deny)}, {"allow, by file", orNone(a.AllowFile)}, {"deny, by file", orNone(a.DenyFile)},
	}
}

func networksValue(all []netip.Prefix) string {
	if len(all) == 0 {
		return none
	}
	words := make([]string, len(all))
	for i, p := range all {
		words[i] = p.String()
		if p.IsSingleIP() {
			words[i] = p.Addr().String()
		}
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func clientLimitValues(l ClientLimit) []pair {
	requests := l.Requests.String()
	if l.Per != "" {
		requests += " per " + string(l.Per)
	}
	connections := none
	if l.Connections > 0 {
		connections = strconv.Itoa(l.Connections)
	}
	return []pair{{"limit.requests", requests}, {"limit.connections", connections}, {"limit.failed_logins", l.FailedLogins.String()}}
}
