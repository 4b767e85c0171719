// Package health judges the hosts of services by evidence: which of them is
// dead, which hangs, which is only late, which fails. Busy is not dead: a host
// is taken out for silence only when nothing at all comes from it while
// something waits there and another host of the service does answer.
//
// It is pure: it is told the time and what was read of HAProxy's counters, of
// sockets and of probes, and gives verdicts and what is to be done. It asks
// nobody; package probe, below it, and the agent do.
package health

import (
	"time"

	"holdfast/internal/status"
)

// A Key names one host of one service.
type Key struct{ Service, Host string }

// A CheckResult is what HAProxy's last finished check of a host found.
type CheckResult int

// The results.
const (
	NoCheck     CheckResult = iota // none has ended yet
	Passed                         // an answer that was expected
	Silent                         // a connection, and no answer in time
	Unreachable                    // no connection in time
	Refused                        // refused, reset or unreachable, said at once
	Wrong                          // an answer that was not expected
)

// A Reading is what is known of a host at one moment.
type Reading struct {
	Key
	InUse   bool // HAProxy sends it new requests
	Down    bool // HAProxy's checks, or the agent, have taken it out
	Falling bool // in use, and its last check failed
	Drained bool // taken out on purpose

	Answers  uint64 // that it gave since HAProxy started
	InFlight int    // requests that it has

	Checking  bool // a check is under way
	Check     CheckResult
	CheckTook time.Duration // of the last that ended
	Words     string        // what it found, for a person

	// Fails says how the host fails its clients while others serve them well;
	// empty when it does not.
	Fails string
	// CheckTime is how long a check may take before the host is late, and the
	// least time of silence after which it hangs.
	CheckTime time.Duration
	// Sockets is what its connections say; nil when they were not looked at.
	Sockets *Sockets
	// Probe is the last that was sent to it, finished or not; nil for none.
	Probe *Probe
}

// Sockets is what the kernel says of the connections to a host.
type Sockets struct {
	Waiting    int           // on which something was sent last, and nothing came since
	Longest    time.Duration // the longest of these without a byte either way
	Heard      time.Duration // since the last byte came on any; negative when none ever did
	Connecting int           // that the host has not accepted yet
}

// A Probe is a question of the agent's own to a host.
type Probe struct {
	Begun     time.Time
	Connected bool          // the host accepted the connection
	Refused   bool          // or refused it
	Ended     bool          // it is over; else it still waits
	Answered  bool          // a byte came back
	Took      time.Duration // until the answer or the failure
}

// A Verdict is what is thought of a host, and why.
type Verdict struct {
	Condition status.Condition // none where nothing is known
	Since     time.Time
	Evidence  string // for a person
}

// An Output is what the judge thinks, and what it wants done.
type Output struct {
	Verdicts map[Key]Verdict
	// Look are the hosts whose sockets are to be read for the next step.
	Look []Key
	// Ask are those that are to be probed now.
	Ask []Key
	// TakeOut are those which HAProxy is to count as down.
	TakeOut []Key
	// Keep are those which HAProxy is to count as up, although its checks of
	// them were not answered in time.
	Keep []Key
	// Cut are those whose connections are to be ended that have had no byte
	// either way for the time; none of the others.
	Cut map[Key]time.Duration
}
