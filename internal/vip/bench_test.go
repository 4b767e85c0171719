package vip

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"holdfast/internal/vip/conntrack"
)

func benchmarkClaim(b *testing.B, o Options) {
	w := newWorld(b).withOwn()
	a, _ := w.address(o)
	for b.Loop() {
		w.claim(a)
		a.Announce()
		b.StopTimer()
		if err := a.Withdraw(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkClaimIPv4(b *testing.B) {
	benchmarkClaim(b, Options{Addresses: prefixes("10.0.0.10/24")})
}

func BenchmarkClaimBoth(b *testing.B) { benchmarkClaim(b, both()) }

func BenchmarkClaimMacvlan(b *testing.B) { benchmarkClaim(b, macvlan()) }

func BenchmarkHold(b *testing.B) {
	w := newWorld(b).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	for b.Loop() {
		if err := a.Hold(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// A network node of OpenStack has many devices and addresses.
func BenchmarkClaimAmongManyAddresses(b *testing.B) {
	w := newWorld(b).withOwn()
	for i := range 1000 {
		w.Run(fmt.Sprintf("ip address add 10.%d.%d.1/24 dev lo", 1+i/250, i%250))
	}
	a, _ := w.address(both())
	for b.Loop() {
		w.claim(a)
	}
}

func BenchmarkRelease(b *testing.B) {
	for _, o := range []Options{both(), macvlan()} {
		b.Run(fmt.Sprint(o.Device), func(b *testing.B) {
			w := newWorld(b).withOwn()
			a, _ := w.address(o)
			for b.Loop() {
				b.StopTimer()
				w.claim(a)
				b.StartTimer()
				if err := a.Withdraw(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

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
