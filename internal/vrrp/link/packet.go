package link

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"holdfast/internal/vrrp"
)

// parseIPv4 reads a packet as a raw IPv4 socket gives it, with its header
// (RFC 791 section 3.1).
func parseIPv4(b []byte) (datagram, error) {
	const minHeader = 20
	if len(b) < minHeader || b[0]>>4 != 4 {
		return datagram{}, vrrp.BadHeader
	}
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < minHeader || total < header || total > len(b) || b[9] != vrrp.Protocol {
		return datagram{}, vrrp.BadHeader
	}
	return datagram{
		src:     netip.AddrFrom4([4]byte(b[12:16])),
		dst:     netip.AddrFrom4([4]byte(b[16:20])),
		ttl:     int(b[8]),
		payload: b[header:total],
	}, nil
}

// parseIPv6 reads a packet as a raw IPv6 socket gives it: without its header,
// whose destination and hop limit are in the control messages (RFC 3542).
func parseIPv6(payload, control []byte, src netip.Addr) (datagram, error) {
	d := datagram{src: src.WithZone(""), ttl: -1, payload: payload}
	for len(control) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return datagram{}, vrrp.BadHeader
		}
		control = rest
		switch {
		case h.Level != unix.IPPROTO_IPV6:
		case h.Type == unix.IPV6_PKTINFO && len(data) >= 16:
			d.dst = netip.AddrFrom16([16]byte(data))
		case h.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
			d.ttl = int(int32(binary.NativeEndian.Uint32(data)))
		}
	}
	if !d.src.IsValid() || !d.dst.IsValid() || d.src.Is4() {
		return datagram{}, vrrp.BadHeader
	}
	return d, nil
}
