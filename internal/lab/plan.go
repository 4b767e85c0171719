package lab

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"holdfast/internal/spec"
)

// Bounds of what a lab takes on.
const (
	minControllers = 1
	maxControllers = 9
)

// clientNets are the networks from which the load generator takes the addresses
// of many clients: those that RFC 2544 and RFC 5180 set aside for benchmarks.
// Every node has a route to them.
func clientNets() (v4, v6 netip.Prefix) {
	return netip.MustParsePrefix("198.18.0.0/16"), netip.MustParsePrefix("2001:2::/48")
}

// A role says what a node is for.
type role string

const (
	roleController role = "controller"
	roleHost       role = "host" // of services only
	roleClient     role = "client"
	roleRouter     role = "router" // of a lab whose VIPs are announced by BGP
)

// A plan is what the nodes of a spec look like.
type plan struct {
	spec  *spec.Spec
	nodes []nodePlan // controllers, hosts, client, each in the spec's order
}

// A nodePlan is one node: its interfaces and what runs there.
type nodePlan struct {
	name     string
	role     role
	links    []linkPlan
	services []serviceAt
}

// A linkPlan is one interface of a node, plugged into the lab's bridge.
type linkPlan struct {
	name      string
	addresses []netip.Prefix
	routes    []netip.Prefix // on-link
	// behind are those that gateway leads to.
	behind  []netip.Prefix
	gateway netip.Addr
}

// A serviceAt is one host of a service.
type serviceAt struct {
	service spec.Service
	host    spec.Host
}

// planner collects what newPlan builds.
type planner struct {
	spec     *spec.Spec
	networks []netip.Prefix // of the VIPs, masked, each once
	used     map[netip.Addr]bool
	router   netip.Addr // zero: there is none
	nodes    []nodePlan
}

// newPlan lays out s: who is a node, with which interfaces and addresses, so
// that each reaches each on one wire whatever networks the spec has.
func newPlan(s *spec.Spec) (*plan, error) {
	if n := len(s.Controllers); n < minControllers || n > maxControllers {
		return nil, fmt.Errorf("the spec has %d controllers; a lab takes %d to %d", n, minControllers, maxControllers)
	}
	if err := checkRouter(s); err != nil {
		return nil, err
	}
	p := &planner{spec: s, used: map[netip.Addr]bool{}}
	p.collectAddresses()
	p.addRouter()
	for _, c := range s.Controllers {
		p.addController(c)
	}
	for _, service := range s.Services {
		for _, h := range service.Hosts {
			p.addHost(service, h)
		}
	}
	if p.router.IsValid() {
		p.nodes = append(p.nodes, p.routerNode())
	}
	p.addClient()
	p.addRoutes()
	return &plan{spec: s, nodes: p.nodes}, nil
}

func (p *planner) collectAddresses() {
	for _, v := range p.spec.VIPs {
		for _, a := range v.Addresses {
			p.used[a.Addr()] = true
			if v.Announce == spec.AnnounceBGP {
				continue // routers lead there
			}
			if !slices.Contains(p.networks, a.Masked()) {
				p.networks = append(p.networks, a.Masked())
			}
		}
	}
	for _, c := range p.spec.Controllers {
		p.used[c.Address] = true
	}
	for _, s := range p.spec.Services {
		for _, h := range s.Hosts {
			p.used[h.Address] = true
		}
	}
}

// addController adds c with every interface that a VIP is activated on, and an
// address in the network of each VIP: its own, or one that the lab picks.
func (p *planner) addController(c spec.Controller) {
	n := nodePlan{name: c.Name, role: roleController}
	wired := slices.DeleteFunc(slices.Clone(p.spec.VIPs), func(v spec.VIP) bool { return v.Announce == spec.AnnounceBGP })
	if len(wired) == 0 {
		n.link(cmp.Or(c.Interface, "eth0"))
	}
	for _, v := range wired {
		link := n.link(cmp.Or(p.spec.Interface(v, c), "eth0"))
		for _, a := range v.Addresses {
			if a.Contains(c.Address) && !n.has(c.Address) {
				link.addresses = append(link.addresses, netip.PrefixFrom(c.Address, a.Bits()))
			}
		}
	}
	if !n.has(c.Address) {
		n.links[0].addresses = append(n.links[0].addresses, p.withPrefix(c.Address))
	}
	for _, v := range wired {
		p.joinNetworks(n.link(cmp.Or(p.spec.Interface(v, c), "eth0")), v.Addresses, &n)
	}
	p.nodes = append(p.nodes, n)
}

// joinNetworks gives link an address in each of networks in which n has none,
// as far as there is room.
func (p *planner) joinNetworks(link *linkPlan, networks []netip.Prefix, n *nodePlan) {
	for _, network := range networks {
		if n.in(network) {
			continue
		}
		if addr, ok := p.free(network.Masked()); ok {
			link.addresses = append(link.addresses, netip.PrefixFrom(addr, network.Bits()))
		}
	}
}

// addHost puts service on the node that has h's address or name, or on a new one.
func (p *planner) addHost(service spec.Service, h spec.Host) {
	at := slices.IndexFunc(p.nodes, func(n nodePlan) bool { return n.has(h.Address) })
	if at < 0 {
		at = slices.IndexFunc(p.nodes, func(n nodePlan) bool { return n.name == h.Name })
	}
	if at < 0 {
		at = len(p.nodes)
		p.nodes = append(p.nodes, nodePlan{name: h.Name, role: roleHost, links: []linkPlan{{name: "eth0"}}})
	}
	n := &p.nodes[at]
	if !n.has(h.Address) {
		n.links[0].addresses = append(n.links[0].addresses, p.withPrefix(h.Address))
	}
	n.services = append(n.services, serviceAt{service, h})
}

func (p *planner) addClient() {
	n := nodePlan{name: "client", role: roleClient, links: []linkPlan{{name: "eth0"}}}
	if slices.ContainsFunc(p.nodes, func(n nodePlan) bool { return n.name == "client" }) {
		n.name = "lab-client"
	}
	p.joinNetworks(&n.links[0], p.networks, &n)
	if len(n.links[0].addresses) == 0 { // networks too small for one more
		v4, _ := clientNets()
		n.links[0].addresses = []netip.Prefix{host(v4.Addr().Next())}
	}
	p.nodes = append(p.nodes, n)
}

// addRoutes gives each node a route to every address of the others, to the
// VIPs and to the addresses of many clients, where it has no network in common.
func (p *planner) addRoutes() {
	var all []netip.Prefix
	v4, v6 := clientNets()
	for _, n := range p.nodes {
		for _, a := range n.addresses() {
			all = append(all, host(a.Addr()))
		}
	}
	var behind []netip.Prefix
	for _, v := range p.spec.VIPs {
		for _, a := range v.Addresses {
			if v.Announce == spec.AnnounceBGP {
				behind = append(behind, host(a.Addr()))
			} else {
				all = append(all, host(a.Addr()))
			}
		}
	}
	for i := range p.nodes {
		n := &p.nodes[i]
		for _, to := range all {
			n.addRoute(to)
		}
		n.addRoute(v4)
		n.addRoute(v6)
		if n.role != roleRouter && n.role != roleController {
			n.links[0].behind, n.links[0].gateway = behind, p.router
		}
	}
}

// addRoute adds an on-link route to dst unless n reaches it already, or has no
// address of that family to send from.
func (n *nodePlan) addRoute(dst netip.Prefix) {
	family := false
	for _, a := range n.addresses() {
		if a.Masked().Contains(dst.Addr()) && a.Bits() <= dst.Bits() {
			return
		}
		family = family || a.Addr().Is4() == dst.Addr().Is4()
	}
	if link := &n.links[0]; family && !slices.Contains(link.routes, dst) {
		link.routes = append(link.routes, dst)
	}
}

// link gives n's interface called name, which it adds if there is none.
func (n *nodePlan) link(name string) *linkPlan {
	i := slices.IndexFunc(n.links, func(l linkPlan) bool { return l.name == name })
	if i < 0 {
		i = len(n.links)
		n.links = append(n.links, linkPlan{name: name})
	}
	return &n.links[i]
}

func (n *nodePlan) addresses() []netip.Prefix {
	var all []netip.Prefix
	for _, l := range n.links {
		all = append(all, l.addresses...)
	}
	return all
}

func (n *nodePlan) has(addr netip.Addr) bool {
	return slices.ContainsFunc(n.addresses(), func(a netip.Prefix) bool { return a.Addr() == addr })
}

func (n *nodePlan) in(network netip.Prefix) bool {
	return slices.ContainsFunc(n.addresses(), func(a netip.Prefix) bool { return network.Contains(a.Addr()) })
}

// withPrefix gives addr the prefix length of the VIPs' network that it is in,
// or that of a host.
func (p *planner) withPrefix(addr netip.Addr) netip.Prefix {
	for _, network := range p.networks {
		if network.Contains(addr) {
			return netip.PrefixFrom(addr, network.Bits())
		}
	}
	return host(addr)
}

// free picks an address of network that nobody has, from its end, where an
// operator's own are least likely to be.
func (p *planner) free(network netip.Prefix) (netip.Addr, bool) {
	for a := last(network).Prev(); network.Contains(a) && a != network.Addr(); a = a.Prev() {
		if !p.used[a] {
			p.used[a] = true
			return a, true
		}
	}
	return netip.Addr{}, false
}

// host gives the prefix that is addr alone.
func host(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }

// last gives the last address of network: in IPv4 the one for broadcasts.
func last(network netip.Prefix) netip.Addr {
	b := network.Addr().AsSlice()
	for i := network.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// hostsFile gives the /etc/hosts of every node.
func (p *plan) hostsFile() string {
	var b strings.Builder
	b.WriteString("# made by holdfast lab\n127.0.0.1 localhost\n::1 localhost\n")
	for _, v := range p.spec.VIPs {
		for _, a := range v.Addresses {
			fmt.Fprintf(&b, "%s %s\n", a.Addr(), strings.Join(v.Hostnames(), " "))
		}
	}
	for _, n := range p.nodes {
		for _, a := range n.addresses() {
			fmt.Fprintf(&b, "%s %s\n", a.Addr(), n.name)
		}
	}
	return b.String()
}

// clientName gives the name of the client's node.
func (p *plan) clientName() string { return p.nodes[len(p.nodes)-1].name }
