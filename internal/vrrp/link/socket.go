package link

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"holdfast/internal/vrrp"
)

// A socket is a raw socket for the adverts of one virtual router. It is not
// bound to the source address, else it would not receive what is multicast;
// every advert names its source instead.
type socket struct {
	fd     int
	own    netip.Addr
	from   []byte // control message that names own as the source
	to4    unix.SockaddrInet4
	to6    unix.SockaddrInet6
	packet []byte
	oob    [128]byte
	closed func()
}

const (
	// trafficClass is CS6, network control (RFC 4594 section 3.1): adverts are
	// not to wait behind the traffic whose failover they decide.
	trafficClass = 0xc0
	priority     = 6 // TC_PRIO_INTERACTIVE, the highest without CAP_NET_ADMIN
	// maxPacket is more than the longest advert with an IPv4 header with options.
	maxPacket = 8 + 255*16 + 60
)

// openSocket opens the socket of the router with o, ready to send and to receive.
func (h *linux) openSocket(o *Options) (*socket, error) {
	family := unix.AF_INET
	if o.Source.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, vrrp.Protocol)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("open a raw socket: %w (needs CAP_NET_RAW)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	s := &socket{fd: fd, own: o.Source, packet: make([]byte, maxPacket), closed: func() {}}
	if err := h.configure(s, o); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return s, nil
}

// configure sets all options, and finds the source of adverts.
func (h *linux) configure(s *socket, o *Options) error {
	if err := s.filter(o); err != nil {
		return err
	}
	index := 0
	if o.Multicast {
		var err error
		if index, err = h.control.Index(o.Interface); err != nil {
			return fmt.Errorf("look for interface %s: %w", o.Interface, err)
		}
		if err := unix.BindToDevice(s.fd, o.Interface); err != nil {
			return fmt.Errorf("bind to interface %s: %w", o.Interface, err)
		}
		if s.own.Is6() {
			if s.own, err = linkLocal(&h.routes, index, o.Addresses); err != nil {
				return fmt.Errorf("interface %s: %w", o.Interface, err)
			}
		}
	}
	if err := setInts(s.fd, []option{{"priority", unix.SOL_SOCKET, unix.SO_PRIORITY, priority}}); err != nil {
		return err
	}
	if s.own.Is4() {
		return s.configure4(o, index)
	}
	return s.configure6(o, index)
}

// filter lets the kernel drop the adverts of other virtual routers. The router
// id is the second octet of the message (RFC 9568 section 5.2.3).
func (s *socket) filter(o *Options) error {
	const id = 1
	load := []bpf.Instruction{bpf.LoadAbsolute{Off: id, Size: 1}} // IPv6: without header
	if o.Source.Is4() {
		load = []bpf.Instruction{bpf.LoadMemShift{Off: 0}, bpf.LoadIndirect{Off: id, Size: 1}}
	}
	raw, err := bpf.Assemble(append(load,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(o.VRID), SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	))
	if err != nil {
		return fmt.Errorf("make a filter for router id %d: %w", o.VRID, err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return fmt.Errorf("set a filter for router id %d: %w", o.VRID, err)
	}
	return nil
}

// An option is a socket option with an integer.
type option struct {
	name              string
	level, key, value int
}

func setInts(fd int, options []option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.key, o.value); err != nil {
			return fmt.Errorf("set %s of a raw socket to %d: %w", o.name, o.value, err)
		}
	}
	return nil
}

func (s *socket) configure4(o *Options, index int) error {
	s.from = unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(index), Spec_dst: s.own.As4()})
	err := setInts(s.fd, []option{
		{"TTL", unix.IPPROTO_IP, unix.IP_TTL, vrrp.TTL},
		{"type of service", unix.IPPROTO_IP, unix.IP_TOS, trafficClass},
		{"multicast TTL", unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, vrrp.TTL},
		{"multicast loop", unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0},
	})
	if err != nil || !o.Multicast {
		return err
	}
	group := unix.IPMreqn{Multiaddr: vrrp.Group4().As4(), Ifindex: int32(index)}
	if err := unix.SetsockoptIPMreqn(s.fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &group); err != nil {
		return fmt.Errorf("join %v on %s: %w", vrrp.Group4(), o.Interface, err)
	}
	send := unix.IPMreqn{Address: s.own.As4(), Ifindex: int32(index)}
	if err := unix.SetsockoptIPMreqn(s.fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &send); err != nil {
		return fmt.Errorf("send multicast on %s: %w", o.Interface, err)
	}
	return nil
}

func (s *socket) configure6(o *Options, index int) error {
	s.from = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: s.own.As16(), Ifindex: uint32(index)})
	s.to6.ZoneId = uint32(index)
	err := setInts(s.fd, []option{
		{"hop limit", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, vrrp.TTL},
		{"traffic class", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, trafficClass},
		{"multicast hop limit", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, vrrp.TTL},
		{"multicast loop", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0},
		{"packet information", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
		{"hop limit information", unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1},
	})
	if err != nil || !o.Multicast {
		return err
	}
	if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index); err != nil {
		return fmt.Errorf("send multicast on %s: %w", o.Interface, err)
	}
	group := unix.IPv6Mreq{Multiaddr: vrrp.Group6().As16(), Interface: uint32(index)}
	if err := unix.SetsockoptIPv6Mreq(s.fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &group); err != nil {
		return fmt.Errorf("join %v on %s: %w", vrrp.Group6(), o.Interface, err)
	}
	return nil
}

func (s *socket) source() netip.Addr { return s.own }

func (s *socket) send(msg []byte, to netip.Addr) error {
	var addr unix.Sockaddr = &s.to6
	if to.Is4() {
		s.to4.Addr = to.As4()
		addr = &s.to4
	} else {
		s.to6.Addr = to.As16()
	}
	if _, err := unix.SendmsgN(s.fd, msg, s.from, addr, unix.MSG_DONTWAIT); err != nil {
		return fmt.Errorf("send an advert to %v: %w", to, err)
	}
	return nil
}

func (s *socket) receive() (datagram, error) {
	for {
		d, err := s.receiveOnce()
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return datagram{}, errNothing
		default:
			return d, err
		}
	}
}

func (s *socket) receiveOnce() (datagram, error) {
	if s.own.Is4() {
		n, err := unix.Read(s.fd, s.packet)
		if err != nil {
			return datagram{}, receiveError(err)
		}
		return parseIPv4(s.packet[:n])
	}
	n, oobn, _, from, err := unix.Recvmsg(s.fd, s.packet, s.oob[:], unix.MSG_DONTWAIT)
	if err != nil {
		return datagram{}, receiveError(err)
	}
	var src netip.Addr
	if from6, ok := from.(*unix.SockaddrInet6); ok {
		src = netip.AddrFrom16(from6.Addr)
	}
	return parseIPv6(s.packet[:n], s.oob[:oobn], src)
}

func receiveError(err error) error {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return err
	}
	return fmt.Errorf("receive adverts: %w", err)
}

func (s *socket) close() error {
	s.closed()
	if err := unix.Close(s.fd); err != nil {
		return fmt.Errorf("close a raw socket: %w", err)
	}
	return nil
}
