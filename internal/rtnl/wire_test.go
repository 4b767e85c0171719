package rtnl

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

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

// TestReadLinkOfVRF reads what a kernel with VRFs says; not every one has them.
func TestReadLinkOfVRF(t *testing.T) {
	message := append([]byte{4: 5, 15: 0}, attributes(t, func(e *netlink.AttributeEncoder) {
		e.String(unix.IFLA_IFNAME, "mgmt")
		e.Bytes(unix.IFLA_ADDRESS, []byte{2, 0, 0, 0, 0, 1})
		e.Uint32(unix.IFLA_MASTER, 9)
		e.Nested(unix.IFLA_LINKINFO, func(info *netlink.AttributeEncoder) error {
			info.String(unix.IFLA_INFO_KIND, "vrf")
			return nil
		})
	})...)
	got, err := parseLink(message)
	want := Link{Index: 5, Master: 9, Name: "mgmt", Kind: "vrf", Hardware: "\x02\x00\x00\x00\x00\x01"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseLink(make([]byte, 15)); err == nil {
		t.Error("a message that is too short was read")
	}
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
		if a, err := parseAddress(b); err == nil && !a.prefix.IsValid() {
			t.Errorf("%x: no error and no prefix", b)
		}
	})
}

func FuzzParseLink(f *testing.F) {
	f.Add(append(linkHeader(3, unix.IFF_UP, 0), attributes(f, func(e *netlink.AttributeEncoder) {
		e.String(unix.IFLA_IFNAME, "hf-51")
		e.Bytes(unix.IFLA_ADDRESS, []byte{0, 0, 0x5e, 0, 1, 51})
		e.Nested(unix.IFLA_LINKINFO, func(e *netlink.AttributeEncoder) error {
			e.String(unix.IFLA_INFO_KIND, KindMacvlan)
			e.Nested(unix.IFLA_INFO_DATA, func(e *netlink.AttributeEncoder) error {
				e.Uint32(unix.IFLA_MACVLAN_MODE, Private)
				return nil
			})
			return nil
		})
	})...))
	f.Add(append(linkHeader(1, 0, 0), 6, 0, unix.IFLA_LINK, 0, 1, 1))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := parseLink(b); err == nil && l.Index != int(binary.NativeEndian.Uint32(b[4:])) {
			t.Errorf("%x: index %d", b, l.Index)
		}
	})
}

func FuzzParseRoute(f *testing.F) {
	header := []byte{unix.AF_INET, 32, 0, 0, unix.RT_TABLE_MAIN, 0, 0, unix.RTN_UNICAST, 0, 0, 0, 0}
	f.Add(append(header, attributes(f, func(e *netlink.AttributeEncoder) {
		e.Bytes(unix.RTA_DST, []byte{10, 0, 0, 1})
		e.Uint32(unix.RTA_TABLE, 0x68667374)
		e.Uint32(unix.RTA_OIF, 2)
		e.Bytes(unix.RTA_GATEWAY, []byte{10, 0, 0, 254})
	})...))
	f.Add(append(header, 5, 0, unix.RTA_OIF, 0, 1))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRoute(b); err == nil && r.Kind != b[7] {
			t.Errorf("%x: %+v", b, r)
		}
	})
}

func FuzzParseNeighbour(f *testing.F) {
	header := make([]byte, sizeofNdmsg)
	header[0], header[4], header[8] = unix.AF_INET, 3, unix.NUD_STALE
	f.Add(append(header, attributes(f, func(e *netlink.AttributeEncoder) {
		e.Bytes(unix.NDA_DST, []byte{10, 0, 0, 1})
		e.Bytes(unix.NDA_LLADDR, []byte{2, 0, 0, 0, 0, 1})
	})...))
	f.Add(append(header, 4, 0, unix.NDA_DST, 0))
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, learned, err := parseNeighbour(b); err == nil && learned && !n.Address.IsValid() {
			t.Errorf("%x: %+v", b, n)
		}
	})
}

// TestParseNeighbour has who counts as somebody that has answered.
func TestParseNeighbour(t *testing.T) {
	message := func(state, flags byte, mac ...byte) []byte {
		header := make([]byte, sizeofNdmsg)
		header[0], header[4], header[8], header[10] = unix.AF_INET, 3, state, flags
		return append(header, attributes(t, func(e *netlink.AttributeEncoder) {
			e.Bytes(unix.NDA_DST, []byte{10, 0, 0, 1})
			if len(mac) > 0 {
				e.Bytes(unix.NDA_LLADDR, mac)
			}
		})...)
	}
	one := []byte{2, 0, 0, 0, 0, 1}
	for name, tt := range map[string]struct {
		message []byte
		want    bool
	}{
		"reachable":           {message(unix.NUD_REACHABLE, 0, one...), true},
		"stale":               {message(unix.NUD_STALE, 0, one...), true},
		"did not answer":      {message(unix.NUD_FAILED, 0), false},
		"is being asked":      {message(unix.NUD_INCOMPLETE, 0), false},
		"set by somebody":     {message(unix.NUD_PERMANENT, 0, one...), false},
		"of a fabric":         {message(unix.NUD_STALE, unix.NTF_EXT_LEARNED, one...), false},
		"InfiniBand, perhaps": {message(unix.NUD_STALE, 0, one[:4]...), false},
	} {
		n, got, err := parseNeighbour(tt.message)
		if err != nil || got != tt.want || n.Index != 3 {
			t.Errorf("%s: %+v, %v, %v, want %v", name, n, got, err, tt.want)
		}
	}
}
