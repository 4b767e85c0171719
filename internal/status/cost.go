package status

import (
	"strconv"
	"strings"
	"time"
)

// Cost is what clients got while something happened, and did not get.
type Cost struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Requests ended in that time. Failed of them got an error of 500 or more, or no
	// whole answer; Cut are the latter.
	Requests uint64 `json:"requests"`
	Failed   uint64 `json:"failed"`
	Cut      uint64 `json:"cut"`
	Retried  uint64 `json:"retried"` // requests that were sent again
	// Lost are requests of which nothing is known but that they were.
	Lost uint64 `json:"lost,omitempty"`
	// Gap is the longest time without an answer while somebody waited. In JSON, nanoseconds.
	Gap time.Duration `json:"gap_ns"`
}

// Add gives what c and other are together: of several controllers, or of several times.
func (c Cost) Add(other Cost) Cost {
	sum := Cost{
		From: c.From, To: c.To, Requests: c.Requests + other.Requests, Failed: c.Failed + other.Failed, Cut: c.Cut + other.Cut,
		Retried: c.Retried + other.Retried, Lost: c.Lost + other.Lost, Gap: max(c.Gap, other.Gap),
	}
	if c.From.IsZero() || other.From.Before(c.From) {
		sum.From = other.From
	}
	if other.To.After(c.To) {
		sum.To = other.To
	}
	return sum
}

// Words says c for people: "2 of 800 requests failed, 1 of them cut off, 7 retried, longest gap 62ms".
func (c Cost) Words() string {
	said := []string{"no request failed of " + counted(c.Requests)}
	if c.Failed > 0 {
		said[0] = counted(c.Failed) + " of " + counted(c.Requests) + " requests failed"
	}
	for _, part := range []struct {
		n    uint64
		what string
	}{{c.Cut, " of them cut off"}, {c.Retried, " retried"}, {c.Lost, " unknown"}} {
		if part.n > 0 {
			said = append(said, counted(part.n)+part.what)
		}
	}
	if c.Gap > 0 {
		said = append(said, "longest gap "+Brief(c.Gap))
	}
	return strings.Join(said, ", ")
}

func counted(n uint64) string { return strconv.FormatUint(n, 10) }
