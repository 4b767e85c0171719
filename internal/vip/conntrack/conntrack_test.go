package conntrack

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// trackedReply is a message of conntrack.
func trackedReply(t testing.TB, source, target netip.AddrPort) []byte {
	t.Helper()
	from, to := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
	if source.Addr().Is6() {
		from, to = ctaIPv6Src, ctaIPv6Dst
	}
	return append(nfHeader(source.Addr()), attributes(t, func(e *netlink.AttributeEncoder) {
		e.ByteOrder = binary.BigEndian
		e.Nested(ctaTuple, func(e *netlink.AttributeEncoder) error {
			e.Nested(ctaTupleIP, func(e *netlink.AttributeEncoder) error {
				e.Bytes(from, source.Addr().AsSlice())
				e.Bytes(to, target.Addr().AsSlice())
				return nil
			})
			e.Nested(ctaTupleProto, func(e *netlink.AttributeEncoder) error {
				e.Uint8(ctaProtoNum, unix.IPPROTO_TCP)
				e.Uint16(ctaProtoSrc, source.Port())
				e.Uint16(ctaProtoDst, target.Port())
				return nil
			})
			return nil
		})
		e.Uint32(ctaStatus, translated)
		e.Uint32(ctaID, 7)
		e.Uint16(ctaZone, 3)
	})...)
}

func TestParseTracked(t *testing.T) {
	for _, tt := range [][2]string{{"10.0.0.1:40000", "10.0.0.10:5000"}, {"[fd00::1]:40000", "[fd00::10]:5000"}} {
		source, target := netip.MustParseAddrPort(tt[0]), netip.MustParseAddrPort(tt[1])
		got, err := parseTracked(trackedReply(t, source, target))
		if err != nil || got.ends != (Ends{source, target}) || got.protocol != unix.IPPROTO_TCP || got.status != translated {
			t.Errorf("got %+v, %v", got, err)
		}
		if binary.BigEndian.Uint32(got.id) != 7 || binary.BigEndian.Uint16(got.zone) != 3 || len(got.tuple) == 0 {
			t.Errorf("cannot be named in a request: %+v", got)
		}
	}
}

func FuzzParseTracked(f *testing.F) {
	f.Add(trackedReply(f, netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:2")))
	f.Add(trackedReply(f, netip.MustParseAddrPort("[fd00::1]:1"), netip.MustParseAddrPort("[fd00::2]:2")))
	f.Add([]byte{2, 0, 0, 0, 4, 0, ctaID, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseTracked(b); err == nil && len(b) < 4 {
			t.Errorf("took %x", b)
		}
	})
}

func attributes(t testing.TB, fill func(*netlink.AttributeEncoder)) []byte {
	t.Helper()
	e := netlink.NewAttributeEncoder()
	fill(e)
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
