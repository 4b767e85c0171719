package traffic

import "time"

const (
	// buckets is how many a Histogram has: one for each millisecond below ten, perDecade
	// for each of four decades, and one for all that is longer than 100 s.
	buckets   = 10 + 4*perDecade + 1
	perDecade = 22
)

// A Histogram counts times in buckets of at most a sixth, so that the middle of one is
// within a tenth of all in it; below ten milliseconds within one, as HAProxy tells them.
type Histogram [buckets]uint32

// steps gives where the buckets of a decade begin, the first at ten.
func steps() [perDecade]int64 {
	return [...]int64{10, 11, 12, 13, 15, 16, 18, 20, 22, 25, 28, 30, 33, 36, 40, 45, 50, 55, 60, 70, 80, 90}
}

// bucketOf gives the bucket of d.
func bucketOf(d time.Duration) int {
	ms := max(d.Milliseconds(), 0)
	if ms < 10 {
		return int(ms)
	}
	base := 10
	for ms >= 100 {
		ms /= 10
		if base += perDecade; base >= buckets-1 {
			return buckets - 1
		}
	}
	i := 0
	for _, from := range steps() {
		if ms < from {
			break
		}
		i++
	}
	return base + i - 1
}

// bounds gives the times that bucket i is for, the second one not included. The last has
// no end, and is said to be ten minutes.
func bounds(i int) (from, to time.Duration) {
	return begin(i), begin(i + 1)
}

func begin(i int) time.Duration {
	switch {
	case i < 10:
		return time.Duration(i) * time.Millisecond
	case i == buckets-1:
		return 100 * time.Second
	case i >= buckets:
		return 10 * time.Minute
	}
	at := steps()[(i-10)%perDecade]
	for range (i - 10) / perDecade {
		at *= 10
	}
	return time.Duration(at) * time.Millisecond
}

// Add counts d.
func (h *Histogram) Add(d time.Duration) { h[bucketOf(d)]++ }

// Merge counts all of other, too.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other {
		h[i] += n
	}
}

// Count gives how many were counted.
func (h *Histogram) Count() uint64 {
	n := uint64(0)
	for _, c := range h {
		n += uint64(c)
	}
	return n
}

// Quantile gives the time that a share of all, 0 to 1, does not exceed; 0 of none.
func (h *Histogram) Quantile(share float64) time.Duration {
	total := h.Count()
	if total == 0 {
		return 0
	}
	rank := max(uint64(share*float64(total)+0.999999), 1)
	seen := uint64(0)
	for i, n := range h {
		if seen += uint64(n); seen >= rank {
			from, to := bounds(i)
			return from + (to-from)/2
		}
	}
	return 0
}
