package tokens

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/lab/bench"
	"holdfast/internal/lab/load"
)

// A Report is all that was measured. Durations are in nanoseconds. Its JSON form
// is a contract: fields are added, never renamed or removed.
type Report struct {
	Schema      int                `json:"schema"` // always 1
	Started     time.Time          `json:"started"`
	Took        time.Duration      `json:"took_ns"`
	Interrupted string             `json:"interrupted,omitempty"`
	Machine     bench.Machine      `json:"machine"`
	Runs        int                `json:"runs"`
	Length      time.Duration      `json:"length_ns"`   // of each load
	Clients     int                `json:"clients"`     // addresses, of loads at a rate
	Patience    time.Duration      `json:"patience_ns"` // of a client
	Systems     []bench.SystemInfo `json:"systems"`
	// Capacities is what the hosts did without a proxy.
	Capacities []Capacity `json:"capacities"`
	Rows       []Row      `json:"rows"`
	Problems   []string   `json:"problems,omitempty"` // of the benchmark itself
}

// A Capacity is how many tokens a second three hosts issue to clients in a loop,
// with no proxy between, but with the health checks of a system on them.
type Capacity struct {
	System bench.System `json:"system"`
	Tokens float64      `json:"tokens"`
}

// A Row is one load.
type Row struct {
	Point
	Name  string `json:"name"`
	Cells []Cell `json:"cells"` // one for each system that was measured
}

// A Cell is one load on one system.
type Cell struct {
	System bench.System `json:"system"`
	Median Measure      `json:"median"`
	// TimesP99 is how many times kolla's p99 this one's is: the median of the runs.
	TimesP99 float64   `json:"times_p99,omitempty"`
	Runs     []Measure `json:"runs"`
}

// A Measure is what came of one load, or the medians over several.
type Measure struct {
	Rate     float64         `json:"rate,omitempty"` // sessions a second that began; of loops: 0
	Sessions int             `json:"sessions"`
	Failed   int             `json:"failed"` // sessions
	Kinds    map[Failure]int `json:"failures,omitempty"`
	// PerSecond is how many tokens were issued in a second, until the last
	// session had ended.
	PerSecond float64       `json:"per_second"`
	P50       time.Duration `json:"p50_ns"` // of the sessions that succeeded, until they had the token
	P99       time.Duration `json:"p99_ns"`
	Slowest   time.Duration `json:"slowest_ns"`
	Sent      int           `json:"sent"` // requests, by clients
	Seen      int           `json:"seen"` // requests, by hosts
	// Down is how often one of the three HAProxys has marked a host down, and
	// None how often it had none left.
	Down    int     `json:"marked_down"`
	None    int     `json:"none_left"`
	Retries int     `json:"retries"` // that HAProxy made
	Checks  float64 `json:"checks"`  // health checks of each host a second
	// Late is the worst lateness of the load generator: how long this machine
	// kept it from running.
	Late time.Duration `json:"late_ns"`
}

// sum sums up sessions.
func sum(all []Session, length time.Duration) Measure {
	m := Measure{Sessions: len(all), Kinds: map[Failure]int{}}
	var took []time.Duration
	var first, last time.Time
	for _, s := range all {
		m.Sent += s.Sent
		m.Late = max(m.Late, s.Late)
		if end := s.Due.Add(s.Took); end.After(last) {
			last = end
		}
		if first.IsZero() || s.Due.Before(first) {
			first = s.Due
		}
		if s.Failure != "" {
			m.Failed++
			m.Kinds[s.Failure]++
			continue
		}
		took = append(took, s.Took)
	}
	slices.Sort(took)
	m.P50, m.P99, m.Slowest = load.Quantile(took, 50), load.Quantile(took, 99), load.Quantile(took, 100)
	m.PerSecond = float64(len(took)) / max(length, last.Sub(first)).Seconds()
	return m
}

// addCounts adds what HAProxys have counted in between. One that was started
// anew counts from the beginning.
func (m *Measure) addCounts(before, after counts) {
	since := func(now, then uint64) int {
		if now < then {
			return int(now)
		}
		return int(now - then)
	}
	for key, n := range after.downs {
		m.Down += since(n, before.downs[key])
	}
	for key, n := range after.none {
		m.None += since(n, before.none[key])
	}
	m.Retries = since(after.retries, before.retries)
}

// String tells of m in a line.
func (m Measure) String() string {
	text := fmt.Sprintf("failed %d of %d, p50 %s, p99 %s, slowest %s, marked down %d", m.Failed, m.Sessions,
		short(m.P50), short(m.P99), short(m.Slowest), m.Down)
	if m.Failed > 0 {
		text += " (" + m.kinds() + ")"
	}
	return text
}

// kinds tells of what kinds the failures were.
func (m Measure) kinds() string {
	var all []string
	for _, kind := range []Failure{NoHost, Bad, Slow, Host, Cut, Refused, Timeout, Strange, Stopped, Whatever} {
		if n := m.Kinds[kind]; n > 0 {
			all = append(all, fmt.Sprintf("%s: %d", kind, n))
		}
	}
	return strings.Join(all, ", ")
}

// add adds a measure of system.
func (r *Row) add(system bench.System, m Measure) {
	i := slices.IndexFunc(r.Cells, func(c Cell) bool { return c.System == system })
	if i < 0 {
		i = len(r.Cells)
		r.Cells = append(r.Cells, Cell{System: system})
	}
	r.Cells[i].Runs = append(r.Cells[i].Runs, m)
}

// cell gives that of system, nil if it was not measured.
func (r *Row) cell(system bench.System) *Cell {
	for i := range r.Cells {
		if r.Cells[i].System == system {
			return &r.Cells[i]
		}
	}
	return nil
}

// finish puts the cells into the order of systems, with their medians and ratios.
func (r *Report) finish(order []bench.System) {
	for i := range r.Rows {
		row := &r.Rows[i]
		slices.SortFunc(row.Cells, func(a, b Cell) int { return slices.Index(order, a.System) - slices.Index(order, b.System) })
		kolla := row.cell(bench.Kolla)
		for j := range row.Cells {
			c := &row.Cells[j]
			c.Median = medianOf(c.Runs)
			if kolla == nil || c == kolla {
				continue
			}
			var ratios []float64
			for k := range min(len(c.Runs), len(kolla.Runs)) {
				if base := kolla.Runs[k].P99; base > 0 {
					ratios = append(ratios, float64(c.Runs[k].P99)/float64(base))
				}
			}
			c.TimesP99 = load.Median(ratios)
		}
	}
}

// medianOf gives the medians of all, field by field.
func medianOf(all []Measure) Measure {
	m := Measure{Kinds: map[Failure]int{}}
	of := func(value func(Measure) float64) float64 {
		var values []float64
		for _, one := range all {
			values = append(values, value(one))
		}
		return load.Median(values)
	}
	rates, numbers, times := m.figures()
	for i, to := range rates {
		*to = of(func(x Measure) float64 { r, _, _ := x.figures(); return *r[i] })
	}
	for i, to := range numbers {
		*to = int(of(func(x Measure) float64 { _, n, _ := x.figures(); return float64(*n[i]) }))
	}
	for i, to := range times {
		*to = time.Duration(of(func(x Measure) float64 { _, _, t := x.figures(); return float64(*t[i]) }))
	}
	for _, x := range all {
		for kind := range x.Kinds {
			m.Kinds[kind] = int(of(func(x Measure) float64 { return float64(x.Kinds[kind]) }))
		}
	}
	return m
}

// figures gives those of m of which there are medians.
func (m *Measure) figures() ([]*float64, []*int, []*time.Duration) {
	return []*float64{&m.Rate, &m.PerSecond, &m.Checks},
		[]*int{&m.Sessions, &m.Failed, &m.Sent, &m.Seen, &m.Down, &m.None, &m.Retries},
		[]*time.Duration{&m.P50, &m.P99, &m.Slowest, &m.Late}
}
