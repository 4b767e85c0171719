// Package rtnl talks to the kernel by netlink: a Socket for requests of any of its
// protocols, and a Conn for those of rtnetlink, which has links, addresses, routes,
// rules and neighbours. It does one thing at a time, and decides nothing: who has which
// address, and when, is its caller's.
//
// The kernel answers within the request, so nothing here waits for another thread.
// The network namespace is that of the thread which first uses a Socket.
package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Socket is one netlink socket, opened when first used and kept: a request
// takes some tens of microseconds. It is not safe for concurrent use.
type Socket struct {
	// Family is the protocol: unix.NETLINK_SOCK_DIAG and so on. The zero one is
	// NETLINK_ROUTE.
	Family int

	conn *netlink.Conn
}

// patience bounds one request. The kernel answers at once or not at all.
const patience = 5 * time.Second

// Do sends one request and gives the kernel's replies. The kernel's own error
// is an Error. After any other failure the socket is closed, so that a late
// reply cannot be taken for that of the next request.
func (s *Socket) Do(request uint16, flags netlink.HeaderFlags, data []byte) ([]netlink.Message, error) {
	if err := s.Open(); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := s.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, s.dropped(err)
	}
	replies, err := s.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(request), Flags: netlink.Request | flags},
		Data:   data,
	})
	if err == nil {
		return replies, nil
	}
	if _, socket := errors.AsType[*os.SyscallError](err); !socket {
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			said, _ := errors.AsType[*netlink.OpError](err)
			return nil, Error{errno, said.Message}
		}
	}
	return nil, s.dropped(err)
}

// An Error is what the kernel answered. It wraps the syscall.Errno.
type Error struct {
	errno   syscall.Errno
	message string // more in words; may be empty
}

func (e Error) Unwrap() error { return e.errno }

func (e Error) Error() string {
	if e.message == "" {
		return e.errno.Error()
	}
	return e.errno.Error() + " (" + e.message + ")"
}

// errInterrupted says that what was listed changed meanwhile.
var errInterrupted = errors.New("the list changed while it was read")

// Dump gives all replies of a listing that nothing interrupted.
func (s *Socket) Dump(request uint16, data []byte) ([]netlink.Message, error) {
	for range 5 {
		replies, err := s.Do(request, netlink.Dump, data)
		if err != nil || !interrupted(replies) {
			return replies, err
		}
	}
	return nil, errInterrupted
}

func interrupted(replies []netlink.Message) bool {
	for _, m := range replies {
		if m.Header.Flags&netlink.DumpInterrupted != 0 {
			return true
		}
	}
	return false
}

// Open opens the socket in the network namespace of the calling thread, unless it is
// open. Do does so, too.
func (s *Socket) Open() error {
	if s.conn != nil {
		return nil
	}
	conn, err := netlink.Dial(s.Family, nil)
	if err != nil {
		return err
	}
	// Both make errors and listings better where the kernel has them, from 4.20 on.
	for _, option := range []netlink.ConnOption{netlink.ExtendedAcknowledge, netlink.GetStrictCheck} {
		if err := conn.SetOption(option, true); err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
			return errors.Join(err, conn.Close())
		}
	}
	s.conn = conn
	return nil
}

func (s *Socket) dropped(err error) error { return errors.Join(err, s.Close()) }

// Close closes the socket, if it is open. It can be used again.
func (s *Socket) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

// HostPrefix gives a as a prefix of its own.
func HostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// FamilyOf gives AF_INET or AF_INET6.
func FamilyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// NetworkOrder gives v as the kernel stores a big-endian number.
func NetworkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// Request gives the bytes of a request: header and attributes.
func Request(header []byte, e *netlink.AttributeEncoder) ([]byte, error) {
	attributes, err := e.Encode()
	if err != nil {
		return nil, fmt.Errorf("write netlink request: %w", err)
	}
	return append(header, attributes...), nil
}
