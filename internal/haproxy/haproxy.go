// Package haproxy turns a spec into the configuration of HAProxy, tells how a running
// HAProxy comes from one to another, and says in the words of package status what
// its replies mean.
//
// It is pure: bytes in, bytes or values out. It starts nothing, opens nothing
// and reads no clock; package process, below it, does. Facts about HAProxy are
// from its configuration manual and management guide, versions 2.4 to 3.2, and
// were tried on those.
package haproxy

import (
	"hash/fnv"
	"net/netip"
	"path"
	"strings"

	"holdfast/internal/spec"
)

// PingPath is answered by HAProxy itself, with 200 and PingBody, on the port of
// every http service of every VIP. It tells that HAProxy accepts and answers;
// it says nothing of any service.
const (
	PingPath = "/.holdfast/ping"
	PingBody = "holdfast\n"
)

// The files that a configuration names, and those of package process beside
// them, all in Local.RunDir.
const (
	RuntimeSocket = "haproxy.sock"  // the runtime API of the current worker
	MasterSocket  = "master.sock"   // of the master, given on its command line
	StateFile     = "haproxy.state" // server states, kept for the next worker
	ClosingList   = "closing.list"  // addresses of VIPs whose clients are to come anew, one a line
)

// ConfigFile is the configuration's name, in Local.StateDir.
const ConfigFile = "haproxy.cfg"

// CertificateFile gives the path of the file with the certificate of the VIP
// called vip, its chain and its key, which HAProxy reads. The agent makes it.
func CertificateFile(stateDir, vip string) string {
	return path.Join(stateDir, "tls", proxyName(vip)+".pem")
}

// CertificateName gives the name that CertificateFile is to be asked for with for the i-th
// certificate of v, from 0. No VIP has a ":" in its name.
func CertificateName(v spec.VIP, i int) string {
	if i == 0 {
		return v.Name
	}
	return v.Name + ":" + itoa(i+1)
}

// SystemCA is where Debian and Ubuntu have the authorities that the system trusts.
const SystemCA = "/etc/ssl/certs/ca-certificates.crt"

// Local is what the configuration takes from the host it is for. All else is
// the same on every controller.
type Local struct {
	// Address is the controller's own, where HAProxy's page of statistics may be. The zero
	// value: that is on the loopback then.
	Address  netip.Addr
	RunDir   string // of the sockets and the state file
	StateDir string // where the agent keeps the configuration itself
	// User and Group are what the worker runs as. Empty: as who starts it.
	User, Group string
	// MaxConn is the most client connections at once; see MaxConn. 0: what
	// fits DefaultNoFile.
	MaxConn int
	// CA is the file of the authorities that the system trusts. Empty: SystemCA.
	CA string
}

// FrontendName gives the name of the frontend of service s on the i-th address
// of v: "api-v4-nova", or "api-v4.2-nova" on the second IPv4 address.
func FrontendName(v spec.VIP, i int, s spec.Service) string {
	family, nth := "v4", 0
	is4 := v.Addresses[i].Addr().Unmap().Is4()
	if !is4 {
		family = "v6"
	}
	for _, a := range v.Addresses[:i] {
		if a.Addr().Unmap().Is4() == is4 {
			nth++
		}
	}
	name := v.Name + "-" + family
	if nth > 0 {
		name += "." + itoa(nth+1)
	}
	return proxyName(name + "-" + s.Name)
}

// A Frontend is a frontend of a service, and what it is for.
type Frontend struct {
	// Name is that of HAProxy; of one that many services share, it has "/" and the name of
	// the service's backend behind it.
	Name    string
	VIP     spec.VIP
	Service spec.Service
}

// Frontends gives those of all services of s, one for each address of each VIP that they
// are on.
func Frontends(s *spec.Spec) []Frontend {
	var all []Frontend
	for _, v := range s.VIPs {
		for i := range v.Addresses {
			for _, svc := range s.Services {
				if svc.Listens(v) {
					all = append(all, Frontend{FrontendName(v, i, svc), v, svc})
				}
				if _, routed := v.Route(svc); routed {
					all = append(all, Frontend{PublicName(v, i) + "/" + BackendName(svc), v, svc})
				}
			}
		}
	}
	return all
}

// BackendName gives the name of the backend of service s.
func BackendName(s spec.Service) string { return proxyName(s.Name) }

// OnceName gives the name of the backend of http service s for requests that
// must not be sent twice, nor on a connection that was idle. No service's name
// has a ":".
func OnceName(s spec.Service) string { return BackendName(s) + onceSuffix }

// EvenName gives the name of the backend that http service s has in the place of
// the others while it is busy, where clients are sticky by a hash: there a request
// goes to the host of its client only if that has no more than its share.
func EvenName(s spec.Service) string { return BackendName(s) + evenSuffix }

// AcceptsName gives the name of the backend of http service s that gets no
// request: its servers tell which hosts accept a connection.
func AcceptsName(s spec.Service) string { return BackendName(s) + acceptsSuffix }

// LastName gives the name of the server of last resort of host h, which gets
// requests while no host of the service passes its check.
func LastName(h spec.Host) string { return ServerName(h) + lastSuffix }

// What the names of a service's backends beside its own end in, and those of its
// servers of last resort.
const (
	onceSuffix    = ":once"
	evenSuffix    = ":even"
	acceptsSuffix = ":accepts"
	lastSuffix    = ":last"
)

// serviceOfBackend gives the service's own backend, of any of its backends.
func serviceOfBackend(name string) string {
	for _, suffix := range []string{onceSuffix, acceptsSuffix, evenSuffix, limitSuffix, loginsSuffix} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

// hostOfServer gives the name of the host of a server, which may be one of last resort.
func hostOfServer(name string) string { return strings.TrimSuffix(name, lastSuffix) }

// ServerName gives the name of the server of host h in a backend.
func ServerName(h spec.Host) string { return proxyName(h.Name) }

// proxyName gives s with what HAProxy does not allow in the name of a proxy or
// a server replaced by "_". Names from spec.Parse come out as they are.
func proxyName(s string) string {
	for i := range len(s) {
		if !isProxyChar(rune(s[i])) {
			return strings.Map(func(r rune) rune {
				if isProxyChar(r) {
					return r
				}
				return '_'
			}, s)
		}
	}
	return s
}

func isProxyChar(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.' || r == ':'
}

// idBits is how many bits of a server's id reach the consistent hash: HAProxy
// hashes id*4096+n for the n-th point of a server on the ring, in 32 bits
// (lb_chash.c), so ids that differ above these bits only would share all points.
const idBits = 20

// serverIDs gives the id of each host: of its name alone, so that adding or
// removing a host leaves every other where it is on the ring of the consistent
// hash, on every controller. Names whose hashes collide get the next free id.
func serverIDs(hosts []spec.Host) map[string]int {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	return probeIDs(names, hashID)
}

func hashID(name string) int {
	h := fnv.New32a()
	h.Write([]byte(name)) // never fails
	return int(h.Sum32()%(1<<idBits-1)) + 1
}
