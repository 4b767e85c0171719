package traffic

// An Outcome is what became of a request or session.
type Outcome uint8

// The outcomes.
const (
	Answered Outcome = iota // whole, with a code below 500
	Failed                  // whole, with a code of 500 or more that a host gave
	Refused                 // HAProxy answered in a host's place, or had to end it; see Cause
	Cut                     // the answer had begun, or the host had it, and it was cut off
	GaveUp                  // the client went before its answer was whole
	Noise                   // no request: a port that was looked at, a client that never spoke
)

// A Cause is why HAProxy answered in the place of a host.
type Cause uint8

// The causes. There are no others, so that what is counted by them is bounded.
const (
	NoCause        Cause = iota
	NoHost               // no host of the service takes requests
	NotConnected         // hosts refused the connection, or could not be reached
	ConnectTimeout       // a host did not accept in time
	QueueTimeout         // it waited in the queue for too long
	NoAnswer             // the host ended the connection without an answer
	AnswerTimeout        // the host did not answer in time
	BadAnswer            // what the host answered is no HTTP
	BadRequest           // what the client sent is no HTTP, or too long
	RequestTimeout       // the client did not send all of its request in time
	Denied               // by a rule: by its address
	NoResource           // HAProxy lacks memory, sockets or ports
	OtherCause
	RateLimited  // its client sent more than its limit
	FailedLogins // its client failed to get a token too often
	Maintenance  // its service is closed
	causes
)

// Causes gives all causes.
func Causes() []Cause {
	all := make([]Cause, 0, causes-1)
	for c := NoHost; c < causes; c++ {
		all = append(all, c)
	}
	return all
}

// String names c, stable over releases: docs/json.md lists the names.
func (c Cause) String() string {
	return [...]string{
		"", "no-host", "not-connected", "connect-timeout", "queue-timeout", "no-answer", "answer-timeout",
		"bad-answer", "bad-request", "request-timeout", "denied", "no-resource", "other", "rate-limited", "failed-logins", "maintenance",
	}[c]
}

// Outcome says what became of r, by its termination state (configuration manual 8.5). The
// first letter is who ended it: C the client, S the host, P HAProxy, L HAProxy by a rule
// that answers, R a resource that was short, I an error within, D a host that was found
// down, U one that came back, K an operator; in lower case c and s, time that ran out. The
// second is the phase: R the request, Q the queue, C the connection to a host, H the head of
// the answer, D its body, L its last part.
func (r *Record) Outcome() (Outcome, Cause) {
	if r.TCP {
		return r.session()
	}
	who, phase := r.Term[0], r.Term[1]
	switch who {
	case '-', 'L':
		return r.whole()
	case 'C':
		if phase == 'R' {
			return Noise, NoCause
		}
		return GaveUp, NoCause
	case 'c':
		if phase == 'R' { // most often a browser's connection for later
			return Noise, RequestTimeout
		}
		return GaveUp, NoCause
	case 'P':
		return r.byHAProxy()
	case 'S', 's':
		return r.byHost()
	case 'R':
		return Refused, NoResource
	case 'D', 'K', 'U':
		return Cut, NoCause
	}
	return Refused, OtherCause
}

// whole says what became of one that has ended as it should.
func (r *Record) whole() (Outcome, Cause) {
	switch {
	case r.Status == 429 && r.NoServer():
		return Refused, FailedLogins
	case r.Status >= 500 && r.NoServer():
		return Refused, OtherCause
	case r.Status >= 500:
		return Failed, NoCause
	}
	return Answered, NoCause
}

// byHAProxy says what became of one that HAProxy itself has ended.
func (r *Record) byHAProxy() (Outcome, Cause) {
	switch r.Term[1] {
	case 'R', 'T':
		if r.Bad || r.Status == 400 || r.Status == 414 || r.Status == 431 {
			return Refused, BadRequest
		}
		switch r.Status {
		case 429:
			return Refused, RateLimited
		case 503:
			return Refused, Maintenance
		}
		return Refused, Denied
	case 'H':
		return Refused, BadAnswer
	case 'D', 'L':
		return Cut, NoCause
	}
	return Refused, OtherCause
}

// byHost says what became of one that a host has ended, or the time for it.
func (r *Record) byHost() (Outcome, Cause) {
	inTime := r.Term[0] == 'S'
	switch r.Term[1] {
	case 'Q':
		if inTime {
			return Refused, NoHost
		}
		return Refused, QueueTimeout
	case 'C':
		switch {
		case r.NoServer():
			return Refused, NoHost
		case inTime:
			return Refused, NotConnected
		}
		return Refused, ConnectTimeout
	case 'H':
		if inTime {
			return Refused, NoAnswer
		}
		return Refused, AnswerTimeout
	case 'R': // while its body was being sent
		return Refused, NoAnswer
	}
	return Cut, NoCause
}

// session says what became of a TCP session: that a client or an idle time ends it is as it
// should be.
func (r *Record) session() (Outcome, Cause) {
	who, phase := r.Term[0], r.Term[1]
	switch {
	case who == 'R':
		return Refused, NoResource
	case who == 'D' || who == 'K' || who == 'U':
		return Cut, NoCause
	case who == 'S' && phase == 'D':
		return Cut, NoCause
	case phase == 'Q' || phase == 'C':
		if who == 'C' || who == 'c' {
			return GaveUp, NoCause
		}
		return r.byHost()
	case who == 'P' && phase == 'R':
		return Refused, Denied
	case who == 'P' || who == 'I':
		return Refused, OtherCause
	}
	return Answered, NoCause
}

// Felt reports whether a client whose request came to that felt a failure of the cloud: an
// answer of 500 or more, or none that was whole. A client that gave up is counted by
// itself.
func (r *Record) Felt(o Outcome) bool {
	if r.Term == [2]byte{'P', 'R'} && (r.TCP || r.Status == 503) {
		return false // a rule of the spec turned it away, or its service is in maintenance
	}
	return o == Failed || o == Cut || o == Refused && (r.TCP || r.Status == 0 || r.Status >= 500)
}
