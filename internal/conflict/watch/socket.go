package watch

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/internal/conflict"
	"holdfast/internal/ether"
	"holdfast/internal/rtnl"
)

// A socket hears and sends frames on one interface.
type socket struct {
	file  *os.File
	raw   syscall.RawConn
	index int
	mac   ether.MAC
	// joined keeps this host in the groups of VRRP, so that a switch that sends multicast
	// to who asked for it (RFC 4541) sends it here.
	joined []int
}

// open opens a socket on the interface l. It has no Ethernet address where there is none
// to ask (loopback): then there is nobody to hear either, which is errNobody.
func open(l rtnl.Link, s sieve) (*socket, error) {
	if l.Flags&(unix.IFF_LOOPBACK|unix.IFF_NOARP) != 0 || l.MAC() == (ether.MAC{}) {
		return nil, errNobody
	}
	// Protocol 0: it hears nothing before it has its filter.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket, which needs CAP_NET_RAW: %w", err)
	}
	c := &socket{file: os.NewFile(uintptr(fd), "packet socket"), index: l.Index, mac: l.MAC()}
	if err = c.prepare(fd, s); err == nil {
		c.raw, err = c.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	c.join()
	return c, nil
}

// errNobody says that an interface leads to nobody who could be heard.
var errNobody = errors.New("the interface has no Ethernet address")

func (c *socket) prepare(fd int, s sieve) error {
	program, err := s.program()
	if err != nil {
		return err
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}); err != nil {
		return fmt.Errorf("set the filter of a packet socket: %w", err)
	}
	// From Linux 4.20 on; before, what this host sends is told by its MAC address alone.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		return fmt.Errorf("have a packet socket not hear this host: %w", err)
	}
	for _, group := range []ether.MAC{{0x01, 0x00, 0x5e, 0, 0, 18}, {0x33, 0x33, 0, 0, 0, 18}} {
		m := unix.PacketMreq{Ifindex: int32(c.index), Type: unix.PACKET_MR_MULTICAST, Alen: 6}
		copy(m.Address[:], group[:])
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			return fmt.Errorf("hear multicast adverts: %w", err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: rtnl.NetworkOrder(unix.ETH_P_ALL), Ifindex: c.index}); err != nil {
		return fmt.Errorf("bind a packet socket: %w", err)
	}
	return nil
}

// join joins the groups. One that cannot be joined, because the family is switched
// off on the interface, is not used there either.
func (c *socket) join() {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			continue
		}
		c.joined = append(c.joined, fd)
		if family == unix.AF_INET {
			_ = unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: group4Addr().As4(), Ifindex: int32(c.index)})
		} else {
			_ = unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: group6Addr().As16(), Interface: uint32(c.index)})
		}
	}
}

func group4Addr() netip.Addr { return netip.AddrFrom4([4]byte{224, 0, 0, 18}) }
func group6Addr() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12}) }

// receive waits for the next frame, and gives its part of buf.
func (c *socket) receive(buf []byte) ([]byte, error) {
	var n int
	var err error
	closed := c.raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
	if err = errors.Join(closed, err); err != nil {
		return nil, fmt.Errorf("receive frames: %w", err)
	}
	return buf[:n], nil
}

// probe asks who has an address.
func (c *socket) probe(a netip.Addr) error {
	frame := conflict.Probe(c.mac, a)
	to := unix.SockaddrLinklayer{Protocol: rtnl.NetworkOrder(uint16(frame[12])<<8 | uint16(frame[13])), Ifindex: c.index, Halen: 6}
	copy(to.Addr[:], frame[:6])
	var err error
	closed := c.raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), frame, unix.MSG_DONTWAIT, &to) })
	if err = errors.Join(closed, err); err != nil {
		return fmt.Errorf("ask who has %v: %w", a, err)
	}
	return nil
}

func (c *socket) close() error {
	var errs []error
	for _, fd := range c.joined {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(append(errs, c.file.Close())...)
}
