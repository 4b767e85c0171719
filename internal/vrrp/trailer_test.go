package vrrp

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// The packets of draft-cassen-vrrp-auth-hmac's appendix: a message and its trailer. Over
// IPv6 it goes to fe80::20, and the checksum covers the trailer.
var signed = []struct {
	src, dst, vip    string
	message, trailer string
}{
	{
		"198.51.100.10", "198.51.100.20", "192.0.2.100", "3133c80100644402c0000264",
		"0101000068000000800000001b84bc4e8e43892dc6d98448f8ee2265",
	},
	{
		"fe80::10", "fe80::20", "fe80::100", "3133c8010064a2e9fe800000000000000000000000000100",
		"010100006800000080000000c8c56146ebfd66ee10ec4d8186461b78",
	},
}

func TestSigned(t *testing.T) {
	for _, v := range signed {
		src, dst := netip.MustParseAddr(v.src), netip.MustParseAddr(v.dst)
		message, trailer := unhex(t, v.message), unhex(t, v.trailer)
		packet := append(bytes.Clone(message), trailer...)
		a := Advert{VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{netip.MustParseAddr(v.vip)}}
		before := []byte("before")
		b, err := a.Append(before, MessageOnly, src, dst)
		if err != nil {
			t.Fatal(err)
		}
		if b = AppendTrailer(b, len(before), trailer, src, dst); !bytes.Equal(b[len(before):], packet) {
			t.Errorf("sent\n%x, want\n%x", b[len(before):], packet)
		}
		var got Advert
		form, rest, err := got.UnmarshalSigned(packet, src, dst)
		if err != nil || !bytes.Equal(rest, trailer) || got.Priority != 200 || src.Is4() != (form == MessageOnly) {
			t.Errorf("%+v, %v, %x, %v", got, form, rest, err)
		}
		if _, err := got.Unmarshal(packet, src, dst); !errors.Is(err, BadLength) {
			t.Errorf("who knows no trailer has %v", err)
		}
		// Each octet of the message counts for its checksum, and over IPv6 each of the trailer.
		for i := range packet {
			bad := bytes.Clone(packet)
			bad[i] ^= 0x10
			_, _, err := got.UnmarshalSigned(bad, src, dst)
			if covered := i < len(message) || src.Is6(); (err != nil) != covered {
				t.Errorf("%v with another octet %d: %v", src, i, err)
			}
		}
		// Without a trailer it is as ever, and one that is cut short is no trailer.
		plain, err := a.Append(nil, MessageOnly, src, dst)
		if err != nil {
			t.Fatal(err)
		}
		if _, rest, err := got.UnmarshalSigned(plain, src, dst); err != nil || rest != nil {
			t.Errorf("%x, %v", rest, err)
		}
		for _, n := range []int{1, 15, 27, 29} {
			long := append(bytes.Clone(plain), make([]byte, n)...)
			if _, rest, err := got.UnmarshalSigned(long, src, dst); !errors.Is(err, BadLength) && len(long) > maxPadded4 || rest != nil {
				t.Errorf("%d octets after it: %x, %v", n, rest, err)
			}
		}

		hello, err := Hello{VRID: 51, From: src}.Append(nil, PseudoHeader, src, dst)
		if err != nil {
			t.Fatal(err)
		}
		var h Hello
		hello = AppendTrailer(hello, 0, trailer, src, dst)
		if rest, err := h.UnmarshalSigned(hello, src, dst); err != nil || h.From != src || !bytes.Equal(rest, trailer) || !IsHello(hello) {
			t.Errorf("%+v, %x, %v", h, rest, err)
		}
	}
}

// FuzzUnmarshalSigned proves that a packet is a message and a trailer, or a message as
// Unmarshal has it, and never something else.
func FuzzUnmarshalSigned(f *testing.F) {
	for _, v := range signed {
		f.Add(unhex(f, v.message+v.trailer))
		f.Add(unhex(f, v.message))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		for _, v := range signed {
			src, dst := netip.MustParseAddr(v.src), netip.MustParseAddr(v.dst)
			var a, b Advert
			form, trailer, err := a.UnmarshalSigned(packet, src, dst)
			if trailer == nil {
				if plain, plainErr := b.Unmarshal(packet, src, dst); plain != form || !errors.Is(plainErr, err) {
					t.Errorf("%x: %v, %v; unsigned %v, %v", packet, form, err, plain, plainErr)
				}
				continue
			}
			message := packet[:len(packet)-len(trailer)]
			if err == nil && (len(trailer) != TrailerLen || len(message) != headerLen+len(a.Addresses)*addrLen(src)) {
				t.Errorf("%x: a message of %d octets has %d addresses, and %d of a trailer", packet, len(message), len(a.Addresses), len(trailer))
			}
		}
	})
}
