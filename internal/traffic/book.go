package traffic

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Key is what is counted by itself: a service on a virtual IP. Interface has the catalog
// interfaces that the VIP serves, with "," between them: one VIP may serve all three, and
// then nobody can tell by which endpoint a request came.
type Key struct {
	Service   string `json:"service"`
	VIP       string `json:"vip"`
	Interface string `json:"interface"`
}

// KeyOf gives the key of a service on a VIP that serves these interfaces.
func KeyOf(service, vip string, interfaces []string) Key {
	return Key{service, vip, strings.Join(interfaces, ",")}
}

// The classes of codes: none (the client got no answer), and those of a first digit.
const classes = 6

// ClassName names a class of codes.
func ClassName(class int) string {
	return [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}[class]
}

// classOf gives the class of r's code. A TCP session has none.
func classOf(r *Record) int {
	if r.Status < 100 || r.Status >= 600 {
		return 0
	}
	return r.Status / 100
}

// Totals are what was counted of a key since the beginning. HTTP requests have a class;
// TCP sessions are of class none.
type Totals struct {
	Codes        [classes]uint64
	Failed       uint64 // that a client felt; of all classes
	Cut          uint64 // of them, those that were cut off
	GaveUp       uint64 // clients that went before their answer was whole; not in Failed
	Retries      uint64
	Redispatched uint64 // requests that another host got in the end
	Retried      uint64 // requests that were sent again
	Queued       uint64 // requests that waited in a queue, a millisecond at least, and were sent once
	QueueTime    time.Duration
	Refused      [causes]uint64
	Noise        uint64 // connections without a request
	FirstByte    [buckets]uint64
	FirstSum     time.Duration
}

// Requests gives how many there were.
func (t *Totals) Requests() uint64 {
	n := uint64(0)
	for _, c := range t.Codes {
		n += c
	}
	return n
}

// A Book keeps what clients got, by service and VIP. It is not safe for use by several
// goroutines at once.
type Book struct {
	series     []*series
	byFrontend map[string]*series
	name       []byte // room for a key of it
	// moments has what became of all requests of the last minutes by VIP, for what a fault cost.
	moments map[string]*moments
}

// A series is what is kept of a key.
type series struct {
	key    Key
	totals Totals
	recent window
}

// maxSeries bounds the keys of a Book: more than a spec has.
const maxSeries = 512

// NewBook gives one that knows no frontend.
func NewBook() *Book {
	return &Book{byFrontend: map[string]*series{}, moments: map[string]*moments{}}
}

// Use has b count by these, a frontend's name each; of a frontend that many services share,
// with "/" and the name of the service's backend behind it. What is kept of keys that go on stays,
// that of others is dropped.
func (b *Book) Use(frontends map[string]Key) {
	byKey := map[Key]*series{}
	for _, s := range b.series {
		byKey[s.key] = s
	}
	b.series, b.byFrontend = nil, make(map[string]*series, len(frontends))
	for name, key := range frontends {
		i := slices.IndexFunc(b.series, func(s *series) bool { return s.key == key })
		if i < 0 {
			if len(b.series) >= maxSeries {
				continue
			}
			s := byKey[key]
			if s == nil {
				s = &series{key: key}
			}
			b.series = append(b.series, s)
			i = len(b.series) - 1
		}
		b.byFrontend[name] = b.series[i]
	}
	maps.DeleteFunc(b.moments, func(vip string, _ *moments) bool {
		return !slices.ContainsFunc(b.series, func(s *series) bool { return s.key.VIP == vip })
	})
	slices.SortFunc(b.series, func(a, c *series) int { return compareKeys(a.key, c.key) })
}

func compareKeys(a, b Key) int {
	return slices.Compare([]string{a.Service, a.VIP, a.Interface}, []string{b.Service, b.VIP, b.Interface})
}

// AddLine counts a line of HAProxy's log that was written at that time, which is when what it
// is about ended. Lines that are of no request are passed over.
func (b *Book) AddLine(at time.Time, line []byte) {
	var r Record
	switch Parse(line, &r) {
	case RequestLine, SessionLine:
		b.Add(at, &r)
	case HandshakeLine:
		if s := b.byFrontend[string(r.Frontend)]; s != nil {
			s.totals.Noise++
		}
	case OtherLine:
	}
}

// of gives what r belongs to; nil for nothing.
func (b *Book) of(r *Record) *series {
	if s := b.byFrontend[string(r.Frontend)]; s != nil {
		return s
	}
	service, _, _ := bytes.Cut(r.Backend, []byte(":")) // a service has several backends
	if bytes.Equal(r.Backend, r.Frontend) {
		service = r.Asked // it came to no backend: a rule turned it away
	}
	b.name = append(append(append(b.name[:0], r.Frontend...), '/'), service...)
	return b.byFrontend[string(b.name)]
}

// Add counts r, which ended at that time.
func (b *Book) Add(at time.Time, r *Record) {
	s := b.of(r)
	if s == nil {
		return // of HAProxy's own, as those that lead to https
	}
	outcome, cause := r.Outcome()
	if outcome == Noise {
		s.totals.Noise++
		return
	}
	felt := r.Felt(outcome)
	s.totals.add(r, outcome, cause, felt)
	s.recent.add(at, r, felt)
	m := b.moments[s.key.VIP]
	if m == nil {
		m = newMoments()
		b.moments[s.key.VIP] = m
	}
	m.add(at, r, outcome, felt)
}

func (t *Totals) add(r *Record, o Outcome, c Cause, felt bool) {
	t.Codes[classOf(r)]++
	t.Refused[c]++
	if felt {
		t.Failed++
	}
	switch o {
	case Cut:
		t.Cut++
	case GaveUp:
		t.GaveUp++
	case Answered, Failed, Refused, Noise:
	}
	t.Retries += uint64(r.Retries)
	if r.Retries > 0 {
		t.Retried++
	}
	if r.Redispatched {
		t.Redispatched++
	}
	if r.Queue > 0 && r.Retries == 0 { // else it is the time of what was tried before, too
		t.Queued++
		t.QueueTime += r.Queue
	}
	if first, ok := r.FirstByte(); ok {
		t.FirstByte[bucketOf(first)]++
		t.FirstSum += first
	}
}

// Buckets gives how many had the first byte of their answer within each of these times,
// which increase, and in all; bounds of a histogram of Prometheus.
func (t *Totals) Buckets(within []time.Duration) (counts []uint64, total uint64) {
	counts = make([]uint64, len(within))
	for i, n := range t.FirstByte {
		total += n
		_, to := bounds(i)
		for j := range within {
			if to <= within[j] {
				counts[j] += n
			}
		}
	}
	return counts, total
}

// A Sum is what was counted of a key, since the beginning.
type Sum struct {
	Key
	Totals
}

// An Account is all that was counted since the beginning.
type Account struct {
	Sums []Sum
	// Lost is how many lines of the log came faster than they were read, Strange how many
	// came from who is not HAProxy.
	Lost, Strange uint64
}

// Sums gives copies of what was counted, by key.
func (b *Book) Sums() []Sum {
	all := make([]Sum, len(b.series))
	for i, s := range b.series {
		all[i] = Sum{s.key, s.totals}
	}
	return all
}
