package traffic

import (
	"math"
	"time"

	"holdfast/internal/status"
)

const (
	// momentLength is how long a moment is, momentsKept how many there are: two minutes.
	momentLength = 20 * time.Millisecond
	momentsKept  = 6000
	// tick is what the places of answers within a moment are told in.
	tick = 100 * time.Microsecond
)

// A moments is a ring of what came about in the last minutes, of all services of a VIP
// together: another VIP may be served all the while.
type moments struct {
	ring   []moment
	newest int64 // number of the newest one that there is
}

// A moment is what came about in 20 ms.
type moment struct {
	answered, failed, cut, retried uint16
	// first and last are when the first and the last answer came, in ticks from its begin.
	first, last uint16
	// waits is how many more clients wait for an answer after it than before.
	waits int32
}

func newMoments() *moments { return &moments{ring: make([]moment, momentsKept), newest: math.MinInt64} }

func momentNumber(at time.Time) int64 { return at.UnixNano() / int64(momentLength) }

func place(number int64) int { return int(((number % momentsKept) + momentsKept) % momentsKept) }

// reach has the ring go on to number: what is too old is forgotten.
func (m *moments) reach(number int64) {
	if number <= m.newest {
		return
	}
	for n := max(m.newest+1, number-momentsKept+1); n <= number; n++ {
		m.ring[place(n)] = moment{}
	}
	m.newest = number
}

// oldest gives the number of the oldest moment, of a ring that has any.
func (m *moments) oldest() int64 { return m.newest - momentsKept + 1 }

// add notes r, which ended at that time. Lines of several of HAProxy's threads may come in
// another order than they were written.
func (m *moments) add(at time.Time, r *Record, o Outcome, felt bool) {
	number := momentNumber(at)
	if m.newest != math.MinInt64 && number < m.oldest() { // the clock was set back: it begins anew
		clear(m.ring)
		m.newest = math.MinInt64
	}
	m.reach(number)
	one := &m.ring[place(number)]
	if felt || o == GaveUp {
		inc(&one.failed)
		if o == Cut || o == GaveUp || r.Status == 0 {
			inc(&one.cut)
		}
	} else {
		one.note(at)
	}
	if r.Retries > 0 {
		inc(&one.retried)
	}
	if r.TCP {
		return // who waits for what in it is not known
	}
	begun := at.Add(-max(r.Total, 0))
	from := max(momentNumber(begun), m.oldest())
	to := min(max(momentNumber(begun.Add(r.Waited())), from), number)
	m.ring[place(from)].waits++
	m.ring[place(to)].waits--
}

// note notes an answer.
func (m *moment) note(at time.Time) {
	place := uint16(at.UnixNano() % int64(momentLength) / int64(tick))
	if m.answered == 0 || place < m.first {
		m.first = place
	}
	m.last = max(m.last, place)
	inc(&m.answered)
}

func inc(n *uint16) {
	if *n < math.MaxUint16 {
		*n++
	}
}

// Cost gives what the time between two moments cost clients, as far as HAProxy's log says,
// of the last two minutes. The gap is the longest time without an answer while a request
// waited at a VIP.
func (b *Book) Cost(from, to time.Time) status.Cost { return b.costOf("", from, to) }

// costOf is Cost of one VIP; of all where none is named.
func (b *Book) costOf(vip string, from, to time.Time) status.Cost {
	sum := status.Cost{From: from, To: to}
	for name, m := range b.moments {
		if vip == "" || vip == name {
			c := m.cost(from, to)
			sum.Requests, sum.Failed, sum.Cut, sum.Retried = sum.Requests+c.Requests, sum.Failed+c.Failed, sum.Cut+c.Cut, sum.Retried+c.Retried
			sum.Gap = max(sum.Gap, c.Gap)
		}
	}
	return sum
}

func (m *moments) cost(from, to time.Time) status.Cost {
	c := status.Cost{From: from, To: to}
	if m.newest == math.MinInt64 {
		return c
	}
	first, last := max(momentNumber(from), m.oldest()), min(momentNumber(to), m.newest)
	waiting := int64(0)
	for n := m.oldest(); n < first && n <= m.newest; n++ {
		waiting += int64(m.ring[place(n)].waits)
	}
	g := gap{}
	if waiting > 0 {
		g.since = from
	}
	for n := first; n <= last; n++ {
		one := &m.ring[place(n)]
		c.Requests += uint64(one.answered) + uint64(one.failed)
		c.Failed += uint64(one.failed)
		c.Cut += uint64(one.cut)
		c.Retried += uint64(one.retried)
		waiting += int64(one.waits)
		g.step(time.Unix(0, n*int64(momentLength)), one, waiting > 0)
	}
	if waiting > 0 {
		g.wanted = to
	}
	g.end(g.wanted)
	c.Gap = g.longest
	return c
}

// firstAnswer gives when the first answer came between two moments; zero for none.
func (m *moments) firstAnswer(from, to time.Time) time.Time {
	for n := max(momentNumber(from), m.oldest()); n <= min(momentNumber(to), m.newest); n++ {
		one := &m.ring[place(n)]
		at := time.Unix(0, n*int64(momentLength)).Add(time.Duration(one.first) * tick)
		if one.answered > 0 && !at.Before(from) {
			return at
		}
	}
	return time.Time{}
}

// patience is how long after a failure the next request may come, for both to be of one gap.
const patience = time.Second

// A gap follows the time without an answer while somebody waits for one, or gets failures.
type gap struct {
	since   time.Time // zero: nobody wants anything
	wanted  time.Time // until when somebody is known to want something
	failing bool
	longest time.Duration
}

func (g *gap) end(at time.Time) {
	if !g.since.IsZero() {
		g.longest = max(g.longest, at.Sub(g.since))
	}
	g.since, g.failing = time.Time{}, false
}

// step goes on by a moment that begins at that time, and at whose end somebody waits or not.
func (g *gap) step(at time.Time, one *moment, waits bool) {
	from := at
	if one.answered > 0 {
		g.end(at.Add(time.Duration(one.first) * tick))
		from = at.Add(time.Duration(one.last) * tick)
	}
	failed := one.failed > 0
	switch {
	case waits || failed:
		if g.since.IsZero() {
			g.since = from
		}
		g.wanted, g.failing = at.Add(momentLength), g.failing || failed
	case !g.failing:
		g.since = time.Time{}
	case at.Sub(g.wanted) > patience:
		g.end(g.wanted)
	}
}
