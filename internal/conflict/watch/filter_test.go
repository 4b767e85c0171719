package watch

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

// octets gives the octets of a frame, which are in hexadecimal with spaces.
func octets(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return append(b, make([]byte, 40)...)
}

// keeps runs the filter as the kernel does.
func keeps(t testing.TB, s sieve, text string) bool {
	t.Helper()
	program, err := s.program()
	if err != nil {
		t.Fatal(err)
	}
	var code []bpf.Instruction
	for _, p := range program {
		code = append(code, bpf.RawInstruction{Op: p.Code, Jt: p.Jt, Jf: p.Jf, K: p.K}.Disassemble())
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(octets(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// TestSieve has the frames that wake the watch, and those that must not: the adverts of
// controllers come a hundred times a second, and everything else more often.
func TestSieve(t *testing.T) {
	const (
		eth4    = "01005e000012 525400000001 0800 "
		from2   = "45c0 0028 0001 0000 ff70 0000 0a4d0002 "
		from9   = "45c0 0028 0001 0000 ff70 0000 0a4d0009 "
		options = "46c0 002c 0001 0000 ff70 0000 0a4d0009 e0000012 00000000 "
		group   = "e0000012 "
		own     = "0a4d0001 "
		v2      = "2133020100010000 0a4d0064 0000000000000000"
		v3      = "3133fe01000a0000 0a4d0064"
		other   = "3134fe01000a0000 0a4d0065"
		otherID = "3134fe01000a0000 0a4d0064"
		eth6    = "333300000012 525400000001 86dd 60000000 0018 "
		local   = "fe800000000000000000000000000009 ff020000000000000000000000000012 "
		peer6   = "fd770000000000000000000000000002 fd770000000000000000000000000001 "
		na      = "3a ff fd770000000000000000000000000009 ff020000000000000000000000000001 8800000020000000 "
	)
	s := sieve{routerID: 51}
	for _, a := range []string{"10.77.0.100", "fd77::100", "10.77.0.254"} {
		s.addresses = append(s.addresses, netip.MustParseAddr(a))
	}
	for _, a := range []string{"10.77.0.2", "10.77.0.3", "fd77::2"} {
		s.peers = append(s.peers, netip.MustParseAddr(a))
	}
	multicast := s
	multicast.multicast = true
	for name, tt := range map[string]struct {
		sieve sieve
		frame string
		want  bool
	}{
		"ARP of the address":                  {s, "ffffffffffff 525400000001 0806 0001 0800 06 04 0001 525400000001 0a4d0064", true},
		"ARP of a router":                     {s, "ffffffffffff 525400000001 0806 0001 0800 06 04 0001 525400000001 0a4d00fe", true},
		"ARP of another":                      {s, "ffffffffffff 525400000001 0806 0001 0800 06 04 0001 525400000001 0a4d0065", false},
		"advertisement of the address":        {s, eth6 + na + "fd770000000000000000000000000100", true},
		"advertisement of another":            {s, eth6 + na + "fd770000000000000000000000000101", false},
		"solicitation":                        {s, strings.Replace(eth6+na, "8800", "8700", 1) + "fd770000000000000000000000000100", false},
		"stranger":                            {s, eth4 + from9 + group + v3, true},
		"stranger of version 2":               {s, eth4 + from9 + group + v2, true},
		"stranger with IP options":            {s, eth4 + options + v3, true},
		"stranger by unicast":                 {s, eth4 + from9 + own + v3, true},
		"other id, the address":               {s, eth4 + from9 + group + otherID, true},
		"other id, another address":           {s, eth4 + from9 + group + other, false},
		"controller":                          {s, eth4 + from2 + own + v3, false},
		"controller to the group":             {s, eth4 + from2 + group + v2, true},
		"controller by multicast":             {multicast, eth4 + from2 + group + v3, false},
		"controller by multicast, version 2":  {multicast, eth4 + from2 + group + v2, true},
		"stranger by multicast":               {multicast, eth4 + from9 + group + v3, true},
		"TCP":                                 {s, eth4 + strings.Replace(from9, "ff70", "ff06", 1) + group + v3, false},
		"stranger, IPv6":                      {s, eth6 + "70 ff " + local + v3, true},
		"stranger with another id, IPv6":      {s, eth6 + "70 ff " + local + other, false},
		"controller, IPv6":                    {s, eth6 + "70 ff " + peer6 + v3, false},
		"somebody, IPv6 multicast":            {multicast, eth6 + "70 ff " + local + v3, false}, // the loop believes them
		"somebody, IPv6 multicast, version 2": {multicast, eth6 + "70 ff " + local + v2, true},
		"TCP over IPv6":                       {s, eth6 + "06 ff " + local + v3, false},
		"another protocol":                    {s, "ffffffffffff 525400000001 88cc 0207", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := keeps(t, tt.sieve, tt.frame); got != tt.want {
				t.Errorf("kept: %v, want %v", got, tt.want)
			}
		})
	}
}
