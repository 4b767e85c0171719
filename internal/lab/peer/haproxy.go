package peer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/spec"
)

// Ports of HAProxy on the loopback address of each controller.
const (
	portSocket = 1984 // the runtime API, for the check that a shell can make
	portAlive  = 1985 // answers GET / with 200 by itself
)

// MaxConn of every HAProxy is what 20,000 open files allow; kolla-ansible's 40,000 would need
// four times as many, and HAProxy would not start.
const MaxConn = 9000

// globalOf gives the sections that come before the services: a format for the
// path of the runtime API's socket, maxconn, the two ports and the settings of TLS.
func globalOf(k Kind) string {
	if k == Kolla {
		return kollaGlobal
	}
	return tunedGlobal
}

// tlsSettings are kolla-ansible's "intermediate" ones, for both kinds: the load
// of the benchmark speaks the best of them.
const tlsSettings = `    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256
`

// KollaDefaults are the lines of kolla-ansible's "defaults" section.
const KollaDefaults = `    option redispatch
    retries 3
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout queue 1m
    timeout connect 10s
    timeout client 1m
    timeout server 1m
    timeout check 10s
    balance roundrobin
`

const kollaGlobal = `global
    maxconn %[2]d
    nbthread 1
    stats socket %[1]s mode 660 level admin
    stats socket ipv4@127.0.0.1:%[3]d level user
%[5]s
defaults
    mode http
` + KollaDefaults + `    maxconn %[2]d

frontend alive
    bind 127.0.0.1:%[4]d
    monitor-uri /
`

// A short time to connect, since a lost host answers nothing, not even a
// refusal; what failed goes to another host at once; an answer that clients
// get counts as much as a check's. A time limit for answers is not among it:
// it would cut legitimate long calls.
const tunedGlobal = `global
    maxconn %[2]d
    stats socket %[1]s mode 660 level admin expose-fd listeners
    stats socket ipv4@127.0.0.1:%[3]d level user
    spread-checks 0
%[5]s
defaults
    mode http
    option redispatch 1
    option http-keep-alive
    option abortonclose
    http-reuse safe
    retries 3
    retry-on conn-failure empty-response 500 502 503 504
    timeout http-request 5s
    timeout http-keep-alive 30s
    timeout queue 5s
    timeout connect 500ms
    timeout client 1m
    timeout server 1m
    timeout check 500ms
    balance leastconn
    maxconn %[2]d
    default-server inter 500ms fastinter 200ms downinter 500ms fall 2 rise 2
    default-server observe layer7 error-limit 3 on-error mark-down

frontend alive
    bind 127.0.0.1:%[4]d
    monitor-uri /
`

// haproxyConfig gives the haproxy.cfg of kind k for s; all controllers have
// the same.
func haproxyConfig(k Kind, s *spec.Spec, socket string) (string, error) {
	var b strings.Builder
	secure := ""
	if slices.ContainsFunc(s.VIPs, func(v spec.VIP) bool { return v.TLS != nil }) {
		secure = tlsSettings
	}
	if slices.ContainsFunc(s.VIPs, func(v spec.VIP) bool { return v.Public != nil }) {
		return "", errors.New("a peer has a port for each service, and no public")
	}
	fmt.Fprintf(&b, globalOf(k), socket, MaxConn, portSocket, portAlive, secure)
	for _, service := range s.Services {
		if service.Mode != spec.HTTP || service.Check.Layer != 7 {
			return "", fmt.Errorf("service %s: a peer only has http services with a layer 7 check", service.Name)
		}
		fmt.Fprintf(&b, "\nfrontend %s_front\n", service.Name)
		for _, v := range s.VIPs {
			if !service.On(v) {
				continue
			}
			options := ""
			if v.TLS != nil {
				options = " ssl crt " + v.TLS.Certificate + " alpn h2,http/1.1"
			}
			for _, a := range v.Addresses {
				fmt.Fprintf(&b, "    bind %s:%d%s\n", a.Addr(), service.Port, options)
			}
		}
		fmt.Fprintf(&b, "    option forwardfor\n    default_backend %s_back\n", service.Name)
		writeBackend(&b, k, service)
	}
	return b.String(), nil
}

func writeBackend(b *strings.Builder, k Kind, s spec.Service) {
	fmt.Fprintf(b, "\nbackend %s_back\n    option httpchk\n    http-check send meth %s uri %s\n    http-check expect status %s\n",
		s.Name, s.Check.Method, s.Check.Path, codes(s.Check.Expect))
	server := " check inter 2000 rise 2 fall 5"
	if k == Tuned {
		server = " check"
		fmt.Fprintf(b, "    http-request disable-l7-retry unless { method GET HEAD OPTIONS }\n")
	}
	for _, h := range s.Hosts {
		fmt.Fprintf(b, "    server %s %s%s\n", h.Name, s.At(h), server)
	}
}

func codes(ranges []spec.CodeRange) string {
	var all []string
	for _, r := range ranges {
		text := strconv.Itoa(r.From)
		if r.To != r.From {
			text += "-" + strconv.Itoa(r.To)
		}
		all = append(all, text)
	}
	return strings.Join(all, ",")
}
