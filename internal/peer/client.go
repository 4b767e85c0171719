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

	"holdfast/internal/auth"
	"holdfast/internal/spec"
)

// What one agent asks another to do is one line "CONTROL" with a JSON object,
// answered by another. It is taken from the address of a controller, from a port
// below 1024, which only root of that host can bind, and with a TTL of 255. Where there
// is a key, request and answer are signed with it; see package auth. One that comes from
// a life of an agent that is not known is answered with a doubt, and sent again with
// the challenge that this has.
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
	Auth    *auth.Claim     `json:"auth,omitempty"`
}

// parts gives what the claim of r is about.
func (r request) parts() [][]byte { return [][]byte{[]byte(r.Command), r.Body} }

type reply struct {
	Error string          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
	// TTL is the one that this agent sends with, and wants: 255. Earlier releases have none.
	TTL int `json:"ttl,omitempty"`
	// Doubt says that this is no answer: the request is to be sent again with the
	// challenge of Auth.
	Doubt bool        `json:"doubt,omitempty"`
	Auth  *auth.Claim `json:"auth,omitempty"`
}

// parts gives what the claim of r is about.
func (r reply) parts() [][]byte { return [][]byte{[]byte(r.Error), r.Body} }

// A refusal is the body of a reply with an error, where there is more to say.
type refusal struct {
	Later bool `json:"later"` // it was an ErrLater
}

// An Error says why another agent did not do what it was asked for.
type Error struct {
	Controller string
	Address    netip.AddrPort
	Refusal    string // in the words of that agent; empty when it did not answer
	Err        error  // of the connection; ErrLater, or nil, for a refusal
}

// ErrLater marks what a Handler refuses for moments only, since it does something else
// first: who asks again soon may get another answer. It is told over the line.
var ErrLater = errors.New("try again in a moment")

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
	// Policy gives the keys, and what is done with them, and Voice is what signs. Where
	// either is nil, nothing is signed.
	Policy func() auth.Policy
	Voice  *auth.Voice

	near nearness
}

// policy gives the one in force.
func (c *Client) policy() auth.Policy {
	if c.Policy == nil || c.Voice == nil {
		return auth.Policy{}
	}
	return c.Policy()
}

// Ask has the agent of another controller carry out a command, and decodes its
// answer into resp, unless that is nil. The error is an *Error, but for a controller
// that the spec does not have.
func (c *Client) Ask(ctx context.Context, controller, command string, req, resp any) error {
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
	answer, err := c.converse(ctx, self.Address, to, controller, command, req)
	if err != nil {
		return &Error{Controller: controller, Address: to, Err: err}
	}
	if answer.Error != "" {
		refused := &Error{Controller: controller, Address: to, Refusal: answer.Error}
		var more refusal
		if json.Unmarshal(answer.Body, &more) == nil && more.Later {
			refused.Err = ErrLater
		}
		return refused
	}
	if resp == nil {
		return nil
	}
	if err := json.Unmarshal(answer.Body, resp); err != nil {
		return &Error{Controller: controller, Address: to, Err: fmt.Errorf("its answer is not understood: %w", err)}
	}
	return nil
}

// converse sends one request from the address self to a controller, and reads its answer.
func (c *Client) converse(ctx context.Context, self netip.Addr, to netip.AddrPort, controller, command string, body any) (reply, error) {
	req := request{Command: command}
	var err error
	if req.Body, err = json.Marshal(body); err != nil {
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
	// Not before: that a host has no agent it says itself, with the TTL that its kernel likes.
	if near, _ := c.near.look(controller); near {
		if err := onSocket(conn, hearNear); err != nil {
			return reply{}, err
		}
	}
	answer, err := c.exchange(conn, controller, req)
	if err != nil {
		// It may be one of an earlier release again, which answers from farther away.
		c.near.forget(controller)
		return reply{}, WordlessError{ended(ctx, err)}
	}
	c.near.note(controller, answer.TTL == farthest)
	onSocket(conn, hearAll) //nolint:errcheck // it only ends sooner
	return answer, nil
}

// exchange sends a request on conn and gives the answer, which is proven where it has
// to be.
func (c *Client) exchange(conn net.Conn, controller string, req request) (reply, error) {
	policy := c.policy()
	if policy.Signs() {
		claim, err := c.Voice.Claim(controller)
		if err != nil {
			return reply{}, err
		}
		claim = policy.Keys.Sign(auth.Request, claim, req.parts()...)
		req.Auth = &claim
	}
	answers := json.NewDecoder(io.LimitReader(conn, 2*maxControl))
	answer, err := once(conn, answers, controlPrefix, req)
	if err != nil {
		return reply{}, err
	}
	if answer.Doubt && answer.Auth != nil && req.Auth != nil {
		if err := policy.Keys.VerifyAnswer(auth.Doubt, *answer.Auth, *req.Auth); err != nil {
			return reply{}, fmt.Errorf("its answer is not taken: %w", err)
		}
		claim := *req.Auth
		claim.Challenge = answer.Auth.Challenge
		claim = policy.Keys.Sign(auth.Request, claim, req.parts()...)
		req.Auth = &claim
		if answer, err = once(conn, answers, "", req); err != nil {
			return reply{}, err
		}
	}
	if err := proven(policy, req, answer); err != nil {
		return reply{}, err
	}
	return answer, nil
}

// once sends req after prefix, and reads what comes.
func once(conn net.Conn, answers *json.Decoder, prefix string, req request) (reply, error) {
	line, err := json.Marshal(req)
	if err != nil {
		return reply{}, fmt.Errorf("encode the request: %w", err)
	}
	if _, err := conn.Write(append([]byte(prefix), append(line, '\n')...)); err != nil {
		return reply{}, err
	}
	var answer reply
	if err := answers.Decode(&answer); err != nil {
		return reply{}, fmt.Errorf("no answer: %w", err)
	}
	return answer, nil
}

// proven says why the answer to a request is not to be taken; nil: it is.
func proven(policy auth.Policy, req request, answer reply) error {
	switch {
	case req.Auth == nil:
		return nil
	case answer.Auth != nil:
		if err := policy.Keys.VerifyAnswer(auth.Answer, *answer.Auth, *req.Auth, answer.parts()...); err != nil {
			return fmt.Errorf("its answer is not taken: %w", err)
		}
	case policy.Demands() && answer.Error != "":
		return fmt.Errorf("it refuses, and does not sign that: %s", answer.Error)
	case policy.Demands():
		return errors.New("its answer is not signed with the key of the controllers, and authentication is strict here")
	}
	return nil
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
			Control:   options,
		}
		conn, err := dialer.DialContext(ctx, "tcp", to.String())
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return conn, err
		}
		last = err
	}
	return nil, last
}

// options sets those of a socket that asks: its port may be used again whose last
// connection has just ended, and it sends with a TTL of 255.
func options(network, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = errors.Join(syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1), sendFar(int(fd), isIPv6(network)))
	})
	return errors.Join(err, failed)
}
