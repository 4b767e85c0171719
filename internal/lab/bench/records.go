package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast/internal/lab/load"
)

// records takes the lines of the load generator as they come.
type records struct {
	mu   sync.Mutex // guards following
	rest []byte
	all  []load.Record
}

// Write takes records, a line of JSON each.
func (r *records) Write(data []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest = append(r.rest, data...)
	for {
		line, rest, found := bytes.Cut(r.rest, []byte("\n"))
		if !found {
			return len(data), nil
		}
		var record load.Record
		if err := json.Unmarshal(line, &record); err != nil {
			return 0, fmt.Errorf("a line of the load generator: %w", err)
		}
		r.all = append(r.all, record)
		r.rest = slices.Clone(rest)
	}
}

// drain gives what has come and forgets it.
func (r *records) drain() []load.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

// take gives what has come so far.
func (r *records) take() []load.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// first gives when the first request was due; ok is false as long as there is none.
func (r *records) first() (due time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, rec := range r.all {
		if i == 0 || rec.Due.Before(due) {
			due = rec.Due
		}
	}
	return due, len(r.all) > 0
}

// busiest gives the host that answered most of all, but for except.
func (r *records) busiest(except string) (string, bool) {
	counts := map[string]int{}
	for _, rec := range r.take() {
		if rec.Failure == "" && rec.Host != except {
			counts[rec.Host]++
		}
	}
	best := ""
	for host, n := range counts {
		if best == "" || n > counts[best] || n == counts[best] && host < best {
			best = host
		}
	}
	return best, best != ""
}
