package link

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/vrrp"
)

// A hostile packet is one that RFC 9568 or its errata have a receiver discard, or
// that this package does. Each says that its sender is Active with priority 255, or
// resigns: whoever obeyed it would change its state.
type hostile struct {
	name string
	d    datagram
	want vrrp.Reason
}

// hostilePackets gives all kinds for a controller at self that hears peer.
func hostilePackets(tb testing.TB, self, peer netip.Addr, multicast bool) []hostile {
	dst, other := self, vrrp.Group4()
	if self.Is6() {
		other = vrrp.Group6()
	}
	if multicast {
		dst, other = other, self
	}
	stranger := netip.MustParseAddr("10.0.0.99")
	if self.Is6() {
		stranger = netip.MustParseAddr("2001:db8::99")
	}
	encode := func(src, dst netip.Addr, priority uint8) []byte {
		a := vrrp.Advert{VRID: 51, Priority: priority, Interval: 10 * time.Millisecond, Addresses: []netip.Addr{peer}}
		b, err := a.Append(nil, vrrp.PseudoHeader, src, dst)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	good := datagram{src: peer, dst: dst, ttl: 255, payload: encode(peer, dst, 255)}
	var all []hostile
	add := func(name string, want vrrp.Reason, change func(*datagram)) {
		for _, priority := range []uint8{255, 0} {
			d := good
			d.payload = encode(peer, dst, priority)
			change(&d)
			all = append(all, hostile{fmt.Sprintf("%s, priority %d", name, priority), d, want})
		}
	}
	octet := func(i int, v byte) func(*datagram) { return func(d *datagram) { d.payload[i] = v } }
	summed := func(i int, v byte) func(*datagram) {
		return func(d *datagram) { // with a checksum that is right
			delta := int(v) - int(d.payload[i])
			d.payload[i] = v
			word := uint32(d.payload[6])<<8 | uint32(d.payload[7])
			if i%2 == 0 {
				delta <<= 8
			}
			sum := int(^uint16(word)) + delta
			sum = (sum%0xffff + 0xffff) % 0xffff
			d.payload[6], d.payload[7] = byte(^uint16(sum)>>8), byte(^uint16(sum))
		}
	}
	add("TTL 254", vrrp.BadTTL, func(d *datagram) { d.ttl = 254 })
	add("TTL 0", vrrp.BadTTL, func(d *datagram) { d.ttl = 0 })
	add("version 2", vrrp.BadVersion, octet(0, 0x21))
	add("version 4", vrrp.BadVersion, octet(0, 0x41))
	add("type 0", vrrp.BadType, octet(0, 0x30))
	add("type 2", vrrp.BadType, octet(0, 0x32))
	add("another router id", vrrp.BadVRID, summed(1, 52))
	add("router id 0", vrrp.BadVRID, summed(1, 0))
	add("no address", vrrp.BadCount, summed(3, 0))
	add("more addresses than there are", vrrp.BadLength, octet(3, 255))
	add("interval 0", vrrp.BadInterval, summed(5, 0))
	add("interval 0, reserved bits", vrrp.BadInterval, func(d *datagram) { summed(5, 0)(d); summed(4, 0xf0)(d) })
	add("wrong checksum", vrrp.BadChecksum, func(d *datagram) { d.payload[7] ^= 0x55 })
	add("cut short", vrrp.BadLength, func(d *datagram) { d.payload = d.payload[:len(d.payload)-1] })
	add("header alone", vrrp.BadLength, func(d *datagram) { d.payload = d.payload[:8] })
	add("one octet", vrrp.BadLength, func(d *datagram) { d.payload = d.payload[:1] })
	add("nothing", vrrp.BadLength, func(d *datagram) { d.payload = nil })
	add("too long", vrrp.BadLength, func(d *datagram) { d.payload = append(d.payload, make([]byte, 1000)...) })
	add("of a stranger", vrrp.ForeignSource, func(d *datagram) { d.src, d.payload = stranger, encode(stranger, d.dst, d.payload[2]) })
	add("of oneself", vrrp.OwnSource, func(d *datagram) { d.src, d.payload = self, encode(self, d.dst, d.payload[2]) })
	all = append(all, hostile{"to another destination", datagram{src: peer, dst: other, ttl: 255, payload: encode(peer, other, 255)}, vrrp.BadDestination})
	return all
}

// TestHostileIsDiscarded checks each kind in every mode, by itself.
func TestHostileIsDiscarded(t *testing.T) {
	for _, tt := range []struct {
		self, peer string
		multicast  bool
	}{
		{"10.0.0.1", "10.0.0.2", false}, {"10.0.0.1", "10.0.0.2", true},
		{"fd00::1", "fd00::2", false}, {"fe80::1", "fe80::2", true},
	} {
		self, peer := netip.MustParseAddr(tt.self), netip.MustParseAddr(tt.peer)
		o := &Options{VRID: 51, Source: self, Peers: map[netip.Addr]string{peer: "ctl2"}, Multicast: tt.multicast}
		for _, h := range hostilePackets(t, self, peer, tt.multicast) {
			var a vrrp.Advert
			_, trailer, got := accept(o, self, h.d, &a)
			if got == 0 && trailer != nil {
				got = vrrp.BadLength // what proven says of what is no trailer
			}
			if got != h.want {
				t.Errorf("%s from %s, multicast %v: %v, want %v", h.name, tt.peer, tt.multicast, got, h.want)
			}
		}
	}
}

// TestHostileFlood sends a hundred thousand of them in a second to a holder and to
// the one that waits: neither changes, each is counted, and the adverts go on.
func TestHostileFlood(t *testing.T) {
	const each, rounds = 50, 1000 // packets to each of two, a thousand times a second
	for _, multicast := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w, c := cluster(t, 2, func(_ int, o *Options) { o.Multicast = multicast })
			time.Sleep(time.Second)
			c[0].wantState(vrrp.Active)
			c[0].reasons()
			c[1].reasons()
			w.sent()
			want := map[string]uint64{}
			kinds := [][]hostile{
				hostilePackets(t, c[0].host.addr, c[1].host.addr, multicast),
				hostilePackets(t, c[1].host.addr, c[0].host.addr, multicast),
			}
			next := 0
			for range rounds {
				for range each {
					for i := range c {
						h := kinds[i][next%len(kinds[i])]
						if i == 1 {
							want[h.want.String()]++
						}
						c[i].host.put(h.d)
					}
					next++
				}
				time.Sleep(time.Second / rounds)
			}
			time.Sleep(time.Second)
			for i := range c {
				if got := c[i].reasons(); len(got) > 0 {
					t.Errorf("multicast %v: ctl%d did %q", multicast, i+1, got)
				}
			}
			if got := c[1].Stats().Rejected; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("multicast %v: rejected %v, want %v", multicast, got, want)
			}
			// Twenty adverts of ctl1, and none of ctl2.
			sent := slices.DeleteFunc(w.sent(), func(s string) bool { return !strings.Contains(s, "10.0.0.1 sends 254") })
			if len(sent) < 19 || len(sent) > 21 {
				t.Errorf("multicast %v: %d adverts in two seconds of 100ms each", multicast, len(sent))
			}
		})
	}
}

// BenchmarkHostile measures what it costs to hear and discard one, beside hearing a
// good one: a hundred thousand a second take so many times 10 % of a processor as it
// takes microseconds.
func BenchmarkHostile(b *testing.B) {
	w := newWire()
	host := w.host("10.0.0.1")
	o := Options{
		Name: "api", Controller: "ctl1", VRID: 51, Priority: 100, Interval: 100 * time.Millisecond, Interface: "eth0",
		Source: host.addr, Peers: map[netip.Addr]string{netip.MustParseAddr("10.0.0.2"): "ctl2"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.100")}, Holder: &fakeHolder{begun: w.begun},
	}
	l, err := newLoop(o, host)
	if err != nil {
		b.Fatal(err)
	}
	hand, err := newHand(b.Context(), host, l.options.Load())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { hand.stop(time.Second) })
	reports := startReports(l.options.Load())
	b.Cleanup(reports.stop)
	r := newRunner(context.WithoutCancel(b.Context()), l, hand, reports)
	r.conn = fakeConn{host}
	r.step(vrrp.Startup{})
	kinds := hostilePackets(b, host.addr, netip.MustParseAddr("10.0.0.2"), false)
	good := vrrp.Advert{VRID: 51, Priority: 254, Interval: 100 * time.Millisecond, Addresses: o.Addresses}
	payload, err := good.Append(nil, vrrp.MessageOnly, netip.MustParseAddr("10.0.0.2"), host.addr)
	if err != nil {
		b.Fatal(err)
	}
	kinds = append(kinds, hostile{name: "a good one", d: datagram{src: netip.MustParseAddr("10.0.0.2"), dst: host.addr, ttl: 255, payload: payload}})
	for _, h := range kinds {
		if strings.HasSuffix(h.name, ", priority 0") {
			continue
		}
		b.Run(strings.TrimSuffix(h.name, ", priority 255"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.hear(h.d)
			}
		})
	}
}
