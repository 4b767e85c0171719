package vip

import (
	"encoding/binary"
	"net/netip"

	"holdfast/internal/rtnl"
)

// broadcast is every station of the link.
func broadcast() rtnl.MAC { return rtnl.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// routerMAC gives the MAC address of a virtual router (RFC 9568 section 7.3).
func routerMAC(id int, v6 bool) rtnl.MAC {
	family := byte(1)
	if v6 {
		family = 2
	}
	return rtnl.MAC{0x00, 0x00, 0x5e, 0x00, family, byte(id)}
}

const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd

	etherHeader = 14
	arpLength   = 28
	ipv6Header  = 40
	naLength    = 32 // neighbour advertisement with one link-layer address option
	icmpv6      = 58
)

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
func gratuitousARP(hw rtnl.MAC, a netip.Addr, form arpForm) []byte {
	b := make([]byte, 0, etherHeader+arpLength)
	b = ethernet(b, broadcast(), hw, etherTypeARP)
	b = binary.BigEndian.AppendUint16(b, 1) // hardware: Ethernet
	b = binary.BigEndian.AppendUint16(b, etherTypeIPv4)
	b = append(b, 6, 4) // lengths of the two kinds of address
	b = binary.BigEndian.AppendUint16(b, uint16(form))
	ip := a.As4()
	b = append(append(b, hw[:]...), ip[:]...)
	target := rtnl.MAC{} // a request asks for it: zero
	if form == arpReply {
		target = hw
	}
	return append(append(b, target[:]...), ip[:]...)
}

// unsolicitedNA gives the frame to all nodes which says that an IPv6 address
// is at hw (RFC 4861 section 7.2.6): Override set, hop limit 255, with the
// target link-layer address option, and the Router flag if the host forwards.
func unsolicitedNA(hw rtnl.MAC, a netip.Addr, router bool) []byte {
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
	binary.BigEndian.PutUint16(na[2:], checksumICMPv6(ip, allNodes, na))

	b := make([]byte, 0, etherHeader+ipv6Header+naLength)
	b = ethernet(b, rtnl.MAC{0x33, 0x33, 0, 0, 0, 1}, hw, etherTypeIPv6)
	b = append(b, 0x60, 0, 0, 0, 0, naLength, icmpv6, 255)
	b = append(append(b, ip[:]...), allNodes[:]...)
	return append(b, na...)
}

func ethernet(b []byte, to, from rtnl.MAC, etherType uint16) []byte {
	b = append(append(b, to[:]...), from[:]...)
	return binary.BigEndian.AppendUint16(b, etherType)
}

// checksumICMPv6 is that of RFC 4443 section 2.3, pseudo-header included. The
// checksum's own field is to be zero; the length of message even.
func checksumICMPv6(from, to [16]byte, message []byte) uint16 {
	return InternetChecksum(uint32(len(message))+icmpv6, from[:], to[:], message)
}

// InternetChecksum is that of RFC 1071: of parts, each of an even number of bytes, added
// to what sum has already.
func InternetChecksum(sum uint32, parts ...[]byte) uint16 {
	for _, part := range parts {
		for ; len(part) >= 2; part = part[2:] {
			sum += uint32(binary.BigEndian.Uint16(part))
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
