package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Controllers are on one network, so what one sends arrives with the TTL, or hop limit,
// that it was sent with (RFC 5082). What a host forwards in another's name, as that of a
// container behind masquerading, arrives with less.

// farthest is the TTL of all that agents send each other.
const farthest = 255

// isIPv6 reports whether a socket of that network, as package net names it, is of IPv6.
func isIPv6(network string) bool { return network == "tcp6" }

// sendFar has a socket send with a TTL of 255.
func sendFar(fd int, v6 bool) error {
	// A socket of IPv6 may have connections of IPv4, too.
	err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, farthest)
	if v6 {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, farthest))
	}
	if err != nil {
		return fmt.Errorf("set the TTL of a socket to %d: %w", farthest, err)
	}
	return nil
}

// hearNear has the kernel drop what comes to a socket with less than a TTL of 255.
func hearNear(fd int, v6 bool) error { return hearFrom(fd, v6, farthest) }

// hearAll undoes hearNear, for a connection that is to end: the kernel acknowledges the
// end of one that it has closed with a TTL of its own, and whoever did not hear that
// would say the end again for minutes, on a port that nothing else can then ask from.
func hearAll(fd int, v6 bool) error { return hearFrom(fd, v6, 0) }

// hearFrom sets the least TTL that a socket takes.
func hearFrom(fd int, v6 bool, ttl int) error {
	err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, ttl)
	if v6 {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, ttl))
	}
	if err != nil {
		return fmt.Errorf("set the least TTL of a socket to %d: %w", ttl, err)
	}
	return nil
}

// onSocket calls f with the descriptor of a listener or a connection, and whether it is
// of IPv6.
func onSocket(of any, f func(fd int, v6 bool) error) error {
	with, ok := of.(syscall.Conn)
	if !ok {
		return nil // of a test
	}
	raw, err := with.SyscallConn()
	if err != nil {
		return fmt.Errorf("ask for a socket: %w", err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		if failed = err; err == nil {
			failed = f(int(fd), domain == unix.AF_INET6)
		}
	})
	return errors.Join(err, failed)
}

// arrived gives the TTL, or hop limit, with which the handshake of a connection that was
// accepted arrived; 0 where the kernel does not say.
func arrived(conn net.Conn) int {
	ttl := 0
	err := onSocket(conn, func(fd int, v6 bool) error {
		// An accepted connection has it where a socket for datagrams has the hops of
		// what it sends to groups. Of a socket of IPv6 only the one of its two families
		// has a value that came from the network.
		v6 = v6 && !isMapped(conn.RemoteAddr())
		level, want, get, is := unix.IPPROTO_IP, unix.IP_RECVTTL, unix.IP_PKTOPTIONS, int32(unix.IP_TTL)
		if v6 {
			level, want, get, is = unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, unix.IPV6_2292PKTOPTIONS, int32(unix.IPV6_HOPLIMIT)
		}
		if err := unix.SetsockoptInt(fd, level, want, 1); err != nil {
			return err
		}
		control, err := getsockopt(fd, level, get)
		if err != nil {
			return err
		}
		for len(control) >= unix.SizeofCmsghdr {
			h, data, rest, err := unix.ParseOneSocketControlMessage(control)
			if err != nil {
				return err
			}
			if control = rest; h.Type == is && len(data) >= 4 {
				ttl = int(int32(binary.NativeEndian.Uint32(data)))
			}
		}
		return nil
	})
	if err != nil {
		return 0
	}
	return ttl
}

// isMapped reports whether addr is one of IPv4.
func isMapped(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.To4() != nil
}

// getsockopt gives a socket option that is no number, which package unix has for
// some only.
func getsockopt(fd, level, option int) ([]byte, error) {
	var value [128]byte
	length := uint32(len(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return nil, errno
	}
	return value[:min(int(length), len(value))], nil
}

// nearness knows of each controller whether its agent sends with a TTL of 255, which those
// of earlier releases do not. It is learned from what this agent asks the others: where
// it asks, nobody answers in their names.
type nearness struct {
	mu sync.Mutex // guards following
	of map[string]near
}

type near struct {
	is bool
	at time.Time // when it was last seen
}

// oldFor is how long an agent that does not send with a TTL of 255 is taken for one that
// still does not: longer than two questions whether adverts arrive are apart.
const oldFor = 10 * time.Second

// note takes in what the agent of a controller does.
func (n *nearness) note(controller string, is bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil {
		n.of = map[string]near{}
	}
	n.of[controller] = near{is, time.Now()}
}

// forget forgets a controller, which does not answer.
func (n *nearness) forget(controller string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.of, controller)
}

// look gives what the agent of a controller does, and whether that is known.
func (n *nearness) look(controller string) (is, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, known := n.of[controller]
	return c.is, known && (c.is || time.Since(c.at) < oldFor)
}
