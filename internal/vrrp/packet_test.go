package vrrp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// frames has adverts as they were on the wire: the payloads of IP packets.
// Those of keepalived were captured from version 2.2.7 with vrrp_version 3.
var frames = []struct {
	name     string
	src, dst string
	hex      string
	form     Checksum
	want     Advert
}{
	{
		name: "keepalived, IPv4 unicast, two addresses",
		src:  "10.9.0.1", dst: "10.9.0.2",
		hex:  "3133c802 000add4f 0a090064 0a090065",
		form: PseudoHeader,
		want: advert(51, 200, 100*time.Millisecond, "10.9.0.100", "10.9.0.101"),
	},
	{
		name: "keepalived, IPv4 unicast, stopping",
		src:  "10.9.0.1", dst: "10.9.0.2",
		hex:  "31330002 000aa550 0a090064 0a090065",
		form: PseudoHeader,
		want: advert(51, 0, 100*time.Millisecond, "10.9.0.100", "10.9.0.101"),
	},
	{
		name: "keepalived, IPv4 multicast, 20ms",
		src:  "10.9.0.1", dst: "224.0.0.18",
		hex:  "3134fe01 0002dbbf 0a090066",
		form: PseudoHeader,
		want: advert(52, 254, 20*time.Millisecond, "10.9.0.102"),
	},
	{
		name: "keepalived, IPv6 multicast, 500ms",
		src:  "fe80::44b2:bcff:fee0:a7e", dst: "ff02::12",
		hex:  "31356402 003263cc fe800000 00000000 00000000 00000100 fd000009 00000000 00000000 00000100",
		form: PseudoHeader,
		want: advert(53, 100, 500*time.Millisecond, "fe80::100", "fd00:9::100"),
	},
	{
		name: "keepalived, IPv6 unicast, lowest priority",
		src:  "fd00:9::1", dst: "fd00:9::2",
		hex:  "31360101 000ad514 fd000009 00000000 00000000 00000101",
		form: PseudoHeader,
		want: advert(54, 1, 100*time.Millisecond, "fd00:9::101"),
	},
	{
		// 3134+fe01+0002+0a09+0066 = 139a6, folded 39a7, complement c658.
		name: "by hand, IPv4, the RFC's checksum",
		src:  "10.9.0.1", dst: "224.0.0.18",
		hex:  "3134fe01 0002c658 0a090066",
		form: MessageOnly,
		want: advert(52, 254, 20*time.Millisecond, "10.9.0.102"),
	},
	{
		// 31ff+ff01+0fff+c000+0201 = 20300, folded 0302, complement fcfd.
		name: "by hand, every field at its end",
		src:  "192.0.2.1", dst: "224.0.0.18",
		hex:  "31ffff01 0ffffcfd c0000201",
		form: MessageOnly,
		want: advert(255, 255, 40950*time.Millisecond, "192.0.2.1"),
	},
}

func advert(vrid, priority uint8, interval time.Duration, addrs ...string) Advert {
	a := Advert{VRID: vrid, Priority: priority, Interval: interval}
	for _, s := range addrs {
		a.Addresses = append(a.Addresses, netip.MustParseAddr(s))
	}
	return a
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var cmpAddrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestFrames(t *testing.T) {
	for _, f := range frames {
		t.Run(f.name, func(t *testing.T) {
			wire := unhex(t, f.hex)
			src, dst := netip.MustParseAddr(f.src), netip.MustParseAddr(f.dst)
			var got Advert
			form, err := got.Unmarshal(wire, src, dst)
			if err != nil {
				t.Fatal(err)
			}
			if form != f.form {
				t.Errorf("checksum form %v, want %v", form, f.form)
			}
			if d := cmp.Diff(f.want, got, cmpAddrs); d != "" {
				t.Errorf("decoded (-want +got):\n%s", d)
			}
			back, err := f.want.Append(nil, f.form, src, dst)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(back, wire) {
				t.Errorf("encoded %x, want %x", back, wire)
			}
		})
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	f := frames[0]
	b, err := f.want.Append([]byte{0xee, 0xee, 0xee}, f.form, netip.MustParseAddr(f.src), netip.MustParseAddr(f.dst))
	if err != nil {
		t.Fatal(err)
	}
	if want := append([]byte{0xee, 0xee, 0xee}, unhex(t, f.hex)...); !bytes.Equal(b, want) {
		t.Errorf("got %x, want %x", b, want)
	}
}

// TestPadding checks what may follow a message: what Ethernet needs for its
// minimum, and no more.
func TestPadding(t *testing.T) {
	src, dst := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("224.0.0.18")
	wire := unhex(t, "3134fe01 0002c658 0a090066")
	junk := bytes.Repeat([]byte{0xa5}, 20)
	var a Advert
	if _, err := a.Unmarshal(append(wire, junk[:14]...), src, dst); err != nil {
		t.Errorf("14 octets of padding: %v", err)
	}
	if _, err := a.Unmarshal(append(wire, junk[:15]...), src, dst); !errors.Is(err, BadLength) {
		t.Errorf("15 octets of padding: %v, want %v", err, BadLength)
	}
	six := frames[4]
	_, err := a.Unmarshal(append(unhex(t, six.hex), 0), netip.MustParseAddr(six.src), netip.MustParseAddr(six.dst))
	if !errors.Is(err, BadLength) {
		t.Errorf("an octet after a message over IPv6: %v, want %v", err, BadLength)
	}
}

func TestUnmarshalRejects(t *testing.T) {
	tests := []struct {
		name, hex string
		want      Reason
	}{
		{"nothing", "", BadLength},
		{"one octet", "31", BadLength},
		{"half a header", "3134fe01", BadLength},
		{"header only", "3134fe01 0002c658", BadLength},
		{"a byte short", "3134fe01 0002c658 0a0900", BadLength},
		{"fewer addresses than it says", "3134fe02 0002c658 0a090066", BadLength},
		{"VRRP version 2, of keepalived", "21336401 0001d0b8 0a090064 00000000 00000000", BadVersion},
		{"version 4", "4134fe01 0002c658 0a090066", BadVersion},
		{"type 2", "3234fe01 0002c658 0a090066", BadType},
		{"router id 0", "3100fe01 0002c658 0a090066", BadVRID},
		{"no address", "3134fe00 0002ccc6", BadCount},
		{"interval 0", "3134fe01 0000c65a 0a090066", BadInterval},
		{"interval 0, reserved bits set", "3134fe01 f000d659 0a090066", BadInterval},
		{"wrong checksum", "3134fe01 0002c659 0a090066", BadChecksum},
		{"checksum 0", "3134fe01 00020000 0a090066", BadChecksum},
		{"one bit flipped", "3134ff01 0002c658 0a090066", BadChecksum},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var a Advert
			_, err := a.Unmarshal(unhex(t, tt.hex), netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("224.0.0.18"))
			if r, ok := errors.AsType[Reason](err); !ok || r != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestReservedBits checks that the reserved bits are ignored (RFC 9568 section 5.2.6).
func TestReservedBits(t *testing.T) {
	var a Advert
	_, err := a.Unmarshal(unhex(t, "3134fe01 f002d657 0a090066"), netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("224.0.0.18"))
	if err != nil || a.Interval != 20*time.Millisecond {
		t.Errorf("got %v, %v", a.Interval, err)
	}
}

// TestPseudoHeaderNamesBothEnds checks that over IPv6 an advert for another
// destination is not accepted.
func TestPseudoHeaderNamesBothEnds(t *testing.T) {
	f := frames[4]
	var a Advert
	if _, err := a.Unmarshal(unhex(t, f.hex), netip.MustParseAddr(f.src), netip.MustParseAddr("fd00:9::3")); !errors.Is(err, BadChecksum) {
		t.Errorf("another destination: %v, want %v", err, BadChecksum)
	}
	if _, err := a.Unmarshal(unhex(t, f.hex), netip.MustParseAddr("fd00:9::4"), netip.MustParseAddr(f.dst)); !errors.Is(err, BadChecksum) {
		t.Errorf("another source: %v, want %v", err, BadChecksum)
	}
}

func TestAppendRejects(t *testing.T) {
	good := advert(51, 100, 100*time.Millisecond, "10.9.0.100")
	four, six := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("fd00:9::1")
	many := make([]netip.Addr, 256)
	for i := range many {
		many[i] = four
	}
	tests := []struct {
		name     string
		change   func(*Advert)
		src, dst netip.Addr
		want     string
	}{
		{"router id 0", func(a *Advert) { a.VRID = 0 }, four, four, "router id"},
		{"interval 0", func(a *Advert) { a.Interval = 0 }, four, four, "interval"},
		{"interval between steps", func(a *Advert) { a.Interval += time.Millisecond }, four, four, "interval"},
		{"interval too long", func(a *Advert) { a.Interval = 40960 * time.Millisecond }, four, four, "interval"},
		{"no address", func(a *Advert) { a.Addresses = nil }, four, four, "0 addresses"},
		{"too many addresses", func(a *Advert) { a.Addresses = many }, four, four, "256 addresses"},
		{"address of the other family", func(a *Advert) { a.Addresses = []netip.Addr{six} }, four, four, "family"},
		{"invalid address", func(a *Advert) { a.Addresses = []netip.Addr{{}} }, four, four, "family"},
		{"mapped address", func(a *Advert) { a.Addresses = []netip.Addr{netip.MustParseAddr("::ffff:10.9.0.9")} }, six, six, "family"},
		{"ends of two families", func(*Advert) {}, four, six, "family"},
		{"no source", func(*Advert) {}, netip.Addr{}, four, "family"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := good
			tt.change(&a)
			b, err := a.Append(nil, MessageOnly, tt.src, tt.dst)
			if err == nil || !strings.Contains(err.Error(), tt.want) || b != nil {
				t.Errorf("got %x, %v; want an error about %q", b, err, tt.want)
			}
		})
	}
}

func TestReasonsHaveDistinctNames(t *testing.T) {
	seen := map[string]Reason{}
	for i := 1; i < Reasons; i++ {
		r := Reason(i)
		if other, dup := seen[r.String()]; dup || r.String() == "unknown" || r.Error() == "" {
			t.Errorf("reason %d is %q, as is %d", r, r.String(), other)
		}
		seen[r.String()] = r
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	f := frames[0]
	wire, src, dst := unhex(t, f.hex), netip.MustParseAddr(f.src), netip.MustParseAddr(f.dst)
	var a Advert
	buf := make([]byte, 0, 64)
	n := testing.AllocsPerRun(100, func() {
		if _, err := a.Unmarshal(wire, src, dst); err != nil {
			t.Fatal(err)
		}
		var err error
		if buf, err = a.Append(buf[:0], PseudoHeader, src, dst); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations for decoding and encoding, want none", n)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, fr := range frames {
		f.Add(unhex(f, fr.hex), netip.MustParseAddr(fr.src).Is4())
	}
	f.Fuzz(func(t *testing.T, b []byte, four bool) {
		src, dst := netip.MustParseAddr("fd00:9::1"), netip.MustParseAddr("fd00:9::2")
		if four {
			src, dst = netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("224.0.0.18")
		}
		var a, again Advert
		form, err := a.Unmarshal(b, src, dst)
		if err != nil {
			if _, ok := errors.AsType[Reason](err); !ok {
				t.Fatalf("error %v is not a Reason", err)
			}
			return
		}
		wire, err := a.Append(nil, form, src, dst)
		if err != nil {
			t.Fatalf("decoded %+v, which cannot be encoded: %v", a, err)
		}
		if len(wire) > len(b) {
			t.Fatalf("%d octets became %d", len(b), len(wire))
		}
		formAgain, err := again.Unmarshal(wire, src, dst)
		if err != nil || formAgain != form && form == MessageOnly {
			t.Fatalf("encoded %x is %v, %v", wire, formAgain, err)
		}
		if d := cmp.Diff(a, again, cmpAddrs); d != "" {
			t.Fatal(d)
		}
	})
}

// FuzzRoundTrip makes adverts out of numbers and checks that decoding gives back what was encoded.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint8(51), uint8(254), uint16(10), uint8(1), []byte{10, 9, 0, 100}, true, false)
	f.Add(uint8(255), uint8(0), uint16(4095), uint8(3), []byte{0xfd, 1}, false, true)
	f.Fuzz(func(t *testing.T, vrid, priority uint8, cs uint16, count uint8, seed []byte, four, pseudo bool) {
		a := Advert{
			VRID: max(vrid, 1), Priority: priority,
			Interval: time.Duration(max(cs&maxCentiseconds, 1)) * IntervalStep,
		}
		var raw [16]byte
		copy(raw[:], seed)
		raw[10], raw[11] = 1, 1 // never an IPv4 address in IPv6 form
		src, dst := netip.AddrFrom16(raw), Group6()
		if four {
			src, dst = netip.AddrFrom4([4]byte(raw[:4])), Group4()
		}
		for i := range max(count, 1) {
			raw[3] = i
			addr := netip.AddrFrom16(raw)
			if four {
				addr = netip.AddrFrom4([4]byte(raw[:4]))
			}
			a.Addresses = append(a.Addresses, addr)
		}
		form := MessageOnly
		if pseudo {
			form = PseudoHeader
		}
		wire, err := a.Append(nil, form, src, dst)
		if err != nil {
			t.Fatal(err)
		}
		var got Advert
		if _, err := got.Unmarshal(wire, src, dst); err != nil {
			t.Fatalf("%x: %v", wire, err)
		}
		if d := cmp.Diff(a, got, cmpAddrs); d != "" {
			t.Fatal(d)
		}
	})
}

func TestTimers(t *testing.T) {
	tests := []struct {
		interval   time.Duration
		priority   uint8
		skew, down time.Duration
	}{
		{10 * time.Millisecond, 254, 78125 * time.Nanosecond, 30*time.Millisecond + 78125*time.Nanosecond},
		{time.Second, 100, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		{100 * time.Millisecond, 230, 10156250 * time.Nanosecond, 310156250 * time.Nanosecond},
		{MaxInterval, 1, 40790039062 * time.Nanosecond, 163640039062 * time.Nanosecond},
		{MaxInterval, 0, MaxInterval, 4 * MaxInterval},
	}
	for _, tt := range tests {
		if got := SkewTime(tt.interval, tt.priority); got != tt.skew {
			t.Errorf("SkewTime(%v, %d) = %v, want %v", tt.interval, tt.priority, got, tt.skew)
		}
		if got := ActiveDownInterval(tt.interval, tt.priority); got != tt.down {
			t.Errorf("ActiveDownInterval(%v, %d) = %v, want %v", tt.interval, tt.priority, got, tt.down)
		}
	}
}
