package haproxy

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"holdfast/internal/spec"
)

// PublicName gives the name of the frontend on the i-th address of v through which its
// services are reached that share a port. No service has a ":" in its name.
func PublicName(v spec.VIP, i int) string {
	return strings.TrimSuffix(FrontendName(v, i, spec.Service{}), "-") + publicSuffix
}

const publicSuffix = ":public"

// publicServices gives the services of s that share a port of v, in the order of the file.
func publicServices(s *spec.Spec, v spec.VIP) []spec.Service {
	var all []spec.Service
	for _, svc := range s.Services {
		if _, routed := v.Route(svc); routed {
			all = append(all, svc)
		}
	}
	return all
}

// isPublic reports whether svc shares a port with others on some VIP of s.
func isPublic(s *spec.Spec, svc spec.Service) bool {
	return slices.ContainsFunc(s.VIPs, func(v spec.VIP) bool {
		_, routed := v.Route(svc)
		return routed
	})
}

// busyTable is the backend with the table that says which services are busy or slow, by
// their names, for frontends that many services share: nothing else in a frontend can be
// asked about a service that only the request names.
const busyTable = "holdfast:busy"

// publics writes the frontends of the ports that services share.
func (w *writer) publics(s *spec.Spec, l Local) {
	first := true
	for _, v := range s.VIPs {
		services := publicServices(s, v)
		if len(services) == 0 {
			continue
		}
		if first {
			w.banner("One port for many services: which one is meant, the name or the path of the request says. A request for a name",
				"that is none of this VIP's is answered 421 (RFC 9110 section 15.5.20), so that its client makes a connection of its own for",
				"it; so is one whose name is another than the connection was made for, where several certificates are in use: the one",
				"of the connection may not be for it.")
			first = false
		}
		for i := range v.Addresses {
			w.public(s, v, i, services, l)
		}
	}
}

// public writes the frontend of services on the port of the i-th address of v that they share.
func (w *writer) public(s *spec.Spec, v spec.VIP, i int, services []spec.Service, l Local) {
	w.section(frontendSection, PublicName(v, i))
	b := &Bind{Address: netip.AddrPortFrom(v.Addresses[i].Addr().Unmap(), uint16(v.Public.Port))}
	b.secure(v, l.StateDir)
	b.HTTP2 = v.TLS != nil
	w.last().Bind = b
	if t := longest(services); t > 0 {
		w.line("timeout client", duration(t))
	}
	w.ownOf(s, v, services)
	w.captures()
	w.line("declare capture request len 100")
	w.behind(v)
	w.connectionsOf(v)
	w.isBehind(v)
	w.raw(s.HAProxy.Frontend, rawFirst)
	w.pings()
	w.clientOfBalancer(v)
	w.requestID()
	w.whichService(v, services)
	w.line("http-request capture var(txn.service) id 1")
	w.vipLists(s, v, spec.Service{}, l.StateDir)
	w.publicRules(s, v, services, l.StateDir)
	w.forwarded(v, w.keepsForwarded(services))
	if slices.ContainsFunc(v.Public.Routes, func(r spec.Route) bool { return r.Strip }) {
		w.line("http-request set-header X-Forwarded-Prefix %[var(txn.prefix)] if { var(txn.prefix) -m found }")
	}
	w.hsts(v)
	w.closing(v, i, l)
	w.raw(s.HAProxy.Frontend, rawRules, rawLeads)
	w.whichBackend(services)
}

// longest gives the longest time that a client of one of services may be silent; 0 where
// that is nowhere longer than usual.
func longest(services []spec.Service) time.Duration {
	var most time.Duration
	for _, svc := range services {
		if t := svc.Timeout.Client; t > usualClient {
			most = max(most, t)
		}
	}
	return most
}

// keepsForwarded gives the condition under which X-Forwarded-For goes through; empty where it
// never does.
func (w *writer) keepsForwarded(services []spec.Service) string {
	var names []string
	for _, svc := range services {
		if svc.KeepForwarded {
			names = append(names, BackendName(svc))
		}
	}
	if len(names) == 0 {
		return ""
	}
	const acl = "keeps_forwarded"
	w.acl(acl, "var(txn.service)", names)
	return acl
}

// whichService finds the service that a request is for, by its name and path, and answers
// what is for none.
func (w *writer) whichService(v spec.VIP, services []spec.Service) {
	w.askedName()
	if len(v.Certificates()) > 1 {
		w.answerError(421, "Misdirected Request", "this connection was made for another name; make one for this", "if { ssl_fc_sni -m found } !{ ssl_fc_sni,lower,strcmp(txn.name) eq 0 }")
	}
	addresses := make([]string, len(v.Addresses))
	for i, a := range v.Addrs() {
		addresses[i] = a.Unmap().String()
	}
	w.acl("of_this_vip", askedName, slices.Concat(lower(v.Hostnames()), addresses))
	if slices.ContainsFunc(v.Public.Routes, func(r spec.Route) bool { return isHostname(v, r) }) {
		w.acl(atHostname, askedName, slices.Concat(lower([]string{v.Hostname}), addresses))
	}
	w.byPath(v)
	w.byName(v, services)
	w.answerError(404, "Not Found", "no service has this path", "if !{ var(txn.service) -m found } of_this_vip")
	w.answerError(421, "Misdirected Request", "no service has this name", "unless { var(txn.service) -m found }")
}

// askedName is the name that a request is for, after the lines of askedName.
const askedName = "var(txn.name)"

// askedName finds the name that a request is for: in lower case, without port, without the
// dot that ends a name that is whole, and without the brackets of an IPv6 address. A request
// without a Host, as of HTTP/1.0, is for the address that it came to.
func (w *writer) askedName() {
	w.line("http-request set-var(txn.name) req.hdr(Host),field(1,:),lower")
	w.line("http-request set-var(txn.name) req.hdr(Host),field(1,]),field(2,[),lower if { " + askedName + " -m beg [ }")
	w.line("http-request set-var(txn.name) dst unless { " + askedName + " -m len gt 0 }")
	w.line(`http-request set-var(txn.name) ` + askedName + `,regsub(\.$,) if { ` + askedName + ` -m end . }`)
}

func lower(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.ToLower(n)
	}
	return out
}

// acl names a condition: what is one of words. HAProxy reads 64 words of a line.
func (w *writer) acl(name, what string, words []string) {
	const most = 50
	for some := range slices.Chunk(words, most) {
		w.line("acl", name, what, "-m str", strings.Join(some, " "))
	}
}

// answerError has HAProxy answer with an error of its own, in the form of Keystone's.
func (w *writer) answerError(code int, title, text, when string) {
	w.line("http-request return status", itoa(code), "content-type application/json string", word(errorBody(code, title, text)), when)
}

// atHostname is an acl: a request for the hostname of the VIP, or one of its addresses.
const atHostname = "at_hostname"

func isHostname(v spec.VIP, r spec.Route) bool { return strings.EqualFold(r.Name, v.Hostname) }

// isNamed gives the condition that a request is for the name of r.
func isNamed(v spec.VIP, r spec.Route) string {
	if isHostname(v, r) {
		return atHostname
	}
	return "{ " + askedName + " -m str " + r.Name + " }"
}

// literals gives the names of r as they stand in a URL: with the addresses of v, where it has
// the hostname of v.
func literals(v spec.VIP, r spec.Route) []string {
	names := []string{r.Name}
	if !isHostname(v, r) {
		return names
	}
	for _, a := range v.Addrs() {
		text := a.Unmap().String()
		if a.Unmap().Is6() {
			text = "[" + text + "]"
		}
		names = append(names, text)
	}
	return names
}

// byPath finds a service by the path of the request, the longest first, and takes that off
// where the hosts do not have it.
func (w *writer) byPath(v spec.VIP) {
	first := true
	for _, r := range v.Public.Routes {
		if r.Path == "" {
			continue
		}
		if first {
			w.line("http-request set-var(txn.path) path,concat(/)")
			first = false
		}
		w.line("http-request set-var(txn.service) str("+proxyName(r.Service)+") if { var(txn.path) -m beg", r.Path+"/ } !{ var(txn.service) -m found }", isNamed(v, r))
	}
	for _, r := range v.Public.Routes {
		if r.Strip {
			w.strip(r, literals(v, r))
		}
	}
}

// strip takes the path of r off a request, tells the service of it, and puts it on where the
// service sends a client to another path of its own without having heard of that.
func (w *writer) strip(r spec.Route, names []string) {
	is := "{ var(txn.service) -m str " + proxyName(r.Service) + " }"
	path, quoted := regexp.QuoteMeta(r.Path), make([]string, len(names))
	for i, name := range names {
		quoted[i] = regexp.QuoteMeta(name)
	}
	name := "(" + strings.Join(quoted, "|") + ")"
	w.line("http-request set-var(txn.prefix) str("+r.Path+") if", is)
	w.line("http-request replace-path", word("^"+path+"/*(.*)"), word(`/\1`), "if", is)
	w.line("http-response replace-header Location", word("^(https?://[^/]+)?/(.*)"), word(`\1`+r.Path+`/\2`), "if", is,
		"{ res.hdr(Location) -i -m reg", word("^(https?://"+name+`\.?(:[0-9]+)?)?/([^/]|$)`), "} !{ res.hdr(Location) -m reg", word("^(https?://[^/]+)?"+path+"(/|$)"), "}")
}

// byName finds a service by the name alone. Where that begins with the service's own, all
// take one line: a line for each of a hundred services would take longer than all else.
func (w *writer) byName(v spec.VIP, services []spec.Service) {
	unless := ""
	if slices.ContainsFunc(v.Public.Routes, func(r spec.Route) bool { return r.Path != "" }) {
		unless = " !{ var(txn.service) -m found }"
	}
	var usual []string
	for _, svc := range services {
		r, _ := v.Route(svc)
		switch label, _, _ := strings.Cut(r.Name, "."); {
		case r.Path != "":
		case label == BackendName(svc) && !isHostname(v, r):
			usual = append(usual, r.Name)
		default:
			w.line("http-request set-var(txn.service) str("+BackendName(svc)+") if", isNamed(v, r)+unless)
		}
	}
	if len(usual) > 0 {
		w.acl("named_as_service", askedName, usual)
		w.line("http-request set-var(txn.service) " + askedName + ",field(1,.) if named_as_service" + unless)
	}
}

// whichBackend says which backend of the service gets a request, as its own frontends do.
func (w *writer) whichBackend(services []spec.Service) {
	var limited []string
	even := false
	for _, svc := range services {
		even = even || spreads(svc)
		if svc.Limit > 0 {
			limited = append(limited, BackendName(svc))
		}
	}
	if even {
		w.line("http-request set-var(txn.was_busy) bool(true) if { var(txn.service),table_gpt0(" + busyTable + ") gt 0 }")
	}
	if len(limited) > 0 {
		w.acl("limited", "var(txn.service)", limited)
		w.line("use_backend %[var(txn.service)] if limited")
	}
	if even {
		w.line("use_backend %[var(txn.service),concat(" + evenSuffix + ")] if { var(txn.was_busy) -m found }")
	}
	w.line("use_backend %[var(txn.service),concat("+onceSuffix+")] unless", repeatable)
	w.line("use_backend %[var(txn.service)]")
}

// busyServices writes the table that says which services are busy or slow, where a frontend
// asks for that.
func (w *writer) busyServices(s *spec.Spec) {
	n := 0
	for _, svc := range s.Services {
		if spreads(svc) && isPublic(s, svc) {
			n++
		}
	}
	if n == 0 {
		return
	}
	w.section(backendSection, busyTable)
	w.prose("Gets no request: by the name of a service, whether it is busy or slow, see below, for the frontends that", "many services share.")
	w.line("stick-table type string len 128 size", itoa(2*n), "store gpt0")
}

// tellsBusy has a backend of svc see whether that is busy or slow, for requests that came
// through a frontend that many services share. It counts for the requests that come after.
func (w *writer) tellsBusy(s *spec.Spec, svc spec.Service) {
	if !spreads(svc) || !isPublic(s, svc) {
		return
	}
	const shared = "{ var(txn.service) -m found }"
	w.seesBusy(svc, shared)
	for _, when := range evenWhen(svc) {
		w.line("http-request set-var(txn.even) bool(true) if", when, shared)
	}
	const busy, was = "{ var(txn.even) -m found }", "{ var(txn.was_busy) -m found }"
	w.line("http-request track-sc2 str("+BackendName(svc)+") table", busyTable, "if", busy, "||", was)
	w.line("http-request sc-set-gpt0(2) 1 if", busy)
	w.line("http-request sc-set-gpt0(2) 0 if", was, "!"+busy)
}
