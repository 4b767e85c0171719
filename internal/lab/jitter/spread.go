package jitter

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Spread says how far the times between adverts are from their interval.
type Spread struct {
	Adverts int `json:"adverts"`
	// How far from the interval, either way, half of the times between two adverts are
	// at the most, 99 %, 99.9 % and all of them.
	P50  time.Duration `json:"p50_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
	// Buckets has how many are within each of Limits' parts of the interval, and not
	// within the one before; the last is of those beyond all.
	Buckets []int `json:"buckets"`
}

// Limits are the upper bounds of Spread's Buckets, in parts of the interval.
func Limits() []float64 { return []float64{0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1} }

// spreadOf reads the times at which adverts came.
func spreadOf(times []time.Duration, interval time.Duration) (Spread, error) {
	if len(times) < 3 {
		return Spread{}, fmt.Errorf("only %d adverts came", len(times))
	}
	s := Spread{Adverts: len(times), Buckets: make([]int, len(Limits())+1)}
	var off []time.Duration
	for i, t := range times[1:] {
		d := (t - times[i] - interval).Abs()
		off = append(off, d)
		at := slices.IndexFunc(Limits(), func(part float64) bool { return float64(d) <= part*float64(interval) })
		if at < 0 {
			at = len(Limits())
		}
		s.Buckets[at]++
	}
	slices.Sort(off)
	quantile := func(per1000 int) time.Duration { return off[min(len(off)-1, len(off)*per1000/1000)] }
	s.P50, s.P99, s.P999, s.Max = quantile(500), quantile(990), quantile(999), off[len(off)-1]
	return s, nil
}

// Text gives r for a person.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "How far from their interval adverts come; %v of each, on %d cores (%s), keepalived %s\n\n", r.Length, r.Machine.Cores, r.Machine.CPU, r.Machine.Keepalived)
	fmt.Fprintf(&b, "%-9s %-5s %-10s %7s %8s %8s %8s %8s ", "interval", "", "", "adverts", "p50", "p99", "p99.9", "most")
	for _, l := range Limits() {
		fmt.Fprintf(&b, " %6s", fmt.Sprintf("≤%g%%", l*100))
	}
	b.WriteString("   more\n")
	for _, row := range r.Rows {
		load, name := "idle", string(row.System)
		if row.Busy {
			load = "busy"
		}
		if row.Crowd != nil {
			load = "crowd"
		}
		if name == "tuned" {
			name = "keepalived"
		}
		fmt.Fprintf(&b, "%-9v %-5s %-10s %7d %8s %8s %8s %8s ", row.Interval, load, name, row.Adverts, short(row.P50), short(row.P99), short(row.P999), short(row.Max))
		for _, n := range row.Buckets {
			fmt.Fprintf(&b, " %6d", n)
		}
		if row.P999 < row.Interval/2 {
			b.WriteString("  99.9 % within half an interval")
		} else {
			b.WriteString("  NOT: 99.9 % within half an interval")
		}
		if row.Moved {
			b.WriteString("; THE VIP MOVED")
		}
		b.WriteString("\n")
		if row.Crowd != nil {
			fmt.Fprintf(&b, "%16s%s\n", "", row.Crowd)
		}
	}
	b.WriteString("\nbusy: twice as many processes as processors do nothing but compute. ≤1%: times between two adverts that are off by up to a hundredth of the interval.\n" +
		"crowd: of ten seven have the holder's page open, one has and never reads, two ask for /metrics all the time.\n" +
		"Times are the kernel's, when the packet came to the other controller.\n")
	return b.String()
}

// String says what became of the crowd.
func (c *Crowd) String() string {
	return fmt.Sprintf("%d at the page: %d refused, silence of up to %s; %d of %d that never read were cut, after %s at most; %d scrapes, %d failed, 99 %% within %s",
		c.Size, c.Refused, short(c.Silence), c.Cut, c.Slow, short(c.CutAfter), c.Scrapes, c.Failed, short(c.Scrape))
}

// short gives d with three digits.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
