package haproxy

import (
	"time"

	"holdfast/internal/spec"
)

// A service becomes busy when it has had many requests at once for evenAfter, in
// milliseconds: evenFrom for each host that is up, or a single one that takes long,
// slow or more by how many there are a second (Little's law). It is so until it has
// none such, and fewer than evenUntil for each. What stands still for a moment, as
// a machine does, is not busy.
//
// Few clients, each with a host of its own, may fill one host's queue while others
// have nothing to do; and of requests that take long two are enough: services in
// Python take more than twice as long for two at once as for one.
const (
	evenFrom, evenUntil, evenAfter = 2, 1, 50
	slow                           = 50 * time.Millisecond
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
// no more than its share, while it is busy.
// A worker that finishes what it has after a reload has no usable server by its
// own count (nbsrv), and goes on as it did.
func (w *writer) even(svc spec.Service) {
	if !spreads(svc) {
		return
	}
	add := ""
	for _, backend := range []string{BackendName(svc), OnceName(svc), EvenName(svc)} {
		w.line("http-request set-var(txn.busy) be_conn(" + backend + ")" + add)
		add = ",add(txn.busy)"
	}
	hosts, since := "nbsrv("+EvenName(svc)+")", "proc."+variableName(BackendName(svc))+"_busy"
	start := "http-request set-var(" + since + ") date(0,ms) if !{ var(" + since + ") -m found }"
	w.line("http-request set-var(txn.slow) bool(true) if { var(txn.busy) -m int gt 0 } { fe_req_rate,div(" + itoa(int(time.Second/slow)) + "),sub(txn.busy) le 0 }")
	w.line(start, "{ var(txn.slow) -m bool }")
	w.line(start, "{ "+hosts+",mul("+itoa(evenFrom)+"),sub(txn.busy) le 0 }")
	w.line("http-request unset-var(" + since + ") if !{ var(txn.slow) -m bool } { " + hosts + ",mul(" + itoa(evenUntil) + "),sub(txn.busy) gt 0 }")
	w.line("use_backend", EvenName(svc), "if { date(0,ms),sub("+since+") gt "+itoa(evenAfter)+" } { "+hosts+" gt 1 }")
}

// evenBackend writes the backend of svc for while it is busy. All requests go
// through one, since HAProxy counts what a host has by its server. Those are up,
// down or drained as the ones of the service's own backend are.
func (w *writer) evenBackend(s *spec.Spec, svc spec.Service, ids map[string]int, l Local) {
	if !spreads(svc) {
		return
	}
	w.section("backend", EvenName(svc))
	w.balance(s, svc)
	w.line("hash-balance-factor", itoa(evenWithin))
	w.check(s, svc) // for a host that is added without a reload
	w.backendTimeouts(svc.Timeout)
	w.sendsOnce(EvenName(svc), svc)
	for _, h := range svc.Hosts {
		w.server(svc, h, ids[h.Name], l, "no-check track "+BackendName(svc)+"/"+ServerName(h))
	}
}
