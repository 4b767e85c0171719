package vip

import (
	"encoding/binary"
	"net/netip"

	"holdfast/internal/ether"
)

// routerMAC gives the MAC address of a virtual router (RFC 9568 section 7.3).
func routerMAC(id int, v6 bool) ether.MAC {
	family := byte(1)
	if v6 {
		family = 2
	}
	return ether.MAC{0x00, 0x00, 0x5e, 0x00, family, byte(id)}
}

// naLength is that of a neighbour advertisement with one link-layer address option, in octets.
const naLength = 32

// An arpForm is the form of a gratuitous ARP packet. Devices differ in which
// of the two they take a new address from.
type arpForm uint16

// The forms.
const (
	arpRequest arpForm = 1 // the announcement of RFC 5227 section 3
	arpReply   arpForm = 2 // the gratuitous reply of RFC 5944 section 4.6
)

// gratuitousARP gives the broadcast frame which says that an IPv4 address is
// at hw.
func gratuitousARP(hw ether.MAC, a netip.Addr, form arpForm) []byte {
	b := make([]byte, 0, ether.Header+ether.ARPLength)
	b = ether.AppendHeader(b, ether.Broadcast(), hw, ether.ARP)
	b = binary.BigEndian.AppendUint16(b, 1) // hardware: Ethernet
	b = binary.BigEndian.AppendUint16(b, ether.IPv4)
	b = append(b, 6, 4) // lengths of the two kinds of address
	b = binary.BigEndian.AppendUint16(b, uint16(form))
	ip := a.As4()
	b = append(append(b, hw[:]...), ip[:]...)
	target := ether.MAC{} // a request asks for it: zero
	if form == arpReply {
		target = hw
	}
	return append(append(b, target[:]...), ip[:]...)
}

// unsolicitedNA gives the frame to all nodes which says that an IPv6 address
// is at hw (RFC 4861 section 7.2.6): Override set, hop limit 255, with the
// target link-layer address option, and the Router flag if the host forwards.
func unsolicitedNA(hw ether.MAC, a netip.Addr, router bool) []byte {
	ip := a.As16()
	allNodes := [16]byte{0: 0xff, 1: 0x02, 15: 0x01}

	na := make([]byte, 0, naLength)
	flags := byte(0x20) // Override
	if router {
		flags |= 0x80
	}
	na = append(na, 136, 0, 0, 0, flags, 0, 0, 0) // type, code, checksum, flags
	na = append(na, ip[:]...)
	na = append(na, 2, 1) // target link-layer address, in units of 8 bytes
	na = append(na, hw[:]...)
	binary.BigEndian.PutUint16(na[2:], ether.ChecksumICMPv6(ip, allNodes, na))

	b := make([]byte, 0, ether.Header+ether.IPv6Header+naLength)
	b = ether.AppendHeader(b, ether.MAC{0x33, 0x33, 0, 0, 0, 1}, hw, ether.IPv6)
	b = append(b, 0x60, 0, 0, 0, 0, naLength, ether.ICMPv6, 255)
	b = append(append(b, ip[:]...), allNodes[:]...)
	return append(b, na...)
}
