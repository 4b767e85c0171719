// Package peer is the line between the agents of controllers. It listens on the port
// of the agent-check, where HAProxys ask how a service is to be used and other agents
// ask for commands, and asks the others there.
//
// It knows no command's business: handlers, and answers to HAProxys, are given to it.
package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/internal/auth"
	"holdfast/internal/connlimit"
)

const (
	// checkTimeout is how long one conversation with an HAProxy may take.
	checkTimeout = 2 * time.Second
	// checkLine is the longest request that is read: a host and a service.
	checkLine = 512
	// acceptPause keeps a failing accept from spinning.
	acceptPause = 50 * time.Millisecond
)

// Options is what a Server is made of.
type Options struct {
	// Version is holdfast's, for who asks for a command that is not among the Handlers.
	Version string
	// Answer gives what HAProxys are told of one service on one host, "" for nothing.
	Answer func(host, service string) string
	// Handlers carry out what the agents of other controllers ask for, by the
	// names of the commands.
	Handlers map[string]Handler
	// Peers asks the other agents, and has the name, the keys and the spec of this one.
	Peers *Client
	Log   *slog.Logger
}

// A Server answers HAProxy's agent-check (HAProxy configuration manual,
// "agent-check"): each HAProxy sends "HOST SERVICE" and reads one line of
// states. Only controllers are answered. Where nobody answers, an HAProxy
// leaves a server as it is, so a dead agent changes nothing. It is also where
// other agents ask.
type Server struct {
	opt Options

	lives auth.Lives  // of the agents that ask
	far   atomic.Bool // answers are sent with a TTL of 255

	mu          sync.Mutex // guards following
	controllers map[netip.Addr]string
	refused     Refusals
}

// NewServer makes a Server that answers nobody until Allow.
func NewServer(opt Options) *Server { return &Server{opt: opt} }

// Allow sets who is answered: the names of the controllers by their addresses.
func (s *Server) Allow(controllers map[netip.Addr]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.controllers = controllers
}

// controller gives the name of the one with that address; "" for none.
func (s *Server) controller(remote netip.Addr) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.controllers[remote]
}

// Serve answers on listener, which it closes, until ctx ends. Its error is nil. The TTL of
// what it sends cannot be set on a socket of multipath TCP.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	err := onSocket(listener, sendFar)
	s.far.Store(err == nil)
	if err != nil {
		s.opt.Log.Warn("what this agent answers others is not kept to this network", "error", err)
	}
	bounded := connlimit.Listen(listener, connlimit.Options{Classify: s.class})
	stop := context.AfterFunc(ctx, func() { bounded.Close() }) //nolint:errcheck // Accept says what went wrong
	defer stop()
	var conversations errgroup.Group
	said := ""
	for {
		conn, err := bounded.Accept()
		if ctx.Err() != nil {
			return conversations.Wait()
		}
		if err != nil { // out of descriptors, most likely: it passes
			if err.Error() != said {
				said = err.Error()
				s.opt.Log.Warn("agent-check connections are not accepted", "error", err)
			}
			time.Sleep(acceptPause)
			continue
		}
		said = ""
		conversations.Go(func() error { s.converse(ctx, conn); return nil })
	}
}

// How many conversations one controller may have at once. What only root of it
// can have opened has slots of its own, so that nobody who speaks from its
// address, a program of another user or a container, keeps commands from coming.
const (
	checksOfOne   = 256
	commandsOfOne = 16
)

// class tells commands from checks by the port that they come from.
func (s *Server) class(remote netip.AddrPort) (connlimit.Class, bool) {
	if s.controller(remote.Addr()) == "" {
		s.opt.Log.Debug("agent-check from an address that is no controller's", "remote", remote)
		return connlimit.Class{}, false
	}
	if remote.Port() <= lastPrivileged {
		return connlimit.Class{Name: "commands", PerPeer: commandsOfOne}, true
	}
	return connlimit.Class{Name: "checks", PerPeer: checksOfOne}, true
}

// converse has one conversation. An HAProxy that says nothing readable gets no
// answer, which to it means no change.
func (s *Server) converse(ctx context.Context, conn net.Conn) {
	defer conn.Close() //nolint:errcheck // the answer was sent, or there is none
	if err := conn.SetDeadline(time.Now().Add(checkTimeout)); err != nil {
		return
	}
	hops := s.nearer(conn)
	r := bufio.NewReaderSize(conn, checkLine)
	line, err := readRequest(r)
	if start, is := bytes.CutPrefix(line, []byte(controlPrefix)); is && (err == nil || errors.Is(err, bufio.ErrBufferFull)) {
		s.control(ctx, conn, hops, io.MultiReader(bytes.NewReader(bytes.Clone(start)), r))
		return
	}
	if err != nil {
		return
	}
	host, service, ok := strings.Cut(strings.TrimSpace(string(line)), " ")
	if !ok {
		return
	}
	answer := s.opt.Answer(host, service)
	if answer == "" {
		return
	}
	if _, err := fmt.Fprintln(conn, answer); err != nil {
		s.opt.Log.Debug("agent-check not answered", "remote", conn.RemoteAddr(), "error", err)
	}
}

// readRequest reads up to the end of a line, checkLine bytes at most. That is a
// line feed, or a carriage return from the servers that HAProxy was told of
// while it runs: no command of its runtime API can have a line feed.
func readRequest(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for len(line) < checkLine {
		c, err := r.ReadByte()
		if err != nil {
			return line, err
		}
		if line = append(line, c); c == '\n' || c == '\r' {
			return line, nil
		}
	}
	return line, bufio.ErrBufferFull
}
