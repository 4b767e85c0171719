package peer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"holdfast/internal/spec"
)

// What one agent asks another to do is one line "CONTROL" with a JSON object,
// answered by another. It is taken from the address of a controller and from a
// port below 1024, which only root of that host can bind: whoever can send that
// can send VRRP adverts too, and needs no leave of this agent to take a VIP.
const (
	controlPrefix = "CONTROL "
	// maxControl is the longest request or answer, in bytes.
	maxControl = 64 << 10
	// requestTimeout is how long a request may take, with what it has done.
	requestTimeout = 30 * time.Second
	// dialTimeout is how long a controller on the same network may take to
	// accept a connection: one lost packet, or its host is lost.
	dialTimeout = 1500 * time.Millisecond
	// Ports that a request comes from. Those below 600 are left to services.
	firstPrivileged, lastPrivileged = 600, 1023
)

// A Handler does what the agent of another controller, from, asks for. What it gives
// is encoded as JSON, and the text of its error is said to that agent.
type Handler func(ctx context.Context, from string, body json.RawMessage) (any, error)

// Handle gives the Handler that has do carry out requests that are a Req.
func Handle[Req any](do func(ctx context.Context, from string, req Req) (any, error)) Handler {
	return func(ctx context.Context, from string, body json.RawMessage) (any, error) {
		var req Req
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, fmt.Errorf("the request is not understood: %w", err)
		}
		return do(ctx, from, req)
	}
}

// A request is what goes over the line, and a reply what comes back.
type request struct {
	Command string          `json:"command"`
	Body    json.RawMessage `json:"body,omitempty"`
}

type reply struct {
	Error string          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// An Error says why another agent did not do what it was asked for.
type Error struct {
	Controller string
	Address    netip.AddrPort
	Refusal    string // in the words of that agent; empty when it did not answer
	Err        error  // of the connection; nil for a refusal
}

func (e *Error) Error() string {
	if e.Refusal != "" {
		return e.Controller + ": " + e.Refusal
	}
	return fmt.Sprintf("the agent of %s does not answer at %s: %v", e.Controller, e.Address, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Unanswered reports whether err says that an agent could not be asked.
func Unanswered(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Refusal == ""
}

// NoAgent reports whether err says that the host answers, and no agent on it.
func NoAgent(err error) bool { return Unanswered(err) && errors.Is(err, syscall.ECONNREFUSED) }

// A WordlessError is of a connection that was taken and then not answered on: what
// took it is stuck, or will not talk, but is not gone.
type WordlessError struct{ Err error }

func (e WordlessError) Error() string { return e.Err.Error() }

func (e WordlessError) Unwrap() error { return e.Err }

// A Client asks the agents of other controllers.
type Client struct {
	Controller string // this one's name in the spec
	// Spec gives the spec in force; nil while there is none.
	Spec func() *spec.Spec
}

// Ask has the agent of another controller carry out a command, and decodes its
// answer into resp, unless that is nil. The error is an *Error, but for a controller
// that the spec does not have.
func (c Client) Ask(ctx context.Context, controller, command string, req, resp any) error {
	s := c.Spec()
	if s == nil {
		return errors.New("no spec is in force yet")
	}
	self, _ := s.Controller(c.Controller)
	other, ok := s.Controller(controller)
	if !ok {
		return fmt.Errorf("no controller is called %q", controller)
	}
	to := netip.AddrPortFrom(other.Address, uint16(s.Agent.CheckPort))
	answer, err := converseWith(ctx, self.Address, to, command, req)
	if err != nil {
		return &Error{Controller: controller, Address: to, Err: err}
	}
	if answer.Error != "" {
		return &Error{Controller: controller, Address: to, Refusal: answer.Error}
	}
	if resp == nil {
		return nil
	}
	if err := json.Unmarshal(answer.Body, resp); err != nil {
		return &Error{Controller: controller, Address: to, Err: fmt.Errorf("its answer is not understood: %w", err)}
	}
	return nil
}

// converseWith sends one request from the address self, and reads its answer.
func converseWith(ctx context.Context, self netip.Addr, to netip.AddrPort, command string, req any) (reply, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return reply{}, fmt.Errorf("encode the request: %w", err)
	}
	line, err := json.Marshal(request{command, body})
	if err != nil {
		return reply{}, fmt.Errorf("encode the request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	conn, err := dialPrivileged(ctx, self, to)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()                                                           //nolint:errcheck // all was read, or it failed before
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // then it ends by itself
	defer stop()
	if _, err := conn.Write(append([]byte(controlPrefix), append(line, '\n')...)); err != nil {
		return reply{}, WordlessError{ended(ctx, err)}
	}
	var answer reply
	if err := json.NewDecoder(io.LimitReader(conn, maxControl)).Decode(&answer); err != nil {
		return reply{}, WordlessError{ended(ctx, fmt.Errorf("no answer: %w", err))}
	}
	return answer, nil
}

// ended gives the reason of ctx, if that is why err happened.
func ended(ctx context.Context, err error) error {
	return cmp.Or(ctx.Err(), err)
}

// dialPrivileged connects from a port of self that only root can have.
func dialPrivileged(ctx context.Context, self netip.Addr, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var last error
	for i := range lastPrivileged - firstPrivileged + 1 {
		// Which one does not matter, as long as two calls differ.
		port := firstPrivileged + (int(time.Now().UnixMicro())+i)%(lastPrivileged-firstPrivileged+1)
		dialer := net.Dialer{
			LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(self, uint16(port))),
			Control:   reuseAddress,
		}
		conn, err := dialer.DialContext(ctx, "tcp", to.String())
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return conn, err
		}
		last = err
	}
	return nil, last
}

// reuseAddress lets a port be used again whose last connection has just ended.
func reuseAddress(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	})
	return errors.Join(err, failed)
}
