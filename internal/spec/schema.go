package spec

import (
	"net/netip"
	"slices"
	"time"

	"holdfast/internal/status"

	"go.yaml.in/yaml/v4"
)

// The raw types hold the file as it was written, each value with its place, so
// that what is wrong with several values together can be reported at one of them.
type (
	rawSpec struct {
		node        *yaml.Node
		cloud       item[string]
		region      item[string]
		release     item[string]
		headerLimit item[int]
		vips        rawList[rawVIP]
		controllers rawList[rawHost]
		services    rawList[rawService]
		agent       rawAgent
		log         rawLog
		notify      rawNotify
		bgp         rawBGP
		haproxy     Raw
		errorPages  []ErrorPage
		stats       rawStats
	}
	rawLog struct {
		target, level item[string]
		off           item[bool]
	}
	rawAgent struct {
		port, checkPort item[int]
		handoverLimit   item[time.Duration]
		authentication  item[string]
	}
	rawVIP struct {
		at                    value
		name, hostname, iface item[string]
		addresses             rawList[item[netip.Prefix]]
		device                item[string]
		announce, order       item[string]
		endpoints             rawList[item[string]]
		prefer                rawList[item[string]]
		vrrp                  rawVRRP
		tls                   rawTLS
		access                rawAccess
		limit                 rawLimit
		behind                rawBehind
		public                rawPublic
	}
	rawTLS struct {
		node             *yaml.Node // nil: none
		certificate, key item[string]
		more             rawList[rawCertificate]
		minVersion       item[string]
		hsts             item[time.Duration]
		redirect         item[int]
		acme             item[netip.AddrPort]
	}
	rawVRRP struct {
		node            *yaml.Node // nil: none
		routerID        item[int]
		interval        item[time.Duration]
		preempt         item[bool]
		peers, checksum item[string]
		startupDelay    item[time.Duration]
	}
	// rawHost is a controller, or a host of a service.
	rawHost struct {
		at          value
		name, iface item[string]
		address     item[netip.Addr]
		weight      item[int]
		port        item[int]
	}
	rawService struct {
		at             value
		key            *yaml.Node
		name           item[string]
		typ, path      item[string]
		port, hostPort item[int]
		mode, affinity item[string]
		access         rawAccess
		limit          rawLimit
		haproxy        Raw
		errorPages     []ErrorPage
		maintenance    rawMaintenance
		check          rawCheck
		timeout        rawTimeout
		tls, ca        item[string]
		serverName     item[string]
		vips           rawList[item[string]]
		hosts          rawList[rawHost]
	}
	rawCheck struct {
		layer, port  item[int]
		method, path item[string]
		expect       item[[]CodeRange]
	}
	rawTimeout struct {
		client, server, connect, tunnel, check, queue, request item[time.Duration]
	}
	// rawList is a list, or the mapping of the services. It is absent (no node),
	// or of another kind and reported (a node, not ok), or ok.
	rawList[T any] struct {
		all  []T
		node *yaml.Node
		ok   bool
	}
)

// each reads every element of the list v into a raw list; what says what to
// write for an element.
func each[T any](d *decoder, v value, what string, read func(value) T) rawList[T] {
	l := rawList[T]{node: v.node}
	l.ok = d.sequence(v, what, func(e value) { l.all = append(l.all, read(e)) })
	return l
}

// spec reads the whole file; nil if it is not a mapping.
func (d *decoder) spec(root *yaml.Node) *rawSpec {
	raw := &rawSpec{node: root}
	if !mapping(d, value{node: root, hint: hint{what: "write the keys " + list(keysOf(specFields()), "and")}}, specFields(), raw) {
		return nil
	}
	return raw
}

func specFields() []field[rawSpec] {
	return []field[rawSpec]{
		{
			"cloud", false, "the name of the cloud", "eqiad1",
			func(d *decoder, v value, s *rawSpec) { s.cloud = d.text(v) },
		},
		{
			"region", false, "the Keystone region of the endpoints", "RegionOne",
			func(d *decoder, v value, s *rawSpec) { s.region = d.text(v) },
		},
		{
			"release", false, "the OpenStack release of the services", "zed",
			func(d *decoder, v value, s *rawSpec) { s.release = d.text(v) },
		},
		{
			"header_limit", false, "how large the headers of a request may be, 4k to 256k", "64k",
			func(d *decoder, v value, s *rawSpec) { s.headerLimit = d.size(v, 4, 256) },
		},
		{
			"vips", true, "a list of VIPs", "[{name: api, addresses: [10.64.20.10/24], ...}]",
			func(d *decoder, v value, s *rawSpec) {
				s.vips = each(d, v, "write a mapping with name, addresses, hostname, interface and vrrp", d.rawVIP)
			},
		},
		{
			"controllers", true, "a list of controllers, the preferred one first", "[{name: ctl1, address: 10.64.20.13}, ...]",
			func(d *decoder, v value, s *rawSpec) {
				s.controllers = each(d, v, hostHint, func(e value) rawHost { return d.rawHost(e, controllerFields()) })
			},
		},
		{
			"services", true, "a mapping of services", "{keystone: {}, glance: {}}",
			func(d *decoder, v value, s *rawSpec) { s.services = d.rawServices(v) },
		},
		{
			"agent", false, "the settings of the agents", "{port: 9470, check_port: 9471}",
			func(d *decoder, v value, s *rawSpec) { mapping(d, v, agentFields(), &s.agent) },
		},
		{
			"log", false, "where HAProxy's log goes", "{target: 10.64.20.5:514, level: notice}",
			func(d *decoder, v value, s *rawSpec) { s.log = d.rawLog(v) },
		},
		{
			"notify", false, "whom incidents are told", "{webhook: https://alerts.example.org/holdfast}",
			func(d *decoder, v value, s *rawSpec) {
				s.notify.node = v.node
				mapping(d, v, notifyFields(), &s.notify)
			},
		},
		{
			"bgp", false, "how VIPs are announced by BGP", "{asn: 64710, peers: [{address: 10.64.20.1, asn: 64800}]}",
			func(d *decoder, v value, s *rawSpec) {
				s.bgp.node = v.node
				mapping(d, v, bgpFields(), &s.bgp)
			},
		},
		{
			"haproxy", false, "raw lines for HAProxy's configuration", `{global: ["tune.maxaccept 100"]}`,
			func(d *decoder, v value, s *rawSpec) { mapping(d, v, rawFields(), &s.haproxy) },
		},
		{
			"error_pages", false, "pages in the place of HAProxy's own answers", "{503: /etc/holdfast/pages/sorry.html}",
			func(d *decoder, v value, s *rawSpec) { s.errorPages = d.pages(v) },
		},
		{
			"stats", false, "where HAProxy's own page and exporter are", "{listen: 8404}",
			func(d *decoder, v value, s *rawSpec) {
				s.stats.node = v.node
				mapping(d, v, statsFields(), &s.stats)
			},
		},
	}
}

// rawLog reads the settings of HAProxy's log, or the one word "off".
func (d *decoder) rawLog(v value) rawLog {
	var raw rawLog
	if v.node.Kind == yaml.ScalarNode && v.node.Value == "off" {
		raw.off = good(v, true)
		return raw
	}
	mapping(d, v, logFields(), &raw)
	return raw
}

func logFields() []field[rawLog] {
	return []field[rawLog]{
		{
			"target", false, "the path of a socket, or an address with its port that takes syslog by UDP", "10.64.20.5:514",
			func(d *decoder, v value, l *rawLog) { l.target = d.logTarget(v) },
		},
		{
			"level", false, "the least severe that is logged", "notice",
			func(d *decoder, v value, l *rawLog) {
				l.level = d.choice(v, "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
			},
		},
		{
			"off", false, "true or false", "true",
			func(d *decoder, v value, l *rawLog) { l.off = d.boolean(v) },
		},
	}
}

func agentFields() []field[rawAgent] {
	return []field[rawAgent]{
		{
			"port", false, "the port of the dashboard and the metrics", "9470",
			func(d *decoder, v value, a *rawAgent) { a.port = d.port(v) },
		},
		{
			"check_port", false, "the port that answers HAProxy's agent-check", "9471",
			func(d *decoder, v value, a *rawAgent) { a.checkPort = d.port(v) },
		},
		{
			"handover_limit", false, "how long connections may go on after a planned handover", "1h",
			func(d *decoder, v value, a *rawAgent) { a.handoverLimit = d.handoverLimit(v) },
		},
		{
			"authentication", false, "what is done with the key of the controllers: receive-only, permissive or strict", "receive-only",
			func(d *decoder, v value, a *rawAgent) {
				a.authentication = d.choice(v, string(ReceiveOnly), string(Permissive), string(Strict))
			},
		},
	}
}

func (d *decoder) rawVIP(v value) rawVIP {
	raw := rawVIP{at: v}
	mapping(d, v, vipFields(!says(v.node, "announce", string(AnnounceBGP), 0)), &raw)
	return raw
}

// says reports whether the mapping n, or one that is merged into it, has key with the value is.
func says(n *yaml.Node, key, is string, depth int) bool {
	switch {
	case depth > 8:
	case n.Kind == yaml.SequenceNode:
		return slices.ContainsFunc(n.Content, func(part *yaml.Node) bool { return says(follow(part), key, is, depth+1) })
	case n.Kind == yaml.MappingNode:
		for pair := range slices.Chunk(n.Content, 2) {
			value := follow(pair[1])
			if pair[0].Value == key && value.Value == is || pair[0].Tag == "!!merge" && says(value, key, is, depth+1) {
				return true
			}
		}
	}
	return false
}

// vipFields are those of a VIP; routed says that it has a virtual router.
func vipFields(routed bool) []field[rawVIP] {
	return append([]field[rawVIP]{
		{
			"name", true, "a name for the VIP", "api",
			func(d *decoder, v value, r *rawVIP) { r.name = d.name(v) },
		},
		{
			"addresses", true, "the VIP's own addresses with the prefix length of their network", "[10.64.20.10/24]",
			func(d *decoder, v value, r *rawVIP) {
				r.addresses = each(d, v, `write an address that no host has, with the prefix length of its network, as in "10.64.20.10/24"`, d.vip)
			},
		},
		{
			"hostname", true, "the DNS name that clients use", "openstack.example.org",
			func(d *decoder, v value, r *rawVIP) { r.hostname = d.hostname(v) },
		},
		{
			"interface", false, "the network interface on which it is activated", "eno1",
			func(d *decoder, v value, r *rawVIP) { r.iface = d.device(v) },
		},
		{
			"device", false, "direct or macvlan", "direct",
			func(d *decoder, v value, r *rawVIP) { r.device = d.choice(v, string(Direct), string(Macvlan)) },
		},
		{
			"endpoints", false, "the catalog interfaces that it serves", "[public, internal, admin]",
			func(d *decoder, v value, r *rawVIP) {
				r.endpoints = each(d, v, "write public, internal or admin", func(e value) item[string] { return d.choice(e, endpointInterfaces()...) })
			},
		},
		{
			"prefer", false, "the controllers that are to have it, the first one first", "[ctl2, ctl3]",
			func(d *decoder, v value, r *rawVIP) {
				r.prefer = each(d, v, "write the name of a controller", d.name)
			},
		},
		{
			"announce", false, "vrrp or bgp", "vrrp",
			func(d *decoder, v value, r *rawVIP) {
				r.announce = d.choice(v, string(AnnounceVRRP), string(AnnounceBGP))
			},
		},
		{
			"order", false, "equal, med or prepend", "equal",
			func(d *decoder, v value, r *rawVIP) {
				r.order = d.choice(v, string(OrderEqual), string(OrderMED), string(OrderPrepend))
			},
		},
		{
			"vrrp", routed, "the settings of its virtual router", "{router_id: 51}",
			func(d *decoder, v value, r *rawVIP) {
				r.vrrp.node = v.node
				mapping(d, v, vrrpFields(), &r.vrrp)
			},
		},
		{
			"tls", false, "how TLS is terminated", "{certificate: /etc/holdfast/tls/api.pem}",
			func(d *decoder, v value, r *rawVIP) {
				r.tls.node = v.node
				mapping(d, v, tlsFields(), &r.tls)
			},
		},
		{
			"public", false, "name or path: how services are told apart that share one port", "name",
			func(d *decoder, v value, r *rawVIP) { r.public = d.rawPublic(v) },
		},
		{
			"limit", false, "how many requests a client may send", "500/s",
			func(d *decoder, v value, r *rawVIP) { r.limit = d.vipLimit(v) },
		},
		{
			"behind", false, "another balancer in front of it", "{trusted: [10.64.30.5]}",
			func(d *decoder, v value, r *rawVIP) {
				r.behind.node = v.node
				mapping(d, v, behindFields(), &r.behind)
			},
		},
	}, accessFields(func(r *rawVIP) *rawAccess { return &r.access })...)
}

// endpointInterfaces are the interfaces of Keystone's catalog.
func endpointInterfaces() []string { return []string{"public", "internal", "admin"} }

func vrrpFields() []field[rawVRRP] {
	return []field[rawVRRP]{
		{
			"router_id", true, "a number from 1 to 255 that no other virtual router of the network has", "51",
			func(d *decoder, v value, r *rawVRRP) { r.routerID = d.integer(v, 255, status.CodeBadRouterID) },
		},
		{
			"interval", false, "the time between adverts, 10ms to 40.95s", "100ms",
			func(d *decoder, v value, r *rawVRRP) { r.interval = d.interval(v) },
		},
		{
			"preempt", false, "true or false", "false",
			func(d *decoder, v value, r *rawVRRP) { r.preempt = d.boolean(v) },
		},
		{
			"peers", false, "unicast or multicast", "unicast",
			func(d *decoder, v value, r *rawVRRP) { r.peers = d.choice(v, string(Unicast), string(Multicast)) },
		},
		{
			"startup_delay", false, "how long after the interface came up nobody need be heard on it, 0s to 1h", "30s",
			func(d *decoder, v value, r *rawVRRP) { r.startupDelay = d.startupDelay(v) },
		},
		{
			"checksum", false, "rfc or keepalived", "rfc",
			func(d *decoder, v value, r *rawVRRP) {
				r.checksum = d.choice(v, string(ChecksumRFC), string(ChecksumKeepalived))
			},
		},
	}
}

func tlsFields() []field[rawTLS] {
	return []field[rawTLS]{
		{
			"certificate", true, "the file of the certificate, its chain and its key", "/etc/holdfast/tls/api.pem",
			func(d *decoder, v value, r *rawTLS) { r.certificate = d.filePath(v) },
		},
		{
			"key", false, "the file of the key, when it has one of its own", "/etc/holdfast/tls/api.key",
			func(d *decoder, v value, r *rawTLS) { r.key = d.filePath(v) },
		},
		{
			"more", false, "a list of further certificates", "[{certificate: /etc/holdfast/tls/nova.pem}]",
			func(d *decoder, v value, r *rawTLS) {
				r.more = each(d, v, `write a mapping, as in "{certificate: /etc/holdfast/tls/nova.pem}"`, func(e value) rawCertificate {
					var raw rawCertificate
					mapping(d, e, certificateFields(), &raw)
					return raw
				})
			},
		},
		{
			"min_version", false, "1.2 or 1.3", "1.3",
			func(d *decoder, v value, r *rawTLS) { r.minVersion = d.choice(v, "1.2", "1.3") },
		},
		{
			"hsts", false, "how long browsers are to come by TLS only", "365d",
			func(d *decoder, v value, r *rawTLS) { r.hsts = d.period(v) },
		},
		{
			"redirect", false, "true, for port 80, or another port whose plain HTTP leads to https", "true",
			func(d *decoder, v value, r *rawTLS) { r.redirect = d.redirect(v) },
		},
		{
			"acme", false, "where the client of ACME answers the challenges of http-01", "10.64.20.13:8402",
			func(d *decoder, v value, r *rawTLS) { r.acme = d.addressPort(v) },
		},
	}
}

// redirect reads a port, true for the usual one, or false for none.
func (d *decoder) redirect(v value) item[int] {
	if v.node.Tag != "!!bool" {
		return d.port(v)
	}
	on := d.boolean(v)
	if on.v {
		return good(v, plainPort)
	}
	return item[int]{node: v.node, ok: on.ok}
}

const hostHint = `write a mapping, as in "{name: ctl1, address: 10.64.20.13}"`

func (d *decoder) rawHost(v value, fields []field[rawHost]) rawHost {
	raw := rawHost{at: v}
	mapping(d, v, fields, &raw)
	return raw
}

func hostFields() []field[rawHost] {
	return []field[rawHost]{
		{
			"name", true, "the name of the host", "ctl1",
			func(d *decoder, v value, r *rawHost) { r.name = d.name(v) },
		},
		{
			"address", true, "the host's own address, which the services bind to", "10.64.20.13",
			func(d *decoder, v value, r *rawHost) { r.address = d.address(v) },
		},
	}
}

func controllerFields() []field[rawHost] {
	return append(hostFields(), field[rawHost]{
		"interface", false, "this controller's interface for the VIPs", "enp2s0",
		func(d *decoder, v value, r *rawHost) { r.iface = d.device(v) },
	})
}

// serviceHostFields are those of a host of a service.
func serviceHostFields() []field[rawHost] {
	return append(hostFields(), field[rawHost]{
		"weight", false, "its share against that of the other hosts, 1 to 256", "32",
		func(d *decoder, v value, r *rawHost) { r.weight = d.weight(v) },
	}, field[rawHost]{
		"port", false, "the port that it serves at, where others have another", "5001",
		func(d *decoder, v value, r *rawHost) { r.port = d.port(v) },
	})
}

// weight reads a server's weight. HAProxy's 0 means no new requests, which is
// what a drain is for: that one ends, and is told.
func (d *decoder) weight(v value) item[int] {
	if v.node.Kind == yaml.ScalarNode && v.node.Value == "0" {
		d.fail(status.CodeBadWeight, v.node, v.path+" 0 would give it no requests", "write 1 to 256; to take a host out for a while, use holdfast drain")
		return bad[int](v)
	}
	return d.integer(v, 256, status.CodeBadWeight)
}

// maxLimit is the most requests at once that a host can be limited to: more than
// an HAProxy has connections is no limit.
const maxLimit = 40_000

// rawServices reads the mapping of the services, in the order of the file. A
// service of which nothing is said ("keystone:") is one of which nothing needs
// to be said ("keystone: {}").
func (d *decoder) rawServices(v value) rawList[rawService] {
	l := rawList[rawService]{node: v.node}
	entries, ok := d.entries(v)
	l.ok = ok
	for _, e := range entries {
		at := value{e.key, "services." + e.key.Value, hint{"the name of a service", "keystone", "{}"}}
		raw := rawService{key: e.key, name: d.serviceName(at)}
		raw.at = value{follow(e.value), at.path, hint{what: `write a mapping, like "{}" or "{port: 5668}"`}}
		if !isNull(raw.at.node) {
			mapping(d, raw.at, serviceFields(), &raw)
		}
		l.all = append(l.all, raw)
	}
	return l
}

func (d *decoder) serviceName(v value) item[string] {
	if d.unfilled(v) {
		return bad[string](v)
	}
	if !isName(v.node.Value) {
		d.fail(status.CodeBadName, v.node, quote(v.node.Value)+" is not a name for a service", "write letters, digits and . - _, a letter or digit first, at most 100")
		return bad[string](v)
	}
	return good(v, v.node.Value)
}

func serviceFields() []field[rawService] {
	return append([]field[rawService]{
		{
			"type", false, "its type in the Keystone catalog", "identity",
			func(d *decoder, v value, r *rawService) { r.typ = d.name(v) },
		},
		{
			"port", false, "the port on the VIP and, without host_port, on every host", "5000",
			func(d *decoder, v value, r *rawService) { r.port = d.port(v) },
		},
		{
			"host_port", false, "the port on the hosts, where it is another than on the VIP", "5000",
			func(d *decoder, v value, r *rawService) { r.hostPort = d.port(v) },
		},
		{
			"path", false, "the path of the endpoint URL", "/v3",
			func(d *decoder, v value, r *rawService) { r.path = d.endpointPath(v) },
		},
		{
			"mode", false, "http or tcp", "http",
			func(d *decoder, v value, r *rawService) { r.mode = d.choice(v, string(HTTP), string(TCP)) },
		},
		{
			"affinity", false, "source, cookie, token or none", "source",
			func(d *decoder, v value, r *rawService) {
				r.affinity = d.choice(v, string(AffinitySource), string(AffinityCookie), string(AffinityToken), string(AffinityNone))
			},
		},
		{
			"limit", false, "how many requests a host gets at once, or a client may send in a time", "50/s",
			func(d *decoder, v value, r *rawService) { r.limit = d.serviceLimit(v) },
		},
		{
			"check", false, "how its health is checked", "{path: /healthcheck, expect: 200}",
			func(d *decoder, v value, r *rawService) { mapping(d, v, checkFields(), &r.check) },
		},
		{
			"timeout", false, "timeouts", "{server: 60s}",
			func(d *decoder, v value, r *rawService) { mapping(d, v, timeoutFields(), &r.timeout) },
		},
		{
			"tls", false, "verify or insecure", "verify",
			func(d *decoder, v value, r *rawService) {
				r.tls = d.choice(v, string(VerifyHosts), string(InsecureHosts))
			},
		},
		{
			"ca", false, "the file of the authorities that sign the hosts' certificates", "/etc/holdfast/tls/ca.pem",
			func(d *decoder, v value, r *rawService) { r.ca = d.filePath(v) },
		},
		{
			"server_name", false, "the DNS name in the hosts' certificates", "internal.example.org",
			func(d *decoder, v value, r *rawService) { r.serverName = d.hostname(v) },
		},
		{
			"vips", false, "the VIPs that it listens on", "[internal]",
			func(d *decoder, v value, r *rawService) {
				r.vips = each(d, v, "write the name of a VIP", func(e value) item[string] { return d.name(e) })
			},
		},
		{
			"hosts", false, "a list of the hosts where it runs", "[{name: ns1, address: 10.64.20.23}, ...]",
			func(d *decoder, v value, r *rawService) {
				r.hosts = each(d, v, hostHint, func(e value) rawHost { return d.rawHost(e, serviceHostFields()) })
			},
		},
		{
			"haproxy", false, "raw lines for its part of HAProxy's configuration", `{backend: ["option forwardfor"]}`,
			func(d *decoder, v value, r *rawService) { mapping(d, v, rawServiceFields(), &r.haproxy) },
		},
		{
			"error_pages", false, "pages in the place of HAProxy's own answers", "{503: /etc/holdfast/pages/sorry.html}",
			func(d *decoder, v value, r *rawService) { r.errorPages = d.pages(v) },
		},
		{
			"maintenance", false, "true, or what clients get while it is closed", "{page: /etc/holdfast/pages/maintenance.html, retry_after: 10m}",
			func(d *decoder, v value, r *rawService) { r.maintenance = d.maintenance(v) },
		},
	}, accessFields(func(r *rawService) *rawAccess { return &r.access })...)
}

func checkFields() []field[rawCheck] {
	return []field[rawCheck]{
		{
			"layer", false, "7 for a request, 4 for a mere connect", "7",
			func(d *decoder, v value, r *rawCheck) { r.layer = d.layer(v) },
		},
		{
			"method", false, "GET, HEAD or OPTIONS", "GET",
			func(d *decoder, v value, r *rawCheck) { r.method = d.choice(v, "GET", "HEAD", "OPTIONS") },
		},
		{
			"path", false, "the path to ask for", "/healthcheck",
			func(d *decoder, v value, r *rawCheck) { r.path = d.urlPath(v) },
		},
		{
			"expect", false, "the status codes of a healthy service", "200-299",
			func(d *decoder, v value, r *rawCheck) { r.expect = d.codes(v) },
		},
		{
			"port", false, "the port that is asked, where it is another than that of the service", "8080",
			func(d *decoder, v value, r *rawCheck) { r.port = d.port(v) },
		},
	}
}

// layer reads 4 or 7.
func (d *decoder) layer(v value) item[int] {
	n := d.integer(v, 99, status.CodeUnknownValue)
	if n.ok && n.v != 4 && n.v != 7 {
		d.fail(status.CodeUnknownValue, v.node, v.path+" is neither 4 nor 7", v.hint.String())
		return bad[int](v)
	}
	return n
}

func timeoutFields() []field[rawTimeout] {
	one := func(key, what string, of func(*rawTimeout) *item[time.Duration]) field[rawTimeout] {
		return field[rawTimeout]{
			key, false, what + " with its unit", "60s",
			func(d *decoder, v value, r *rawTimeout) { *of(r) = d.duration(v) },
		}
	}
	return []field[rawTimeout]{
		one("client", "how long a client may be silent", func(r *rawTimeout) *item[time.Duration] { return &r.client }),
		one("server", "how long a host may take to answer", func(r *rawTimeout) *item[time.Duration] { return &r.server }),
		one("connect", "how long a connect may take", func(r *rawTimeout) *item[time.Duration] { return &r.connect }),
		one("tunnel", "how long a websocket may be silent", func(r *rawTimeout) *item[time.Duration] { return &r.tunnel }),
		one("check", "how long a check may take", func(r *rawTimeout) *item[time.Duration] { return &r.check }),
		one("queue", "how long a request may wait for a host", func(r *rawTimeout) *item[time.Duration] { return &r.queue }),
		one("request", "how long a client may take to send the headers of a request", func(r *rawTimeout) *item[time.Duration] { return &r.request }),
	}
}
