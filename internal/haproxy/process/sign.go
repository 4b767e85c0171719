package process

import (
	"errors"
	"net"
	"slices"
	"syscall"

	"holdfast/internal/haproxy/runtime"
)

// A Sign is what asking HAProxy for a sign of life in one way has given.
type Sign int

// The signs.
const (
	// NoSign proves nothing: HAProxy was not asked, or not reached in this way.
	NoSign Sign = iota
	// Answered is anything that only a process that lives does: it sent an
	// octet, of whatever protocol, or closed the connection in good order.
	Answered
	// Silent is a HAProxy that was reached, and from which nothing came.
	Silent
	// Refused is a port that nobody listens on.
	Refused
	// Unable is an agent that lacks what it needs to ask: descriptors.
	Unable
)

// WorseThan reports whether s tells more against HAProxy than t does.
func (s Sign) WorseThan(t Sign) bool {
	order := []Sign{NoSign, Answered, Unable, Refused, Silent}
	return slices.Index(order, s) > slices.Index(order, t)
}

// asked is what one try to get a sign of life found.
type asked struct {
	runtime   Sign // of the runtime socket
	unasked   bool // that one was not asked: the listeners have answered
	listeners Sign // of the VIPs' own listeners
	full      bool // HAProxy has all the connections that it may have
	reloading bool // a reload is under way: listeners come and go
}

// judge says what one try says of HAProxy. Whatever comes from a listener
// proves that it lives, a request in the wrong protocol included, which is what
// the first ones after a reload that switches TLS on or off are. A way that leads
// to nobody proves nothing: the other one decides, and where that was not asked
// nothing does. Nor does silence in a reload, which has a limit of its own: what
// listens is the old worker no more, and the new one not yet.
func (a asked) judge() verdict {
	deaf := a.listeners == Silent || a.listeners == Refused
	switch {
	case a.listeners == Answered:
		return alive
	case a.listeners == Unable, a.runtime == Unable:
		return unsure
	case a.reloading && (deaf || a.runtime != Answered):
		return unsure
	case a.runtime == Silent:
		return silent
	case a.runtime == Answered && (!deaf || a.full):
		return alive
	case deaf:
		return silent
	}
	return unsure
}

// nothing reports whether HAProxy was not reached in any way.
func (a asked) nothing() bool { return a.runtime == NoSign && a.listeners == NoSign }

// signOf says what err proves, which is what asking on a socket of HAProxy's
// gave. What is no error of the connection is HAProxy's own word, or a reply
// that was not understood.
func signOf(err error) Sign {
	_, unreached := errors.AsType[*net.OpError](err)
	switch {
	case runtime.OutOfFiles(err):
		return Unable
	case runtime.TimedOut(err), errors.Is(err, syscall.EAGAIN): // its queue is full
		return Silent
	case unreached:
		return NoSign
	}
	return Answered
}

// SignOfDial says what it proves that not a single octet came from a listener
// of HAProxy's, but err. What says that the connection had no way to it, or no
// port to begin at, is about this host's network.
func SignOfDial(err error) Sign {
	_, unreached := errors.AsType[*net.OpError](err)
	switch {
	case runtime.OutOfFiles(err):
		return Unable
	case runtime.TimedOut(err):
		return Silent
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case unreached:
		return NoSign
	}
	return Silent
}
