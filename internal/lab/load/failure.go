package load

import (
	"context"
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// A Failure is the kind of a failed request; empty for one that succeeded.
type Failure string

// The kinds of failures.
const (
	Refused     Failure = "refused" // no one listens there
	Reset       Failure = "reset"
	Closed      Failure = "closed"      // before the answer was complete
	Timeout     Failure = "timeout"     // not answered in time
	Unreachable Failure = "unreachable" // no route, no neighbour
	ServerError Failure = "5xx"
	Corrupt     Failure = "corrupt"   // a body that is not what was sent
	Cancelled   Failure = "cancelled" // the load was stopped
	Other       Failure = "other"
)

// Classify gives the kind of err.
func Classify(err error) Failure {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return Timeout
	}
	if status, ok := errors.AsType[statusError](err); ok && status >= 500 {
		return ServerError
	}
	kinds := []struct {
		is   error
		kind Failure
	}{
		{errCorrupt, Corrupt},
		{context.DeadlineExceeded, Timeout},
		{os.ErrDeadlineExceeded, Timeout},
		{context.Canceled, Cancelled},
		{unix.ECONNREFUSED, Refused},
		{unix.ECONNRESET, Reset},
		{unix.EPIPE, Reset},
		{unix.ECONNABORTED, Reset},
		{io.ErrUnexpectedEOF, Closed},
		{io.EOF, Closed},
		{unix.EHOSTUNREACH, Unreachable},
		{unix.ENETUNREACH, Unreachable},
		{unix.ETIMEDOUT, Timeout},
	}
	for _, k := range kinds {
		if errors.Is(err, k.is) {
			return k.kind
		}
	}
	return Other
}
