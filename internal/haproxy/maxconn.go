package haproxy

import "holdfast/internal/spec"

// The bounds of maxconn.
const (
	// DefaultNoFile is the limit of open files that is counted on where none
	// is known: what a small container has.
	DefaultNoFile = 20_000
	// maxMaxConn is where more would not help the APIs of a cloud: kolla-ansible's figure.
	maxMaxConn = 40_000
	// minMaxConn is the least that is rendered, whatever the limit: HAProxy
	// then refuses to start, and says which limit it wants.
	minMaxConn = 100
	// reservedFiles covers what HAProxy counts beside connections, listeners
	// and checks: 3 for each of up to 128 threads, the sockets of the runtime
	// and master APIs and their clients, and 10 that it sets aside (haproxy.c,
	// compute_ideal_maxsock).
	reservedFiles = 600
)

// MaxConn gives the most client connections at once that fit a hard limit of
// nofile open files (RLIMIT_NOFILE) with the listeners and checks of s: each
// connection needs two descriptors, one to the client and one to the host.
// HAProxy raises the soft limit by itself, and refuses to start when the hard
// one is too low for its maxconn. It is a round number, so that a host can come
// without another one, which would take a reload.
func MaxConn(s *spec.Spec, nofile uint64) int {
	const step = 50
	files := int(min(nofile, 4*maxMaxConn))
	fit := (files - reservedFiles - listeners(s) - checks(s)) / 2
	return min(max(fit/step*step, minMaxConn), maxMaxConn)
}

// listeners counts the bind lines of s.
func listeners(s *spec.Spec) int {
	n := 0
	if s.Stats.On() {
		n++
	}
	for _, v := range s.VIPs {
		for _, svc := range s.Services {
			if svc.Listens(v) {
				n += len(v.Addresses)
			}
		}
		if len(publicServices(s, v)) > 0 {
			n += len(v.Addresses)
		}
		if v.TLS != nil && v.TLS.Redirect != 0 {
			n += len(v.Addresses)
		}
	}
	return n
}

// checks counts the descriptors that HAProxy sets aside for health checks and
// agent checks: three for each server with both, of which a host has two.
func checks(s *spec.Spec) int {
	n := 0
	for _, svc := range s.Services {
		n += 6 * len(svc.Hosts)
	}
	return n
}
