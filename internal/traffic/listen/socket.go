package listen

import (
	"errors"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// atOnce is how many datagrams are read at once, lineLength how much of each, and
	// controlLength of what the kernel says of it.
	atOnce, lineLength, controlLength = 64, 1024, 128
	// receiveBuffer is what of the lines the kernel keeps meanwhile, in octets as it counts
	// them: some 6,000 lines.
	receiveBuffer = 4 << 20
	// wakes is after which time a socket on which nothing comes is left, to see whether it is
	// still wanted.
	wakes = time.Second
)

// A socket takes datagrams, with the time at which each came, and the number of those that
// were lost. It is none of the Go runtime's: of one of those each datagram wakes a thread,
// also while nobody wants to read, which costs HAProxy as much as sending does.
type socket struct {
	fd       int
	messages [atOnce]mmsghdr
	vectors  [atOnce]unix.Iovec
	names    [atOnce]unix.RawSockaddrInet4
	lines    [atOnce][lineLength]byte
	controls [atOnce][controlLength]byte
}

// An mmsghdr is what recvmmsg(2) takes.
type mmsghdr struct {
	head unix.Msghdr
	n    uint32
	_    [4]byte
}

// open opens a socket at that address, of IPv4.
func open(at netip.AddrPort) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) //nolint:errcheck // what an agent that is not root may
	}
	wait := unix.NsecToTimeval(int64(wakes))
	err = errors.Join(
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)),
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)),
		os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)),
		os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})),
	)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	s := &socket{fd: fd}
	for i := range s.messages {
		s.vectors[i].Base = &s.lines[i][0]
		s.vectors[i].SetLen(lineLength)
		h := &s.messages[i].head
		h.Iov = &s.vectors[i]
		h.SetIovlen(1)
		h.Name, h.Control = (*byte)(unsafe.Pointer(&s.names[i])), &s.controls[i][0]
	}
	return s, nil
}

func (s *socket) close() error { return os.NewSyscallError("close", unix.Close(s.fd)) }

// read waits for datagrams, no longer than wakes, and gives how many came; or, without
// waiting, how many are there.
func (s *socket) read(wait bool) (int, error) {
	for i := range s.messages {
		h := &s.messages[i].head
		h.Namelen = unix.SizeofSockaddrInet4
		h.SetControllen(controlLength)
	}
	flags := unix.MSG_WAITFORONE
	if !wait {
		flags = unix.MSG_DONTWAIT
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.messages[0])), atOnce, uintptr(flags), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	default:
		return 0, os.NewSyscallError("recvmmsg", errno)
	}
}

// message gives one that was read: where it is from, what it says, and what the kernel says
// of it. All are good until the next read.
func (s *socket) message(i int) (from netip.AddrPort, line, control []byte) {
	m := &s.messages[i]
	if m.head.Namelen >= unix.SizeofSockaddrInet4 && s.names[i].Family == unix.AF_INET {
		port := (*[2]byte)(unsafe.Pointer(&s.names[i].Port)) // in the network's order
		from = netip.AddrPortFrom(netip.AddrFrom4(s.names[i].Addr), uint16(port[0])<<8|uint16(port[1]))
	}
	return from, s.lines[i][:min(m.n, lineLength)], s.controls[i][:min(uint64(m.head.Controllen), controlLength)]
}
