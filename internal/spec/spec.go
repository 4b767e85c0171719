package spec

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// A Spec is what the file of docs/spec.md says, with every default filled
// in: what a reader of it needs, it has. Parse makes it; nobody changes it.
type Spec struct {
	Cloud  string
	Region string // Keystone region of the endpoints
	// HeaderLimit is how many octets of headers a request or an answer may have, a
	// multiple of 1024; 0: what HAProxy has room for by itself.
	HeaderLimit int
	Release     string // OpenStack release that the checks are for; empty: the newest
	VIPs        []VIP
	Controllers []Controller // in order of preference; each VIP has its own, see VIP.Prefer
	Services    []Service    // in the order of the file
	Agent       Agent
	Log         Log
	Notify      Notify
	BGP         *BGP // nil where no VIP is announced by it, as a rule
	Stats       Stats
	ErrorPages  []ErrorPage // of all http services, by code; see Page
	HAProxy     Raw         // raw lines; those of Defaults, Frontend and Backend are of all http services
	// Digest is the first 12 hex digits of the SHA-256 of the bytes parsed.
	Digest string
}

// Agent has the settings of the agents.
type Agent struct {
	Port      int // read-only HTTP on the controller's address; default 9470
	CheckPort int // HAProxy's agent-check; default 9471
	// HandoverLimit is how long connections may go on at the controller that
	// handed their VIP over: 1s to 24h, default 1h.
	HandoverLimit time.Duration
	// Authentication says what is done with the key that controllers have, where
	// they have one; default ReceiveOnly.
	Authentication Authentication
}

// Authentication says whether what controllers say to each other is signed, and whether
// what is not signed is believed: a mode of package auth.
type Authentication string

// The steps of a roll-out, in their order.
const (
	ReceiveOnly Authentication = "receive-only" // signs nothing, checks what is signed
	Permissive  Authentication = "permissive"   // signs, and believes what is not
	Strict      Authentication = "strict"       // signs, and believes what is signed only
)

// Log says what of HAProxy's log goes where: requests, and hosts that come and go.
type Log struct {
	// Target is the path of a datagram socket, or address:port of one who takes syslog
	// by UDP (RFC 5426); empty: DefaultLogTarget.
	Target string
	// Level is the least severe that is logged, in syslog's words: "info" has each
	// request. Empty: DefaultLogLevel.
	Level string
	Off   bool // nothing is logged
}

// What HAProxy's log is where the file says nothing of it.
const (
	DefaultLogTarget = "/dev/log"
	DefaultLogLevel  = "info"
)

// Device says on which kind of device a VIP is activated.
type Device string

// The devices.
const (
	Direct  Device = "direct"  // on the interface itself
	Macvlan Device = "macvlan" // on one of its own, with the virtual router's MAC address
)

// A VIP is an address, or several that move together, dedicated to HAProxy.
type VIP struct {
	Name      string
	Addresses []netip.Prefix // at least one; the address with the prefix length of its network
	Hostname  string
	Announce  Announce
	Order     Order  // of the controllers, where Announce is AnnounceBGP
	Interface string // the usual one; see Spec.Interface
	Device    Device
	Endpoints []string // subset of public, internal, admin
	// Prefer has the names of all controllers, in the order in which they are to have
	// it. The file names some, or none; see preference.
	Prefer []string
	VRRP   VRRP    // zero where it is announced by BGP
	TLS    *TLS    // nil: plain
	Public *Public // nil: each service has its own port
	// Access says who may use its services.
	Access Access
	// Clients is what it takes of each client for all of its services together.
	Clients ClientLimit
	Behind  Behind
}

// VRRP has the settings of a VIP's virtual router (RFC 9568).
type VRRP struct {
	RouterID int           // 1 to 255
	Interval time.Duration // 10ms to 40.95s in steps of 10ms; default 100ms
	Preempt  bool
	Peers    Peers
	Checksum Checksum
	// StartupDelay is how long after the interface came up nobody need be heard on it for
	// the silence of others to count for nothing; 0 to an hour, default 30s.
	StartupDelay time.Duration
}

// Peers says how adverts are sent.
type Peers string

// The ways to send adverts.
const (
	Unicast   Peers = "unicast" // to every controller's address
	Multicast Peers = "multicast"
)

// DefaultStartupDelay is as long as a switch with the spanning tree of IEEE 802.1D keeps a
// port from forwarding: twice its forward delay.
const DefaultStartupDelay = 30 * time.Second

// Checksum says which form of the IPv4 checksum is sent, and whether adverts over
// IPv6 begin with a link-local address; both forms are accepted.
type Checksum string

// The forms of the checksum.
const (
	ChecksumRFC        Checksum = "rfc"        // RFC 9568 sections 5.2.8, over the message only, and 5.2.9
	ChecksumKeepalived Checksum = "keepalived" // with a pseudo-header and the VIP's addresses only, as keepalived sends and wants it
)

// TLS terminates TLS on a VIP.
type TLS struct {
	Certificate string // path of a PEM file: certificate, chain, and key unless Key has it
	Key         string // path of a PEM file with the key; empty: it is in Certificate
	// More has further certificates: for other names, or with another kind of key for the
	// same ones. A client gets one that is for the name that it asks for.
	More []CertificateFiles
	// MinVersion is the oldest version of TLS that clients may speak: "1.2" or "1.3".
	MinVersion string
	// HSTS is how long browsers are told to come by TLS only (RFC 6797), in
	// whole seconds; 0: they are told nothing.
	HSTS time.Duration
	// Redirect is the port whose plain HTTP leads to https on port 443; 0: none.
	Redirect int
	// ACME is where the challenges of ACME's http-01 (RFC 8555 section 8.3) go that
	// come to the port of Redirect; the zero value: they are led to https as all else is.
	ACME netip.AddrPort
}

// Reencryption says how HAProxy speaks to the hosts of a service.
type Reencryption string

// The ways to speak to hosts.
const (
	PlainHosts    Reencryption = ""         // without TLS
	VerifyHosts   Reencryption = "verify"   // with TLS; their certificates are checked
	InsecureHosts Reencryption = "insecure" // with TLS; their certificates are not
)

// HostTLS is the TLS that a service's hosts speak themselves.
type HostTLS struct {
	Mode Reencryption
	CA   string // path of a PEM file of the authorities to trust; empty: the system's
	// ServerName is the name in the hosts' certificates, and is sent to them
	// (RFC 6066 section 3); empty: the name of each host.
	ServerName string
}

// A Controller is a host with an agent and an HAProxy.
type Controller struct {
	Name      string
	Address   netip.Addr
	Interface string // overrides that of every VIP; empty: does not
}

// Mode is HAProxy's mode of a service.
type Mode string

// The modes.
const (
	HTTP Mode = "http"
	TCP  Mode = "tcp"
)

// Affinity says what keeps a client on one host of a service.
type Affinity string

// The affinities that a service may have.
const (
	AffinitySource Affinity = "source" // the client's address, hashed consistently
	AffinityCookie Affinity = "cookie"
	AffinityToken  Affinity = "token" // X-Auth-Token, hashed consistently
	AffinityNone   Affinity = "none"  // least connections
)

// A Service is an API, or a TCP service, behind the VIPs.
type Service struct {
	Name string
	Type string // catalog type: "identity"; empty for what has no endpoint in Keystone
	// Types are all types under which it may be in a Keystone catalog, Type first:
	// "block-storage", "volumev3".
	Types    []string
	Port     int    // on the VIP, and on every host that has no other; see At
	HostPort int    // on the hosts; 0: Port
	Path     string // of the endpoint URL, with its templates; may be empty
	Mode     Mode
	Check    Check
	Affinity Affinity
	// Limit is how many requests, or connections of mode tcp, each host gets at
	// once; the others wait in HAProxy, for Timeout.Queue at most. 0: no limit.
	Limit   int
	Timeout Timeout
	// Access and Clients say who may use it, and how often, beside what its VIPs say.
	Access  Access
	Clients ClientLimit
	HAProxy Raw // raw lines of its frontends and backends
	// ErrorPages are its own, by code. See Spec.Page.
	ErrorPages  []ErrorPage
	Maintenance Maintenance
	TLS         HostTLS
	Hosts       []Host // at least one; the controllers, unless the file has others
	// SafePosts has the paths whose POST may be repeated after it was sent,
	// as the catalog says: "/v3/auth/tokens". "*" stands for any one segment.
	SafePosts []string
	// VIPs has the names of those that it listens on; empty: all. See On.
	VIPs []string
	// KeepForwarded says that X-Forwarded-For is set by a part of OpenStack and
	// is not the client's address, so it goes through as it came.
	KeepForwarded bool
}

// A Check is a service's health check.
type Check struct {
	// Layer is 7, or 4 for a mere connect.
	Layer  int
	Method string // "GET"
	Path   string // "/healthcheck"
	Expect []CodeRange
	// Port is where the hosts are asked; 0: where they serve.
	Port int
	// Others are paths at which the same is in other installations, for who wonders why
	// there is nothing at Path. Nothing is asked for there.
	Others []string
}

// A CodeRange is a range of HTTP status codes, both ends included.
type CodeRange struct{ From, To int }

// Timeout has the timeouts of a service that differ from HAProxy's defaults
// section; 0 means not set.
type Timeout struct {
	Client  time.Duration
	Server  time.Duration
	Connect time.Duration
	Tunnel  time.Duration
	Check   time.Duration
	Queue   time.Duration
	Request time.Duration // for the headers of a request, of mode http
}

// A Host is where a service runs.
type Host struct {
	Name    string
	Address netip.Addr
	// Weight is its share of the requests against that of the other hosts, 1 to
	// 256 (HAProxy configuration manual 5.2, "weight"). Parse gives DefaultWeight
	// where the file says nothing.
	Weight int
	// Port is where it serves; 0: at the service's. See Service.At.
	Port int
}

// DefaultWeight is the weight of a host of which the file says nothing: it
// leaves room below and above.
const DefaultWeight = 16

// At gives where host h serves s.
func (s Service) At(h Host) netip.AddrPort {
	return netip.AddrPortFrom(h.Address.Unmap(), uint16(cmp.Or(h.Port, s.HostPort, s.Port)))
}

// CheckedAt gives where host h is asked whether it serves s.
func (s Service) CheckedAt(h Host) netip.AddrPort {
	at := s.At(h)
	return netip.AddrPortFrom(at.Addr(), uint16(cmp.Or(s.Check.Port, int(at.Port()))))
}

// On reports whether s listens on v.
func (s Service) On(v VIP) bool { return len(s.VIPs) == 0 || slices.Contains(s.VIPs, v.Name) }

// Addrs gives the addresses of v without their prefix lengths.
func (v VIP) Addrs() []netip.Addr {
	all := make([]netip.Addr, len(v.Addresses))
	for i, p := range v.Addresses {
		all[i] = p.Addr()
	}
	return all
}

// Interface gives the interface on which c activates v.
func (s *Spec) Interface(v VIP, c Controller) string {
	if c.Interface != "" && v.Announce != AnnounceBGP {
		return c.Interface
	}
	return v.Interface
}

// Controller gives the controller called name, and whether there is one.
func (s *Spec) Controller(name string) (Controller, bool) {
	for _, c := range s.Controllers {
		if c.Name == name {
			return c, true
		}
	}
	return Controller{}, false
}

// ControllerNames gives the names of all controllers, in the order of preference.
func (s *Spec) ControllerNames() []string {
	var names []string
	for _, c := range s.Controllers {
		names = append(names, c.Name)
	}
	return names
}

// Others gives all controllers but the one called name, in the order of preference.
func (s *Spec) Others(name string) []Controller {
	return slices.DeleteFunc(slices.Clone(s.Controllers), func(c Controller) bool { return c.Name == name })
}

// OtherNames gives the names of Others.
func (s *Spec) OtherNames(name string) []string {
	return slices.DeleteFunc(s.ControllerNames(), func(n string) bool { return n == name })
}
