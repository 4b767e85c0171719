package bench

import (
	"fmt"
	"net/netip"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
)

const (
	// bucket is the resolution of a Timeline.
	bucket = 10 * time.Millisecond
	// prelude is how much of the time before the fault it has.
	prelude = 500 * time.Millisecond
)

// A Timeline is what clients got, in steps of 10 ms, and what happened. OK,
// Bad and Posts have a letter for each step: how many requests, '.' for none, 1
// to 9, and '+' for more. A request that was answered stands where its answer
// came, one that failed where it was due.
type Timeline struct {
	From  time.Duration `json:"from_ns"` // of the first step, from the fault on: negative
	Step  time.Duration `json:"step_ns"`
	OK    string        `json:"ok"`
	Bad   string        `json:"bad"`   // requests of a safe method that failed
	Posts string        `json:"posts"` // others that failed
	Marks []Mark        `json:"marks"`
	// Of planned work only: attempts to connect that failed, in the same steps,
	// and the downloads beside.
	Connects  string     `json:"connects,omitempty"`
	Downloads []Transfer `json:"downloads,omitempty"`
}

// A Mark is something that happened.
type Mark struct {
	At   time.Duration `json:"at_ns"` // from the fault on
	Kind string        `json:"kind"`  // fault, takes, leaves, done
	Node string        `json:"node,omitempty"`
	Text string        `json:"text"`
}

// steps gives how many steps a Timeline of s has.
func steps(s span) int { return int((s.length() + prelude) / bucket) }

// timeline draws all up to the end of s.
func timeline(all []load.Record, s span, changes []lab.Holding, vip netip.Addr, done string) Timeline {
	n := steps(s)
	ok, bad, posts := make([]int, n), make([]int, n), make([]int, n)
	start := s.from.Add(-prelude)
	for _, r := range all {
		row, at := ok, r.End()
		switch {
		case r.Failure != "" && safe(r.Method):
			row, at = bad, r.Due
		case r.Failure != "":
			row, at = posts, r.Due
		}
		if i := int(at.Sub(start) / bucket); !at.Before(start) && i < n {
			row[i]++
		}
	}
	t := Timeline{From: -prelude, Step: bucket, OK: letters(ok), Bad: letters(bad), Posts: letters(posts)}
	t.Marks = append(t.Marks, Mark{At: 0, Kind: "fault", Text: done})
	for _, c := range changes {
		if c.Address != vip || c.Time.Before(s.from) || c.Time.After(s.to) {
			continue
		}
		kind := "leaves"
		text := fmt.Sprintf("the address leaves %s", c.Node)
		if c.Held {
			kind, text = "takes", fmt.Sprintf("%s takes the address", c.Node)
		}
		t.Marks = append(t.Marks, Mark{At: c.Time.Sub(s.from), Kind: kind, Node: c.Node, Text: text})
	}
	return t
}

func letters(counts []int) string {
	text := make([]byte, len(counts))
	for i, n := range counts {
		switch {
		case n == 0:
			text[i] = '.'
		case n < 10:
			text[i] = byte('0' + n)
		default:
			text[i] = '+'
		}
	}
	return string(text)
}
