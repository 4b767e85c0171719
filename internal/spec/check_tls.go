package spec

import (
	"fmt"
	"slices"

	"holdfast/internal/status"
)

// The usual ports of HTTP and HTTPS.
const (
	plainPort  = 80
	securePort = 443
)

// checkTLS finds what of TLS does not go together.
func (c *checker) checkTLS() {
	for _, s := range c.raw.services.all {
		c.checkHostTLS(s)
	}
	for i, v := range c.raw.vips.all {
		ports := map[int]rawService{}
		for _, s := range c.raw.services.all {
			if p, _ := c.portOf(s); p != 0 && slices.Contains(c.placesOf(s), i) && c.listens(v, s) {
				ports[p] = s
			}
		}
		c.checkCertificates(v)
		c.checkRedirect(i, v, ports)
		c.checkACME(v)
	}
}

// checkHostTLS finds settings of the hosts' TLS that mean nothing.
func (c *checker) checkHostTLS(s rawService) {
	mode := Reencryption(s.tls.or(""))
	if s.tls.given() && !s.tls.ok {
		return
	}
	if s.ca.given() && mode != VerifyHosts {
		c.fail(status.CodeHostTLS, s.ca.node, fmt.Sprintf("service %s has a ca, and the certificates of its hosts are not checked", s.name.v), `write "tls: verify" beside it, or remove ca`)
	}
	if s.serverName.given() && mode == PlainHosts {
		c.fail(status.CodeHostTLS, s.serverName.node, fmt.Sprintf("service %s has a server_name, and its hosts are spoken to without TLS", s.name.v), `write "tls: verify" beside it, or remove server_name`)
	}
	if mode == InsecureHosts {
		c.warn(status.CodeHostTLS, s.tls.node, fmt.Sprintf("nothing tells the hosts of service %s from others: their certificates are not checked", s.name.v), `write "tls: verify", with the file of their authority as "ca"`)
	}
}

// checkRedirect finds a redirect whose port is taken, or that leads nowhere.
func (c *checker) checkRedirect(place int, v rawVIP, ports map[int]rawService) {
	r := v.tls.redirect
	if !r.ok || r.v == 0 {
		return
	}
	if s, taken := ports[r.v]; taken {
		c.fail(status.CodeRedirectPort, r.node, fmt.Sprintf("%s.tls.redirect wants port %d, which service %s has (line %d)", v.at.path, r.v, s.name.v, s.key.Line), "write a port that no service has, or remove redirect")
		return
	}
	if a := c.raw.agent; r.v == a.port.or(defaultPort) || r.v == a.checkPort.or(defaultCheckPort) {
		c.fail(status.CodePortClash, r.node, fmt.Sprintf("port %d of %s.tls.redirect is the agents' own", r.v, v.at.path), "write another port")
		return
	}
	if c.publicPort(v) == securePort && slices.ContainsFunc(c.raw.services.all, func(s rawService) bool { return c.routedOn(place, v, s) }) {
		return
	}
	if s, is := ports[securePort]; !is || c.modeOf(s) != HTTP {
		c.fail(status.CodeRedirectTarget, r.node, fmt.Sprintf("%s.tls.redirect leads to https on port %d, and no http service has that", v.at.path, securePort), fmt.Sprintf(`give the service that it is for "port: %d", or remove redirect`, securePort))
	}
}

// checkACME finds challenges that would never come: authorities ask on port 80, in
// plain HTTP.
func (c *checker) checkACME(v rawVIP) {
	a, r := v.tls.acme, v.tls.redirect
	switch {
	case !a.ok || r.given() && !r.ok:
	case r.v == 0:
		c.fail(status.CodeACMERedirect, a.node, v.at.path+".tls.acme is for the port of redirect, and there is none", `write "redirect: true" beside it, or remove acme`)
	case r.v != plainPort:
		c.warn(status.CodeACMERedirect, a.node, fmt.Sprintf("authorities come to port %d, and %s.tls.redirect is on port %d", plainPort, v.at.path, r.v), `write "redirect: true", unless something leads there from port 80`)
	}
}

// checkCertificates finds a file of a certificate that is there twice.
func (c *checker) checkCertificates(v rawVIP) {
	files := uses[string]{}
	files.take(v.tls.certificate)
	for _, m := range v.tls.more.all {
		if first := files.take(m.certificate); first != nil {
			c.fail(status.CodeDuplicateName, m.certificate.node, fmt.Sprintf("the certificate %s is here a second time, first in line %d", m.certificate.v, first.Line), "remove one of the two")
		}
	}
}

// listens reports whether s, which is on v, has a port of its own there.
func (c *checker) listens(v rawVIP, s rawService) bool {
	if !c.routed(v, s) {
		return true
	}
	port, _ := c.portOf(s)
	return v.public.ports.or(v.serves("internal") || v.serves("admin")) && port != c.publicPort(v)
}
