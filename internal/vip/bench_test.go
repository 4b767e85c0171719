package vip

import (
	"fmt"
	"testing"
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
