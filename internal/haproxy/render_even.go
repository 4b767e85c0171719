package haproxy

import "holdfast/internal/spec"

// A service becomes busy when it has had many requests at once for evenAfter, in
// milliseconds: evenFrom for each host that is up. It is so until it has fewer than
// evenUntil for each. Few clients, each with a host of its own, may fill one host's
// queue while the others have nothing to do. What stands still for a moment, as a
// machine does, is not busy.
const evenFrom, evenUntil, evenAfter = 2, 1, 50

// sticky reports whether the hash of something says which host a client of svc
// gets.
func sticky(svc spec.Service) bool {
	return modeOf(svc) == spec.HTTP && svc.Affinity != spec.AffinityNone && svc.Affinity != spec.AffinityCookie
}

// spreads reports whether svc has the backends that are for while it is busy. One
// with a limit has a queue of its own in HAProxy, and needs none.
func spreads(svc spec.Service) bool { return sticky(svc) && svc.Limit == 0 }

// even sends the requests of svc wherever there are the fewest, while it is busy.
// A worker that finishes what it has after a reload has no usable server by its
// own count (nbsrv), and goes on as it did.
func (w *writer) even(svc spec.Service) {
	if !spreads(svc) {
		return
	}
	add := ""
	for _, backend := range []string{BackendName(svc), OnceName(svc), EvenName(svc), EvenOnceName(svc)} {
		w.line("http-request set-var(txn.busy) be_conn(" + backend + ")" + add)
		add = ",add(txn.busy)"
	}
	w.line("http-request set-var(txn.once) bool(true) unless", repeatable)
	hosts, since := "nbsrv("+EvenName(svc)+")", "proc."+variableName(BackendName(svc))+"_busy"
	w.line("http-request set-var(" + since + ") date(0,ms) if { " + hosts + ",mul(" + itoa(evenFrom) + "),sub(txn.busy) le 0 } !{ var(" + since + ") -m found }")
	w.line("http-request unset-var(" + since + ") if { " + hosts + ",mul(" + itoa(evenUntil) + "),sub(txn.busy) gt 0 }")
	busy := "{ date(0,ms),sub(" + since + ") gt " + itoa(evenAfter) + " } { " + hosts + " gt 1 }"
	w.line("use_backend", EvenOnceName(svc), "if", busy, "{ var(txn.once) -m bool }")
	w.line("use_backend", EvenName(svc), "if", busy)
}

// evenBackends writes the backends of svc for while it is busy. Their servers are
// up, down or drained as those of its own are.
func (w *writer) evenBackends(s *spec.Spec, svc spec.Service, ids map[string]int, l Local) {
	if !spreads(svc) {
		return
	}
	even := svc
	even.Affinity = spec.AffinityNone
	servers := func() {
		for _, h := range svc.Hosts {
			w.server(even, h, ids[h.Name], l, "no-check track "+BackendName(svc)+"/"+ServerName(h))
		}
	}
	w.section("backend", EvenName(svc))
	w.line("balance leastconn")
	w.check(s, svc) // for a host that is added without a reload
	w.backendTimeouts(svc.Timeout)
	w.repeats(EvenName(svc), svc)
	servers()

	w.section("backend", EvenOnceName(svc))
	w.line("balance leastconn")
	w.check(s, svc)
	w.backendTimeouts(svc.Timeout)
	w.sendsOnce(EvenOnceName(svc), svc)
	servers()
}
