// Package throughput measures what a load balancer costs requests that meet no
// fault: how many pass in a closed loop, how long they take at a fixed rate,
// and how much processor time HAProxy spends on each. It puts the configuration
// that holdfast renders beside kolla-ansible's settings and beside no proxy at
// all, in turns on one machine, so that what else runs there hits all alike.
//
// All is on loopback addresses of this host: a network's bandwidth and delay
// are not in it. Faults are the business of package bench.
package throughput

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/lab/load"
	"holdfast/internal/spec"
)

// A System is one way from the client to the service.
type System string

// The systems that are always measured. Variants have names of their own.
const (
	Holdfast System = "holdfast"
	Kolla    System = "kolla"
	Direct   System = "direct" // no proxy
)

// A Point is one kind of traffic.
type Point struct {
	Method    string  `json:"method"`
	Bytes     int     `json:"bytes"`      // of the answer to a GET, of the request's body otherwise
	KeepAlive bool    `json:"keep_alive"` // else a connection for each request
	Rate      float64 `json:"rate"`       // requests a second, where latency is measured
}

// String names p for people.
func (p Point) String() string {
	size := "1 KiB"
	if p.Bytes == 1<<20 {
		size = "1 MiB"
	}
	how := "new connections"
	if p.KeepAlive {
		how = "keep-alive"
	}
	return fmt.Sprintf("%s %s, %s", p.Method, size, how)
}

// Points gives all points, in the order of the table.
func Points() []Point {
	var all []Point
	for _, p := range []Point{{Method: "GET", Bytes: 1 << 10, Rate: 400}, {Method: "GET", Bytes: 1 << 20, Rate: 40}, {Method: "PUT", Bytes: 1 << 20, Rate: 40}} {
		for _, keep := range []bool{false, true} {
			p.KeepAlive = keep
			all = append(all, p)
		}
	}
	return all
}

// Options says what is measured.
type Options struct {
	HAProxy     string        // the program; empty: from PATH
	Rounds      int           // each system has one turn at each point in each; at least 1
	Turn        time.Duration // of one turn
	Connections int           // of the closed loop, 1 to 100
	Variants    []Variant     // of holdfast's configuration, measured too
	Only        string        // the points whose name has this in it; empty: all
	Latency     bool          // also measure latency at each point's rate
	Render      Render
	Progress    func(string) // told what is done; nil: nobody
}

// Render gives holdfast's configuration of s, with its files below dir and
// its log going to the socket at dir/log.
type Render func(s *spec.Spec, dir string, maxconn int) []byte

// A Turn is what one system did at one point for a moment.
type Turn struct {
	Requests  int           `json:"requests"`
	Failed    int           `json:"failed"`
	Why       string        `json:"why,omitempty"` // the first of them failed
	PerSecond float64       `json:"per_second"`
	CPU       time.Duration `json:"cpu_ns"` // HAProxy's, for each request; 0 without one
	P50       time.Duration `json:"p50_ns,omitempty"`
	P99       time.Duration `json:"p99_ns,omitempty"`
}

// A Report is what was measured. Its JSON form is additive-only.
type Report struct {
	Schema      int           `json:"schema"` // always 1
	Machine     Machine       `json:"machine"`
	Rounds      int           `json:"rounds"`
	Turn        time.Duration `json:"turn_ns"`
	Connections int           `json:"connections"`
	Variants    []Variant     `json:"variants,omitempty"`
	Rows        []Row         `json:"rows"`
}

// A Row is one point for one system: medians of its turns, and the medians of
// the ratios to the other systems in the same round.
type Row struct {
	Point  Point   `json:"point"`
	System System  `json:"system"`
	Median Turn    `json:"median"`
	Ratios []Ratio `json:"ratios,omitempty"`
	Turns  []Turn  `json:"turns"`
}

// A Ratio compares a row's system to another one, round by round.
type Ratio struct {
	To        System  `json:"to"`
	PerSecond float64 `json:"per_second"`    // above 1: more requests than To
	CPU       float64 `json:"cpu,omitempty"` // below 1: less of HAProxy's time for each than To
	P50       float64 `json:"p50,omitempty"` // below 1: sooner than To
	P99       float64 `json:"p99,omitempty"`
}

// ErrOptions is in the error of Run when its options are no good.
var ErrOptions = errors.New("bad options")

// points gives the points that are to be measured.
func (o Options) points() []Point {
	return slices.DeleteFunc(Points(), func(p Point) bool { return !strings.Contains(p.String(), o.Only) })
}

func (o Options) check() error {
	switch {
	case len(o.points()) == 0:
		return fmt.Errorf("%w: no point has %q in its name", ErrOptions, o.Only)
	case o.Rounds < 1:
		return fmt.Errorf("%w: %d rounds; at least 1", ErrOptions, o.Rounds)
	case o.Turn < 100*time.Millisecond:
		return fmt.Errorf("%w: turns of %v; at least 100ms", ErrOptions, o.Turn)
	case o.Connections < 1 || o.Connections > maxConnections:
		return fmt.Errorf("%w: %d connections; 1 to %d", ErrOptions, o.Connections, maxConnections)
	case len(o.Variants) > maxVariants:
		return fmt.Errorf("%w: %d variants; at most %d", ErrOptions, len(o.Variants), maxVariants)
	}
	return nil
}

// Run measures. It needs root, since holdfast's HAProxy binds transparently.
func Run(ctx context.Context, opt Options) (*Report, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	r, err := newRig(ctx, opt)
	if err != nil {
		return nil, err
	}
	measured := map[key][]Turn{}
	err = r.rounds(ctx, measured)
	if err := errors.Join(err, r.close()); err != nil {
		return nil, err
	}
	report := &Report{
		Schema: 1, Machine: machine(ctx, r.haproxy), Rounds: opt.Rounds, Turn: opt.Turn,
		Connections: opt.Connections, Variants: opt.Variants,
	}
	for _, p := range opt.points() {
		for _, s := range r.names {
			report.Rows = append(report.Rows, row(measured, p, s, r.names))
		}
	}
	return report, nil
}

type key struct {
	point  Point
	system System
}

// rounds lets each system have its turns. Every second round goes the other
// way round, so that none always follows the same one.
func (r *rig) rounds(ctx context.Context, into map[key][]Turn) error {
	for round := range r.opt.Rounds {
		if r.opt.Progress != nil {
			r.opt.Progress(fmt.Sprintf("round %d of %d", round+1, r.opt.Rounds))
		}
		for _, p := range r.opt.points() {
			systems := slices.Clone(r.names)
			if round%2 == 1 {
				slices.Reverse(systems)
			}
			for _, s := range systems {
				turn, err := r.turn(ctx, p, s)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", s, p, err)
				}
				into[key{p, s}] = append(into[key{p, s}], turn)
			}
		}
	}
	return nil
}

func row(measured map[key][]Turn, p Point, s System, systems []System) Row {
	turns := measured[key{p, s}]
	out := Row{Point: p, System: s, Turns: turns, Median: medianTurn(turns)}
	for _, other := range systems {
		if other != s {
			out.Ratios = append(out.Ratios, ratio(turns, measured[key{p, other}], other))
		}
	}
	return out
}

func medianTurn(turns []Turn) Turn {
	m := Turn{
		PerSecond: median(turns, func(t Turn) float64 { return t.PerSecond }),
		CPU:       time.Duration(median(turns, func(t Turn) float64 { return float64(t.CPU) })),
		P50:       time.Duration(median(turns, func(t Turn) float64 { return float64(t.P50) })),
		P99:       time.Duration(median(turns, func(t Turn) float64 { return float64(t.P99) })),
	}
	for _, t := range turns {
		m.Requests += t.Requests
		m.Failed += t.Failed
		if m.Why == "" {
			m.Why = t.Why
		}
	}
	return m
}

// ratio gives the medians over the rounds of a's values divided by b's.
func ratio(a, b []Turn, to System) Ratio {
	rounds := make([][2]Turn, min(len(a), len(b)))
	for i := range rounds {
		rounds[i] = [2]Turn{a[i], b[i]}
	}
	of := func(value func(Turn) float64) float64 {
		return median(rounds, func(t [2]Turn) float64 {
			if value(t[1]) == 0 {
				return 0
			}
			return value(t[0]) / value(t[1])
		})
	}
	return Ratio{
		To:        to,
		PerSecond: of(func(t Turn) float64 { return t.PerSecond }),
		CPU:       of(func(t Turn) float64 { return float64(t.CPU) }),
		P50:       of(func(t Turn) float64 { return float64(t.P50) }),
		P99:       of(func(t Turn) float64 { return float64(t.P99) }),
	}
}

// median gives the median of value over all, 0 for none.
func median[T any](all []T, value func(T) float64) float64 {
	values := make([]float64, len(all))
	for i, v := range all {
		values[i] = value(v)
	}
	return load.Median(values)
}
