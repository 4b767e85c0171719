package move

import (
	"net/netip"
	"testing"
	"time"

	"holdfast/internal/vip/conntrack"
)

func BenchmarkInstall(b *testing.B) {
	l := newLAN(b)
	d, _ := l.detour(both(), "api", "giver")
	for b.Loop() {
		l.install("taker", d)
	}
}

func BenchmarkInstallAmongManyConnections(b *testing.B) {
	l := newLAN(b)
	l.in("taker", func() {
		w := way{addresses: addressesOf(both())[:1], giver: netip.MustParseAddr("10.0.0.13"), device: 2}
		local := netip.AddrPortFrom(w.addresses[0], 5000)
		var had []conntrack.Ends
		for i := range 10_000 {
			had = append(had, conntrack.Ends{Remote: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(i)), Local: local})
		}
		for b.Loop() {
			if err := replaceTables(tableName("api"), []way{w}, known{had: had}, false); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkForwarded(b *testing.B) {
	l := newLAN(b)
	d, _ := l.detour(both(), "api", "giver")
	l.install("taker", d)
	for b.Loop() {
		l.forwarded("taker", d)
	}
}

func BenchmarkKeep(b *testing.B) {
	l := newLAN(b)
	c, _ := l.copyOf(both())
	for b.Loop() {
		l.keep(c, time.Minute)
	}
}

func BenchmarkEnd(b *testing.B) {
	l := newLAN(b)
	c, _ := l.copyOf(both())
	for b.Loop() {
		l.keep(c, time.Minute)
		l.end(c)
	}
}
