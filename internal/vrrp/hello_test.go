package vrrp

import (
	"errors"
	"net/netip"
	"testing"
)

// A hello comes through as it was sent, and no router takes it for an advert.
func TestHello(t *testing.T) {
	for _, tt := range []struct {
		src, dst, from string
		form           Checksum
	}{
		{"10.0.0.1", "10.0.0.2", "10.0.0.1", MessageOnly},
		{"10.0.0.1", "224.0.0.18", "10.0.0.1", PseudoHeader},
		{"fd00::1", "fd00::2", "fd00::1", PseudoHeader},
		{"fe80::1", "ff02::12", "fd00::1", PseudoHeader},
	} {
		src, dst := netip.MustParseAddr(tt.src), netip.MustParseAddr(tt.dst)
		sent := Hello{VRID: 51, From: netip.MustParseAddr(tt.from)}
		wire, err := sent.Append(nil, tt.form, src, dst)
		if err != nil {
			t.Fatal(err)
		}
		var got Hello
		if err := got.Unmarshal(wire, src, dst); err != nil || got != sent || !IsHello(wire) {
			t.Errorf("%s to %s: got %+v, %v", tt.src, tt.dst, got, err)
		}
		var a Advert
		if _, err := a.Unmarshal(wire, src, dst); !errors.Is(err, BadType) {
			t.Errorf("as an advert: %v, want that its type is another one", err)
		}
		wire[1]++
		if err := got.Unmarshal(wire, src, dst); !errors.Is(err, BadChecksum) {
			t.Errorf("with another router id: %v", err)
		}
		advert, err := Advert{VRID: 51, Priority: 1, Interval: MinInterval, Addresses: []netip.Addr{src}}.Append(nil, tt.form, src, dst)
		if err != nil || IsHello(advert) || !errors.Is(got.Unmarshal(advert, src, dst), BadType) {
			t.Errorf("an advert is taken for a hello, or %v", err)
		}
	}
	if _, err := (Hello{From: netip.MustParseAddr("10.0.0.1")}).Append(nil, MessageOnly, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")); err == nil {
		t.Error("a hello of router id 0 was sent")
	}
}
