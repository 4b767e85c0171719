package bench

import (
	"time"
)

// Allowed says which requests of a safe method a row may cost.
type Allowed string

// What may fail.
const (
	// AllowNone: no request.
	AllowNone Allowed = "none"
	// AllowOld: those under way, and those sent on a connection that was opened
	// before the address had moved. No new connection.
	AllowOld Allowed = "old"
	// AllowGap: these, and new connections made before the gap had ended, which
	// is bounded itself.
	AllowGap Allowed = "gap"
	// AllowBeside: as many as behind kolla-ansible's settings in the same run,
	// and some more: see Beside.
	AllowBeside Allowed = "beside"
	// AllowAny: nothing is promised of requests.
	AllowAny Allowed = "any"
)

// none marks a bound that is not promised.
const none time.Duration = -1

// A Promise is what a row may cost: the bounds that holdfast was built for. A
// duration of none is not promised.
type Promise struct {
	Text string // for people
	// Planned says that this is of planned work: nothing fails, whatever its
	// method, no connection is reset and no download is cut.
	Planned bool
	Failed  Allowed
	Gap     time.Duration // longest time without an answer on a new connection
	Slowest time.Duration // of the requests that succeed
	Two     time.Duration // for which more than one node has the address
	Connect time.Duration // longest time in which new connections find nobody; of planned work only
	Reset   bool          // what fails, fails at once: nothing runs into its timeout

	// Of a service that is busy, and its hosts. Beside is nil, and Ratio 0, where
	// that is not promised.
	Beside   *Beside
	NoneDown bool    // no host is marked down
	Ratio    float64 // of the requests that hosts see to those that clients sent
	Uploads  bool    // none is cut
}

// A Beside is a promise that is held against what kolla-ansible's settings cost
// in the same run.
type Beside struct {
	Failed int     // so many more may fail
	P99    float64 // so many times as long; 0: not promised
}

// promise makes one of which requests fail, and for how long new connections may have
// no answer; nothing else is promised.
func promise(text string, failed Allowed, gap time.Duration) Promise {
	return Promise{Text: text, Failed: failed, Gap: gap, Slowest: none, Two: none}
}
