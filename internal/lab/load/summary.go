package load

import (
	"cmp"
	"slices"
	"time"
)

// A Summary is what the clients saw between two moments. Its JSON form is a
// contract: fields are added, never renamed or removed.
type Summary struct {
	From     time.Time       `json:"from"`
	To       time.Time       `json:"to"`
	Requests int             `json:"requests"` // that were due
	Failed   int             `json:"failed"`
	Kinds    map[Failure]int `json:"failures,omitempty"`
	// LongestGap is the longest time in which no answer came, those bounds
	// included; it cannot be shorter than the time between two requests.
	LongestGap time.Duration `json:"longest_gap_ns"`
	P50        time.Duration `json:"p50_ns"` // of those that succeeded
	P99        time.Duration `json:"p99_ns"`
	Slowest    time.Duration `json:"slowest_ns"`
	// Late is the worst lateness of the load generator itself: how long this
	// machine kept it from running.
	Late  time.Duration  `json:"late_ns"`
	Hosts map[string]int `json:"hosts,omitempty"` // answers, by who gave them
}

// Summarize sums up those of records that were due from from until before to.
func Summarize(records []Record, from, to time.Time) Summary {
	s := Summary{From: from, To: to, Kinds: map[Failure]int{}, Hosts: map[string]int{}}
	var took []time.Duration
	var answered []time.Time
	for _, r := range records {
		if r.Due.Before(from) || !r.Due.Before(to) {
			continue
		}
		s.Requests++
		s.Late = max(s.Late, r.Late)
		if r.Failure != "" {
			s.Failed++
			s.Kinds[r.Failure]++
			continue
		}
		took = append(took, r.Took)
		answered = append(answered, r.End())
		s.Hosts[r.Host]++
	}
	s.LongestGap = longestGap(answered, from, to)
	slices.Sort(took)
	s.P50, s.P99, s.Slowest = Quantile(took, 50), Quantile(took, 99), Quantile(took, 100)
	return s
}

// longestGap gives the longest stretch between from and to without one of moments.
func longestGap(moments []time.Time, from, to time.Time) time.Duration {
	slices.SortFunc(moments, time.Time.Compare)
	longest, last := time.Duration(0), from
	for _, m := range moments {
		if m.After(to) {
			break
		}
		longest = max(longest, m.Sub(last))
		last = m
	}
	return max(longest, to.Sub(last))
}

// Quantile gives the smallest of sorted that percent of them do not exceed.
func Quantile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := (len(sorted)*percent + 99) / 100
	return sorted[max(0, i-1)]
}

// Median gives the median; of an even number the mean of the two in the middle, of none 0.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	values = slices.Sorted(slices.Values(values))
	return (values[(n-1)/2] + values[n/2]) / 2
}

// FailuresAfter gives those of records that failed although they were due at
// or after moment on a connection that was made at or after it too: neither in
// flight nor on a connection that was open then.
func FailuresAfter(records []Record, moment time.Time) []Record {
	var failed []Record
	for _, r := range records {
		stale := r.Reused && r.Opened.Before(moment)
		if r.Failure != "" && !r.Due.Before(moment) && !stale {
			failed = append(failed, r)
		}
	}
	slices.SortFunc(failed, func(a, b Record) int { return cmp.Compare(a.Due.UnixNano(), b.Due.UnixNano()) })
	return failed
}
