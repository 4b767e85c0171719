// Package ether has what frames of Ethernet are made of that several packages make or
// read: addresses, types, lengths and checksums. It has no I/O, and knows no protocol
// whole.
package ether

import (
	"encoding/binary"
	"fmt"
)

// A MAC is an Ethernet address.
type MAC [6]byte

// String gives m as people write it: 52:54:00:12:34:56.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Broadcast gives the address of every station of the link.
func Broadcast() MAC { return MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// The types of frames (IEEE 802 numbers).
const (
	IPv4 = 0x0800
	ARP  = 0x0806
	IPv6 = 0x86dd
)

// The lengths of headers in octets: of Ethernet, of ARP for IPv4, of IPv4 without options,
// and of IPv6.
const (
	Header     = 14
	ARPLength  = 28
	IPv4Header = 20
	IPv6Header = 40
)

// ICMPv6 is the number of that protocol.
const ICMPv6 = 58

// AppendHeader appends the header of a frame.
func AppendHeader(b []byte, to, from MAC, kind uint16) []byte {
	return binary.BigEndian.AppendUint16(append(append(b, to[:]...), from[:]...), kind)
}

// Checksum is that of RFC 1071: of parts, each of an even number of octets, added to what
// sum has already.
func Checksum(sum uint32, parts ...[]byte) uint16 {
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

// ChecksumICMPv6 is that of RFC 4443 section 2.3, pseudo-header included. The checksum's
// own field is to be zero; the length of message even.
func ChecksumICMPv6(from, to [16]byte, message []byte) uint16 {
	return Checksum(uint32(len(message))+ICMPv6, from[:], to[:], message)
}
