package vip

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// reply is a struct inet_diag_msg of the given ends.
func reply(family uint8, local, remote netip.AddrPort) []byte {
	b := make([]byte, diagReplyLength)
	b[0], b[1] = family, 1
	binary.BigEndian.PutUint16(b[4:], local.Port())
	binary.BigEndian.PutUint16(b[6:], remote.Port())
	copy(b[8:], local.Addr().AsSlice())
	copy(b[24:], remote.Addr().AsSlice())
	return b
}

func TestParseSocket(t *testing.T) {
	port := netip.MustParseAddrPort
	tests := []struct {
		name          string
		bytes         []byte
		local, remote string
	}{
		{"IPv4", reply(unix.AF_INET, port("10.0.0.10:5000"), port("10.0.0.1:40000")), "10.0.0.10:5000", "10.0.0.1:40000"},
		{"IPv6", reply(unix.AF_INET6, port("[fd00::10]:5000"), port("[fd00::1]:40000")), "[fd00::10]:5000", "[fd00::1]:40000"},
		{
			"IPv4 on an IPv6 socket", reply(unix.AF_INET6, port("[::ffff:10.0.0.10]:5000"), port("[::ffff:10.0.0.1]:40000")),
			"10.0.0.10:5000", "10.0.0.1:40000",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := parseSocket(tt.bytes)
			if err != nil || s.local.String() != tt.local || s.remote.String() != tt.remote {
				t.Errorf("got %s, %s, %v", s.local, s.remote, err)
			}
		})
	}
	for _, bad := range [][]byte{nil, make([]byte, diagReplyLength-1), make([]byte, diagReplyLength)} {
		if _, err := parseSocket(bad); err == nil {
			t.Errorf("took %x", bad)
		}
	}
}

func TestMatch(t *testing.T) {
	local, remote := netip.MustParseAddrPort("10.0.0.10:5000"), netip.MustParseAddrPort("10.0.0.1:40000")
	s := diagSocket{family: unix.AF_INET, local: local, remote: remote}
	tests := []struct {
		match Match
		want  bool
	}{
		{Match{Local: local}, true},
		{Match{Remote: remote}, true},
		{Match{Local: local, Remote: remote}, true},
		{Match{Local: netip.AddrPortFrom(local.Addr(), 0)}, true},
		{Match{Local: netip.AddrPortFrom(netip.Addr{}, 5000)}, true},
		{Match{Local: netip.MustParseAddrPort("[::ffff:10.0.0.10]:5000")}.normal(), true},
		{Match{Local: remote}, false},
		{Match{Local: netip.AddrPortFrom(local.Addr(), 5001)}, false},
		{Match{Local: local, Remote: local}, false},
	}
	for _, tt := range tests {
		if got := tt.match.matches(s); got != tt.want {
			t.Errorf("%+v matches: %v, want %v", tt.match, got, tt.want)
		}
	}
}

// TestDestroySocketsByRemote shows that the kernel takes the program; this one,
// that it does not change.
func TestFilterProgram(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the bytes below are those of a little-endian machine")
	}
	tests := []struct {
		name  string
		match Match
		want  string
	}{
		{"local", Match{Local: netip.MustParseAddrPort("10.0.0.10:0")}, "07 10 1400 02 20 0000 ffffffff 0a00000a"},
		{"remote port", Match{Remote: netip.AddrPortFrom(netip.Addr{}, 443)}, "08 0c 1000 00 00 0000 bb010000"},
		{
			"both",
			Match{Local: netip.MustParseAddrPort("10.0.0.10:0"), Remote: netip.MustParseAddrPort("[fd00::1]:80")},
			`07 10 3000 02 20 0000 ffffffff 0a00000a
			 08 1c 2000 0a 80 0000 50000000 fd000000000000000000000000000001`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := strings.Join(strings.Fields(tt.want), "")
			if got := hex.EncodeToString(tt.match.bytecode()); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestUnconnected(t *testing.T) {
	tests := []struct {
		name         string
		vip, present []netip.Prefix
		want         string
	}{
		{"own address", prefixes("10.0.0.10/24"), prefixes("10.0.0.13/24"), ""},
		{"own address of a larger network", prefixes("10.0.0.10/24"), prefixes("10.0.1.13/16"), ""},
		{"nothing", prefixes("10.0.0.10/24", "fd00::10/64"), nil, "10.0.0.0/24 fd00::/64"},
		{"only the VIP", prefixes("10.0.0.10/24"), prefixes("10.0.0.10/32"), "10.0.0.0/24"},
		{"a copy of the VIP", prefixes("10.0.0.10/24"), prefixes("10.0.0.10/24"), "10.0.0.0/24"},
		{"another host address", prefixes("10.0.0.10/24"), prefixes("10.0.0.13/32"), "10.0.0.0/24"},
		{"another network", prefixes("10.0.0.10/24"), prefixes("10.1.0.13/24"), "10.0.0.0/24"},
		{"two of one network", prefixes("10.0.0.10/24", "10.0.0.11/24"), nil, "10.0.0.0/24"},
		{"no network", prefixes("10.0.0.10/32"), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range unconnected(tt.vip, tt.present) {
				got = append(got, p.String())
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
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

func FuzzParseAddress(f *testing.F) {
	p := netip.MustParsePrefix("10.0.0.10/24")
	f.Add(append(addressHeader(3, p), attributes(f, func(e *netlink.AttributeEncoder) {
		e.Bytes(unix.IFA_ADDRESS, p.Addr().AsSlice())
		e.Bytes(unix.IFA_LOCAL, p.Addr().AsSlice())
	})...))
	f.Add(append(addressHeader(3, p), 4, 0, 2, 0))
	f.Add([]byte{2, 33})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, p, err := parseAddress(b); err == nil && !p.IsValid() {
			t.Errorf("%x: no error and no prefix", b)
		}
	})
}

func FuzzParseLink(f *testing.F) {
	f.Add(append(linkHeader(3, unix.IFF_UP, 0), attributes(f, func(e *netlink.AttributeEncoder) {
		e.String(unix.IFLA_IFNAME, "hf-51")
		e.Bytes(unix.IFLA_ADDRESS, []byte{0, 0, 0x5e, 0, 1, 51})
		e.Nested(unix.IFLA_LINKINFO, func(e *netlink.AttributeEncoder) error {
			e.String(unix.IFLA_INFO_KIND, kindMacvlan)
			e.Nested(unix.IFLA_INFO_DATA, func(e *netlink.AttributeEncoder) error {
				e.Uint32(unix.IFLA_MACVLAN_MODE, private)
				return nil
			})
			return nil
		})
	})...))
	f.Add(append(linkHeader(1, 0, 0), 6, 0, unix.IFLA_LINK, 0, 1, 1))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := parseLink(b); err == nil && l.index != int(binary.NativeEndian.Uint32(b[4:])) {
			t.Errorf("%x: index %d", b, l.index)
		}
	})
}

func FuzzParseSocket(f *testing.F) {
	end := netip.MustParseAddrPort("[fd00::10]:5000")
	f.Add(reply(unix.AF_INET6, end, end))
	f.Add(reply(unix.AF_INET, netip.MustParseAddrPort("10.0.0.10:1"), netip.MustParseAddrPort("10.0.0.1:2")))
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSocket(b)
		if err != nil {
			return
		}
		// What identifies the socket goes back to the kernel as it came.
		if !s.local.IsValid() || !s.remote.IsValid() || string(s.id[:]) != string(b[4:4+diagIDLength]) {
			t.Errorf("%x: %+v", b, s)
		}
	})
}
