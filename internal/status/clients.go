package status

import "time"

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
