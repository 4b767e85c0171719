package bench

import (
	"slices"
	"sync"
	"time"

	"holdfast/internal/lab/load"
)

// A watch takes the records of a long load and keeps of them what can be told
// in a little room: every failure, and how many answers came in each 10 ms.
type watch struct {
	lines load.Records

	mu       sync.Mutex // guards following
	start    time.Time
	requests int
	posts    int
	failed   []load.Record // of safe methods
	lost     []load.Record // POSTs that failed
	answered []uint8       // in each bucket from start on
	slowest  load.Record   // of those that succeeded
	slow     []span        // from when they were due to their answers, of those that took long
	late     time.Duration
}

// slow is from when on an answer is remembered for how long it took.
const slow = 200 * time.Millisecond

// slowestIn gives the longest that an answer took which was awaited between two
// times; 0 where none took long.
func (w *watch) slowestIn(from, to time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := time.Duration(0)
	for _, s := range w.slow {
		if s.to.After(from) && s.from.Before(to) {
			longest = max(longest, s.length())
		}
	}
	return longest
}

// Write takes records, a line of JSON each.
func (w *watch) Write(data []byte) (int, error) {
	n, err := w.lines.Write(data)
	for _, r := range w.lines.Drain() {
		w.note(r)
	}
	return n, err
}

func (w *watch) note(r load.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Failure == load.Cancelled { // by the load's own end
		return
	}
	if w.start.IsZero() {
		w.start = r.Due.Add(-time.Second)
	}
	w.requests++
	w.late = max(w.late, r.Late)
	if !safe(r.Method) {
		w.posts++
	}
	switch {
	case r.Failure != "" && safe(r.Method):
		w.failed = append(w.failed, r)
		return
	case r.Failure != "":
		w.lost = append(w.lost, r)
		return
	}
	if r.Took > w.slowest.Took {
		w.slowest = r
	}
	if r.Took > slow {
		w.slow = append(w.slow, span{r.Due, r.End()})
	}
	i := int(r.End().Sub(w.start) / bucket)
	if i < 0 {
		return
	}
	if i >= len(w.answered) {
		w.answered = append(w.answered, make([]uint8, i+1-len(w.answered))...)
	}
	if w.answered[i] < 255 {
		w.answered[i]++
	}
}

func (w *watch) failedSoFar() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.failed)
}

// strip draws what clients got from from on, in so many steps.
func (w *watch) strip(from time.Time, steps int) (ok, bad string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts, failures := make([]int, steps), make([]int, steps)
	first := int(from.Sub(w.start) / bucket)
	for i := range counts {
		if at := first + i; at >= 0 && at < len(w.answered) {
			counts[i] = int(w.answered[at])
		}
	}
	for _, f := range slices.Concat(w.failed, w.lost) {
		if i := int(f.Due.Sub(w.start)/bucket) - first; i >= 0 && i < steps {
			failures[i]++
		}
	}
	return letters(counts), letters(failures)
}
