package conflict

import (
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast/internal/ether"
)

// frame gives the octets of a frame, which are in hexadecimal with spaces.
func frame(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	gratuitous = "ffffffffffff 525400000001 0806 0001 0800 06 04 0001 525400000001 0a4d0064 000000000000 0a4d0064"
	// answer is what Linux answers a probe with.
	answer = "525400000002 525400000001 0806 0001 0800 06 04 0002 525400000001 0a4d0064 525400000002 00000000 000000000000"
	// unsolicited has the target link-layer address as an option.
	unsolicited = "333300000001 525400000001 86dd 60000000 0020 3a ff fd770000000000000000000000000100 ff020000000000000000000000000001" +
		"88 00 0000 20000000 fd770000000000000000000000000100 0201 525400000003"
	// kolla is an advert of keepalived 2.2.7 with kolla-ansible's settings: version 2, one
	// second, priority 2, no authentication.
	kolla = "01005e000012 525400000001 0800 45c0 0028 0001 0000 ff70 0000 0a4d0002 e0000012" +
		"21 33 02 01 00 01 0000 0a4d0064 0000000000000000 000000000000"
	ours = "01005e000012 525400000001 0800 45c0 0024 0001 0000 ff70 0000 0a4d0002 e0000012 31 33 fe 02 000a 0000 0a4d0064 0a4d0065"
	six  = "333300000012 525400000001 86dd 60000000 0018 70 ff fe800000000000000000000000000001 ff020000000000000000000000000012" +
		"31 33 64 01 0064 0000 fd770000000000000000000000000100"
)

func TestParseClaim(t *testing.T) {
	four, v6 := netip.MustParseAddr("10.77.0.100"), netip.MustParseAddr("fd77::100")
	one := ether.MAC{0x52, 0x54, 0, 0, 0, 1}
	for name, tt := range map[string]struct {
		frame string
		want  Claim
		ok    bool
	}{
		"gratuitous ARP":               {gratuitous, Claim{one, four}, true},
		"answer to a probe":            {answer, Claim{one, four}, true},
		"neighbour advertisement":      {unsolicited, Claim{ether.MAC{0x52, 0x54, 0, 0, 0, 3}, v6}, true},
		"probe":                        {hex.EncodeToString(Probe(one, four)), Claim{MAC: one, Address: netip.IPv4Unspecified()}, false},
		"solicitation":                 {hex.EncodeToString(Probe(one, v6)), Claim{}, false},
		"ARP cut short":                {gratuitous[:60], Claim{}, false},
		"advertisement from afar":      {strings.Replace(unsolicited, "3a ff", "3a fe", 1), Claim{}, false},
		"advertisement that is longer": {strings.Replace(unsolicited, "0020 3a", "0028 3a", 1), Claim{}, false},
		"VRRP":                         {kolla, Claim{}, false},
		"nothing":                      {"", Claim{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := ParseClaim(frame(t, tt.frame))
			if ok != tt.ok || got != tt.want {
				t.Errorf("got %+v, %v, want %+v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestParseForeign(t *testing.T) {
	one, at := ether.MAC{0x52, 0x54, 0, 0, 0, 1}, netip.MustParseAddr
	for name, tt := range map[string]struct {
		frame string
		want  Foreign
		ok    bool
		text  string
	}{
		"version 2": {
			kolla, Foreign{one, at("10.77.0.2"), 2, 51, 2, time.Second, []netip.Addr{at("10.77.0.100")}}, true,
			"VRRP version 2, router id 51, priority 2, for 10.77.0.100",
		},
		"version 3": {
			ours, Foreign{one, at("10.77.0.2"), 3, 51, 254, 100 * time.Millisecond, []netip.Addr{at("10.77.0.100"), at("10.77.0.101")}}, true,
			"VRRP version 3, router id 51, priority 254, for 10.77.0.100, 10.77.0.101",
		},
		"version 3, IPv6": {
			six, Foreign{one, at("fe80::1"), 3, 51, 100, time.Second, []netip.Addr{at("fd77::100")}}, true,
			"VRRP version 3, router id 51, priority 100, for fd77::100",
		},
		"version 4":    {strings.Replace(ours, "31 33", "41 33", 1), Foreign{}, false, ""},
		"hello":        {strings.Replace(ours, "31 33", "3f 33", 1), Foreign{}, false, ""},
		"cut short":    {strings.Replace(ours, "0024", "0020", 1), Foreign{}, false, ""},
		"longer":       {strings.Replace(ours, "0024", "0028", 1), Foreign{}, false, ""},
		"other header": {strings.Replace(ours, "45c0", "4fc0", 1), Foreign{}, false, ""},
		"ARP":          {gratuitous, Foreign{}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := ParseForeign(frame(t, tt.frame))
			if ok != tt.ok {
				t.Fatalf("got %+v, %v", got, ok)
			}
			if ok && (!reflect.DeepEqual(got, tt.want) || got.String() != tt.text) {
				t.Errorf("got %+v (%v), want %+v", got, got, tt.want)
			}
		})
	}
}

// TestProbe compares with the octets of RFC 5227 and RFC 4862; the checksum was
// computed by another program.
func TestProbe(t *testing.T) {
	from := ether.MAC{0x52, 0x54, 0, 0, 0, 2}
	for a, want := range map[string]string{
		"10.77.0.100": "ffffffffffff 525400000002 0806 0001 0800 06 04 0001 525400000002 00000000 000000000000 0a4d0064",
		"fd77::100": "3333ff000100 525400000002 86dd 60000000 0018 3a ff 00000000000000000000000000000000 ff0200000000000000000001ff000100" +
			"87 00 7b30 00000000 fd770000000000000000000000000100",
	} {
		if got := Probe(from, netip.MustParseAddr(a)); !reflect.DeepEqual(got, frame(t, want)) {
			t.Errorf("%s: got\n%x, want\n%x", a, got, frame(t, want))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{gratuitous, answer, unsolicited, kolla, ours, six} {
		f.Add(frame(f, text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, ok := ParseClaim(b); ok && (!c.Address.IsValid() || c.Address == netip.IPv4Unspecified()) {
			t.Errorf("%x: %+v", b, c)
		}
		if r, ok := ParseForeign(b); ok && (r.Version != 2 && r.Version != 3 || !r.Source.IsValid() || len(r.Addresses) > 20) {
			t.Errorf("%x: %+v", b, r)
		}
	})
}
