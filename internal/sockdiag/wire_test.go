package sockdiag

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

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
			if err != nil || s.Local.String() != tt.local || s.Remote.String() != tt.remote {
				t.Errorf("got %s, %s, %v", s.Local, s.Remote, err)
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
	s := Socket{family: unix.AF_INET, Local: local, Remote: remote}
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
		if !s.Local.IsValid() || !s.Remote.IsValid() || string(s.id[:]) != string(b[4:4+diagIDLength]) {
			t.Errorf("%x: %+v", b, s)
		}
	})
}
