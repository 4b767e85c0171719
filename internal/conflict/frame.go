package conflict

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// A MAC is an Ethernet address.
type MAC [6]byte

// String gives m as everybody writes it: 52:54:00:12:34:56.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// A Claim is a frame in which a machine says that an address is its own.
type Claim struct {
	MAC     MAC // of the machine, as ARP or the neighbour advertisement has it
	Address netip.Addr
}

// A Foreign is an advert of VRRP as it was seen on the network, version 2 (RFC 3768) or 3
// (RFC 9568), whoever sent it. Its checksum was not looked at: it is not obeyed.
type Foreign struct {
	MAC       MAC // of the frame, which is a router's where that is on the way
	Source    netip.Addr
	Version   uint8
	RouterID  uint8
	Priority  uint8
	Interval  time.Duration
	Addresses []netip.Addr
}

// String names the machine and what it says, for people.
func (f Foreign) String() string {
	return fmt.Sprintf("VRRP version %d, router id %d, priority %d, for %s", f.Version, f.RouterID, f.Priority, list(f.Addresses))
}

func list(all []netip.Addr) string {
	text := ""
	for i, a := range all {
		if i > 0 {
			text += ", "
		}
		text += a.String()
	}
	if text == "" {
		return "no address"
	}
	return text
}

const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd

	etherHeader = 14
	arpLength   = 28
	ipv4Header  = 20
	ipv6Header  = 40
	vrrpHeader  = 8
	// naLength is a neighbour advertisement without options, nsLength a solicitation so.
	naLength, nsLength = 24, 24
	icmpv6             = 58
	vrrpProtocol       = 112
	advertisement      = 136
	targetLinkLayer    = 2 // option of an advertisement (RFC 4861 section 4.6.1)
)

// ParseClaim reads an Ethernet frame in which a machine says that an address is its own:
// ARP of either kind whose sender that is, or a neighbour advertisement. It reports
// whether the frame is one.
func ParseClaim(frame []byte) (Claim, bool) {
	if len(frame) < etherHeader {
		return Claim{}, false
	}
	body := frame[etherHeader:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherTypeARP:
		return parseARP(body)
	case etherTypeIPv6:
		return parseAdvertisement(MAC(frame[6:12]), body)
	}
	return Claim{}, false
}

func parseARP(b []byte) (Claim, bool) {
	ethernet4 := [6]byte{0, 1, 8, 0, 6, 4} // hardware, protocol, and the lengths of their addresses
	if len(b) < arpLength || [6]byte(b[:6]) != ethernet4 {
		return Claim{}, false
	}
	c := Claim{MAC: MAC(b[8:14]), Address: netip.AddrFrom4([4]byte(b[14:18]))}
	return c, !c.Address.IsUnspecified() // a probe says nothing of its sender
}

func parseAdvertisement(from MAC, b []byte) (Claim, bool) {
	if len(b) < ipv6Header+naLength || b[6] != icmpv6 || b[7] != 255 || b[ipv6Header] != advertisement {
		return Claim{}, false
	}
	message := b[ipv6Header:]
	if n := int(binary.BigEndian.Uint16(b[4:])); n < naLength || n > len(message) {
		return Claim{}, false
	} else {
		message = message[:n]
	}
	c := Claim{MAC: from, Address: netip.AddrFrom16([16]byte(message[8:24]))}
	for options := message[naLength:]; len(options) >= 8; {
		n := int(options[1]) * 8
		if n == 0 || n > len(options) {
			break
		}
		if options[0] == targetLinkLayer {
			c.MAC = MAC(options[2:8])
		}
		options = options[n:]
	}
	return c, true
}

// ParseForeign reads an Ethernet frame with an advert of VRRP, and reports whether it is
// one, of version 2 or 3.
func ParseForeign(frame []byte) (Foreign, bool) {
	if len(frame) < etherHeader {
		return Foreign{}, false
	}
	f := Foreign{MAC: MAC(frame[6:12])}
	body, size := frame[etherHeader:], 4
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherTypeIPv4:
		if len(body) < ipv4Header || body[0]>>4 != 4 || body[9] != vrrpProtocol {
			return f, false
		}
		n := int(body[0]&0xf) * 4
		if total := int(binary.BigEndian.Uint16(body[2:])); n < ipv4Header || total < n || total > len(body) {
			return f, false
		} else {
			f.Source = netip.AddrFrom4([4]byte(body[12:16]))
			body = body[n:total]
		}
	case etherTypeIPv6:
		if len(body) < ipv6Header || body[6] != vrrpProtocol {
			return f, false
		}
		size = 16
		f.Source = netip.AddrFrom16([16]byte(body[8:24]))
		body = body[ipv6Header:]
	default:
		return f, false
	}
	return f, f.parse(body, size)
}

// parse reads the message, whose addresses have a size in octets.
func (f *Foreign) parse(b []byte, size int) bool {
	const isAdvertisement, most = 1, 20 // keepalived's limit; more are of no use to people
	if len(b) < vrrpHeader || b[0]&0xf != isAdvertisement {
		return false
	}
	f.Version, f.RouterID, f.Priority = b[0]>>4, b[1], b[2]
	switch f.Version {
	case 2:
		f.Interval = time.Duration(b[5]) * time.Second
	case 3:
		f.Interval = time.Duration(binary.BigEndian.Uint16(b[4:])&0xfff) * 10 * time.Millisecond
	default:
		return false
	}
	addresses := b[vrrpHeader:]
	for range min(int(b[3]), most) {
		if len(addresses) < size {
			return false
		}
		a, _ := netip.AddrFromSlice(addresses[:size])
		f.Addresses, addresses = append(f.Addresses, a), addresses[size:]
	}
	return true
}

// Probe makes the frame that asks who has an address, and tells nobody that the sender
// has it: an ARP probe (RFC 5227 section 2.1.1), or the neighbour solicitation of
// duplicate address detection (RFC 4862 section 5.4.2).
func Probe(from MAC, a netip.Addr) []byte {
	if a.Is4() {
		b := ethernet(MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, from, etherTypeARP)
		b = append(b, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, their lengths, a request
		b = append(append(b, from[:]...), 0, 0, 0, 0)
		ip := a.As4()
		return append(append(b, 0, 0, 0, 0, 0, 0), ip[:]...)
	}
	ip := a.As16()
	group := [16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff, 13: ip[13], 14: ip[14], 15: ip[15]} // solicited-node
	message := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, ip[:]...)
	binary.BigEndian.PutUint16(message[2:], checksum(group, message))
	b := ethernet(MAC{0x33, 0x33, 0xff, ip[13], ip[14], ip[15]}, from, etherTypeIPv6)
	b = append(b, 0x60, 0, 0, 0, 0, nsLength, icmpv6, 255)
	b = append(append(b, make([]byte, 16)...), group[:]...) // from the unspecified address
	return append(b, message...)
}

func ethernet(to, from MAC, kind uint16) []byte {
	return binary.BigEndian.AppendUint16(append(append(make([]byte, 0, 96), to[:]...), from[:]...), kind)
}

// checksum is that of RFC 4443 section 2.3, of a message of an even length from the
// unspecified address.
func checksum(to [16]byte, message []byte) uint16 {
	sum := uint32(len(message)) + icmpv6
	for _, part := range [][]byte{to[:], message} {
		for ; len(part) >= 2; part = part[2:] {
			sum += uint32(binary.BigEndian.Uint16(part))
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
