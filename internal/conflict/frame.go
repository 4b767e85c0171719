package conflict

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"holdfast/internal/ether"
)

// A Claim is a frame in which a machine says that an address is its own.
type Claim struct {
	MAC     ether.MAC // of the machine, as ARP or the neighbour advertisement has it
	Address netip.Addr
}

// A Foreign is an advert of VRRP as it was seen on the network, version 2 (RFC 3768) or 3
// (RFC 9568), whoever sent it. Its checksum was not looked at: it is not obeyed.
type Foreign struct {
	MAC       ether.MAC // of the frame, which is a router's where that is on the way
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
	var words []string
	for _, a := range all {
		words = append(words, a.String())
	}
	text := strings.Join(words, ", ")
	if text == "" {
		return "no address"
	}
	return text
}

const (
	vrrpHeader = 8
	// naLength is a neighbour advertisement without options, nsLength a solicitation so.
	naLength, nsLength = 24, 24
	vrrpProtocol       = 112
	advertisement      = 136
	targetLinkLayer    = 2 // option of an advertisement (RFC 4861 section 4.6.1)
)

// ParseClaim reads an Ethernet frame in which a machine says that an address is its own:
// ARP of either kind whose sender that is, or a neighbour advertisement. It reports
// whether the frame is one.
func ParseClaim(frame []byte) (Claim, bool) {
	if len(frame) < ether.Header {
		return Claim{}, false
	}
	body := frame[ether.Header:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case ether.ARP:
		return parseARP(body)
	case ether.IPv6:
		return parseAdvertisement(ether.MAC(frame[6:12]), body)
	}
	return Claim{}, false
}

func parseARP(b []byte) (Claim, bool) {
	ethernet4 := [6]byte{0, 1, 8, 0, 6, 4} // hardware, protocol, and the lengths of their addresses
	if len(b) < ether.ARPLength || [6]byte(b[:6]) != ethernet4 {
		return Claim{}, false
	}
	c := Claim{MAC: ether.MAC(b[8:14]), Address: netip.AddrFrom4([4]byte(b[14:18]))}
	return c, !c.Address.IsUnspecified() // a probe says nothing of its sender
}

func parseAdvertisement(from ether.MAC, b []byte) (Claim, bool) {
	if len(b) < ether.IPv6Header+naLength || b[6] != ether.ICMPv6 || b[7] != 255 || b[ether.IPv6Header] != advertisement {
		return Claim{}, false
	}
	message := b[ether.IPv6Header:]
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
			c.MAC = ether.MAC(options[2:8])
		}
		options = options[n:]
	}
	return c, true
}

// ParseForeign reads an Ethernet frame with an advert of VRRP, and reports whether it is
// one, of version 2 or 3.
func ParseForeign(frame []byte) (Foreign, bool) {
	if len(frame) < ether.Header {
		return Foreign{}, false
	}
	f := Foreign{MAC: ether.MAC(frame[6:12])}
	body, size := frame[ether.Header:], 4
	switch binary.BigEndian.Uint16(frame[12:]) {
	case ether.IPv4:
		if len(body) < ether.IPv4Header || body[0]>>4 != 4 || body[9] != vrrpProtocol {
			return f, false
		}
		n := int(body[0]&0xf) * 4
		if total := int(binary.BigEndian.Uint16(body[2:])); n < ether.IPv4Header || total < n || total > len(body) {
			return f, false
		} else {
			f.Source = netip.AddrFrom4([4]byte(body[12:16]))
			body = body[n:total]
		}
	case ether.IPv6:
		if len(body) < ether.IPv6Header || body[6] != vrrpProtocol {
			return f, false
		}
		size = 16
		f.Source = netip.AddrFrom16([16]byte(body[8:24]))
		body = body[ether.IPv6Header:]
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
func Probe(from ether.MAC, a netip.Addr) []byte {
	if a.Is4() {
		b := ether.AppendHeader(nil, ether.Broadcast(), from, ether.ARP)
		b = append(b, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, their lengths, a request
		b = append(append(b, from[:]...), 0, 0, 0, 0)
		ip := a.As4()
		return append(append(b, 0, 0, 0, 0, 0, 0), ip[:]...)
	}
	ip := a.As16()
	group := [16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff, 13: ip[13], 14: ip[14], 15: ip[15]} // solicited-node
	message := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, ip[:]...)
	binary.BigEndian.PutUint16(message[2:], ether.ChecksumICMPv6([16]byte{}, group, message))
	b := ether.AppendHeader(nil, ether.MAC{0x33, 0x33, 0xff, ip[13], ip[14], ip[15]}, from, ether.IPv6)
	b = append(b, 0x60, 0, 0, 0, 0, nsLength, ether.ICMPv6, 255)
	b = append(append(b, make([]byte, 16)...), group[:]...) // from the unspecified address
	return append(b, message...)
}
