package link

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/vrrp"
)

// TestAccept is the table of who and what is believed.
func TestAccept(t *testing.T) {
	four := &Options{VRID: 51, Source: netip.MustParseAddr("10.0.0.1"), Peers: map[netip.Addr]string{netip.MustParseAddr("10.0.0.2"): "ctl2"}}
	multi4 := &Options{VRID: 51, Source: four.Source, Peers: four.Peers, Multicast: true}
	six := &Options{VRID: 51, Source: netip.MustParseAddr("fd00::1"), Peers: map[netip.Addr]string{netip.MustParseAddr("fd00::2"): "ctl2"}}
	multi6 := &Options{VRID: 51, Source: six.Source, Peers: six.Peers, Multicast: true}
	local := netip.MustParseAddr("fe80::1")
	tests := []struct {
		name     string
		o        *Options
		own      netip.Addr
		src, dst string
		ttl      int
		vrid     uint8
		want     vrrp.Reason
	}{
		{"unicast", four, four.Source, "10.0.0.2", "10.0.0.1", 255, 51, 0},
		{"unicast from a stranger", four, four.Source, "10.0.0.9", "10.0.0.1", 255, 51, vrrp.ForeignSource},
		{"unicast from oneself", four, four.Source, "10.0.0.1", "10.0.0.1", 255, 51, vrrp.OwnSource},
		{"unicast to another address of this host", four, four.Source, "10.0.0.2", "10.0.0.100", 255, 51, vrrp.BadDestination},
		{"unicast over a router", four, four.Source, "10.0.0.2", "10.0.0.1", 254, 51, vrrp.BadTTL},
		{"unicast of another router id", four, four.Source, "10.0.0.2", "10.0.0.1", 255, 52, vrrp.BadVRID},
		{"multicast to unicast", four, four.Source, "10.0.0.2", "224.0.0.18", 255, 51, vrrp.BadDestination},
		{"multicast", multi4, multi4.Source, "10.0.0.2", "224.0.0.18", 255, 51, 0},
		{"multicast from a stranger", multi4, multi4.Source, "10.0.0.9", "224.0.0.18", 255, 51, vrrp.ForeignSource},
		{"unicast to multicast", multi4, multi4.Source, "10.0.0.2", "10.0.0.1", 255, 51, vrrp.BadDestination},
		{"IPv6 unicast", six, six.Source, "fd00::2", "fd00::1", 255, 51, 0},
		{"IPv6 unicast from a stranger", six, six.Source, "fe80::2", "fd00::1", 255, 51, vrrp.ForeignSource},
		{"IPv6 unicast without a hop limit", six, six.Source, "fd00::2", "fd00::1", -1, 51, vrrp.BadTTL},
		{"IPv6 multicast", multi6, local, "fe80::2", "ff02::12", 255, 51, 0},
		{"IPv6 multicast from oneself", multi6, local, "fe80::1", "ff02::12", 255, 51, vrrp.OwnSource},
		{"IPv6 multicast from elsewhere", multi6, local, "fd00::2", "ff02::12", 255, 51, vrrp.ForeignSource},
		{"IPv6 unicast to the controller's address", multi6, local, "fe80::2", "fd00::1", 255, 51, vrrp.BadDestination},
		{"IPv6 unicast to multicast", multi6, local, "fe80::2", "fe80::1", 255, 51, vrrp.BadDestination},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := datagram{src: netip.MustParseAddr(tt.src), dst: netip.MustParseAddr(tt.dst), ttl: tt.ttl}
			sent := vrrp.Advert{VRID: tt.vrid, Priority: 100, Interval: time.Second, Addresses: []netip.Addr{d.src}}
			var err error
			if d.payload, err = sent.Append(nil, vrrp.MessageOnly, d.src, d.dst); err != nil {
				t.Fatal(err)
			}
			var got vrrp.Advert
			if _, _, reason := accept(tt.o, tt.own, d, &got); reason != tt.want {
				t.Errorf("got %v, want %v", reason, tt.want)
			}
			d.payload = d.payload[:6]
			if _, _, reason := accept(tt.o, tt.own, d, &got); tt.want == 0 && reason != vrrp.BadLength {
				t.Errorf("cut short: got %v, want %v", reason, vrrp.BadLength)
			}
		})
	}
}

// TestAcceptHandover checks what is believed of adverts to one controller alone,
// where multicast is configured: that the sender resigns, and nothing else.
func TestAcceptHandover(t *testing.T) {
	four := &Options{VRID: 51, Source: netip.MustParseAddr("10.0.0.1"), Peers: map[netip.Addr]string{netip.MustParseAddr("10.0.0.2"): "ctl2"}, Multicast: true}
	six := &Options{VRID: 51, Source: netip.MustParseAddr("fd00::1"), Peers: map[netip.Addr]string{netip.MustParseAddr("fd00::2"): "ctl2"}, Multicast: true}
	local := netip.MustParseAddr("fe80::1")
	tests := []struct {
		name     string
		o        *Options
		own      netip.Addr
		src, dst string
		ttl      int
		priority uint8
		want     vrrp.Reason
	}{
		{"handover", four, four.Source, "10.0.0.2", "10.0.0.1", 255, 0, 0},
		{"another priority", four, four.Source, "10.0.0.2", "10.0.0.1", 255, 1, vrrp.BadDestination},
		{"to another address of this host", four, four.Source, "10.0.0.2", "10.0.0.100", 255, 0, vrrp.BadDestination},
		{"from a stranger", four, four.Source, "10.0.0.9", "10.0.0.1", 255, 0, vrrp.ForeignSource},
		{"from oneself", four, four.Source, "10.0.0.1", "10.0.0.1", 255, 0, vrrp.OwnSource},
		{"over a router", four, four.Source, "10.0.0.2", "10.0.0.1", 254, 0, vrrp.BadTTL},
		{"IPv6", six, local, "fe80::2", "fd00::1", 255, 0, 0},
		{"IPv6, another priority", six, local, "fe80::2", "fd00::1", 255, 255, vrrp.BadDestination},
		{"IPv6, to the link-local address", six, local, "fe80::2", "fe80::1", 255, 0, vrrp.BadDestination},
		{"IPv6, from elsewhere", six, local, "fd00::2", "fd00::1", 255, 0, vrrp.ForeignSource},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := datagram{src: netip.MustParseAddr(tt.src), dst: netip.MustParseAddr(tt.dst), ttl: tt.ttl}
			sent := vrrp.Advert{VRID: 51, Priority: tt.priority, Interval: time.Second, Addresses: []netip.Addr{d.src}}
			var err error
			if d.payload, err = sent.Append(nil, vrrp.MessageOnly, d.src, d.dst); err != nil {
				t.Fatal(err)
			}
			var got vrrp.Advert
			if _, _, reason := accept(tt.o, tt.own, d, &got); reason != tt.want {
				t.Errorf("got %v, want %v", reason, tt.want)
			}
		})
	}
}

// FuzzReceive reads any packet as a raw IPv4 socket gives it, with its header.
func FuzzReceive(f *testing.F) {
	good := []byte{
		0x45, 0xc0, 0, 32, 0, 1, 0, 0, 255, 112, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2,
		0x31, 0x37, 0x96, 1, 0, 0x0a, 0x19, 0xbc, 10, 9, 0, 0x67,
	}
	f.Add(good)
	f.Add(append([]byte{0x46, 0, 0, 36}, good[4:]...))
	f.Add(good[:19])
	o := &Options{VRID: 55, Source: netip.MustParseAddr("10.9.0.2"), Peers: map[netip.Addr]string{netip.MustParseAddr("10.9.0.1"): "ctl1"}}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseIPv4(b)
		if err != nil {
			if !errors.Is(err, vrrp.BadHeader) {
				t.Fatalf("error %v", err)
			}
			return
		}
		var a vrrp.Advert
		_, _, reason := accept(o, o.Source, d, &a)
		if reason == 0 && (d.ttl != 255 || d.src.String() != "10.9.0.1" || a.VRID != 55 || a.Interval < vrrp.MinInterval) {
			t.Fatalf("accepted %+v with %+v", d, a)
		}
		if int(reason) >= vrrp.Reasons {
			t.Fatalf("reason %d", reason)
		}
	})
}

// FuzzControl reads any control messages as a raw IPv6 socket gives them.
func FuzzControl(f *testing.F) {
	info := unix.PktInfo6(&unix.Inet6Pktinfo{Addr: [16]byte{0xfd, 15: 2}, Ifindex: 1})
	f.Add([]byte{0x31}, info)
	f.Add([]byte{}, info[:20])
	f.Fuzz(func(t *testing.T, payload, control []byte) {
		d, err := parseIPv6(payload, control, netip.MustParseAddr("fd00::1"))
		if err == nil && !d.dst.Is6() {
			t.Fatalf("destination %v", d.dst)
		}
	})
}

// TestParsePackets checks the parsers of what the kernel gives.
func TestParsePackets(t *testing.T) {
	header := []byte{0x46, 0xc0, 0, 28, 0, 1, 0, 0, 254, 112, 0, 0, 10, 9, 0, 1, 224, 0, 0, 18, 1, 1, 1, 1, 'a', 'b', 'c', 'd'}
	d, err := parseIPv4(header)
	if err != nil || d.src.String() != "10.9.0.1" || d.dst.String() != "224.0.0.18" || d.ttl != 254 || string(d.payload) != "abcd" {
		t.Errorf("with options: %+v, %v", d, err)
	}
	for name, i := range map[string]int{"version": 0, "protocol": 9, "total length": 2} {
		bad := append([]byte(nil), header...)
		bad[i] = 0xff
		if _, err := parseIPv4(bad); !errors.Is(err, vrrp.BadHeader) {
			t.Errorf("bad %s: %v", name, err)
		}
	}
	oob := append(unix.PktInfo6(&unix.Inet6Pktinfo{Addr: [16]byte{0xff, 2, 15: 0x12}, Ifindex: 1}), hopLimit(t, 255)...)
	six, err := parseIPv6([]byte("abcd"), oob, netip.MustParseAddr("fe80::1%eth0"))
	if err != nil || six.src.String() != "fe80::1" || six.dst != vrrp.Group6() || six.ttl != 255 {
		t.Errorf("IPv6: %+v, %v", six, err)
	}
	if _, err := parseIPv6([]byte("abcd"), nil, netip.MustParseAddr("fe80::1")); !errors.Is(err, vrrp.BadHeader) {
		t.Errorf("IPv6 without control messages: %v", err)
	}
}

func hopLimit(t *testing.T, n byte) []byte {
	t.Helper()
	b := make([]byte, unix.CmsgSpace(4))
	b[0] = byte(unix.CmsgLen(4))
	b[8], b[12], b[16] = unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, n
	return b
}
