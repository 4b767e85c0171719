package haproxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast/internal/spec"
)

// Clients are counted in the tables of backends that have nothing else, so that all
// frontends of a service, or of a VIP, count together. Stick counters 0 and 1 are those of
// retries and resets; 2 is that of a request's limit, and of a connection's.

// The backends of tables. No service's name has a ":".
const (
	limitSuffix  = ":limit"
	loginsSuffix = ":logins"
	vipSuffix    = ":vip" // of a VIP, which may be called as a service is
)

// tableSize is how many clients a table has room for, some 100 octets each; of more the
// one that was not heard of for longest is forgotten.
const tableSize = "100k"

// causes of an answer in a host's place, as package traffic tells them in the log: a
// request over its rate is denied (PR) with 429, a login after too many that failed is
// answered (LR) with 429, and one of who may not is denied with 403.
const (
	codeDenied  = 403
	codeLimited = 429
)

// limitOf gives what is taken of each client of svc on v, and the name of the table that
// counts it: the service's own limit is in the place of the VIP's.
func limitOf(v spec.VIP, svc spec.Service) (spec.ClientLimit, string) {
	if hasOwnLimit(svc) {
		return svc.Clients, BackendName(svc) + limitSuffix
	}
	return v.Clients, vipTable(v)
}

func vipTable(v spec.VIP) string { return proxyName(v.Name) + vipSuffix + limitSuffix }

// clientRules says who may use svc on v, and how often. when is a condition that tells the
// requests for svc from others that come to the frontend; empty where there are none.
func (w *writer) clientRules(s *spec.Spec, v spec.VIP, svc spec.Service, stateDir, when string) {
	r := rules{writer: w, spec: s, svc: svc, stateDir: stateDir, when: when}
	name := "service-"
	if when != "" {
		name = BackendName(svc) + "-"
	}
	r.lists(name, svc.Access)
	w.maintenance(svc, stateDir, when)
	if l, table := limitOf(v, svc); when == "" || hasOwnLimit(svc) {
		r.limit(l, table)
	}
	if modeOf(svc) == spec.HTTP {
		r.logins()
	}
}

// vipLists says who may use v.
func (w *writer) vipLists(s *spec.Spec, v spec.VIP, svc spec.Service, stateDir string) {
	of := spec.Service{Name: v.Hostname, Mode: svc.Mode, ErrorPages: svc.ErrorPages}
	rules{writer: w, spec: s, svc: of, stateDir: stateDir}.lists("vip:", v.Access) // as no service's can be called
}

// publicRules says who may use which of services, which share a port of v, and how often.
func (w *writer) publicRules(s *spec.Spec, v spec.VIP, services []spec.Service, stateDir string) {
	var limited []string
	for _, svc := range services {
		if hasOwnLimit(svc) {
			limited = append(limited, BackendName(svc))
		}
		if svc.Access.Any() || svc.Maintenance.On || svc.Clients.Any() {
			w.clientRules(s, v, svc, stateDir, "{ var(txn.service) -m str "+BackendName(svc)+" }")
		}
	}
	if v.Clients.Requests.N == 0 {
		return
	}
	when := ""
	if len(limited) > 0 {
		w.acl("has-a-limit", "var(txn.service)", limited)
		when = "!has-a-limit"
	}
	r := rules{writer: w, spec: s, svc: spec.Service{Name: v.Hostname}, stateDir: stateDir, when: when}
	r.limit(v.Clients, vipTable(v))
}

// hasOwnLimit reports whether the limit of svc is in the place of that of its VIPs.
func hasOwnLimit(svc spec.Service) bool {
	return svc.Clients.Requests.N > 0 || svc.Clients.Connections > 0
}

// rules are those for the clients of svc in one frontend.
type rules struct {
	*writer
	spec           *spec.Spec
	svc            spec.Service
	stateDir, when string
}

// own names the addresses of the cloud itself, which lists and limits do not hold for.
func (w *writer) own(s *spec.Spec, v spec.VIP, svc spec.Service) {
	w.ownOf(s, v, []spec.Service{svc})
}

// ownOf is own for a frontend of several services.
func (w *writer) ownOf(s *spec.Spec, v spec.VIP, services []spec.Service) {
	needed := v.Access.Any() || v.Clients.Any() || v.Behind.Any()
	for _, svc := range services {
		needed = needed || svc.Access.Any() || svc.Clients.Any()
	}
	if needed {
		w.networks(ownName, singles(s.Own()))
	}
}

// lists turns away who may not, by lists that are the VIP's or the service's own.
func (r rules) lists(whose string, a spec.Access) {
	if r.list(whose+"deny", a.Deny, a.DenyFile) {
		r.denied(joined(whose+"deny", "!own", r.when))
	}
	if r.list(whose+"allow", a.Allow, a.AllowFile) {
		r.denied(joined("!"+whose+"allow", "!own", r.when))
	}
}

// list writes an acl of a list or a file, and reports whether there is one.
func (r rules) list(name string, all []netip.Prefix, file string) bool {
	r.networks(name, all)
	if file != "" {
		r.line("acl", name, "src -f", word(FileCopy(r.stateDir, file)))
	}
	return len(all) > 0 || file != ""
}

// joined gives the conditions that are not empty, all of which must hold.
func joined(conditions ...string) string {
	return strings.Join(slices.DeleteFunc(conditions, func(c string) bool { return c == "" }), " ")
}

// networks writes an acl by the client's address: a line has room for 64 words.
func (w *writer) networks(name string, all []netip.Prefix) {
	for part := range slices.Chunk(all, 20) {
		words := make([]string, len(part))
		for i, p := range part {
			words[i] = p.String()
			if p.IsSingleIP() {
				words[i] = p.Addr().String()
			}
		}
		w.line("acl", name, "src", strings.Join(words, " "))
	}
}

func singles(all []netip.Addr) []netip.Prefix {
	out := make([]netip.Prefix, len(all))
	for i, a := range all {
		out[i] = netip.PrefixFrom(a, a.BitLen())
	}
	return out
}

// denied turns away who may not use the service.
func (r rules) denied(when string) {
	if modeOf(r.svc) == spec.TCP {
		r.line("tcp-request content reject if", when)
		return
	}
	r.line("http-request deny deny_status", itoa(codeDenied),
		r.page(r.spec, r.svc, r.stateDir, codeDenied, "Forbidden", "this address may not use "+r.svc.Name+" here"), "if", when)
}

// limit bounds how often each client may ask, counted in a table. What is turned away is not
// counted: who sends ten times as much gets its limit, and 429 for the rest.
func (r rules) limit(l spec.ClientLimit, table string) {
	if l.Requests.N == 0 {
		return
	}
	mine := joined("!own", r.when)
	if modeOf(r.svc) == spec.TCP {
		key := "src"
		if hashed(l.Per) {
			key = "src,sha1" // beside the VIP's other services, which have tokens
		}
		r.line("tcp-request content track-sc2", key, "table", table, "if", mine)
		r.line("tcp-request content reject if { sc2_gpc0_rate ge", itoa(l.Requests.N), "}", mine)
		r.line("tcp-request content sc-inc-gpc0(2) if", mine)
		return
	}
	key := "src"
	if hashed(l.Per) {
		key = "var(txn.client)"
		r.clientKey(l.Per, mine)
	}
	r.line("http-request track-sc2", key, "table", table, "if", mine)
	r.tooMany("deny deny_status", l.Requests, "this is more than "+rateWords(l.Requests)+" of "+r.svc.Name, joined("{ sc2_gpc0_rate ge "+itoa(l.Requests.N)+" }", mine))
	r.line("http-request sc-inc-gpc0(2) if", mine)
}

// clientKey says by what the requests of a client are counted: a hash of its token, which
// a table does not keep, or the project in its path. One without is counted by its address.
func (r rules) clientKey(per spec.LimitPer, mine string) {
	if per == spec.PerToken {
		r.line("http-request set-var(txn.client) req.fhdr(X-Auth-Token),sha1 if", joined("{ req.fhdr(X-Auth-Token) -m found }", mine))
	} else {
		at := itoa(r.svc.ProjectSegment() + 1)
		r.line("http-request set-var(txn.client) path,field("+at+",/),sha1 if", joined("{ path,field("+at+",/) -m len 8: }", mine))
	}
	r.line("http-request set-var(txn.client) src,sha1 if", joined("!{ var(txn.client) -m found }", mine))
}

// tooMany answers 429, by one of two ways that the log tells apart.
func (r rules) tooMany(how string, of spec.Rate, text, when string) {
	r.line("http-request", how, itoa(codeLimited), r.page(r.spec, r.svc, r.stateDir, codeLimited, "Too Many Requests", text),
		"hdr Retry-After", itoa(int(of.Per/time.Second)), "if", when)
}

// rateWords says r as a text for clients: "50 requests a second".
func rateWords(r spec.Rate) string {
	return fmt.Sprintf("%d requests %s", r.N, unitWord(r))
}

func unitWord(r spec.Rate) string {
	return map[time.Duration]string{time.Second: "a second", time.Minute: "a minute", time.Hour: "an hour"}[r.Per]
}

// isLogin tells the requests for a token that want a password, or the signature of one: to
// /v3/auth/tokens, /v2.0/tokens, /v3/ec2tokens and /v3/s3tokens, in any letters that Keystone
// or the server before it takes for these, as with "%73", a "/" more, or "..".
const isLogin = "{ method POST } { path,url_dec -m sub tokens }"

// guesser is who fails to log in. Of IPv6 it is a network of 64 bits: whoever has one address has
// that, and could take another one for each guess.
const guesser = "src,ipmask(32,64)"

// logins bounds how often each address may fail to get a token. Those that it has go on.
func (r rules) logins() {
	l := r.svc.Clients.FailedLogins
	if l.N == 0 {
		return
	}
	table := BackendName(r.svc) + loginsSuffix
	r.line("http-request set-var(txn.login) bool(true) if", joined(isLogin, "!own", r.when))
	r.tooMany("return status", l, fmt.Sprintf("more than %d logins failed in %s", l.N, unitWord(l)),
		joined("{ var(txn.login) -m bool }", "{ "+guesser+",table_gpc0_rate("+table+") ge "+itoa(l.N)+" }"))
	r.line("http-response track-sc0", guesser, "table", table, "if { status 401 } { var(txn.login) -m bool }")
	r.line("http-response sc-inc-gpc0(0) if { status 401 } { var(txn.login) -m bool }")
}

// connections bounds how many connections an address may have at once: whoever says
// nothing, or a byte now and then, has each for seconds. HAProxy has one stick counter to
// spare, so the requests of such a connection are counted in the same entry.
func (w *writer) connections(v spec.VIP, svc spec.Service) {
	l, table := limitOf(v, svc)
	w.connectionsIn(v, l, table)
}

// connectionsOf is connections where it is not known yet for which service one is.
func (w *writer) connectionsOf(v spec.VIP) { w.connectionsIn(v, v.Clients, vipTable(v)) }

func (w *writer) connectionsIn(v spec.VIP, l spec.ClientLimit, table string) {
	if l.Connections == 0 {
		return
	}
	when, others := "connection", "!own"
	switch {
	case v.Behind.Any() && v.Behind.ProxyProtocol:
		when = "session" // when it is known whom the connection is for
	case v.Behind.Any():
		others += " !balancer" // its connections are of many clients
	}
	w.line("tcp-request "+when+" track-sc2 src table", table, "if", others)
	w.line("tcp-request "+when+" reject if { sc2_conn_cur gt", itoa(l.Connections), "}", others)
}

// limitTables writes the tables in which clients are counted, of proxies of mode.
func (w *writer) limitTables(s *spec.Spec) {
	for _, svc := range s.Services {
		w.tables(BackendName(svc), svc.Clients)
	}
	for _, v := range s.VIPs {
		w.tables(proxyName(v.Name)+vipSuffix, v.Clients)
	}
}

func (w *writer) tables(name string, l spec.ClientLimit) {
	if l.Requests.N > 0 || l.Connections > 0 {
		kind, store := "ipv6", "conn_cur"
		if hashed(l.Per) {
			kind = "binary len 20" // of a hash
		}
		if l.Requests.N > 0 {
			store += "," + countedIn(l.Requests)
		}
		w.table(name+limitSuffix, kind, l.Requests.Per, store)
	}
	if l.FailedLogins.N > 0 {
		w.table(name+loginsSuffix, "ipv6", l.FailedLogins.Per, countedIn(l.FailedLogins))
	}
}

// countedIn gives what of a client a table stores for r.
func countedIn(r spec.Rate) string { return "gpc0,gpc0_rate(" + itoa(int(r.Per/time.Second)) + "s)" }

// hashed reports whether requests are counted by a hash, and not by an address.
func hashed(per spec.LimitPer) bool { return per == spec.PerToken || per == spec.PerProject }

func (w *writer) table(name, kind string, per time.Duration, store string) {
	if !w.begun {
		w.banner("What clients are counted in. A request is counted where it is let through. Tokens are kept as hashes.",
			"A reload begins anew: a client may then have its limit a second time.")
		w.begun = true
	}
	w.section(backendSection, name)
	w.line("stick-table type", kind, "size", tableSize, "expire", duration(max(2*per, 10*time.Second)), "store", store)
}
