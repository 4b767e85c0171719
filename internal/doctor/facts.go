package doctor

import (
	"net/netip"
	"time"

	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// Facts are what is so on this host, and what others said when asked. The zero value of
// a field is "not known", and makes no finding.
type Facts struct {
	Spec       *spec.Spec
	SpecFile   string
	Controller spec.Controller
	Now        time.Time

	Root    bool // all was looked at as root
	Kernel  string
	Systemd bool // systemd is this host's init

	Sysctls    map[string]string // "net.ipv4.ip_local_port_range"; those that there are
	Tracked    int               // entries of conntrack; Tracked and TrackedMax are 0 where it is not in use
	TrackedMax int

	Listeners []Listener
	Links     []Link
	Managers  []Manager

	// Answers are the machines that said, when asked by ARP or neighbour discovery, that an
	// address is theirs; of VIPs and of the controllers.
	Answers []Answer
	Routers []Router
	Peers   []Peer

	Synchronized Known // whether the kernel's clock is kept by somebody

	HAProxy      HAProxy
	Programs     []Program // others that move addresses, and HAProxy's own unit
	SELinux      bool      // enforcing
	SELinuxAny   Known     // haproxy_connect_any
	Certificates []Certificate
	Keystone     []KeystoneHost
	FernetKeys   Known // whether there are keys here, where Keystone runs here
	Names        []Name

	FilesUsed, FilesMax int   // of the whole host
	MemoryFree          int64 // octets; 0: not known
	Disk                []Disk
}

// Known is a fact with two values that may not be known.
type Known string

// The values of Known.
const (
	Yes Known = "yes"
	No  Known = "no"
)

// A Listener is a listening TCP socket.
type Listener struct {
	At      netip.AddrPort
	PID     int // 0: it could not be found
	Command string
	// Ours: HAProxy's of an agent, or an agent's.
	Ours bool
}

// A Link is a network device.
type Link struct {
	Name       string
	Kind       string // "bond", "vlan", "bridge", "vrf", "macvlan"; "" or "device" for hardware
	Up         bool   // administratively
	Carrier    bool
	MTU        int
	Addresses  []netip.Addr
	Master     string // what it is in
	MasterKind string
	Parent     string // what it is on, for a VLAN
	ParentMTU  int
	// Of a bond.
	BondMode  string // "active-backup"
	BondMII   int    // ms between looks at the carrier of its ports; 0: it does not look
	BondPorts []string
	BondUp    []string // those of BondPorts that have a carrier
	LRO       Known
}

// A Manager is a program that configures a device, with what it says of it.
type Manager struct {
	Name string // "systemd-networkd", "NetworkManager", "netplan", "cloud-init"
	Link string // empty: all
	File string // that says so
	// Keeps: the configuration has what makes it leave addresses that are not its own.
	Keeps bool
}

// An Answer says who has an address.
type Answer struct {
	Address netip.Addr
	MAC     string
	Link    string
}

// A Router is one whose adverts were heard.
type Router struct {
	Source    netip.Addr
	MAC       string
	Version   int
	RouterID  int
	Priority  int
	Addresses []netip.Addr
	Link      string
}

// Reach says how a port answers.
type Reach string

// The ways that a port answers.
const (
	Open    Reach = "open"
	Refused Reach = "refused" // the host answers that nobody listens
	Silent  Reach = "silent"  // no answer: a filter, or no host
	NoRoute Reach = "no route"
)

// A Peer is another controller.
type Peer struct {
	Name    string
	Address netip.Addr
	// Ports are those of the spec's "agent" that were tried.
	Ports map[int]Reach
	// Snapshot is what its agent says, nil where none answered; SentAt and GotAt are when
	// it was asked and when it had answered, by this host's clock, and Clock what its own said
	// in between; zero where it did not tell.
	Snapshot             *status.Snapshot
	SentAt, GotAt, Clock time.Time
	// BigFrames is whether frames as large as the device's MTU came through, SmallFrames
	// whether small ones did.
	BigFrames, SmallFrames Known
}

// HAProxy is what its program says of itself.
type HAProxy struct {
	Path string
	Err  string // why it could not be run
	Said string // by "haproxy -vv"
	User Known  // whether there is a user "haproxy"
}

// A Program is one that runs, or starts at boot.
type Program struct {
	Name    string // of the unit, without ".service": "haproxy", "keepalived"
	Enabled bool
	Active  bool
}

// A Certificate is one of the spec's, judged.
type Certificate struct {
	VIP      string
	File     string
	Findings []status.Finding
}

// A KeystoneHost is one, and what it answered.
type KeystoneHost struct {
	Name string
	URL  string
	Code int
	Err  string
	// Date is the time that its answer had, in whole seconds, zero for none; At when it came.
	Date, At time.Time
}

// A Name is a hostname of a VIP, looked up.
type Name struct {
	VIP       string
	Hostname  string
	Want      []netip.Addr
	Addresses []netip.Addr
	Err       string
	// TTL is what a resolver says; 0: not known.
	TTL time.Duration
	// SilentResolvers are those of resolv.conf that do not answer.
	SilentResolvers []string
}

// A Disk is room for files.
type Disk struct {
	Dir      string
	Free     int64 // octets
	ReadOnly bool
}
