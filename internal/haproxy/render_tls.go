package haproxy

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"holdfast/internal/spec"
)

// Mozilla's intermediate profile ("Security/Server Side TLS", version 5.7),
// without its suites of finite-field Diffie-Hellman: every client that can do
// those can do the others, and they are the ones that a stranger can use to keep
// the processor busy (CVE-2002-20001).
const (
	tlsCiphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" +
		"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
	tlsSuites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256" // of TLS 1.3
	tlsCurves = "X25519:prime256v1:secp384r1"
	// hybridCurve is a key exchange that what is recorded today and deciphered one day by a
	// quantum computer does not break (draft-ietf-tls-ecdhe-mlkem). OpenSSL has it from hybridOpenSSL on.
	hybridCurve, hybridOpenSSL = "X25519MLKEM768", "3.5.0"
)

// tlsDefaults writes the settings of all TLS, towards clients and hosts.
func (w *writer) tlsDefaults(s *spec.Spec) {
	if hasTLS(s) {
		w.comment("Mozilla's intermediate profile without finite-field Diffie-Hellman. No tickets with a session in them:",
			"they would need keys shared between controllers. Those that OpenSSL sends by TLS 1.3 all the same only name",
			"a session that this process remembers; with any other a client makes a new one.")
		w.line("ssl-default-bind-options prefer-client-ciphers ssl-min-ver TLSv1.2 no-tls-tickets")
		w.line("ssl-default-bind-ciphers", tlsCiphers)
		w.line("ssl-default-bind-ciphersuites", tlsSuites)
		w.line("ssl-default-bind-curves", tlsCurves)
		w.comment("Where OpenSSL has a key exchange that quantum computers do not break, that first. HAProxy 2.4 cannot",
			"be asked for OpenSSL's version.")
		w.line(".if version_atleast(2.5)")
		w.line(".if openssl_version_atleast(" + hybridOpenSSL + ")")
		w.line("ssl-default-bind-curves", hybridCurve+":"+tlsCurves)
		w.line(".endif")
		w.line(".endif")
	}
	if hasHostTLS(s) {
		w.comment("The same towards hosts that speak TLS.")
		w.line("ssl-default-server-options ssl-min-ver TLSv1.2 no-tls-tickets")
		w.line("ssl-default-server-ciphers", tlsCiphers)
		w.line("ssl-default-server-ciphersuites", tlsSuites)
	}
}

// bindOf tells where svc listens on the i-th address of v. The certificate is the
// agent's copy of the one that the spec names: one that was checked.
func bindOf(v spec.VIP, i int, svc spec.Service, stateDir string) *Bind {
	b := &Bind{Address: netip.AddrPortFrom(v.Addresses[i].Addr().Unmap(), uint16(svc.Port))}
	b.secure(v, stateDir)
	b.HTTP2 = v.TLS != nil && modeOf(svc) == spec.HTTP
	return b
}

// secure has b end TLS as v does.
func (b *Bind) secure(v spec.VIP, stateDir string) {
	for i := range v.Certificates() {
		if file := CertificateFile(stateDir, CertificateName(v, i)); i == 0 {
			b.Certificate = file
		} else {
			b.More = append(b.More, file)
		}
	}
	b.TLS13 = v.TLS != nil && v.TLS.MinVersion == "1.3"
}

// hsts tells browsers to come to v by TLS only, with every answer, HAProxy's own too.
func (w *writer) hsts(v spec.VIP) {
	if v.TLS != nil && v.TLS.HSTS > 0 {
		w.line("http-after-response set-header Strict-Transport-Security max-age=" + itoa(int(v.TLS.HSTS/time.Second)))
	}
}

// redirects writes the frontends whose plain HTTP leads to https. They lead to
// the name of the VIP, not to what the client calls it: that may be anything.
func (w *writer) redirects(s *spec.Spec, l Local) {
	first := true
	for _, v := range s.VIPs {
		if v.TLS == nil || v.TLS.Redirect == 0 {
			continue
		}
		if first {
			w.banner("Plain HTTP that leads to https.")
			first = false
		}
		for i, a := range v.Addresses {
			// No service has a ":" in its name.
			w.section(frontendSection, strings.TrimSuffix(FrontendName(v, i, spec.Service{}), "-")+":redirect")
			w.last().Bind = &Bind{Address: netip.AddrPortFrom(a.Addr().Unmap(), uint16(v.TLS.Redirect))}
			if v.Behind.Any() {
				w.networks(ownName, singles(s.Own()))
			}
			w.behind(v)
			unless := ""
			if v.TLS.ACME.IsValid() {
				unless = " unless " + isChallenge
			}
			w.redirectNames(v, unless)
			w.line("http-request redirect prefix", word("https://"+v.Hostname), "code 301"+unless)
			w.closing(v, i, l)
			if v.TLS.ACME.IsValid() {
				w.line("use_backend", acmeName(v), "if", isChallenge)
			}
		}
	}
}

// redirectNames leads who asked for another name of v there.
func (w *writer) redirectNames(v spec.VIP, unless string) {
	names := lower(v.Hostnames())[1:]
	if len(names) == 0 {
		return
	}
	w.askedName()
	w.acl("of_this_vip", askedName, names)
	w.line("http-request redirect prefix https://%[" + askedName + "] code 301 if of_this_vip" + strings.Replace(unless, " unless {", " !{", 1))
}

// isChallenge tells the requests by which an authority of ACME sees that who asks
// for a certificate has the name (RFC 8555 section 8.3).
const isChallenge = "{ path_beg /.well-known/acme-challenge/ }"

// acmeName gives the name of the backend for the challenges that come to v. No
// service has a ":" in its name.
func acmeName(v spec.VIP) string { return proxyName(v.Name) + ":acme" }

// challenges writes the backends for the challenges of ACME. Whichever controller
// holds the VIP, they come to the one place where the certificate is asked for. It
// answers while that goes on only, so it is not checked.
func (w *writer) challenges(s *spec.Spec) {
	for _, v := range s.VIPs {
		if v.TLS == nil || v.TLS.Redirect == 0 || !v.TLS.ACME.IsValid() {
			continue
		}
		w.section(backendSection, acmeName(v))
		w.prose("A client of ACME answers here while it asks for a certificate, and nobody at other times.")
		at := v.TLS.ACME
		w.httpError(503, "Service Unavailable", "no client of ACME accepted the request at "+at.String())
		w.serverLine("acme", netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), settings("id", "1", "no-check", ""))
	}
}

// hostTLS gives the settings of a server for the TLS that h speaks. Health
// checks use it, too.
func hostTLS(svc spec.Service, h spec.Host, l Local) []Setting {
	if svc.TLS.Mode == spec.PlainHosts {
		return nil
	}
	name := cmp.Or(svc.TLS.ServerName, h.Name)
	pairs := []string{"ssl", "", "sni", "str(" + name + ")", "check-sni", name}
	if svc.TLS.Mode == spec.InsecureHosts {
		return settings(append(pairs, "verify", "none")...)
	}
	return settings(append(pairs, "verify", "required", "verifyhost", name, "ca-file", cmp.Or(svc.TLS.CA, l.CA, SystemCA))...)
}

func hasTLS(s *spec.Spec) bool {
	for _, v := range s.VIPs {
		if v.TLS != nil {
			return true
		}
	}
	return false
}

func hasHostTLS(s *spec.Spec) bool {
	for _, svc := range s.Services {
		if svc.TLS.Mode != spec.PlainHosts {
			return true
		}
	}
	return false
}
