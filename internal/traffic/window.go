package traffic

import (
	"math"
	"time"

	"holdfast/internal/status"
)

const (
	// SlotLength is how long the stretches of time are that are counted by themselves.
	SlotLength = 10 * time.Second
	// slotsKept is how many there are: a minute, and the one that is being filled.
	slotsKept = 7
)

// A window has the last minute of a key.
type window struct {
	slots [slotsKept]slot
}

// A slot is what came about in ten seconds.
type slot struct {
	number           int64 // of the slot, since 1970
	requests, failed uint32
	first            Histogram
}

func slotNumber(at time.Time) int64 { return at.UnixNano() / int64(SlotLength) }

// at gives the slot of a number. One in its place with another number is over or, since no
// line is a minute late, of before the clock was set back.
func (w *window) at(number int64) *slot {
	s := &w.slots[((number%slotsKept)+slotsKept)%slotsKept]
	if s.number != number {
		*s = slot{number: number}
	}
	return s
}

func (w *window) add(at time.Time, r *Record, felt bool) {
	s := w.at(slotNumber(at))
	s.requests++
	if felt {
		s.failed++
	}
	if first, ok := r.FirstByte(); ok {
		s.first.Add(first)
	}
}

// A Rate is what clients got of a key in some time.
type Rate struct {
	Key
	Span     time.Duration
	Requests uint64
	Failed   uint64
	First    Histogram
}

// PerSecond gives the requests of a second.
func (r *Rate) PerSecond() float64 {
	if r.Span <= 0 {
		return 0
	}
	return float64(r.Requests) / r.Span.Seconds()
}

// Rates gives what clients got in the last minute that is over, in whole slots, and in the
// slot that goes on.
func (b *Book) Rates(now time.Time) []Rate {
	current := slotNumber(now)
	span := time.Duration(slotsKept-1)*SlotLength + now.Sub(time.Unix(0, current*int64(SlotLength)))
	all := make([]Rate, len(b.series))
	for i, s := range b.series {
		r := Rate{Key: s.key, Span: span}
		for j := range s.recent.slots {
			one := &s.recent.slots[j]
			if one.number > current-slotsKept && one.number <= current {
				r.Requests += uint64(one.requests)
				r.Failed += uint64(one.failed)
				r.First.Merge(&one.first)
			}
		}
		all[i] = r
	}
	return all
}

// Point gives what clients got in the stretch of SlotLength with that number since 1970, one
// of the last minute, by key.
func (b *Book) Point(number int64) []Rate {
	all := make([]Rate, len(b.series))
	for i, s := range b.series {
		all[i] = Rate{Key: s.key, Span: SlotLength}
		for j := range s.recent.slots {
			if one := &s.recent.slots[j]; one.number == number {
				all[i].Requests, all[i].Failed, all[i].First = uint64(one.requests), uint64(one.failed), one.first
			}
		}
	}
	return all
}

// Clients says what rates are, of those keys that had requests.
func Clients(rates []Rate) []status.Client {
	var all []status.Client
	for i := range rates {
		r := &rates[i]
		if r.Requests == 0 {
			continue
		}
		all = append(all, status.Client{
			Service: r.Service, VIP: r.VIP, Interface: r.Interface, Span: r.Span,
			Requests: r.Requests, Failed: r.Failed, PerSecond: math.Round(r.PerSecond()*100) / 100,
			P50: r.First.Quantile(0.5), P99: r.First.Quantile(0.99), P999: r.First.Quantile(0.999),
		})
	}
	return all
}
