package haproxy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"path"
	"time"

	"holdfast/internal/spec"
)

// FileCopy gives the path of the agent's copy of a page or a list that the spec names: of one
// that was read and found good, so that HAProxy can start whatever becomes of the file.
func FileCopy(stateDir, file string) string {
	sum := sha256.Sum256([]byte(file))
	return path.Join(stateDir, "files", hex.EncodeToString(sum[:4])+"-"+proxyName(path.Base(file)))
}

// ownName is an acl of the addresses of the cloud itself.
const ownName = "own"

// codeMaintenance is what clients of a service in maintenance get; denied (PR), as nothing
// else of HAProxy is with that code.
const codeMaintenance = 503

// page gives what a client gets with code: the page of the spec, or else JSON.
func (w *writer) page(s *spec.Spec, svc spec.Service, stateDir string, code int, title, text string) string {
	if file := s.Page(svc, code); file != "" {
		return pageFile(file, stateDir)
	}
	return "content-type application/json string " + word(errorBody(code, title, text))
}

func pageFile(file, stateDir string) string {
	return "content-type " + word(spec.PageType(file)) + " file " + word(FileCopy(stateDir, file))
}

// errorPages writes the pages of the spec for what HAProxy answers by itself, but for the
// 503 of a service without a host, which every backend has.
func (w *writer) errorPages(pages []spec.ErrorPage, stateDir string) {
	for _, p := range pages {
		if p.Code == 503 {
			continue
		}
		w.line("http-error status", itoa(p.Code), pageFile(p.File, stateDir))
	}
}

// maintenance turns everybody away from svc while it is closed.
func (w *writer) maintenance(svc spec.Service, stateDir, when string) {
	m := svc.Maintenance
	if !m.On {
		return
	}
	w.prose("In maintenance, as the spec says.")
	if modeOf(svc) == spec.TCP {
		w.line("tcp-request content reject if", cmp.Or(when, "TRUE"))
		return
	}
	what := "content-type application/json string " + word(errorBody(codeMaintenance, "Service Unavailable", svc.Name+" is in maintenance; the request was not carried out"))
	if m.Page != "" {
		what = pageFile(m.Page, stateDir)
	}
	w.line("http-request deny deny_status", itoa(codeMaintenance), what, "hdr Retry-After", itoa(int(cmp.Or(m.RetryAfter, spec.DefaultRetryAfter)/time.Second)), "if", cmp.Or(when, "TRUE"))
}

// idLength is how much of a request's id is taken and logged.
const idLength = "64"

// requestID gives each request an id, that of the client where it has one: for the service,
// in the log and in the answer. Beside it, the log has the one of OpenStack's services.
func (w *writer) requestID() {
	w.line("http-request set-var(txn.id) req.fhdr(X-Request-Id) if { req.fhdr(X-Request-Id) -m reg ^[A-Za-z0-9._:-]{1," + idLength + "}$ }")
	w.line("http-request set-var(txn.id) uuid() unless { var(txn.id) -m found }")
	w.line("http-request set-header X-Request-Id %[var(txn.id)]")
	w.line("http-request capture var(txn.id) id 0")
	w.line("http-after-response set-header X-Request-Id %[var(txn.id)] if { var(txn.id) -m found }")
}

// captures declares what requestID logs.
func (w *writer) captures() {
	w.line("declare capture request len", idLength)
	w.line("capture response header X-Openstack-Request-Id len", idLength)
}

// behind believes the balancer in front of v, and nobody else: whom a connection, or a
// request, is for.
func (w *writer) behind(v spec.VIP) {
	if !v.Behind.Any() {
		return
	}
	w.networks("balancer", v.Behind.Trusted)
	if v.Behind.ProxyProtocol {
		w.line("tcp-request connection expect-proxy layer4 if balancer !" + ownName)
	}
}

// isBehind notes which connections are the balancer's. HAProxy before 2.5 has the address of
// the request before for the next one of a connection, so it cannot be asked later.
func (w *writer) isBehind(v spec.VIP) {
	if byHeaders(v) {
		w.line("tcp-request session set-var(sess.balancer) bool(true) if balancer")
	}
}

// isBalancer tells the connections of the balancer in front that says by headers whom a
// request is for.
const isBalancer = "{ var(sess.balancer) -m bool }"

// byHeaders reports whether the balancer in front of v says by headers whom a request is for.
func byHeaders(v spec.VIP) bool { return v.Behind.Any() && !v.Behind.ProxyProtocol }

// claimsOfBalancer are those that are not kept of a balancer in front either, since it hands
// them on as clients write them: all but X-Forwarded-For, -Proto, -Host and -Port.
const claimsOfBalancer = "'^(x_forwarded[-_]|x-forwarded_|x[-_]real[-_]ip$|forwarded$|x-forwarded-($|[^fhp]" +
	"|f($|[^o]|o($|[^r]|r.))|h($|[^o]|o($|[^s]|s($|[^t]|t.)))|p($|[^or]|o($|[^r]|r($|[^t]|t.))|r($|[^o]|o($|[^t]|t($|[^o]|o.))))))'"

// unlessSaid gives the condition under which a header is set: unless is one that is wanted
// already, or empty; and not where the balancer in front of v has set it.
func unlessSaid(v spec.VIP, header, unless string) string {
	if byHeaders(v) {
		unless = " !{ req.hdr(" + header + ") -m found }" + unless
	}
	if unless == "" {
		return ""
	}
	return " if" + unless
}

// clientOfBalancer takes the client that the balancer in front names, the last of those in
// X-Forwarded-For: what is before it, clients can write.
func (w *writer) clientOfBalancer(v spec.VIP) {
	if byHeaders(v) {
		w.line("http-request set-src hdr_ip(X-Forwarded-For,-1) if", isBalancer, "{ req.hdr(X-Forwarded-For) -m found }")
	}
}

// statsName is the frontend of HAProxy's own page. No VIP's name has a ":".
const statsName = "holdfast:stats"

// stats writes HAProxy's own page of statistics, and its exporter.
func (w *writer) stats(s *spec.Spec, l Local) {
	if !s.Stats.On() {
		return
	}
	w.banner("HAProxy's own figures: a page, and /metrics for Prometheus. It changes nothing.")
	w.section(frontendSection, statsName)
	at := s.Stats.Listen.Addr()
	if !at.IsValid() {
		at = l.Address
	}
	if !at.IsValid() {
		at = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	w.last().Bind = &Bind{Address: netip.AddrPortFrom(at.Unmap(), s.Stats.Listen.Port())}
	w.line("maxconn 50")
	w.networks(ownName, append(singles(s.Own()), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")))
	reader := "!" + ownName
	if len(s.Stats.Allow) > 0 {
		w.networks("reader", s.Stats.Allow)
		reader += " !reader"
	}
	w.line("http-request set-log-level silent")
	w.line("http-request deny deny_status 403 if", reader)
	w.line("http-request use-service prometheus-exporter if { path /metrics }")
	w.line("stats enable")
	w.line("stats uri /")
	w.line("stats refresh 10s")
}
