package agent

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
	"time"

	"golang.org/x/sync/errgroup"

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

// A checkServer answers HAProxy's agent-check (HAProxy configuration manual,
// "agent-check"): each HAProxy sends "HOST SERVICE" and reads one line of
// states. Only controllers are answered. Where nobody answers, an HAProxy
// leaves a server as it is, so a dead agent changes nothing. It is also where
// other agents ask; see channel.go.
type checkServer struct {
	log *slog.Logger
	// answer gives the line for one service on one host, "" for none.
	answer func(host, service string) string
	// command carries out what the agent of another controller asks for.
	command func(ctx context.Context, from netip.Addr, req peerRequest) (any, error)

	mu      sync.Mutex // guards following
	allowed map[netip.Addr]bool
}

// allow sets the addresses that are answered.
func (s *checkServer) allow(addresses []netip.Addr) {
	allowed := make(map[netip.Addr]bool, len(addresses))
	for _, a := range addresses {
		allowed[a] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = allowed
}

func (s *checkServer) allows(remote netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allowed[remote]
}

// serve answers on listener, which it closes, until ctx ends. Its error is nil.
func (s *checkServer) serve(ctx context.Context, listener net.Listener) error {
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
				s.log.Warn("agent-check connections are not accepted", "error", err)
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
func (s *checkServer) class(remote netip.AddrPort) (connlimit.Class, bool) {
	if !s.allows(remote.Addr()) {
		s.log.Debug("agent-check from an address that is no controller's", "remote", remote)
		return connlimit.Class{}, false
	}
	if remote.Port() <= lastPrivileged {
		return connlimit.Class{Name: "commands", PerPeer: commandsOfOne}, true
	}
	return connlimit.Class{Name: "checks", PerPeer: checksOfOne}, true
}

// converse has one conversation. An HAProxy that says nothing readable gets no
// answer, which to it means no change.
func (s *checkServer) converse(ctx context.Context, conn net.Conn) {
	defer conn.Close() //nolint:errcheck // the answer was sent, or there is none
	if err := conn.SetDeadline(time.Now().Add(checkTimeout)); err != nil {
		return
	}
	r := bufio.NewReaderSize(conn, checkLine)
	line, err := readRequest(r)
	if start, is := bytes.CutPrefix(line, []byte(controlPrefix)); is && (err == nil || errors.Is(err, bufio.ErrBufferFull)) {
		s.control(ctx, conn, io.MultiReader(bytes.NewReader(bytes.Clone(start)), r))
		return
	}
	if err != nil {
		return
	}
	host, service, ok := strings.Cut(strings.TrimSpace(string(line)), " ")
	if !ok {
		return
	}
	answer := s.answer(host, service)
	if answer == "" {
		return
	}
	if _, err := fmt.Fprintln(conn, answer); err != nil {
		s.log.Debug("agent-check not answered", "remote", conn.RemoteAddr(), "error", err)
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
