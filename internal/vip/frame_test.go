package vip

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"holdfast/internal/ether"
)

func TestFrames(t *testing.T) {
	hw := ether.MAC{0x02, 0x42, 0xac, 0x11, 0x00, 0x02}
	v4, v6 := netip.MustParseAddr("10.64.20.10"), netip.MustParseAddr("2001:db8::10")
	tests := []struct {
		name  string
		frame []byte
		want  string // hex, one header a line
	}{
		{
			"ARP request", gratuitousARP(hw, v4, arpRequest),
			`ffffffffffff 0242ac110002 0806
			 0001 0800 06 04 0001
			 0242ac110002 0a40140a
			 000000000000 0a40140a`,
		},
		{
			"ARP reply", gratuitousARP(hw, v4, arpReply),
			`ffffffffffff 0242ac110002 0806
			 0001 0800 06 04 0002
			 0242ac110002 0a40140a
			 0242ac110002 0a40140a`,
		},
		{
			"advertisement of a host", unsolicitedNA(hw, v6, false),
			`333300000001 0242ac110002 86dd
			 60000000 0020 3a ff
			 20010db8000000000000000000000010
			 ff020000000000000000000000000001
			 88 00 4cb8 20000000
			 20010db8000000000000000000000010
			 02 01 0242ac110002`,
		},
		{
			"advertisement of a router", unsolicitedNA(hw, v6, true),
			`333300000001 0242ac110002 86dd
			 60000000 0020 3a ff
			 20010db8000000000000000000000010
			 ff020000000000000000000000000001
			 88 00 ccb7 a0000000
			 20010db8000000000000000000000010
			 02 01 0242ac110002`,
		},
		{
			"virtual router", gratuitousARP(routerMAC(51, false), v4, arpRequest),
			`ffffffffffff 00005e000133 0806
			 0001 0800 06 04 0001
			 00005e000133 0a40140a
			 000000000000 0a40140a`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := strings.Join(strings.Fields(tt.want), "")
			if got := hex.EncodeToString(tt.frame); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// A receiver sums everything, the checksum included, to all ones.
func TestChecksumVerifies(t *testing.T) {
	for _, a := range []string{"2001:db8::10", "fe80::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		frame := unsolicitedNA(ether.Broadcast(), netip.MustParseAddr(a), true)
		ip := frame[ether.Header:]
		if sum := ether.ChecksumICMPv6([16]byte(ip[8:]), [16]byte(ip[24:]), ip[ether.IPv6Header:]); sum != 0 {
			t.Errorf("%s: the receiver's sum is %#x, want 0", a, sum)
		}
	}
}

func TestRouterMAC(t *testing.T) {
	for want, got := range map[string]ether.MAC{
		"00:00:5e:00:01:33": routerMAC(51, false),
		"00:00:5e:00:02:05": routerMAC(5, true),
		"00:00:5e:00:01:ff": routerMAC(255, false),
	} {
		if got.String() != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
