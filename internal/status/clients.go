package status

import (
	"fmt"
	"strconv"
	"time"
)

// Client is what clients of a service on a VIP got in some time, as the HAProxy of one
// controller saw it: what did not reach that is in none.
type Client struct {
	Service string `json:"service"`
	VIP     string `json:"vip"`
	// Interface has the catalog interfaces that the VIP serves, with "," between them.
	Interface string        `json:"interface"`
	Span      time.Duration `json:"span_ns"` // that this is of, about a minute
	// Requests ended in it, or TCP sessions. Failed of them got an error of 500 or more, or
	// no whole answer; clients that gave up are not among these.
	Requests  uint64  `json:"requests"`
	Failed    uint64  `json:"failed"`
	PerSecond float64 `json:"per_second"`
	// P50, P99 and P999 are within which time half, 99 % and 99.9 % had the first byte of
	// their answer, to a tenth; 0 of TCP. In JSON, nanoseconds.
	P50  time.Duration `json:"first_byte_p50_ns"`
	P99  time.Duration `json:"first_byte_p99_ns"`
	P999 time.Duration `json:"first_byte_p999_ns"`
}

// Words says c in few: requests a second, the share of them that failed, and within which
// time 99 % had the first byte: "1.2k/s 0.00% 38ms".
func (c Client) Words() string {
	words := PerSecond(c.PerSecond) + " " + c.FailedShare()
	if c.P99 > 0 {
		words += " " + Brief(c.P99)
	}
	return words
}

// FailedShare gives the share of c's requests that failed: "0.00%". What failed is never
// called nothing.
func (c Client) FailedShare() string {
	if c.Requests == 0 {
		return "0.00%"
	}
	share := float64(c.Failed) / float64(c.Requests) * 100
	switch {
	case share > 0 && share < 0.01:
		return "<0.01%"
	case share >= 10:
		return fmt.Sprintf("%.0f%%", share)
	}
	return fmt.Sprintf("%.2f%%", share)
}

// PerSecond gives a rate in few characters: "1.2k/s", "0.3/s".
func PerSecond(rate float64) string {
	switch {
	case rate >= 9_950:
		return fmt.Sprintf("%.0fk/s", rate/1000)
	case rate >= 995:
		return fmt.Sprintf("%.1fk/s", rate/1000)
	case rate >= 9.95:
		return fmt.Sprintf("%.0f/s", rate)
	}
	return strconv.FormatFloat(rate, 'f', 1, 64) + "/s"
}
