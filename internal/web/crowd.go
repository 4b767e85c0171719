package web

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/connlimit"
	"holdfast/internal/status"
)

// Who may have how many connections to the page at once. Controllers ask each
// other for what status, drain and the page of each are made from, so they have
// slots that nobody else can take.
const (
	connectionsOfOne       = 64
	connectionsOfStrangers = 768

	// pace is how far apart connections of all but controllers are worked on.
	pace = time.Millisecond

	controllersClass = "controllers"
)

// class tells the controllers of the spec from all others.
func (s *Server) class(remote netip.AddrPort) (connlimit.Class, bool) {
	for _, t := range s.opt.Controllers() {
		if at, err := netip.ParseAddrPort(t.Addr); err == nil && at.Addr() == remote.Addr() {
			return connlimit.Class{Name: controllersClass, PerPeer: connectionsOfOne}, true
		}
	}
	return connlimit.Class{Name: "strangers", Total: connectionsOfStrangers, PerPeer: connectionsOfOne, Network: true}, true
}

// crowdMemory is how long it is told that connections were refused.
const crowdMemory = time.Minute

// A crowd is what is known of connections that were refused, for there were too
// many.
type crowd struct {
	mu      sync.Mutex // guards following
	first   time.Time  // of those told of
	last    time.Time
	from    netip.Addr // who came last
	refused int        // since first
}

// tooMany notes that a connection was refused, and logs the first one in a while.
func (s *Server) tooMany(remote netip.AddrPort, _ connlimit.Class) {
	now := s.opt.Now()
	if s.crowd.add(remote.Addr(), now) {
		s.opt.Log.Warn("connections to the page are refused: too many are open", "from", remote.Addr())
	}
}

// add notes one that was refused at now, and reports whether none was for a while.
func (c *crowd) add(from netip.Addr, now time.Time) (fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fresh = c.refused == 0 || now.Sub(c.last) > crowdMemory; fresh {
		c.first, c.refused = now, 0
	}
	c.last, c.from = now, from
	c.refused++
	return fresh
}

// finding says that connections were refused within the last while; nil if not.
func (c *crowd) finding(controller string, now time.Time) *status.Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == 0 || now.Sub(c.last) > crowdMemory {
		return nil
	}
	return &status.Finding{
		Severity: status.Warning, Code: status.CodePageCrowded, Subject: "controller " + controller,
		Text: fmt.Sprintf("its page has refused %s since %s, last from %s: one address may have %d at once, and all but controllers %d together",
			status.Count(c.refused, "connection"), c.first.UTC().Format("15:04:05 UTC"), c.from, connectionsOfOne, connectionsOfStrangers),
		Remedy: "see with ss -tn who has them open; what controllers ask each other has its own, and goes on",
	}
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// socketOf gives the socket of a request's connection; nil where it has none.
func socketOf(ctx context.Context) syscall.RawConn {
	conn, _ := ctx.Value(connKey{}).(net.Conn)
	if inner, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = inner.NetConn()
	}
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	socket, err := raw.SyscallConn()
	if err != nil {
		return nil
	}
	return socket
}

// boundBuffer has the kernel keep little for a client who does not read, and end a
// connection of whose client nothing is heard, as of a machine that is switched off. Where
// the kernel refuses, the client is cut by the deadlines of writes alone.
func boundBuffer(socket syscall.RawConn) {
	_ = socket.Control(func(fd uintptr) { //nolint:errcheck // see above
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, streamBuffer)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(quietTimeout.Milliseconds()))
	})
}

// awaitRoom waits until the kernel takes more for the client, or the deadline of writes.
func awaitRoom(socket syscall.RawConn) error {
	return socket.Write(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, 0)
		return err != nil || n > 0
	})
}
