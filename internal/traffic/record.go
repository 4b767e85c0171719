// Package traffic says what clients got: how many requests of a service were answered, with
// which code and how soon, and how many were not, and why; and what a fault or a planned
// move cost them. It is told by HAProxy's log, a line for each request or TCP session.
//
// It is pure: it is told the lines and the time. What it keeps is bounded by the services
// that there are, and made when these are told.
package traffic

import "time"

// A Record is what one line of HAProxy's log says of a request, or of a TCP session. Its
// names are parts of the line.
type Record struct {
	Frontend, Backend, Server []byte
	// Asked is the service that was asked for, of a frontend that many share; nil: not said.
	Asked []byte
	TCP   bool
	// Status is the code that the client got; 0 for none.
	Status int
	// The times, of HAProxy's TR, Tw, Tc, Tr and Ta (Tt of TCP), to a millisecond:
	// negative for what did not come about.
	Request, Queue, Connect, Response, Total time.Duration
	// Term is how it ended, and in which phase: HAProxy's termination state.
	Term [2]byte
	// Retries is how often it was sent again; Redispatched says that the last time was to
	// another host.
	Retries      int
	Redispatched bool
	// Bad says that no request could be read.
	Bad bool
}

// NoServer reports whether no host had it.
func (r *Record) NoServer() bool { return len(r.Server) > 0 && r.Server[0] == '<' }

// FirstByte gives how long the client waited for the first octet of a host's answer since
// its request was complete; false where none came, and of TCP.
func (r *Record) FirstByte() (time.Duration, bool) {
	if r.TCP || r.Response < 0 || r.Status == 0 {
		return 0, false
	}
	return max(r.Queue, 0) + max(r.Connect, 0) + r.Response, true
}

// Waited gives how long the client waited for an answer, whether one came or not.
func (r *Record) Waited() time.Duration {
	if first, ok := r.FirstByte(); ok {
		return max(r.Request, 0) + first
	}
	return max(r.Total, 0)
}
