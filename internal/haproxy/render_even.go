package haproxy

import (
	"strings"

	"holdfast/internal/spec"
)

// Few clients, each with a host of its own, may fill one host's queue while others
// have nothing to do; and of requests that take long two at once are enough: services
// in Python take more than twice as long for two as for one.
//
// So a service becomes busy when it has had many requests at once for evenAfter, in
// milliseconds: evenFrom for each host that is up. It is so until it has fewer than
// evenUntil for each. And it is slow when most answers have come later than evenSlow,
// in milliseconds, for evenSlowFor. What stands still for a moment, as a machine
// does, is neither: all that waited is answered in one moment then.
const (
	evenFrom, evenUntil, evenAfter = 4, 2, 50
	evenSlow, evenSlowFor          = 50, 1000
	// Which part of the answers is slow is a moving average, over some evenOf of them,
	// of 0 and evenAll. A service is slow above half, and until a quarter.
	evenOf, evenAll = 16, 1024
	// evenWithin is what part of its share, in percent, a host may have before its
	// clients go elsewhere, while its service is busy (hash-balance-factor, above 100). The
	// share is rounded up; 105 made p99 a tenth longer than round robin's at 90 to
	// 100 % of the capacity.
	evenWithin = 101
)

// sticky reports whether the hash of something says which host a client of svc
// gets.
func sticky(svc spec.Service) bool {
	return modeOf(svc) == spec.HTTP && svc.Affinity != spec.AffinityNone && svc.Affinity != spec.AffinityCookie
}

// spreads reports whether svc has the backends that are for while it is busy. One
// with a limit has a queue of its own in HAProxy, and needs none.
func spreads(svc spec.Service) bool { return sticky(svc) && svc.Limit == 0 }

// even sends the requests of svc to where they belong only as long as that host has
// no more than its share, while it is busy or slow.
// A worker that finishes what it has after a reload has no usable server by its
// own count (nbsrv), and goes on as it did.
func (w *writer) even(svc spec.Service) {
	if !spreads(svc) {
		return
	}
	w.seesBusy(svc, "")
}

// leadsEven leads the requests of a service that is busy or slow to the backend for that.
func (w *writer) leadsEven(svc spec.Service) {
	if !spreads(svc) {
		return
	}
	for _, when := range evenWhen(svc) {
		w.line("use_backend", EvenName(svc), "if", when)
	}
}

// seesBusy keeps account of whether svc is busy or slow, of requests for which the condition
// only is true; empty: of all. Where a backend does so, a request is one of those under way itself.
func (w *writer) seesBusy(svc spec.Service, only string) {
	given := func(conditions ...string) string {
		if only != "" {
			conditions = append(conditions, only)
		}
		if len(conditions) == 0 {
			return ""
		}
		return " if " + strings.Join(conditions, " ")
	}
	own := ""
	if only != "" {
		own = ",add(1)"
	}
	add := ""
	for _, backend := range []string{BackendName(svc), OnceName(svc), EvenName(svc)} {
		w.line("http-request set-var(txn.busy) be_conn(" + backend + ")" + add + given())
		add = ",add(txn.busy)"
	}
	hosts := hostsUp(svc)
	busy, slow, late := evenVariables(svc)
	w.line("http-request set-var(" + busy + ") date(0,ms)" + given("{ "+hosts+",mul("+itoa(evenFrom)+")"+own+",sub(txn.busy) le 0 }", "!{ var("+busy+") -m found }"))
	w.line("http-request unset-var(" + busy + ")" + given("{ "+hosts+",mul("+itoa(evenUntil)+")"+own+",sub(txn.busy) gt 0 }"))
	w.line("http-request set-var(txn.from) date(0,ms)" + given())
	w.line("http-response set-var(txn.late) int(0)" + given())
	w.line("http-response set-var(txn.late) int(" + itoa(evenAll) + ")" + given("{ date(0,ms),sub(txn.from) gt "+itoa(evenSlow)+" }"))
	if only == "" {
		w.line("http-response set-var(" + late + ") int(0) unless { var(" + late + ") -m found }")
	} else {
		w.line("http-response set-var(" + late + ") int(0)" + given("!{ var("+late+") -m found }"))
	}
	w.line("http-response set-var(" + late + ") var(" + late + "),mul(" + itoa(evenOf-1) + "),add(txn.late),div(" + itoa(evenOf) + ")" + given())
	w.line("http-response set-var(" + slow + ") date(0,ms)" + given("{ var("+late+") -m int gt "+itoa(evenAll/2)+" }", "!{ var("+slow+") -m found }"))
	w.line("http-response unset-var(" + slow + ")" + given("{ var("+late+") -m int lt "+itoa(evenAll/4)+" }"))
}

// hostsUp gives how many hosts of svc are usable, as HAProxy counts them.
func hostsUp(svc spec.Service) string { return "nbsrv(" + EvenName(svc) + ")" }

// evenVariables name since when svc is busy, since when it is slow, and which part of
// its answers is.
func evenVariables(svc spec.Service) (busy, slow, late string) {
	name := "proc." + variableName(BackendName(svc))
	return name + "_busy", name + "_slow", name + "_late"
}

// evenWhen gives the conditions, each of which is enough, under which svc is busy or slow.
func evenWhen(svc spec.Service) []string {
	busy, slow, _ := evenVariables(svc)
	over := func(since string, ms int) string {
		return "{ date(0,ms),sub(" + since + ") gt " + itoa(ms) + " } { " + hostsUp(svc) + " gt 1 }"
	}
	return []string{over(busy, evenAfter), over(slow, evenSlowFor)}
}

// evenBackend writes the backend of svc for while it is busy or slow. All requests go
// through one, since HAProxy counts what a host has by its server. Those are up,
// down or drained as the ones of the service's own backend are.
func (w *writer) evenBackend(s *spec.Spec, svc spec.Service, ids map[string]int, l Local) {
	if !spreads(svc) {
		return
	}
	w.section(backendSection, EvenName(svc))
	w.raw(backendRaw(s, svc), rawFirst)
	w.balance(s, svc)
	w.line("hash-balance-factor", itoa(evenWithin))
	w.check(s, svc) // for a host that is added without a reload
	w.backendTimeouts(svc.Timeout)
	w.tellsBusy(s, svc)
	w.sendsOnce(s, EvenName(svc), svc, l)
	w.raw(backendRaw(s, svc), rawRules, rawLeads)
	for _, h := range svc.Hosts {
		w.server(svc, h, ids[h.Name], l, tracks(svc, h)...)
	}
}
