package spec

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast/internal/status"

	"go.yaml.in/yaml/v4"
)

// maxAddresses is how many IPv6 addresses an advert has room for in a packet of
// 1500 bytes: (1500 - 40 - 8) / 16.
const maxAddresses = 90

func (c *checker) checkVIPs() {
	l := c.raw.vips
	if !l.ok {
		return
	}
	if len(l.all) == 0 {
		c.fail(status.CodeNoVIP, l.node, "there is no VIP", "write at least one: {name: api, addresses: [10.64.20.10/24], ...}")
	}
	c.checkVIPsTwice()
	c.checkEndpoints()
	for _, v := range l.all {
		c.checkInterface(v)
		c.checkHostname(v)
		c.checkAddresses(v)
		c.checkPeers(v)
		c.checkPrefer(v)
	}
}

func (c *checker) checkVIPsTwice() {
	names, routers, addrs := uses[string]{}, uses[int]{}, uses[netip.Addr]{}
	hostnames := map[string][]rawVIP{}
	for _, v := range c.raw.vips.all {
		if first := names.take(v.name); first != nil {
			c.fail(status.CodeDuplicateName, v.name.node, fmt.Sprintf("a second VIP is called %s, the first is in line %d", quote(v.name.v), first.Line), "write another name")
		}
		c.checkHostnameTwice(v, hostnames)
		if first := routers.take(v.vrrp.routerID); first != nil {
			c.fail(status.CodeDuplicateRouterID, v.vrrp.routerID.node, fmt.Sprintf("a second VIP has router id %d, the first is in line %d", v.vrrp.routerID.v, first.Line), "write another number from 1 to 255")
		}
		for _, a := range v.addresses.all {
			if first := addrs.take(item[netip.Addr]{a.v.Addr(), a.node, a.ok}); first != nil {
				c.fail(status.CodeDuplicateAddress, a.node, fmt.Sprintf("the address %s is here a second time, first in line %d", a.v.Addr(), first.Line), "write another address")
			}
		}
	}
}

// checkHostnameTwice holds v against the VIPs before it with its hostname. Those that serve
// the same endpoints share them: DNS gives their addresses to clients in turn, so what they
// offer must be the same. With others the name leads some clients to the wrong one.
func (c *checker) checkHostnameTwice(v rawVIP, before map[string][]rawVIP) {
	if !v.hostname.ok {
		return
	}
	name := strings.ToLower(v.hostname.v)
	same := before[name]
	before[name] = append(same, v)
	for _, other := range same {
		line := other.hostname.node.Line
		switch {
		case !shares(v, other):
			c.warn(status.CodeDuplicateHostname, v.hostname.node, fmt.Sprintf("a second VIP has the hostname %s and serves other endpoints, the first is in line %d", v.hostname.v, line), "write another, unless DNS tells the two clients apart")
		case (v.tls.node == nil) != (other.tls.node == nil):
			c.fail(status.CodeDuplicateHostname, v.hostname.node, fmt.Sprintf("of the VIPs with the hostname %s one has tls and one (line %d) has not, and an endpoint has one scheme", v.hostname.v, line), "give both the same tls, or one another hostname")
		default:
			continue
		}
		return
	}
}

// checkEndpoints finds what two VIPs with different hostnames both serve: Keystone has one
// endpoint for each service and interface.
func (c *checker) checkEndpoints() {
	servedBy := map[string]rawVIP{}
	for _, v := range c.raw.vips.all {
		if v.at.node.Kind != yaml.MappingNode {
			continue
		}
		if v.endpoints.ok && len(v.endpoints.all) == 0 {
			c.fail(status.CodeNoEndpoint, v.endpoints.node, v.at.path+".endpoints is empty", "write one or more of public, internal and admin, or leave it out for all three")
		}
		own := uses[string]{}
		var taken []string
		var by rawVIP
		for _, e := range v.served() {
			if own.take(e) != nil {
				c.fail(status.CodeDuplicateEndpoint, e.node, fmt.Sprintf("%q is here a second time", e.v), "remove one of the two")
			} else if other, is := servedBy[e.v]; is && !shares(other, v) {
				taken, by = append(taken, e.v), other
			} else {
				servedBy[e.v] = v
			}
		}
		if len(taken) > 0 {
			at := cmp.Or(v.endpoints.node, v.at.node)
			c.fail(status.CodeDuplicateEndpoint, at, fmt.Sprintf("%s serves the %s endpoints, and %s (line %d) does so, too", v.at.path, list(taken, "and"), by.at.path, by.at.node.Line), `divide them between the VIPs, as in "endpoints: [public]" and "endpoints: [internal, admin]", or give both one hostname and the same endpoints`)
		}
	}
}

// shares reports whether two VIPs have the same hostname and serve the same endpoints, so
// that each endpoint leads to both.
func shares(a, b rawVIP) bool {
	return a.hostname.ok && b.hostname.ok && strings.EqualFold(a.hostname.v, b.hostname.v) && slices.Equal(a.servedNames(), b.servedNames())
}

// servedNames gives the catalog interfaces that v serves, sorted.
func (v rawVIP) servedNames() []string {
	var names []string
	for _, e := range v.served() {
		names = append(names, e.v)
	}
	slices.Sort(names)
	return names
}

// served gives the catalog interfaces that v serves: those of the file, or all.
func (v rawVIP) served() []item[string] {
	if v.endpoints.node != nil {
		return slices.DeleteFunc(slices.Clone(v.endpoints.all), func(e item[string]) bool { return !e.ok })
	}
	var all []item[string]
	for _, name := range endpointInterfaces() {
		all = append(all, item[string]{name, v.at.node, true})
	}
	return all
}

// checkInterface finds a VIP that some controller would not know where to activate.
func (c *checker) checkInterface(v rawVIP) {
	if v.iface.given() || v.byBGP() || v.announce.given() && !v.announce.ok || v.at.node.Kind != yaml.MappingNode {
		return
	}
	i := slices.IndexFunc(c.raw.controllers.all, func(h rawHost) bool { return !h.iface.given() })
	if i < 0 {
		return
	}
	c.fail(status.CodeMissingKey, v.at.node, fmt.Sprintf("%s has no \"interface\", and controller %s has none of its own", v.at.path, c.raw.controllers.all[i].called()),
		`write the network interface on which it is activated, as in "interface: eno1"`)
}

func (c *checker) checkHostname(v rawVIP) {
	for _, h := range c.raw.controllers.all {
		if v.hostname.ok && v.hostname.v == h.name.v {
			c.fail(status.CodeBadHostname, v.hostname.node, fmt.Sprintf("%s.hostname %s is the name of a controller", v.at.path, v.hostname.v), "write a name of its own for the VIP, that maps to no host's address")
		}
	}
}

// checkAddresses holds the addresses of v against those of all hosts.
func (c *checker) checkAddresses(v rawVIP) {
	if v.addresses.ok && len(v.addresses.all) == 0 {
		c.fail(status.CodeNoAddress, v.addresses.node, v.at.path+".addresses is empty", `write at least one, as in "addresses: [10.64.20.10/24]"`)
	}
	if len(v.addresses.all) > maxAddresses {
		c.fail(status.CodeNoAddress, v.addresses.node, fmt.Sprintf("%s has %d addresses, more than an advert can carry", v.at.path, len(v.addresses.all)), fmt.Sprintf("write at most %d", maxAddresses))
	}
	for _, a := range v.addresses.all {
		if a.ok {
			c.checkOwn(a)
			if !v.byBGP() { // routers lead there
				c.checkNetwork(v, a)
			}
		}
	}
}

// checkOwn finds a VIP that is also a host's own address: HAProxy and the
// services would want the same ports of it, and HAProxy would be its own server.
func (c *checker) checkOwn(a item[netip.Prefix]) {
	for h := range c.hosts() {
		if !h.address.ok || h.address.v != a.v.Addr() {
			continue
		}
		what := "host"
		if strings.HasPrefix(h.at.path, "controllers") {
			what = "controller"
		}
		c.fail(status.CodeOwnAddress, a.node, fmt.Sprintf("%s is the own address of %s %s (line %d)", a.v.Addr(), what, h.called(), h.address.node.Line), "write an address for the VIP that no host has: a VIP is HAProxy's alone")
		return
	}
}

// checkNetwork warns of controllers that are not in the network of a, the one
// address of v: most often a wrong digit. A /32 or /128 says nothing of its network.
func (c *checker) checkNetwork(v rawVIP, a item[netip.Prefix]) {
	if a.v.IsSingleIP() {
		return
	}
	var out []rawHost
	same := 0
	for _, h := range c.raw.controllers.all {
		if !h.address.ok || h.address.v.Is4() != a.v.Addr().Is4() {
			continue
		}
		same++
		if !a.v.Contains(h.address.v) {
			out = append(out, h)
		}
	}
	if len(out) == same && same > 1 {
		c.warn(status.CodeOutsideNetwork, a.node, fmt.Sprintf("no controller is in %s, the network of VIP %s", a.v.Masked(), v.name.or(v.at.path)), "correct the address or its prefix length, unless that interface is in another network on purpose")
		return
	}
	for _, h := range out {
		c.warn(status.CodeOutsideNetwork, h.address.node, fmt.Sprintf("%s of controller %s is outside of %s, the network of VIP %s", h.address.v, h.called(), a.v.Masked(), v.name.or(v.at.path)), "correct the address, or the prefix length of the VIP, unless it is in another network on purpose")
	}
}

// checkPeers finds a VIP whose adverts cannot be sent to every controller: they
// go over IPv4 or IPv6 as the VIP's addresses do, and a controller has one address.
// Multicast is no way around that: each controller sends from its address.
func (c *checker) checkPeers(v rawVIP) {
	if v.byBGP() {
		return
	}
	hosts := c.raw.controllers.all
	bad := func(h rawHost) bool { return !h.address.ok }
	wrong := func(a item[netip.Prefix]) bool { return !a.ok }
	if len(hosts) == 0 || slices.ContainsFunc(hosts, bad) || len(v.addresses.all) == 0 || slices.ContainsFunc(v.addresses.all, wrong) {
		return
	}
	for _, a := range v.addresses.all {
		if !slices.ContainsFunc(hosts, func(h rawHost) bool { return h.address.v.Is4() != a.v.Addr().Is4() }) {
			return
		}
	}
	a := v.addresses.all[0]
	family := "IPv6"
	if a.v.Addr().Is4() {
		family = "IPv4"
	}
	c.fail(status.CodeNoPeer, a.node, fmt.Sprintf("%s is %s, and not every controller has an %s address, by which it sends adverts and hears them", a.v.Addr(), family, family), "write addresses of one family for all controllers, and give the VIP one of that family")
}

// called gives h's name, or its place in the file if it has none.
func (h rawHost) called() string { return h.name.or(h.at.path) }

func (v rawVIP) build(controllers []string, place int) VIP {
	vip := VIP{
		Name:      v.name.v,
		Hostname:  v.hostname.v,
		Interface: v.iface.v,
		Device:    Device(v.device.or(string(Direct))),
		Access:    v.access.build(),
		Clients:   v.limit.build(),
		Behind:    v.behind.build(),
	}
	if v.byBGP() {
		vip.Announce, vip.Order = AnnounceBGP, Order(v.order.or(string(OrderEqual)))
		vip.Interface = v.iface.or(loopback)
	} else {
		vip.Announce, vip.VRRP = AnnounceVRRP, v.vrrp.build()
	}
	var named []string
	for _, name := range v.prefer.all {
		named = append(named, name.v)
	}
	vip.Prefer = preference(controllers, named, place)
	for _, a := range v.addresses.all {
		vip.Addresses = append(vip.Addresses, a.v)
	}
	for _, e := range v.served() {
		vip.Endpoints = append(vip.Endpoints, e.v)
	}
	if v.tls.node != nil {
		vip.TLS = &TLS{
			Certificate: v.tls.certificate.v,
			Key:         v.tls.key.v,
			MinVersion:  v.tls.minVersion.or("1.2"),
			HSTS:        v.tls.hsts.v,
			Redirect:    v.tls.redirect.v,
			ACME:        v.tls.acme.v,
		}
		for _, m := range v.tls.more.all {
			vip.TLS.More = append(vip.TLS.More, CertificateFiles{Certificate: m.certificate.v, Key: m.key.v})
		}
	}
	return vip
}

// loopback is where a VIP is that is announced by BGP, and so on no network.
const loopback = "lo"

func (v rawVRRP) build() VRRP {
	return VRRP{
		RouterID: v.routerID.v,
		Interval: v.interval.or(100 * time.Millisecond),
		Preempt:  v.preempt.v,
		Peers:    Peers(v.peers.or(string(Unicast))),
		Checksum: Checksum(v.checksum.or(string(ChecksumRFC))),

		StartupDelay: v.startupDelay.or(DefaultStartupDelay),
	}
}
