package vrrp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// Protocol is VRRP's IP protocol number (RFC 9568 section 5.1.1.4).
const Protocol = 112

// TTL is the TTL or hop limit of every advert; others are not accepted
// (RFC 9568 sections 5.1.1.3 and 5.1.2.3).
const TTL = 255

// The bounds of the advertisement interval, which counts in IntervalStep
// (RFC 9568 section 5.2.7).
const (
	IntervalStep = 10 * time.Millisecond
	MinInterval  = IntervalStep
	MaxInterval  = maxCentiseconds * IntervalStep
)

// TrailerLen is how many octets of a signature may follow a message
// (draft-cassen-vrrp-auth-hmac); see package auth.
const TrailerLen = 28

const (
	maxCentiseconds = 1<<12 - 1
	headerLen       = 8
	// maxPadded4 is the longest payload of an IPv4 packet with a plain header
	// that Ethernet fills up to its minimum of 46 octets (IEEE 802.3 clause 3.2.7).
	maxPadded4       = 46 - 20
	versionAndType   = 3<<4 | 1
	maxAddressNumber = 255
)

// Group4 and Group6 are the multicast groups of VRRP (RFC 9568 sections
// 5.1.1.2 and 5.1.2.2).
func Group4() netip.Addr { return netip.AddrFrom4([4]byte{224, 0, 0, 18}) }

// Group6 is the IPv6 one.
func Group6() netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
}

// A Checksum is a form of the checksum of adverts over IPv4. Over IPv6 there
// is only PseudoHeader.
type Checksum uint8

// The forms.
const (
	// MessageOnly covers the VRRP message and nothing else, as RFC 9568
	// section 5.2.8 says for IPv4.
	MessageOnly Checksum = iota
	// PseudoHeader covers the IP pseudo-header too, as RFC 5798 was read and
	// as keepalived sends and wants it.
	PseudoHeader
)

// String gives "rfc" or "pseudo-header".
func (c Checksum) String() string {
	if c == PseudoHeader {
		return "pseudo-header"
	}
	return "rfc"
}

// An Advert is a VRRPv3 ADVERTISEMENT (RFC 9568 section 5.2).
type Advert struct {
	VRID uint8 // 1 to 255
	// Priority is 1 to 255; 0 says that the sender is Active no longer.
	Priority uint8
	// Interval is the Max Advertise Interval: 10ms to 40.95s, in steps of 10ms.
	Interval time.Duration
	// Addresses has 1 to 255 addresses, all of the family that carries the advert.
	Addresses []netip.Addr
}

// Append appends a to b as a message from src to dst, with the checksum in the
// given form; over IPv6 the form is always PseudoHeader. It fails when a field
// is out of range, or an address is not of src's family.
func (a Advert) Append(b []byte, form Checksum, src, dst netip.Addr) ([]byte, error) {
	if err := a.check(src, dst); err != nil {
		return b, fmt.Errorf("encode advert: %w", err)
	}
	return a.append(b, versionAndType, form, src, dst), nil
}

// append does it for a message that begins with first.
func (a Advert) append(b []byte, first byte, form Checksum, src, dst netip.Addr) []byte {
	start := len(b)
	b = append(b, first, a.VRID, a.Priority, uint8(len(a.Addresses)))
	b = binary.BigEndian.AppendUint16(b, uint16(a.Interval/IntervalStep))
	b = append(b, 0, 0)
	for _, addr := range a.Addresses {
		b = appendAddr(b, addr)
	}
	msg := b[start:]
	sum := sumBytes(0, msg)
	if src.Is6() || form == PseudoHeader {
		sum = sumPseudoHeader(sum, src, dst, len(msg))
	}
	binary.BigEndian.PutUint16(msg[6:], ^fold(sum))
	return b
}

// check gives the first field that cannot be sent from src to dst.
func (a Advert) check(src, dst netip.Addr) error {
	switch {
	case !src.IsValid() || src.Is4() != dst.Is4() || src.Is4In6() || dst.Is4In6():
		return fmt.Errorf("source %v and destination %v are not of one family", src, dst)
	case a.VRID == 0:
		return fmt.Errorf("router id 0 is not 1 to 255")
	case a.Interval < MinInterval || a.Interval > MaxInterval || a.Interval%IntervalStep != 0:
		return fmt.Errorf("interval %v is not %v to %v in steps of %v", a.Interval, MinInterval, MaxInterval, IntervalStep)
	case len(a.Addresses) == 0 || len(a.Addresses) > maxAddressNumber:
		return fmt.Errorf("%d addresses are not 1 to %d", len(a.Addresses), maxAddressNumber)
	}
	for _, addr := range a.Addresses {
		if !addr.IsValid() || addr.Is4() != src.Is4() || addr.Is4In6() {
			return fmt.Errorf("address %v is not of the family of %v", addr, src)
		}
	}
	return nil
}

// Unmarshal sets a to the message b, the payload of an IP packet from src to
// dst, and gives the form of its checksum. Padding with which Ethernet fills a
// short frame may follow the message. The error is a Reason; then a is not to
// be used. Unmarshal reuses the storage of a.Addresses.
func (a *Advert) Unmarshal(b []byte, src, dst netip.Addr) (Checksum, error) {
	return a.unmarshal(b, versionAndType, src, dst)
}

// UnmarshalSigned is Unmarshal of a message that a trailer may follow. It gives the trailer
// too, which is a part of b; nil for none. What is in it is not looked at.
func (a *Advert) UnmarshalSigned(b []byte, src, dst netip.Addr) (form Checksum, trailer []byte, err error) {
	msg, trailer := split(b, src)
	form, err = a.unmarshalBefore(msg, trailer, versionAndType, src, dst)
	return form, trailer, err
}

// split gives the message that b begins with, and the trailer that follows it; nil for
// none. Its length tells: nothing else of that length may follow a message, for padding
// never makes a packet that long.
func split(b []byte, src netip.Addr) (msg, trailer []byte) {
	if len(b) < headerLen {
		return b, nil
	}
	n := headerLen + int(b[3])*addrLen(src)
	if len(b) != n+TrailerLen {
		return b, nil
	}
	return b[:n:n], b[n:]
}

func addrLen(src netip.Addr) int {
	if src.Is4() {
		return 4
	}
	return 16
}

// AppendTrailer appends to b the trailer of the message from src to dst that b ends
// with and that begins at start. Over IPv6 the checksum covers it, as the kernel has it
// that computes and checks it there; over IPv4 it does not.
func AppendTrailer(b []byte, start int, trailer []byte, src, dst netip.Addr) []byte {
	b = append(b, trailer...)
	if msg := b[start:]; src.Is6() {
		binary.BigEndian.PutUint16(msg[6:], 0)
		binary.BigEndian.PutUint16(msg[6:], ^fold(sumPseudoHeader(sumBytes(0, msg), src, dst, len(msg))))
	}
	return b
}

// unmarshal does it for a message that begins with first.
func (a *Advert) unmarshal(b []byte, first byte, src, dst netip.Addr) (Checksum, error) {
	return a.unmarshalBefore(b, nil, first, src, dst)
}

// unmarshalBefore does it for a message that trailer follows.
func (a *Advert) unmarshalBefore(b, trailer []byte, first byte, src, dst netip.Addr) (Checksum, error) {
	addrLen := addrLen(src)
	if r := checkHeader(b, first, addrLen); r != 0 {
		return 0, r
	}
	msg := b[:headerLen+int(b[3])*addrLen]
	form, ok := checksumForm(msg, trailer, src, dst)
	if !ok {
		return 0, BadChecksum
	}
	centiseconds := binary.BigEndian.Uint16(msg[4:]) & maxCentiseconds
	if centiseconds == 0 {
		return 0, BadInterval
	}
	a.VRID, a.Priority = msg[1], msg[2]
	a.Interval = time.Duration(centiseconds) * IntervalStep
	a.Addresses = a.Addresses[:0]
	for rest := msg[headerLen:]; len(rest) > 0; rest = rest[addrLen:] {
		addr, _ := netip.AddrFromSlice(rest[:addrLen]) // the length is one of an address
		a.Addresses = append(a.Addresses, addr)
	}
	return form, nil
}

// checkHeader gives what is wrong with b, which is to begin with first, as far as
// its first octets and its length tell, 0 for nothing.
func checkHeader(b []byte, first byte, addrLen int) Reason {
	if len(b) == 0 {
		return BadLength
	}
	switch {
	case b[0]>>4 != first>>4:
		return BadVersion
	case b[0]&0xf != first&0xf:
		return BadType
	case len(b) < headerLen:
		return BadLength
	case b[1] == 0:
		return BadVRID
	case b[3] == 0:
		return BadCount
	}
	want := headerLen + int(b[3])*addrLen
	padded := addrLen == 4 && len(b) <= maxPadded4
	if len(b) < want || len(b) > want && !padded {
		return BadLength
	}
	return 0
}

// checksumForm gives the form in which the checksum of msg is right, the RFC's
// where both are, and whether there is one. Over IPv6 it covers the trailer.
func checksumForm(msg, trailer []byte, src, dst netip.Addr) (Checksum, bool) {
	const right = 0xffff // of a sum that covers its own complement
	sum := sumBytes(0, msg)
	if src.Is4() && fold(sum) == right {
		return MessageOnly, true
	}
	if src.Is6() {
		// Messages over IPv6 have an even number of octets, so the sums add up.
		sum = sumBytes(sum, trailer)
		return PseudoHeader, fold(sumPseudoHeader(sum, src, dst, len(msg)+len(trailer))) == right
	}
	return PseudoHeader, fold(sumPseudoHeader(sum, src, dst, len(msg))) == right
}

// sumBytes adds b to sum, as 16-bit words (RFC 1071); an odd last octet counts
// as the upper half of a word.
func sumBytes(sum uint64, b []byte) uint64 {
	for len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// sumPseudoHeader adds the pseudo-header of a message of n octets to sum
// (RFC 8200 section 8.1; RFC 9293 section 3.1 for IPv4). The order of its
// fields does not matter to a sum.
func sumPseudoHeader(sum uint64, src, dst netip.Addr, n int) uint64 {
	sum = sumAddr(sumAddr(sum, src), dst)
	return sum + Protocol + uint64(n)
}

func sumAddr(sum uint64, a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return sumBytes(sum, b[:])
	}
	b := a.As16()
	return sumBytes(sum, b[:])
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		v := a.As4()
		return append(b, v[:]...)
	}
	v := a.As16()
	return append(b, v[:]...)
}

// fold makes the one's complement sum of 16 bits of sum.
func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
