package demo

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
	"time"

	"holdfast/internal/lab/load"
)

// A recorder is the writer that the load generator's lines go to.
type recorder struct {
	mu      sync.Mutex // guards following
	rest    []byte
	records []load.Record
}

// Write takes records, a line of JSON each.
func (r *recorder) Write(data []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest = append(r.rest, data...)
	for {
		line, rest, found := bytes.Cut(r.rest, []byte("\n"))
		if !found {
			return len(data), nil
		}
		record, err := decode(line)
		if err != nil {
			return 0, err
		}
		r.records = append(r.records, record)
		r.rest = slices.Clone(rest)
	}
}

func (r *recorder) all() []load.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

// since gives the records of requests that were due at or after from.
func (r *recorder) since(from time.Time) []load.Record {
	return slices.DeleteFunc(r.all(), func(r load.Record) bool { return r.Due.Before(from) })
}

// busiest gives the host that answered most for target since from.
func (r *recorder) busiest(target string, from time.Time) string {
	counts := map[string]int{}
	for _, rec := range r.since(from) {
		if rec.Target == target && rec.Failure == "" {
			counts[rec.Host]++
		}
	}
	best := ""
	for host, n := range counts {
		if n > counts[best] || n == counts[best] && cmp.Less(host, best) {
			best = host
		}
	}
	return best
}
