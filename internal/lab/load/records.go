package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Records takes the lines of a load generator in another process, as they come.
type Records struct {
	mu   sync.Mutex // guards following
	rest []byte
	all  []Record
}

// Write takes records, a line of JSON each.
func (r *Records) Write(data []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest = append(r.rest, data...)
	for {
		line, rest, found := bytes.Cut(r.rest, []byte("\n"))
		if !found {
			return len(data), nil
		}
		var record Record
		if err := json.Unmarshal(line, &record); err != nil {
			return 0, fmt.Errorf("a line of the load generator: %w", err)
		}
		r.all = append(r.all, record)
		r.rest = slices.Clone(rest)
	}
}

// Drain gives what has come and forgets it.
func (r *Records) Drain() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

// All gives what has come so far.
func (r *Records) All() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// Since gives those of requests that were due at or after from.
func (r *Records) Since(from time.Time) []Record {
	return slices.DeleteFunc(r.All(), func(r Record) bool { return r.Due.Before(from) })
}

// First gives when the first request was due; ok is false as long as there is none.
func (r *Records) First() (due time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, rec := range r.all {
		if i == 0 || rec.Due.Before(due) {
			due = rec.Due
		}
	}
	return due, len(r.all) > 0
}

// Busiest gives the host that answered most of records, but for except, and of
// equals the first by name; empty when none did.
func Busiest(records []Record, except string) string {
	counts := map[string]int{}
	for _, rec := range records {
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
	return best
}
