package haproxy

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"holdfast/internal/spec"
)

// proxies writes the frontends and backends of the services of mode.
func (w *writer) proxies(s *spec.Spec, mode spec.Mode, l Local) {
	w.frontendBanner(mode)
	for _, v := range s.VIPs {
		for i := range v.Addresses {
			for _, svc := range s.Services {
				if modeOf(svc) == mode && svc.Listens(v) {
					w.frontend(s, v, i, svc, l)
				}
			}
		}
	}
	if mode == spec.HTTP {
		w.publics(s, l)
		w.redirects(s, l)
	}
	w.backendBanner(mode)
	if mode == spec.HTTP {
		w.busyServices(s)
	}
	for _, svc := range s.Services {
		if modeOf(svc) == mode {
			w.backend(s, svc, l)
		}
	}
	if mode == spec.HTTP {
		w.stats(s, l)
		w.challenges(s)
		w.limitTables(s)
	}
}

func (w *writer) frontendBanner(mode spec.Mode) {
	w.banner("One frontend for each address of a VIP and each service, on the service's standard port.",
		"\"transparent\": bound whether the address is here or not, so a takeover starts nothing.")
	if mode == spec.TCP {
		return
	}
	w.prose(PingPath+" is answered by HAProxy itself; the agent asks it for a sign of life.",
		"X-Forwarded-* is what HAProxy sees, never what the client says; in the spellings with \"_\"",
		"too, which WSGI cannot tell apart. Forwarded is removed and not set: oslo.middleware",
		"prefers it to X-Forwarded-*, and does not understand its quotes.",
		"A planned move leaves the connections that are open with the holder before, whose agent then puts",
		"the address on the list in "+ClosingList+": each is closed with its next answer, and its client comes",
		"anew, to the new holder. The list is empty but for that. Not with a 101, which begins a tunnel.")
}

// frontend writes the frontend of svc on the i-th address of v.
func (w *writer) frontend(s *spec.Spec, v spec.VIP, i int, svc spec.Service, l Local) {
	w.section(frontendSection, FrontendName(v, i, svc))
	w.last().Bind = bindOf(v, i, svc, l.StateDir)
	if svc.Timeout.Client > 0 {
		w.line("timeout client", duration(svc.Timeout.Client))
	}
	if svc.Timeout.Request > 0 && modeOf(svc) == spec.HTTP {
		w.line("timeout http-request", duration(svc.Timeout.Request))
	}
	w.own(s, v, svc)
	if modeOf(svc) == spec.HTTP {
		w.captures()
	}
	w.behind(v)
	w.connections(v, svc)
	if modeOf(svc) == spec.HTTP {
		w.isBehind(v)
	}
	raw := frontendRaw(s, svc)
	w.raw(raw, rawFirst)
	if modeOf(svc) == spec.TCP {
		w.vipLists(s, v, svc, l.StateDir)
		w.clientRules(s, v, svc, l.StateDir, "")
		w.raw(raw, rawRules)
		w.raw(raw, rawLeads)
	} else {
		w.errorPages(svc.ErrorPages, l.StateDir)
		w.frontendRules(s, v, svc, l)
		w.closing(v, i, l)
		w.even(svc)
		w.raw(raw, rawRules)
		w.raw(raw, rawLeads)
		w.leadsEven(svc)
		if svc.Limit == 0 {
			w.line("use_backend", OnceName(svc), "unless", repeatable)
		}
	}
	w.line("default_backend", BackendName(svc))
}

// Names of headers that tell where a request comes from, in any spelling that
// WSGI makes one of: as extended regular expressions, since HAProxy may be
// built without PCRE, and in lower case, as HAProxy has header names.
const (
	claims = "'^(x[-_]forwarded[-_]|x[-_]real[-_]ip$|forwarded$)'"
	// claimsButFor leaves X-Forwarded-For alone.
	claimsButFor = "'^(x_forwarded[-_]|x-forwarded_|x-forwarded-([^f]|f[^o]|fo[^r]|for.)|x[-_]real[-_]ip$|forwarded$)'"
	// anyClaim spares requests that have none of them the regular expression
	// for each header.
	anyClaim = "if { req.hdr_names -m sub forwarded real }"
)

// always is a condition that is always true.
const always = "always"

func (w *writer) frontendRules(s *spec.Spec, v spec.VIP, svc spec.Service, l Local) {
	w.pings()
	w.clientOfBalancer(v)
	w.requestID()
	w.vipLists(s, v, svc, l.StateDir)
	w.clientRules(s, v, svc, l.StateDir, "")
	keep := ""
	if svc.KeepForwarded {
		keep = always
	}
	w.forwarded(v, keep)
	w.hsts(v)
}

// pings has HAProxy itself answer what asks it for a sign of life.
func (w *writer) pings() {
	ping := "if { path " + PingPath + " }"
	w.line("http-request set-log-level silent", ping)
	w.line(`http-request return status 200 content-type text/plain string "holdfast\n"`, ping)
}

// forwarded says where a request comes from. Where keep is true, X-Forwarded-For goes
// through: always, or never where that is empty, or under that condition.
func (w *writer) forwarded(v spec.VIP, keep string) {
	proto := "http"
	if v.TLS != nil {
		proto = "https"
	}
	and, unless, others := "", "", ""
	if keep != always && keep != "" {
		and, unless = " "+keep, " !"+keep
	}
	if byHeaders(v) { // what the balancer in front says stays
		w.line("http-request del-header", claimsOfBalancer, "-m reg", anyClaim, isBalancer)
		others = " !" + isBalancer
	}
	if keep != "" {
		w.prose("X-Forwarded-For goes through: a part of OpenStack sets it, and means something else by it.")
		w.line("http-request del-header", claimsButFor, "-m reg", anyClaim+and+others)
	}
	if keep != always {
		w.line("http-request del-header", claims, "-m reg", anyClaim+unless+others)
		w.line("http-request set-header X-Forwarded-For %[src]" + unlessSaid(v, "X-Forwarded-For", unless))
	}
	w.line("http-request set-header X-Forwarded-Proto", proto+unlessSaid(v, "X-Forwarded-Proto", ""))
	w.line("http-request set-header X-Forwarded-Host %[req.hdr(Host)]" + unlessSaid(v, "X-Forwarded-Host", ""))
	w.line("http-request set-header X-Forwarded-Port %[dst_port]" + unlessSaid(v, "X-Forwarded-Port", ""))
}

// closing has every answer on an address that is on the list end its
// connection: those of HAProxy itself, too. HTTP/2 has no such header, and
// HAProxy sends no GOAWAY for it (2.6; haproxy/haproxy#969): see H2Addresses. Behind a
// balancer that speaks the PROXY protocol dst is what that says, and not the VIP's address.
func (w *writer) closing(v spec.VIP, i int, l Local) {
	dst := "dst"
	if v.Behind.Any() && v.Behind.ProxyProtocol {
		dst = "str(" + v.Addresses[i].Addr().Unmap().String() + ") -m ip"
	}
	w.line("http-after-response set-header Connection close if {", dst, "-f", word(path.Join(l.RunDir, ClosingList)), "} { status ge 200 }")
}

func (w *writer) backendBanner(mode spec.Mode) {
	w.banner("One backend for each service, with all its hosts.",
		"A server's id comes from its host's name alone, and the consistent hash from the ids: every",
		"HAProxy sends a client to the same host, with no table and no peers, and when a host comes",
		"or goes only its own share of the clients moves.",
		"agent-check asks the agent of that controller whether it is drained; no answer: no change.")
	if mode == spec.TCP {
		return
	}
	w.prose("An http service has several backends, with the same hosts. The first is for what is safe to repeat:",
		"it uses idle connections to hosts again, since a request that meets one's end is retried. The",
		"second, \"...:once\", is for all else: each request has a new connection, which no idle host can",
		"be about to close, and is retried only when that failed before the request was sent. Its servers",
		"are up, down or drained as those of the first are, and not checked again; but for a host that",
		"was added without a reload, which no other can follow: it is checked here, too, until the next one.",
		"Where no host passes its check, those of last resort (\"...:last\", the same hosts) serve: all that accept",
		"a connection, which the backend \"...:accepts\" tries. Late, hung and failing is better than nobody.",
		"Where the hash of a client or a token says which host it gets, that holds while there is little to do.",
		"While a service is busy or slow, a client's requests go to its host only if that has no more than its",
		"share, by \"...:even\": busy with four requests for each host for a moment (50 ms), until there are fewer than two;",
		"slow while most answers, of the last sixteen or so, come later than 50 ms, for a second. So",
		"no client waits in the queue of one host while another has nothing to do.")
}

func (w *writer) backend(s *spec.Spec, svc spec.Service, l Local) {
	w.hosts = len(svc.Hosts)
	w.section(backendSection, BackendName(svc))
	w.raw(backendRaw(s, svc), rawFirst)
	w.balance(s, svc)
	w.check(s, svc)
	w.backendTimeouts(svc.Timeout)
	switch {
	case modeOf(svc) != spec.HTTP && svc.Check.Layer == 7:
		w.comment("A client of a host that answers its check with a failure finds out now, as one of a database that lost",
			"its cluster. One that refuses may be about to end, and finishes what it has.")
		w.defaultServer("on-marked-down", "shutdown-sessions")
	case modeOf(svc) != spec.HTTP:
	case svc.Limit > 0:
		w.limited(s, svc, l)
	default:
		w.line("option allbackups")
		w.tellsBusy(s, svc)
		w.repeats(s, BackendName(svc), svc, l)
	}
	w.raw(backendRaw(s, svc), rawRules, rawLeads)
	ids := serverIDs(svc.Hosts)
	controllers := controllerAddresses(s)
	interval := duration(agentCheckInterval(s))
	agent := func(h spec.Host) []Setting {
		if controllers[h.Address] {
			return agentCheck(s, svc, h, interval)
		}
		return nil
	}
	for _, h := range svc.Hosts {
		w.server(svc, h, ids[h.Name], l, agent(h)...)
	}
	if modeOf(svc) == spec.HTTP {
		w.lastResort(svc, ids, l)
		if svc.Limit == 0 {
			w.onceBackend(s, svc, ids, l)
			w.evenBackend(s, svc, ids, l)
		}
		w.acceptsBackend(svc, ids, agent)
	}
}

// limited says how the one backend of a service with a limit goes: HAProxy counts
// what a host has by its server, and so all requests go through one.
func (w *writer) limited(s *spec.Spec, svc spec.Service, l Local) {
	w.comment("A host gets its limit of requests at once, and the others wait here. No client waits in the queue of one",
		"host while another has nothing to do: its own host may have a quarter more than its share.")
	if sticky(svc) {
		w.line("hash-balance-factor 125")
	}
	w.line("option allbackups")
	w.sendsOnce(s, BackendName(svc), svc, l)
}

// lastResort writes the servers that get the requests of svc while none of its
// hosts passes its check. Their ids are those of the hosts above what the
// consistent hash sees, so that a client comes to the host that it had.
func (w *writer) lastResort(svc spec.Service, ids map[string]int, l Local) {
	for _, h := range svc.Hosts {
		last := svc
		last.Affinity = spec.AffinityNone // no cookie: it would keep a client here
		w.serverAs(LastName(h), last, h, ids[h.Name]+1<<idBits, l, settings("backup", "", "no-check", "", "track", AcceptsName(svc)+"/"+ServerName(h)))
	}
}

// acceptsBackend writes the backend that gets no request: it tells which hosts
// of svc accept a connection.
func (w *writer) acceptsBackend(svc spec.Service, ids map[string]int, agent func(spec.Host) []Setting) {
	w.section(backendSection, AcceptsName(svc))
	w.defaultServer("inter", duration(acceptInterval), "rise", "1", "observe", "layer4")
	w.comment("What is sent once, and its answers, by clients: a host's resets count when they are of several.")
	w.line("stick-table type ipv6 size 10k expire", itoa(unansweredFor)+"s store gpc0,gpc1")
	for _, h := range svc.Hosts {
		w.serverLine(ServerName(h), svc.At(h), append(settings("id", itoa(ids[h.Name])), agent(h)...))
	}
}

// repeatable tells the requests that go to a service's main backend: those
// that can be sent again, because their method is safe and all of them is in
// their head.
const repeatable = "{ method GET HEAD OPTIONS } !{ req.fhdr(Content-Length) -m found } !{ req.fhdr(Transfer-Encoding) -m found }"

// onceBackend writes the backend of the requests of svc that are not repeatable.
func (w *writer) onceBackend(s *spec.Spec, svc spec.Service, ids map[string]int, l Local) {
	w.section(backendSection, OnceName(svc))
	w.raw(backendRaw(s, svc), rawFirst)
	w.balance(s, svc)
	w.line("option allbackups")
	w.check(s, svc) // for a host that is added without a reload
	w.backendTimeouts(svc.Timeout)
	w.tellsBusy(s, svc)
	w.sendsOnce(s, OnceName(svc), svc, l)
	w.raw(backendRaw(s, svc), rawRules, rawLeads)
	for _, h := range svc.Hosts {
		w.server(svc, h, ids[h.Name], l, tracks(svc, h)...)
	}
	w.lastResort(svc, ids, l)
}

// repeats says how backend, one of svc's, sends requests that are safe to repeat:
// on any connection that there is, since one that meets its end is sent again.
func (w *writer) repeats(s *spec.Spec, backend string, svc spec.Service, l Local) {
	w.line("http-reuse always")
	w.noHost(s, svc, l)
	w.retryBudget(backend, svc)
}

// sendsOnce says how backend, one of svc's, sends requests that must not be lost on
// a connection that its host is about to close: on a new one each.
func (w *writer) sendsOnce(s *spec.Spec, backend string, svc spec.Service, l Local) {
	w.line("option http-server-close")
	w.line("http-reuse never")
	w.line("http-request track-sc1 src table", AcceptsName(svc))
	w.line("http-request sc-inc-gpc0(1)")
	w.line("http-response sc-inc-gpc1(1)")
	w.backendRules(s, svc, l)
	w.retryBudget(backend, svc)
}

// balance says which host a client gets.
func (w *writer) balance(s *spec.Spec, svc spec.Service) {
	affinity := svc.Affinity
	if modeOf(svc) == spec.TCP && affinity != spec.AffinityNone {
		affinity = spec.AffinitySource // there are no headers to go by
	}
	switch affinity {
	case spec.AffinityNone:
		w.line("balance leastconn")
		w.defaultServer("slowstart", "10s")
	case spec.AffinityCookie:
		w.line("balance leastconn")
		w.line("cookie", "HOLDFAST_"+cookieName(svc), "insert indirect nocache httponly"+secure(s, svc))
	case spec.AffinityToken:
		w.line("balance hdr(X-Auth-Token)")
		w.line("hash-type consistent")
	default:
		w.line("balance source")
		w.line("hash-type consistent")
	}
}

// secure marks the cookie of svc as one for TLS only, where every VIP that it is on
// has TLS.
func secure(s *spec.Spec, svc spec.Service) string {
	for _, v := range s.VIPs {
		if v.TLS == nil && svc.On(v) {
			return ""
		}
	}
	return " secure"
}

func cookieName(svc spec.Service) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_", ":", "_").Replace(BackendName(svc)))
}

// cookieValue names host h in the cookie of svc: the same on every controller,
// and telling a client neither its name nor its address.
func cookieValue(svc spec.Service, h spec.Host) string {
	f := fnv.New32a()
	f.Write([]byte(svc.Name + "/" + h.Name)) // never fails
	return fmt.Sprintf("%08x", f.Sum32())
}

// check says how a host is checked; a mere connect needs no line.
func (w *writer) check(s *spec.Spec, svc spec.Service) {
	if svc.Check.Layer != 7 {
		if svc.Check.Port != 0 {
			w.line("option tcp-check")
			w.line("tcp-check connect default port", itoa(svc.Check.Port))
		}
		return
	}
	w.line("option httpchk")
	if svc.Check.Port != 0 {
		w.line("http-check connect default port", itoa(svc.Check.Port))
	}
	w.line("http-check send meth", word(checkMethod(svc)), "uri", word(svc.Check.Path),
		"ver HTTP/1.1 hdr Host", word(CheckHost(s)), "hdr User-Agent holdfast")
	w.line("http-check expect status", codes(svc.Check.Expect))
}

func checkMethod(svc spec.Service) string {
	if svc.Check.Method == "" {
		return "GET"
	}
	return svc.Check.Method
}

// CheckHost gives the Host header of health checks: what clients send.
func CheckHost(s *spec.Spec) string {
	for _, v := range s.VIPs {
		if v.Hostname != "" {
			return v.Hostname
		}
	}
	return "holdfast"
}

// codes gives ranges as HAProxy and people write them: "200,300-399".
func codes(ranges []spec.CodeRange) string {
	if len(ranges) == 0 {
		return "200"
	}
	words := make([]string, len(ranges))
	for i, r := range ranges {
		words[i] = itoa(r.From)
		if r.To > r.From {
			words[i] += "-" + itoa(r.To)
		}
	}
	return strings.Join(words, ",")
}

// backendRules says what is retried of the requests that are not repeatable by
// themselves, and what a client gets when there is no host.
func (w *writer) backendRules(s *spec.Spec, svc spec.Service, l Local) {
	unless := "{ method GET HEAD OPTIONS }"
	if len(svc.SafePosts) > 0 {
		unless += " || { method POST } { path -m reg " + safePosts(svc.SafePosts) + " }"
	}
	w.line("http-request set-var(txn.single) bool(true) unless", unless)
	w.line("http-request disable-l7-retry if { var(txn.single) -m bool }")
	w.noHost(s, svc, l)
}

// noHost says what a client gets when there is no host, and the other pages of the spec.
func (w *writer) noHost(s *spec.Spec, svc spec.Service, l Local) {
	// Not "http-request return … if { nbsrv eq 0 }": nbsrv is 0 in a worker
	// that finishes what it has after a reload.
	w.errorPages(svc.ErrorPages, l.StateDir)
	if file := s.Page(svc, 503); file != "" {
		w.line("http-error status 503", pageFile(file, l.StateDir), "hdr Retry-After", itoa(retryAfter))
		return
	}
	w.httpError(503, "Service Unavailable", "no host of "+svc.Name+" accepted the request; it was not carried out")
}

// safePosts gives one regular expression for paths, in which "*" stands for
// any one segment.
func safePosts(paths []string) string {
	patterns := make([]string, len(paths))
	for i, p := range paths {
		patterns[i] = strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, "[^/]+")
	}
	return word("^(" + strings.Join(patterns, "|") + ")$")
}

func (w *writer) backendTimeouts(t spec.Timeout) {
	for _, x := range []struct {
		name string
		d    time.Duration
	}{
		{"connect", t.Connect}, {"queue", t.Queue}, {"server", t.Server}, {"tunnel", t.Tunnel}, {"check", checkPatience * t.Check},
	} {
		if x.d > 0 {
			w.line("timeout", x.name, duration(x.d))
		}
	}
}

// agentCheck says how the agent of host h is asked about svc, once in interval.
func agentCheck(s *spec.Spec, svc spec.Service, h spec.Host, interval string) []Setting {
	return settings("agent-check", "", "agent-addr", h.Address.Unmap().String(), "agent-port", itoa(s.Agent.CheckPort),
		"agent-inter", interval, "agent-send", ServerName(h)+" "+BackendName(svc)+"\n")
}

// tracks says that a server of another backend of svc is up, down or drained as that
// of the service's own backend is.
func tracks(svc spec.Service, h spec.Host) []Setting {
	return settings("no-check", "", "track", BackendName(svc)+"/"+ServerName(h))
}

// server writes the line of host h of svc, with more settings at its end.
func (w *writer) server(svc spec.Service, h spec.Host, id int, l Local, more ...Setting) {
	w.serverAs(ServerName(h), svc, h, id, l, more)
}

// serverAs is server under another name.
func (w *writer) serverAs(name string, svc spec.Service, h spec.Host, id int, l Local, more []Setting) {
	pairs := []string{"id", itoa(id)}
	if svc.Limit > 0 {
		pairs = append(pairs, "maxconn", itoa(svc.Limit))
	}
	if h.Weight != 0 && h.Weight != spec.DefaultWeight {
		pairs = append(pairs, "weight", itoa(h.Weight))
	}
	if modeOf(svc) == spec.HTTP && svc.Affinity == spec.AffinityCookie {
		pairs = append(pairs, "cookie", cookieValue(svc, h))
	}
	w.serverLine(name, svc.At(h), slices.Concat(settings(pairs...), hostTLS(svc, h, l), more))
}

// serverLine writes the line of a server.
func (w *writer) serverLine(name string, at netip.AddrPort, all []Setting) {
	if w.last().Servers == nil {
		w.last().Servers = make([]ServerLine, 0, 2*w.hosts)
	}
	w.last().Servers = append(w.last().Servers, ServerLine{Name: name, At: at, Settings: all})
}

// controllerAddresses tells which addresses are those of controllers.
func controllerAddresses(s *spec.Spec) map[netip.Addr]bool {
	at := make(map[netip.Addr]bool, len(s.Controllers))
	for _, c := range s.Controllers {
		at[c.Address] = true
	}
	return at
}
