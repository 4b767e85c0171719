package haproxy

import (
	"slices"
	"strings"

	"holdfast/internal/spec"
)

// The bounds of what is sent again: a retry that helps where one host fails
// makes it worse where all do.
const (
	// retryShare is which part of a backend's requests may be tries beside the
	// first: one in so many.
	retryShare = 10
	// More may be for a moment, as when a host begins to fail: as many as come in
	// retryBurst, once in retryWindow; both in milliseconds. So they are a tenth
	// at the most of any retryShare*retryBurst.
	retryBurst, retryWindow = 500, 10_000
	// retryFloor is how many a second may be where there are few requests.
	retryFloor = 20
	// spareTime is, in seconds, for how long nothing is sent again of a client
	// whose request failed on another host, too, and of a service that said
	// when to come again. While it goes on saying so, that does not end.
	spareTime = 2
)

// countsTries begins the lines that count the tries of each server. A host that
// comes without a reload is counted from the next reload on.
const countsTries = "http-request set-var(txn.tries)"

// retryBudget bounds what backend, one of svc's, sends again. It says so for
// each request as that arrives: what is under way keeps its retries, but hosts
// that fail fast teach it within some milliseconds.
//
// HAProxy counts the connections to a server and the requests to a backend in the
// last second; the one without the other are tries beside the first. A host that
// refuses takes part in that, which costs nothing: that is tried elsewhere whatever
// is said here. When they are more than their share, a window begins. As long
// as they are, they are added up in it, tries a second times milliseconds, and once
// that is more than the burst nothing is sent again until the window ends.
func (w *writer) retryBudget(backend string, svc spec.Service) {
	w.comment("A tenth of the requests may be sent again, for a moment more, or a few; none of a client whose last",
		"one failed on another host, too, and none while hosts answer with Retry-After.")
	w.line("stick-table type ipv6 size 10k expire", itoa(spareTime)+"s", "store gpc0")
	together := budgetOf(backend, svc)
	add := ""
	w.last().Lines = slices.Grow(w.last().Lines, 40+2*len(together)*len(svc.Hosts))
	for _, one := range together {
		for _, h := range svc.Hosts {
			w.line(countsTries, "srv_sess_rate("+one+"/"+ServerName(h)+")"+add)
			add = ",add(txn.tries)"
			if one != EvenName(svc) {
				w.line(countsTries, "srv_sess_rate("+one+"/"+LastName(h)+")"+add)
			}
		}
	}
	name := "proc." + variableName(together[0])
	begun, used, counted, spent := name+"_begun", name+"_used", name+"_counted", name+"_spent"
	later := "proc." + variableName(BackendName(svc)) + "_later"
	window, many := itoa(retryWindow), "{ var(txn.many) -m bool }"
	over := "!{ date(0,ms),sub(" + begun + ") lt " + window + " }"
	add = ""
	for _, one := range together {
		w.line("http-request set-var(txn.asked) be_sess_rate(" + one + ")" + add)
		add = ",add(txn.asked)"
	}
	w.line("http-request set-var(txn.again) var(txn.tries),sub(txn.asked)")
	w.line("http-request set-var(txn.many) bool(true) if { var(txn.again) -m int gt", itoa(retryFloor), "} { var(txn.again),mul("+itoa(retryShare)+"),sub(txn.asked) gt 0 }")
	w.line("http-request set-var("+used+") int(0) if", many, over)
	w.line("http-request set-var("+begun+") date(0,ms) if", many, over)
	// The rates are of the last second: for how long they were so is at most that.
	w.line("http-request set-var(txn.for) date(0,ms),sub(" + counted + ")")
	w.line("http-request set-var(txn.for) int(1000) unless { var(txn.for) -m int lt 1000 }")
	w.line("http-request set-var(" + counted + ") date(0,ms)")
	w.line("http-request set-var(txn.used) var(txn.again),mul(txn.for) if", many)
	w.line("http-request set-var("+used+") var("+used+"),add(txn.used) if", many)
	w.line("http-request set-var(txn.all) var(txn.asked),mul("+itoa(retryBurst)+") if", many)
	w.line("http-request set-var("+spent+") var("+begun+"),add("+window+") if", many, "{ var("+used+"),sub(txn.all) gt 0 }")
	w.line("http-request set-var(txn.spared) bool(true) if { date(0,ms),sub(" + spent + ") lt 0 } || { src,table_gpc0(" + backend + ") gt 0 } || { date,sub(" + later + ") lt 0 }")
	w.line("http-request disable-l7-retry if { var(txn.spared) -m bool }")
	w.line("http-response set-var(" + later + ") date(" + itoa(spareTime) + ") if { status 503 } { res.fhdr(Retry-After) -m found }")
	failed := "if { status 500 502 503 } !{ var(txn.spared) -m bool } !{ var(txn.single) -m bool }"
	w.line("http-response track-sc0 src", failed)
	w.line("http-response sc-inc-gpc0(0)", failed)
}

// budgetOf gives the backends of svc that have one budget with backend: requests
// of a kind go through the one or the other, by how busy the service is.
func budgetOf(backend string, svc spec.Service) []string {
	pair := []string{BackendName(svc), EvenName(svc)}
	if spreads(svc) && slices.Contains(pair, backend) {
		return pair
	}
	return []string{backend}
}

// variableName gives the name of a backend as part of that of a variable.
func variableName(backend string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == ':' {
			return '_'
		}
		return r
	}, backend)
}
