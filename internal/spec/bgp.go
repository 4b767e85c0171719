package spec

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/status"
)

// Announce says how clients find the controller that has a VIP.
type Announce string

// The ways.
const (
	AnnounceVRRP Announce = "vrrp" // one controller has it, and says so to its network
	AnnounceBGP  Announce = "bgp"  // each that is well announces it to routers
)

// Order says how the controllers that announce a VIP by BGP rank.
type Order string

// The orders.
const (
	OrderEqual   Order = "equal"   // routers divide the flows among them
	OrderMED     Order = "med"     // the first of VIP.Prefer that is well has all, by MULTI_EXIT_DISC
	OrderPrepend Order = "prepend" // likewise, by the length of AS_PATH
)

// Engine says who speaks BGP.
type Engine string

// The engines.
const (
	EngineEmbedded Engine = "embedded" // the agent
	EngineExternal Engine = "external" // a daemon that announces what addresses the host has
)

// BGP has the settings of the VIPs that are announced by it.
type BGP struct {
	Engine Engine
	ASN    uint32 // this cloud's own; 0 with EngineExternal
	// RouterIDs has the BGP identifier (RFC 6286) of every controller, by its name.
	RouterIDs map[string]netip.Addr
	Peers     []BGPPeer
	// Communities are attached to every route (RFC 1997): asn<<16 | value.
	Communities []uint32
	BFD         *BFD // nil: none
	// GracefulRestart is for how long routers keep the routes of an agent that is being
	// started again, and the host the addresses: whole seconds, 2s to 60s, default 5s.
	GracefulRestart time.Duration
	// HoldTime is after how long a silent peer counts as gone (RFC 4271), where no BFD says
	// so: whole seconds, 3s to 5m, default 9s.
	HoldTime time.Duration
	Listen   bool // peers may connect too, on port 179; otherwise only the agent connects
}

// BFD has the timers of bidirectional forwarding detection (RFC 5880, RFC 5881).
type BFD struct {
	Interval   time.Duration // between two packets, both ways: 10ms to 10s, default 300ms
	Multiplier int           // how many may be missed: 2 to 50, default 3
}

// A BGPPeer is a router.
type BGPPeer struct {
	Address      netip.Addr // a link-local one has its interface as the zone
	ASN          uint32
	Port         int    // default 179
	PasswordFile string // path of a file with the password of RFC 2385; empty: none
	TTLSecurity  bool   // GTSM (RFC 5082): it is on the same link, and packets prove it
	Multihop     int    // how many hops away it may be, 2 to 255; 0: on the same link
	// Controllers has the names of those that have it as a peer; empty: all.
	Controllers []string
}

// Of reports whether p is a peer of the controller called name.
func (p BGPPeer) Of(name string) bool {
	return len(p.Controllers) == 0 || slices.Contains(p.Controllers, name)
}

// Announced gives the VIPs that are announced by BGP, in the order of the file.
func (s *Spec) Announced() []VIP {
	return slices.DeleteFunc(slices.Clone(s.VIPs), func(v VIP) bool { return v.Announce != AnnounceBGP })
}

// Rank gives the place of the controller called name in the order of v, from 0; always 0
// where the order is OrderEqual.
func (s *Spec) Rank(v VIP, name string) int {
	if v.Order == OrderEqual || v.Order == "" {
		return 0
	}
	return max(0, slices.Index(s.order(v), name))
}

// The defaults of bgp, and the bounds that its routers set.
const (
	bgpPort                = 179
	defaultGracefulRestart = 5 * time.Second
	defaultHoldTime        = 9 * time.Second
	defaultBFDInterval     = 300 * time.Millisecond
	defaultBFDMultiplier   = 3
	maxASN                 = 1<<32 - 1
)

type rawBGP struct {
	node            *yaml.Node
	engine          item[string]
	asn             item[int]
	routerIDs       rawList[rawRouterID]
	peers           rawList[rawPeer]
	communities     rawList[item[uint32]]
	bfd             rawBFD
	gracefulRestart item[time.Duration]
	holdTime        item[time.Duration]
	listen          item[bool]
}

type rawRouterID struct {
	controller item[string]
	id         item[netip.Addr]
}

type rawBFD struct {
	node       *yaml.Node
	interval   item[time.Duration]
	multiplier item[int]
}

type rawPeer struct {
	at           value
	address      item[netip.Addr]
	asn          item[int]
	port         item[int]
	passwordFile item[string]
	ttlSecurity  item[bool]
	multihop     item[int]
	controllers  rawList[item[string]]
}

func bgpFields() []field[rawBGP] {
	return []field[rawBGP]{
		{
			"engine", false, "who speaks BGP: embedded or external", "embedded",
			func(d *decoder, v value, b *rawBGP) {
				b.engine = d.choice(v, string(EngineEmbedded), string(EngineExternal))
			},
		},
		{
			"asn", false, "the number of the controllers' own autonomous system", "64710",
			func(d *decoder, v value, b *rawBGP) { b.asn = d.integer(v, maxASN, status.CodeBadASN) },
		},
		{
			"router_id", false, "the BGP identifier of each controller", "{ctl1: 10.64.20.13}",
			func(d *decoder, v value, b *rawBGP) { b.routerIDs = d.routerIDs(v) },
		},
		{
			"peers", false, "a list of routers", "[{address: 10.64.20.1, asn: 64800}]",
			func(d *decoder, v value, b *rawBGP) {
				b.peers = each(d, v, `write a mapping, as in "{address: 10.64.20.1, asn: 64800}"`, func(e value) rawPeer {
					p := rawPeer{at: e}
					mapping(d, e, peerFields(), &p)
					return p
				})
			},
		},
		{
			"communities", false, "a list of communities", `["64710:100"]`,
			func(d *decoder, v value, b *rawBGP) {
				b.communities = each(d, v, `write a community, as in "64710:100", or no-export`, d.community)
			},
		},
		{
			"bfd", false, "the timers of BFD", "{interval: 300ms, multiplier: 3}",
			func(d *decoder, v value, b *rawBGP) {
				b.bfd.node = v.node
				mapping(d, v, bfdFields(), &b.bfd)
			},
		},
		{
			"graceful_restart", false, "for how long routers wait for an agent that is started again, 2s to 60s", "5s",
			func(d *decoder, v value, b *rawBGP) {
				b.gracefulRestart = d.seconds(v, 2*time.Second, time.Minute)
			},
		},
		{
			"hold_time", false, "after how long a silent router counts as gone, 3s to 5m", "9s",
			func(d *decoder, v value, b *rawBGP) { b.holdTime = d.seconds(v, 3*time.Second, 5*time.Minute) },
		},
		{
			"listen", false, "true or false", "false",
			func(d *decoder, v value, b *rawBGP) { b.listen = d.boolean(v) },
		},
	}
}

func peerFields() []field[rawPeer] {
	return []field[rawPeer]{
		{
			"address", true, "the router's address", "10.64.20.1",
			func(d *decoder, v value, p *rawPeer) { p.address = d.peerAddress(v) },
		},
		{
			"asn", true, "the number of the router's autonomous system", "64800",
			func(d *decoder, v value, p *rawPeer) { p.asn = d.integer(v, maxASN, status.CodeBadASN) },
		},
		{
			"port", false, "the port that it listens on", "179",
			func(d *decoder, v value, p *rawPeer) { p.port = d.port(v) },
		},
		{
			"password_file", false, "the path of a file that has the password", "/etc/holdfast/bgp.password",
			func(d *decoder, v value, p *rawPeer) { p.passwordFile = d.filePath(v) },
		},
		{
			"ttl_security", false, "true or false", "true",
			func(d *decoder, v value, p *rawPeer) { p.ttlSecurity = d.boolean(v) },
		},
		{
			"multihop", false, "how many hops away it may be, 2 to 255", "2",
			func(d *decoder, v value, p *rawPeer) { p.multihop = d.integer(v, 255, status.CodeBadPeer) },
		},
		{
			"controllers", false, "the controllers that have it as a peer", "[ctl1, ctl2]",
			func(d *decoder, v value, p *rawPeer) {
				p.controllers = each(d, v, "write the name of a controller", d.name)
			},
		},
	}
}

func bfdFields() []field[rawBFD] {
	return []field[rawBFD]{
		{
			"interval", false, "the time between two packets, 10ms to 10s", "300ms",
			func(d *decoder, v value, b *rawBFD) { b.interval = d.bfdInterval(v) },
		},
		{
			"multiplier", false, "how many packets may be missed, 2 to 50", "3",
			func(d *decoder, v value, b *rawBFD) {
				if b.multiplier = d.integer(v, 50, status.CodeBadInterval); b.multiplier.ok && b.multiplier.v < 2 {
					d.fail(status.CodeBadInterval, v.node, v.path+" 1 has one lost packet end the session", "write 2 to 50")
				}
			},
		},
	}
}

func (d *decoder) bfdInterval(v value) item[time.Duration] {
	i := d.duration(v)
	if i.ok && (i.v < 10*time.Millisecond || i.v > 10*time.Second) {
		d.fail(status.CodeBadInterval, v.node, fmt.Sprintf("%s %s is out of range", v.path, i.v), "write a time from 10ms to 10s")
		return bad[time.Duration](v)
	}
	return i
}

// seconds reads a time in whole seconds from low to high.
func (d *decoder) seconds(v value, low, high time.Duration) item[time.Duration] {
	i := d.duration(v)
	switch {
	case !i.ok:
		return i
	case i.v < low || i.v > high:
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s is out of range", v.path, i.v), fmt.Sprintf("write a time from %s to %s", span(low), span(high)))
	case i.v%time.Second != 0:
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s is not in whole seconds", v.path, i.v), fmt.Sprintf("write %s", i.v.Truncate(time.Second)+time.Second))
	default:
		return i
	}
	return bad[time.Duration](v)
}

// peerAddress reads the address of a router. A link-local one says on which interface it is.
func (d *decoder) peerAddress(v value) item[netip.Addr] {
	t := d.text(v)
	if !t.ok {
		return bad[netip.Addr](v)
	}
	a, err := netip.ParseAddr(t.v)
	if err != nil || !a.IsLinkLocalUnicast() || a.Is4() {
		return d.address(v)
	}
	if a.Zone() == "" || len(a.Zone()) > 15 {
		d.fail(status.CodeBadAddress, v.node, fmt.Sprintf("%s %s is a link-local address, and does not say on which interface", v.path, quote(t.v)), fmt.Sprintf(`write the interface behind it, as in "%s%%eno1"`, a.WithZone("")))
		return bad[netip.Addr](v)
	}
	return good(v, a)
}

// routerIDs reads the identifiers of controllers.
func (d *decoder) routerIDs(v value) rawList[rawRouterID] {
	l := rawList[rawRouterID]{node: v.node}
	entries, ok := d.entries(v)
	l.ok = ok
	for _, e := range entries {
		at := value{follow(e.value), join(v.path, e.key.Value), hint{"an IPv4 address", e.key.Value, "10.64.20.13"}}
		id := d.address(at)
		if id.ok && !id.v.Is4() {
			d.fail(status.CodeBadAddress, at.node, fmt.Sprintf("%s %s is not an IPv4 address, the form that an identifier has", at.path, id.v), "write one that no other router of the network has, as in 10.64.20.13")
			id.ok = false
		}
		l.all = append(l.all, rawRouterID{item[string]{e.key.Value, e.key, true}, id})
	}
	return l
}

// wellKnownCommunities are those that have a name (RFC 1997, RFC 3765).
func wellKnownCommunities() map[string]uint32 {
	return map[string]uint32{"no-export": 0xffffff01, "no-advertise": 0xffffff02, "no-peer": 0xffffff04}
}

// GracefulShutdown is the community of RFC 8326, which the agent itself attaches.
const GracefulShutdown uint32 = 0xffff0000

// community reads one of RFC 1997: "64710:100", or the name of a well-known one.
func (d *decoder) community(v value) item[uint32] {
	// 64710:100 without quotes may be a number of base 60 to some, and is text to this reader.
	t := d.text(v)
	if !t.ok {
		return bad[uint32](v)
	}
	if c, known := wellKnownCommunities()[t.v]; known {
		return good(v, c)
	}
	high, low, _ := strings.Cut(t.v, ":")
	h, errHigh := strconv.ParseUint(high, 10, 16)
	l, errLow := strconv.ParseUint(low, 10, 16)
	c := uint32(h)<<16 | uint32(l)
	switch {
	case errHigh != nil || errLow != nil:
		d.fail(status.CodeBadCommunity, v.node, fmt.Sprintf("%s %s is not a community", v.path, quote(t.v)), `write two numbers up to 65535, as in "64710:100", or no-export, no-advertise, no-peer`)
	case c == GracefulShutdown:
		d.fail(status.CodeBadCommunity, v.node, fmt.Sprintf("%s %s is GRACEFUL_SHUTDOWN (RFC 8326), by which routers send nothing here", v.path, t.v), "leave it out: a controller that is drained attaches it by itself")
	default:
		return good(v, c)
	}
	return bad[uint32](v)
}

// checkBGP holds bgp against the VIPs and the controllers.
func (c *checker) checkBGP() {
	b := c.raw.bgp
	var first *rawVIP
	unsure := false
	for i, v := range c.raw.vips.all {
		if v.byBGP() {
			first = cmp.Or(first, &c.raw.vips.all[i])
			c.checkAnnounced(v)
		} else if v.announce.given() && !v.announce.ok {
			unsure = true
		} else if v.order.given() {
			c.fail(status.CodeBadAnnounce, v.order.node, v.at.path+".order is of a VIP that is announced by BGP, and this one is not", `write "announce: bgp" too, or leave order out; who is to have it is said by prefer`)
		}
	}
	if first != nil && b.node == nil {
		c.fail(status.CodeMissingKey, first.announce.node, fmt.Sprintf(`%s is announced by BGP, and the spec has no "bgp"`, first.at.path), `write the controllers' own number and their routers, as in "bgp: {asn: 64710, peers: [{address: 10.64.20.1, asn: 64800}]}"`)
	}
	if b.node == nil || b.node.Kind != yaml.MappingNode {
		return
	}
	if first == nil && !unsure {
		c.warn(status.CodeBadAnnounce, b.node, "no VIP is announced by BGP, so bgp does nothing", `write "announce: bgp" to a VIP, or leave bgp out`)
	}
	switch {
	case b.engine.v == string(EngineExternal):
		c.checkExternal(b)
	case b.engine.ok || !b.engine.given():
		c.checkEmbedded(b)
	}
}

func (v rawVIP) byBGP() bool { return v.announce.ok && v.announce.v == string(AnnounceBGP) }

// checkAnnounced finds what a VIP that is announced by BGP cannot have.
func (c *checker) checkAnnounced(v rawVIP) {
	if v.vrrp.node != nil {
		c.fail(status.CodeBadAnnounce, v.vrrp.node, v.at.path+" is announced by BGP and has a virtual router of VRRP too", "leave vrrp out")
	}
	if v.device.ok && v.device.v == string(Macvlan) {
		c.fail(status.CodeBadAnnounce, v.device.node, v.at.path+" is announced by BGP and has a device of VRRP's, macvlan", "leave device out")
	}
	for _, a := range v.addresses.all {
		if a.ok && a.v.Bits() != a.v.Addr().BitLen() {
			c.fail(status.CodeBadAddress, a.node, fmt.Sprintf("%s is announced by BGP, as one address and not as a network", a.v), fmt.Sprintf("write %s", host(a.v)))
		}
	}
}

func host(p netip.Prefix) netip.Prefix { return netip.PrefixFrom(p.Addr(), p.Addr().BitLen()) }

// checkExternal finds what has no use where another daemon speaks BGP.
func (c *checker) checkExternal(b rawBGP) {
	for _, k := range []struct {
		key  string
		node *yaml.Node
	}{
		{"asn", b.asn.node},
		{"router_id", b.routerIDs.node},
		{"peers", b.peers.node},
		{"communities", b.communities.node},
		{"bfd", b.bfd.node},
		{"graceful_restart", b.gracefulRestart.node},
		{"hold_time", b.holdTime.node},
		{"listen", b.listen.node},
	} {
		if k.node != nil {
			c.fail(status.CodeBadAnnounce, k.node, fmt.Sprintf("bgp.%s has no use with engine external: the other daemon has its own", k.key), "leave it out, or write engine: embedded")
		}
	}
	for _, v := range c.raw.vips.all {
		if v.byBGP() && v.order.ok && v.order.v != string(OrderEqual) {
			c.fail(status.CodeBadAnnounce, v.order.node, fmt.Sprintf("%s.order %s is not known to the daemon that speaks BGP", v.at.path, v.order.v), "leave it out, and give the order to that daemon; or write engine: embedded")
		}
	}
}

// checkEmbedded finds what is missing or wrong of an agent that speaks BGP itself.
func (c *checker) checkEmbedded(b rawBGP) {
	if !b.asn.given() {
		c.fail(status.CodeMissingKey, b.node, `bgp has no "asn"`, `write the number of the controllers' own autonomous system, as in "asn: 64710"`)
	}
	if b.peers.node == nil || b.peers.ok && len(b.peers.all) == 0 {
		c.fail(status.CodeMissingKey, cmp.Or(b.peers.node, b.node), "bgp has no peer, so nobody is told of a route", `write at least one, as in "peers: [{address: 10.64.20.1, asn: 64800}]"`)
	}
	var known []string
	for _, h := range c.raw.controllers.all {
		if h.name.ok {
			known = append(known, h.name.v)
		}
	}
	c.checkRouterIDs(b, known)
	c.checkRouters(b, known)
}

// checkRouterIDs finds controllers without an identifier, and two that share one.
func (c *checker) checkRouterIDs(b rawBGP, known []string) {
	var named []item[string]
	given, used := map[string]bool{}, uses[netip.Addr]{}
	for _, r := range b.routerIDs.all {
		named = append(named, r.controller)
		given[r.controller.v] = true
		if first := used.take(r.id); first != nil {
			c.fail(status.CodeDuplicateAddress, r.id.node, fmt.Sprintf("a second controller has the BGP identifier %s, the first is in line %d", r.id.v, first.Line), "write another one")
		}
	}
	c.checkNamed(named, "controller", status.CodeUnknownController, known)
	for _, r := range b.routerIDs.all {
		i := slices.IndexFunc(c.raw.controllers.all, func(h rawHost) bool {
			return r.id.ok && h.name.ok && h.name.v != r.controller.v && !given[h.name.v] && h.address.ok && h.address.v == r.id.v
		})
		if i >= 0 {
			other := c.raw.controllers.all[i]
			c.fail(status.CodeDuplicateAddress, r.id.node, fmt.Sprintf("the BGP identifier %s is also that of controller %s, whose address it is (line %d)", r.id.v, other.name.v, other.address.node.Line), "write another one")
		}
	}
	for _, h := range c.raw.controllers.all {
		if h.name.ok && h.address.ok && h.address.v.Is6() && !given[h.name.v] {
			c.fail(status.CodeMissingKey, b.node, fmt.Sprintf("controller %s has no BGP identifier: its address is IPv6, and an identifier is an IPv4 address", h.name.v), fmt.Sprintf(`write one that no other router of the network has, as in "router_id: {%s: 10.0.0.1}"`, h.name.v))
			return
		}
	}
}

// checkRouters holds peers against each other, the controllers and the VIPs.
func (c *checker) checkRouters(b rawBGP, known []string) {
	used, have, have6 := uses[netip.Addr]{}, map[string]bool{}, map[string]bool{}
	for _, p := range b.peers.all {
		if first := used.take(p.address); first != nil {
			c.fail(status.CodeDuplicateAddress, p.address.node, fmt.Sprintf("a second peer has the address %s, the first is in line %d", p.address.v, first.Line), "leave one out, or correct the address")
		}
		c.checkNamed(p.controllers.all, "controller", status.CodeUnknownController, known)
		c.checkPeer(b, p)
		for _, n := range known {
			if !p.controllers.ok || slices.ContainsFunc(p.controllers.all, func(i item[string]) bool { return i.v == n }) {
				have[n] = true
				have6[n] = have6[n] || !p.address.ok || p.address.v.Is6()
			}
		}
	}
	if len(b.peers.all) == 0 {
		return
	}
	six := c.firstIPv6()
	for _, n := range known {
		if have[n] && six != nil && !have6[n] {
			c.fail(status.CodeNoPeer, six.node, fmt.Sprintf("controller %s has no IPv6 peer, and %s is announced over an IPv6 session only", n, six.v.Addr()), "write a peer with an IPv6 address for it, which takes IPv4 routes too")
		}
		if !have[n] {
			c.fail(status.CodeNoPeer, b.peers.node, fmt.Sprintf("controller %s has no peer, so it would announce nothing", n), "write one for it, or name it in the controllers of a peer")
		}
	}
}

// firstIPv6 gives the first IPv6 address of a VIP that is announced by BGP; nil for none.
func (c *checker) firstIPv6() *item[netip.Prefix] {
	for _, v := range c.raw.vips.all {
		for i, a := range v.addresses.all {
			if v.byBGP() && a.ok && a.v.Addr().Is6() {
				return &v.addresses.all[i]
			}
		}
	}
	return nil
}

// checkPeer finds keys of one peer that do not go together.
func (c *checker) checkPeer(b rawBGP, p rawPeer) {
	if p.controllers.ok && len(p.controllers.all) == 0 {
		c.fail(status.CodeNoController, p.controllers.node, p.at.path+".controllers is empty", "write the name of a controller, or leave it out for all")
	}
	for _, h := range c.raw.controllers.all {
		if p.address.ok && h.address.ok && p.address.v == h.address.v {
			c.fail(status.CodeBadPeer, p.address.node, fmt.Sprintf("%s.address %s is that of controller %s, and not a router's", p.at.path, p.address.v, h.called()), "write the address of the router")
		}
	}
	for _, v := range c.raw.vips.all {
		if p.address.ok && slices.ContainsFunc(v.addresses.all, func(a item[netip.Prefix]) bool { return a.ok && a.v.Addr() == p.address.v }) {
			c.fail(status.CodeBadPeer, p.address.node, fmt.Sprintf("%s.address %s is that of VIP %s, and not a router's", p.at.path, p.address.v, v.name.or(v.at.path)), "write the address of the router")
		}
	}
	if p.multihop.ok && p.multihop.v < 2 {
		c.fail(status.CodeBadPeer, p.multihop.node, p.at.path+".multihop 1 is a peer on the same link", "leave it out, or write 2 to 255")
	}
	if p.multihop.ok && p.ttlSecurity.v {
		c.fail(status.CodeBadPeer, p.ttlSecurity.node, p.at.path+" has ttl_security, which is for a peer on the same link, and multihop", "leave one out")
	}
	if p.asn.ok && p.asn.v == b.asn.v && (p.multihop.ok || p.ttlSecurity.v) {
		c.fail(status.CodeBadPeer, p.asn.node, p.at.path+" is of the controllers' own autonomous system, where neither multihop nor ttl_security has a meaning", "leave them out")
	}
	if p.multihop.v > 1 && b.bfd.node != nil {
		c.fail(status.CodeBadPeer, p.multihop.node, p.at.path+" is several hops away, and BFD here is for peers on the same link (RFC 5881)", "leave out multihop, or bfd")
	}
	for _, v := range c.raw.vips.all {
		if v.byBGP() && p.asn.ok && p.asn.v == b.asn.v && v.order.v == string(OrderPrepend) {
			c.fail(status.CodeBadAnnounce, v.order.node, fmt.Sprintf("%s.order prepend has no effect on %s, a peer of the controllers' own autonomous system", v.at.path, p.at.path), "write order: med")
		}
	}
}

func (raw rawBGP) build(controllers []Controller) *BGP {
	if raw.node == nil {
		return nil
	}
	b := &BGP{
		Engine: Engine(raw.engine.or(string(EngineEmbedded))), ASN: uint32(raw.asn.v), RouterIDs: map[string]netip.Addr{},
		GracefulRestart: raw.gracefulRestart.or(defaultGracefulRestart), HoldTime: raw.holdTime.or(defaultHoldTime), Listen: raw.listen.v,
	}
	for _, c := range controllers {
		if c.Address.Is4() {
			b.RouterIDs[c.Name] = c.Address
		}
	}
	for _, r := range raw.routerIDs.all {
		b.RouterIDs[r.controller.v] = r.id.v
	}
	for _, c := range raw.communities.all {
		b.Communities = append(b.Communities, c.v)
	}
	if raw.bfd.node != nil {
		b.BFD = &BFD{Interval: raw.bfd.interval.or(defaultBFDInterval), Multiplier: raw.bfd.multiplier.or(defaultBFDMultiplier)}
	}
	for _, p := range raw.peers.all {
		peer := BGPPeer{
			Address: p.address.v, ASN: uint32(p.asn.v), Port: p.port.or(bgpPort), PasswordFile: p.passwordFile.v,
			TTLSecurity: p.ttlSecurity.v, Multihop: p.multihop.v,
		}
		for _, name := range p.controllers.all {
			peer.Controllers = append(peer.Controllers, name.v)
		}
		b.Peers = append(b.Peers, peer)
	}
	return b
}

// CommunityText gives a community as the file has it.
func CommunityText(c uint32) string {
	for name, known := range wellKnownCommunities() {
		if known == c {
			return name
		}
	}
	return fmt.Sprintf("%d:%d", c>>16, c&0xffff)
}

// bgpValues gives what a diff shows.
func bgpValues(b *BGP) []pair {
	if b == nil {
		b = &BGP{}
	}
	var peers, communities, ids []string
	for _, p := range b.Peers {
		peers = append(peers, p.words())
	}
	for _, c := range b.Communities {
		communities = append(communities, CommunityText(c))
	}
	for name, id := range b.RouterIDs {
		ids = append(ids, name+": "+id.String())
	}
	slices.Sort(ids)
	asn, bfd := none, none
	if b.ASN != 0 {
		asn = strconv.FormatUint(uint64(b.ASN), 10)
	}
	if b.BFD != nil {
		bfd = fmt.Sprintf("%s x %d", span(b.BFD.Interval), b.BFD.Multiplier)
	}
	return []pair{
		{"bgp.engine", orNone(string(b.Engine))},
		{"bgp.asn", asn},
		{"bgp.router_id", orNone(strings.Join(ids, ", "))},
		{"bgp.peers", orNone(strings.Join(peers, "; "))},
		{"bgp.communities", orNone(strings.Join(communities, ", "))},
		{"bgp.bfd", bfd},
		{"bgp.graceful_restart", span(b.GracefulRestart)},
		{"bgp.hold_time", span(b.HoldTime)},
		{"bgp.listen", strconv.FormatBool(b.Listen)},
	}
}

// words says what p is, on one line.
func (p BGPPeer) words() string {
	words := []string{fmt.Sprintf("%s AS %d", p.Address, p.ASN)}
	if p.Port != bgpPort {
		words = append(words, fmt.Sprintf("port %d", p.Port))
	}
	if p.PasswordFile != "" {
		words = append(words, "password_file "+p.PasswordFile)
	}
	if p.TTLSecurity {
		words = append(words, "ttl_security")
	}
	if p.Multihop > 0 {
		words = append(words, fmt.Sprintf("multihop %d", p.Multihop))
	}
	if len(p.Controllers) > 0 {
		words = append(words, "controllers "+strings.Join(p.Controllers, " "))
	}
	return strings.Join(words, ", ")
}
