package agent

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
)

// The channel between agents. What one agent asks another to do goes over the
// port of the agent-check, as one line "CONTROL" with a JSON object, answered
// by another. It is taken from the address of a controller and from a port
// below 1024, which only root of that host can bind: whoever can send that can
// send VRRP adverts too, and needs no leave of this agent to take a VIP.
const (
	controlPrefix = "CONTROL "
	// maxControl is the longest request or answer, in bytes.
	maxControl = 64 << 10
	// peerTimeout is how long a request may take, with what it has done.
	peerTimeout = 30 * time.Second
	// dialTimeout is how long a controller on the same network may take to
	// accept a connection: one lost packet, or its host is lost.
	dialTimeout = 1500 * time.Millisecond
	// Ports that a request comes from. Those below 600 are left to services.
	firstPrivileged, lastPrivileged = 600, 1023
)

// A peerCommand does what the agent of another controller, from, asks for.
type peerCommand func(ctx context.Context, from string, body json.RawMessage) (any, error)

// decoded gives the command that do carries out, of requests that are a Req.
func decoded[Req any](do func(ctx context.Context, from string, req Req) (any, error)) peerCommand {
	return func(ctx context.Context, from string, body json.RawMessage) (any, error) {
		var req Req
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, fmt.Errorf("the request is not understood: %w", err)
		}
		return do(ctx, from, req)
	}
}

// A peerRequest is what goes over the channel, and a peerReply what comes back.
type peerRequest struct {
	Command string          `json:"command"`
	Body    json.RawMessage `json:"body,omitempty"`
}

type peerReply struct {
	Error string          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// A peerError says why another agent did not do what it was asked for.
type peerError struct {
	controller string
	address    netip.AddrPort
	refusal    string // in the words of that agent; empty when it did not answer
	err        error  // of the connection
}

func (e *peerError) Error() string {
	if e.refusal != "" {
		return e.controller + ": " + e.refusal
	}
	return fmt.Sprintf("the agent of %s does not answer at %s: %v", e.controller, e.address, e.err)
}

func (e *peerError) Unwrap() error { return e.err }

// unanswered reports whether err says that an agent could not be asked.
func unanswered(err error) bool {
	e, ok := errors.AsType[*peerError](err)
	return ok && e.refusal == ""
}

// noAgent reports whether err says that the host answers, and no agent on it.
func noAgent(err error) bool { return unanswered(err) && errors.Is(err, syscall.ECONNREFUSED) }

// askPeer has the agent of another controller carry out a command, and decodes
// its answer into resp, unless that is nil. The error is a *peerError, but for
// a controller that the spec does not have.
func (a *Agent) askPeer(ctx context.Context, controller, command string, req, resp any) error {
	s := a.currentSpec()
	if s == nil {
		return errors.New("no spec is in force yet")
	}
	self, _ := s.Controller(a.opt.Controller)
	c, ok := s.Controller(controller)
	if !ok {
		return fmt.Errorf("no controller is called %q", controller)
	}
	to := netip.AddrPortFrom(c.Address, uint16(s.Agent.CheckPort))
	reply, err := converseWith(ctx, self.Address, to, command, req)
	if err != nil {
		return &peerError{controller: controller, address: to, err: err}
	}
	if reply.Error != "" {
		return &peerError{controller: controller, address: to, refusal: reply.Error}
	}
	if resp == nil {
		return nil
	}
	if err := json.Unmarshal(reply.Body, resp); err != nil {
		return &peerError{controller: controller, address: to, err: fmt.Errorf("its answer is not understood: %w", err)}
	}
	return nil
}

// converseWith sends one request from the address self, and reads its answer.
func converseWith(ctx context.Context, self netip.Addr, to netip.AddrPort, command string, req any) (peerReply, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return peerReply{}, fmt.Errorf("encode the request: %w", err)
	}
	line, err := json.Marshal(peerRequest{command, body})
	if err != nil {
		return peerReply{}, fmt.Errorf("encode the request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	conn, err := dialPrivileged(ctx, self, to)
	if err != nil {
		return peerReply{}, err
	}
	defer conn.Close()                                                           //nolint:errcheck // all was read, or it failed before
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // then it ends by itself
	defer stop()
	if _, err := conn.Write(append([]byte(controlPrefix), append(line, '\n')...)); err != nil {
		return peerReply{}, wordlessError{ended(ctx, err)}
	}
	var reply peerReply
	if err := json.NewDecoder(io.LimitReader(conn, maxControl)).Decode(&reply); err != nil {
		return peerReply{}, wordlessError{ended(ctx, fmt.Errorf("no answer: %w", err))}
	}
	return reply, nil
}

// A wordlessError is of a connection that was taken and then not answered on: what
// took it is stuck, or will not talk, but is not gone.
type wordlessError struct{ error }

func (e wordlessError) Unwrap() error { return e.error }

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

// control has one conversation of the channel; r has what follows controlPrefix.
func (s *checkServer) control(ctx context.Context, conn net.Conn, r io.Reader) {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // then it ends by itself
	defer stop()
	reply := s.obey(ctx, conn.RemoteAddr(), io.LimitReader(r, maxControl))
	if err := conn.SetDeadline(time.Now().Add(checkTimeout)); err != nil {
		return
	}
	if err := json.NewEncoder(conn).Encode(reply); err != nil {
		s.log.Warn("another agent was not answered", "remote", conn.RemoteAddr(), "error", err)
	}
}

// obey carries out one request of another agent.
func (s *checkServer) obey(ctx context.Context, remote net.Addr, r io.Reader) peerReply {
	from, err := netip.ParseAddrPort(remote.String())
	if err != nil || from.Port() > lastPrivileged {
		return peerReply{Error: "asked from a port that anybody can have"}
	}
	var req peerRequest
	if err := json.NewDecoder(r).Decode(&req); err != nil {
		return peerReply{Error: "the request is not understood: " + err.Error()}
	}
	answer, err := s.command(ctx, from.Addr().Unmap().WithZone(""), req)
	if err != nil {
		return peerReply{Error: err.Error()}
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return peerReply{Error: "the answer cannot be told: " + err.Error()}
	}
	return peerReply{Body: body}
}

// command carries out a request that came from the address of a controller.
func (a *Agent) command(ctx context.Context, from netip.Addr, req peerRequest) (any, error) {
	name := ""
	for _, c := range a.currentSpec().Controllers {
		if c.Address == from {
			name = c.Name
		}
	}
	do, known := a.peerCommands()[req.Command]
	if name == "" || !known {
		return nil, fmt.Errorf("holdfast %s has no command %q for other controllers; upgrade it", a.opt.Version, req.Command)
	}
	return do(ctx, name, req.Body)
}

// peerCommands gives what other agents may ask for.
func (a *Agent) peerCommands() map[string]peerCommand {
	return map[string]peerCommand{
		"drain":    a.drainCommand(a.drainHere),
		"undrain":  a.drainCommand(a.undrainHere),
		"handover": decoded(a.handoverHere),
		"prepare":  decoded(a.prepare),
		"reach":    decoded(a.tellReach),
		"moved":    decoded(a.moved),
		"giving":   decoded(a.stillGiving),
		"alive":    func(context.Context, string, json.RawMessage) (any, error) { return struct{}{}, nil },
		"hears":    decoded(a.hears),
		"prove":    decoded(a.prove),
	}
}
