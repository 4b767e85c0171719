package sockdiag

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"holdfast/internal/rtnl"
)

// The wire forms of linux/inet_diag.h, as far as they are needed here.
const (
	diagRequestLength = 8 + diagIDLength
	diagReplyLength   = 4 + diagIDLength + 20
	diagIDLength      = 48

	diagBytecode    = 1 // INET_DIAG_REQ_BYTECODE
	diagMatchLocal  = 7 // INET_DIAG_BC_S_COND
	diagMatchRemote = 8 // INET_DIAG_BC_D_COND

	diagInfo     = 2                   // INET_DIAG_INFO, the attribute with a struct tcp_info
	diagWantInfo = 1 << (diagInfo - 1) // in a request
)

// Some states of linux/tcp_states.h: those which a socket without a peer has, or
// one that is over, and others of which more is to be known.
const (
	tcpSynSent  = 2
	tcpFinWait2 = 5
	tcpTimeWait = 6
	tcpClose    = 7
	tcpListen   = 10
	tcpStates   = 12 // the last one
)

// connected is the set of the states in which somebody waits at the other end.
const connected uint32 = (1<<(tcpStates+1) - 2) &^ (1<<tcpTimeWait | 1<<tcpClose | 1<<tcpListen)

// A Socket is a TCP socket as the kernel lists it.
type Socket struct {
	Local, Remote netip.AddrPort

	family uint8
	state  uint8
	inode  uint32             // as /proc/PID/fd has it; 0 for one that no process has
	id     [diagIDLength]byte // what identifies it in a request
	age    age
}

// Connecting reports whether the other end has not accepted s yet.
func (s Socket) Connecting() bool { return s.state == tcpSynSent }

// TimesOut reports whether s is one that its process has closed and whose other
// end has all of it: it only waits for the other end to close too.
func (s Socket) TimesOut() bool { return s.state == tcpFinWait2 && s.inode == 0 }

// parseSocket reads a struct inet_diag_msg, and of the attributes after it the
// struct tcp_info.
func parseSocket(b []byte) (Socket, error) {
	if len(b) < diagReplyLength {
		return Socket{}, fmt.Errorf("socket of %d bytes is too short", len(b))
	}
	s := Socket{family: b[0], state: b[1], id: [diagIDLength]byte(b[4:]), inode: binary.NativeEndian.Uint32(b[diagReplyLength-4:])}
	var local, remote netip.Addr
	switch s.family {
	case unix.AF_INET:
		local, remote = netip.AddrFrom4([4]byte(s.id[4:])), netip.AddrFrom4([4]byte(s.id[20:]))
	case unix.AF_INET6:
		local, remote = netip.AddrFrom16([16]byte(s.id[4:])).Unmap(), netip.AddrFrom16([16]byte(s.id[20:])).Unmap()
	default:
		return Socket{}, fmt.Errorf("socket of unknown family %d", s.family)
	}
	s.Local = netip.AddrPortFrom(local, binary.BigEndian.Uint16(s.id[0:]))
	s.Remote = netip.AddrPortFrom(remote, binary.BigEndian.Uint16(s.id[2:]))
	attributes, err := netlink.NewAttributeDecoder(b[diagReplyLength:])
	if err != nil {
		return Socket{}, fmt.Errorf("socket %v: %w", s.Local, err)
	}
	for attributes.Next() {
		if attributes.Type() == diagInfo {
			s.age = readAge(attributes.Bytes())
		}
	}
	return s, nil
}

// listSockets is the request for the connected TCP sockets of a family that m
// matches (struct inet_diag_req_v2 with a filter that the kernel runs).
func listSockets(family uint8, m Match) []byte {
	b := []byte{family, unix.IPPROTO_TCP, diagWantInfo, 0}
	b = binary.NativeEndian.AppendUint32(b, connected)
	b = append(b, make([]byte, diagIDLength)...)
	filter := m.bytecode()
	if len(filter) == 0 {
		return b
	}
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(filter)))
	b = binary.NativeEndian.AppendUint16(b, diagBytecode)
	return append(b, filter...)
}

// destroySocket is the request to destroy s.
func destroySocket(s Socket) []byte {
	b := []byte{s.family, unix.IPPROTO_TCP, 0, 0}
	b = binary.NativeEndian.AppendUint32(b, connected)
	return append(b, s.id[:]...)
}

// bytecode is the filter program: one condition for each end that m names.
func (m Match) bytecode() []byte {
	var conditions [][]byte
	if m.Local != (netip.AddrPort{}) {
		conditions = append(conditions, condition(diagMatchLocal, m.Local))
	}
	if m.Remote != (netip.AddrPort{}) {
		conditions = append(conditions, condition(diagMatchRemote, m.Remote))
	}
	left := 0
	for _, c := range conditions {
		left += len(c)
	}
	var program []byte
	for _, c := range conditions {
		// What fails jumps past the end by one instruction, which rejects.
		binary.NativeEndian.PutUint16(c[2:], uint16(left+4))
		left -= len(c)
		program = append(program, c...)
	}
	return program
}

// condition is one struct inet_diag_bc_op and its struct inet_diag_hostcond.
func condition(code uint8, end netip.AddrPort) []byte {
	family, address := uint8(unix.AF_UNSPEC), []byte(nil)
	if a := end.Addr(); a.IsValid() {
		family, address = rtnl.FamilyOf(a), a.AsSlice()
	}
	port := int32(-1) // any
	if end.Port() != 0 {
		port = int32(end.Port())
	}
	b := []byte{code, uint8(12 + len(address)), 0, 0}
	b = append(b, family, uint8(8*len(address)), 0, 0)
	b = binary.NativeEndian.AppendUint32(b, uint32(port))
	return append(b, address...)
}
