package link

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/auth"
	"holdfast/internal/vrrp"
)

// BenchmarkHandOff measures how long it takes from the word that HAProxy died on
// the Active machine until the other one has the address, over a real bridge.
// The skew time of the other, which is the least that RFC 9568 allows, is
// reported beside it.
func BenchmarkHandOff(b *testing.B) {
	for _, interval := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond} {
		b.Run(fmt.Sprint(interval), func(b *testing.B) {
			m := modes[0]
			l := newLAN(b)
			one, two := l.plug(), l.plug()
			start := func(x *machine) *running {
				o := m.options(x, one, two)
				o.Interval = interval
				return x.loop(o)
			}
			holder, other := start(one), start(two)
			var total time.Duration
			for b.Loop() {
				await(b, "one of the two to be active", func() bool { return holder.active() || other.active() })
				if other.active() {
					holder, other = other, holder
				}
				other.hears(3)
				drain(other.holder().claimed)
				begun := time.Now()
				holder.SetEligible(false, "haproxy died")
				total += (<-other.holder().claimed).Sub(begun)
				holder.SetEligible(true, "haproxy is ready")
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(total.Microseconds())/float64(b.N)/1000, "ms/handoff")
		})
	}
}

func (r *running) active() bool { return r.Stats().State.String() == "active" }

func drain(c chan time.Time) {
	for len(c) > 0 {
		<-c
	}
}

// BenchmarkKey measures what a key adds to the processor time of two controllers, one
// Active and one Backup, at an interval of 20 ms: that of this process in a second of it.
func BenchmarkKey(b *testing.B) {
	for _, policy := range []struct {
		name string
		auth.Policy
	}{{"none", auth.Policy{}}, {"strict", auth.Policy{Keys: keysOf(b, oneKey), Mode: auth.Strict}}} {
		b.Run(policy.name, func(b *testing.B) {
			m := modes[0]
			l := newLAN(b)
			one, two := l.plug(), l.plug()
			start := func(x *machine) *running {
				o := m.options(x, one, two)
				o.Interval, o.Keys = 20*time.Millisecond, policy.Policy
				return x.loop(o)
			}
			holder := start(one)
			holder.await(vrrp.Active)
			other := start(two)
			other.hears(10)
			const span = 5 * time.Second
			began, adverts := processorTime(b), other.Stats().AdvertsSeen
			for range b.N {
				time.Sleep(span)
			}
			spent := (processorTime(b) - began).Seconds() / (span.Seconds() * float64(b.N))
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(spent*1e6, "µs/s")
			b.ReportMetric(float64(other.Stats().AdvertsSeen-adverts)/(span.Seconds()*float64(b.N)), "adverts/s")
		})
	}
}

// processorTime gives what this process has spent.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
