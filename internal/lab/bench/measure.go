package bench

import (
	"net/http"
	"slices"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
)

// A Measure is what clients saw of one fault in one run, or the medians over
// several. Durations are in nanoseconds. Its JSON form is a contract: fields
// are added, never renamed or removed.
type Measure struct {
	Requests int `json:"requests"` // that were due while it was watched
	// Failed counts requests of a safe method; those of others are in Posts.
	Failed int                  `json:"failed"`
	Kinds  map[load.Failure]int `json:"failures,omitempty"` // by what the client saw
	// The failed by when they were sent: when the fault struck they were under
	// way; on a connection opened before the address had moved or the gap had
	// ended; on a new connection in the gap; and all others.
	UnderWay int `json:"under_way"`
	OldConn  int `json:"old_connection"`
	InGap    int `json:"in_gap"`
	Others   int `json:"others"`

	Posts       int `json:"posts"`
	PostsFailed int `json:"posts_failed"`
	PostsTwice  int `json:"posts_twice"` // that arrived at services more than once

	// Gap is the longest time between two answers on new connections, as they
	// came; without a fault it is about that between two such requests.
	Gap     time.Duration `json:"gap_ns"`
	P50     time.Duration `json:"p50_ns"` // of the requests that succeeded, from when they were due
	P99     time.Duration `json:"p99_ns"`
	Slowest time.Duration `json:"slowest_ns"`

	Two   time.Duration `json:"two_holders_ns"`
	Taken time.Duration `json:"taken_ns"` // after the fault; negative when no other node took the address
	// Unfinished tells that requests failed, or none was answered, at the end.
	Unfinished bool `json:"unfinished,omitempty"`
	// Late is the worst lateness of the load generator: how long this machine
	// kept it from running.
	Late time.Duration `json:"late_ns"`
	// Noise is the longest gap just before the fault: what this machine does
	// to a system that nothing was done to.
	Noise time.Duration `json:"noise_ns"`
	// Work is there for planned work only, and Hosts where a service is busy.
	Work  Work  `json:"planned,omitzero"`
	Hosts Hosts `json:"hosts,omitzero"`
}

// A span is the time after a fault in which clients are watched.
type span struct{ from, to time.Time }

func (s span) has(t time.Time) bool { return !t.Before(s.from) && t.Before(s.to) }

func (s span) length() time.Duration { return s.to.Sub(s.from) }

// reaction is how soon after a fault a gap begins that is of its making.
const reaction = time.Second

// calm is the time before a fault whose longest gap is Noise.
const calm = 800 * time.Millisecond

// tail is the end of a span that says whether the trouble has ended.
const tail = 500 * time.Millisecond

// measure sums up all, the records of a load, after a fault. With first, what
// was under way when it struck counts; otherwise it has been counted before.
func measure(all []load.Record, s span, t lab.Takeover, spacing time.Duration, first bool) Measure {
	m := Measure{Kinds: map[load.Failure]int{}, Two: t.Two, Taken: t.Taken}
	moments := answers(all)
	gap := longestGap(moments, s)
	m.Gap = gap.length()
	m.Noise = longestGap(before(moments, s.from), span{s.from.Add(-calm), s.from}).length()
	end := gap.to
	if m.Gap < 3*spacing || gap.from.After(s.from.Add(reaction)) { // none of this fault's
		end = firstAfter(moments, s)
	}
	moved := end
	if t.Taken >= 0 && s.from.Add(t.Taken).After(moved) {
		moved = s.from.Add(t.Taken)
	}
	var took []time.Duration
	answered := false
	for _, r := range all {
		underWay := first && r.Due.Before(s.from) && r.End().After(s.from)
		if !underWay && !s.has(r.Due) {
			continue
		}
		m.Requests++
		m.Late = max(m.Late, r.Late)
		isTail := r.Due.After(s.to.Add(-tail))
		if r.Failure == "" {
			took = append(took, r.Took)
			answered = answered || isTail && r.End().Before(s.to.Add(tail))
		}
		m.Unfinished = m.Unfinished || isTail && r.Failure != "" && safe(r.Method)
		m.count(r, underWay, end, moved)
	}
	m.Unfinished = m.Unfinished || !answered
	slices.Sort(took)
	m.P50, m.P99, m.Slowest = load.Quantile(took, 50), load.Quantile(took, 99), load.Quantile(took, 100)
	return m
}

// count counts r; end is the gap's, and moved when the address had settled.
func (m *Measure) count(r load.Record, underWay bool, end, moved time.Time) {
	if !safe(r.Method) {
		m.Posts++
		if r.Failure != "" {
			m.PostsFailed++
		}
		return
	}
	if r.Failure == "" {
		return
	}
	m.Failed++
	m.Kinds[r.Failure]++
	switch {
	case underWay:
		m.UnderWay++
	case r.Reused && r.Opened.Before(moved):
		m.OldConn++
	case r.Due.Before(end):
		m.InGap++
	default:
		m.Others++
	}
}

// safe reports whether a request of that method may be repeated by anybody
// (RFC 9110, 9.2.1).
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// answers gives when the answers on new connections came, in order.
func answers(all []load.Record) []time.Time {
	var moments []time.Time
	for _, r := range all {
		if r.Failure == "" && !r.Reused {
			moments = append(moments, r.End())
		}
	}
	slices.SortFunc(moments, time.Time.Compare)
	return moments
}

// before gives those of moments, which are in order, that are before t.
func before(moments []time.Time, t time.Time) []time.Time {
	n, _ := slices.BinarySearchFunc(moments, t, time.Time.Compare)
	return moments[:n]
}

// longestGap gives the longest time without one of moments that reaches into
// s. A gap is seen from the last moment before the fault.
func longestGap(moments []time.Time, s span) span {
	longest, last := span{s.from, s.from}, s.from
	for _, m := range append(slices.Clone(moments), s.to) {
		gap := span{last, m}
		if m.After(s.to) {
			gap.to = s.to
		}
		if !m.Before(s.from) && gap.length() > longest.length() {
			longest = gap
		}
		if last = m; m.After(s.to) {
			break
		}
	}
	return longest
}

// firstAfter gives the first of moments in s, or the end of s.
func firstAfter(moments []time.Time, s span) time.Time {
	for _, m := range moments {
		if s.has(m) {
			return m
		}
	}
	return s.to
}
