// Package tokens measures what clients of a real Keystone get that is as busy as
// it can be, or busier: through holdfast and, in the same run on the same
// machine, through HAProxy with the settings of others. The Keystones are three,
// as Debian packages them, with one database.
//
// All systems have the same Keystones, one after the other: two labs of one kind
// differ by a fifth and more in what their Keystones issue in a second. All loads
// are shares of one capacity, which is measured first, with no proxy between.
//
// It is no test: what is worse than a peer is told, not failed.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/bench"
)

// Defaults of Options.
const (
	DefaultLength  = 30 * time.Second
	DefaultClients = 41
	DefaultPoints  = "0.5,0.8,0.9,1.2,loop6,loop12,loop24,one"
)

const (
	maxRuns  = 20
	maxShare = 5
)

// Options says what to measure.
type Options struct {
	Runs     int            // of everything; 1 when 0
	Length   time.Duration  // of the load at each point
	Points   []Point        // see ParsePoints
	Only     []bench.System // holdfast and kolla when empty
	Clients  int            // addresses that requests at a rate come from
	Capacity float64        // tokens a second; measured when 0
	Binary   string         // that the labs run; this process's own when empty
	Progress func(string)   // told what was measured, a line at a time
}

// A Point is one load.
type Point struct {
	ID string `json:"id"`
	// Share is what share of the capacity is asked for, at an even rate.
	Share float64 `json:"share,omitempty"`
	// Loops is how many clients ask again as soon as they have an answer.
	Loops int `json:"loops,omitempty"`
	// One tells that all comes from one address.
	One bool `json:"one_address,omitempty"`
}

// String names p for people.
func (p Point) String() string {
	switch {
	case p.Loops > 0:
		return fmt.Sprintf("%d clients in a loop", p.Loops)
	case p.One:
		return fmt.Sprintf("%g of capacity, one address", p.Share)
	}
	return fmt.Sprintf("%g of capacity", p.Share)
}

// ParsePoints reads points as in DefaultPoints: a share of the capacity, "loopN"
// for N clients, "one" for half of the capacity from one address.
func ParsePoints(text string) ([]Point, error) {
	var all []Point
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		p := Point{ID: word}
		var err error
		if n, loops := strings.CutPrefix(word, "loop"); loops {
			p.Loops, err = strconv.Atoi(n)
		} else if word == "one" {
			p.One, p.Share = true, 0.5
		} else {
			p.Share, err = strconv.ParseFloat(word, 64)
		}
		good := p.Loops > 0 && p.Loops <= maxLoops || p.Share > 0 && p.Share <= maxShare
		if err != nil || !good {
			return nil, fmt.Errorf("%q is no load; write a share of the capacity up to %d, loopN for N clients up to %d, or one", word, maxShare, maxLoops)
		}
		all = append(all, p)
	}
	return all, nil
}

// complete fills in the defaults and says what is wrong with o.
func (o *Options) complete() error {
	if o.Runs == 0 {
		o.Runs = 1
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if len(o.Only) == 0 {
		o.Only = []bench.System{bench.Holdfast, bench.Kolla}
	}
	for _, s := range o.Only {
		if !slices.Contains(bench.Systems(), s) {
			return fmt.Errorf("no system is called %q; there are %s", s, bench.Named(bench.Systems()))
		}
	}
	switch {
	case o.Runs < 1 || o.Runs > maxRuns:
		return fmt.Errorf("%d runs; 1 to %d", o.Runs, maxRuns)
	case o.Length < time.Second:
		return fmt.Errorf("%v at each load; at least 1s", o.Length)
	case o.Clients < 1 || o.Clients > maxLoops:
		return fmt.Errorf("%d clients; 1 to %d", o.Clients, maxLoops)
	case o.Capacity < 0:
		return fmt.Errorf("a capacity of %g tokens a second", o.Capacity)
	case len(o.Points) == 0:
		return errors.New("no load to measure at")
	}
	return nil
}

// interval is VRRP's in spec.yaml, as a controller has it by default.
const interval = 100 * time.Millisecond

// Run measures, and gives the Report; of what was measured so far when ctx ends
// before all was. Nothing of the labs is left. Wrong Options are a
// lab.OptionsError.
func Run(ctx context.Context, opt Options) (*Report, error) {
	if err := opt.complete(); err != nil {
		return nil, &lab.OptionsError{Err: err}
	}
	r := &Report{
		Schema: 1, Started: time.Now(), Machine: bench.Describe(ctx), Length: opt.Length, Clients: opt.Clients,
		Patience: patience, Runs: opt.Runs,
	}
	for _, s := range opt.Only {
		r.Systems = append(r.Systems, bench.SystemInfo{Name: s, Text: s.Text(interval), Runs: opt.Runs})
	}
	for _, p := range opt.Points {
		r.Rows = append(r.Rows, Row{Point: p, Name: p.String()})
	}
	err := r.measure(ctx, opt)
	r.finish(opt.Only)
	r.Took = time.Since(r.Started)
	if ctx.Err() != nil {
		r.Interrupted = "interrupted"
		return r, nil
	}
	return r, err
}

// measure builds the lab and measures everything, each load on every system
// before the next one.
func (r *Report) measure(ctx context.Context, opt Options) (err error) {
	systems := slices.Clone(opt.Only)
	b, err := warmBed(ctx, systems[0], opt, r.problem)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.lab.Close()) }()
	turns := 0
	for range opt.Runs {
		capacity, err := r.capacity(ctx, b, systems)
		if err != nil {
			return err
		}
		for i, p := range opt.Points {
			// Every other load goes the other way round: none always follows the same
			// one, and the last one goes on.
			if turns++; turns%2 == 0 {
				slices.Reverse(systems)
			}
			for _, system := range systems {
				if err := r.point(ctx, b, system, &r.Rows[i], capacity); err != nil {
					return fmt.Errorf("%s, %s: %w", system, p, err)
				}
			}
		}
	}
	return nil
}

// capacity gives how many tokens a second the hosts can issue: the most that they
// did under the checks of any system.
func (r *Report) capacity(ctx context.Context, b *bed, systems []bench.System) (float64, error) {
	most := b.opt.Capacity
	if most > 0 {
		return most, nil
	}
	for _, system := range systems {
		tokens, err := b.capacity(ctx, system)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", system, err)
		}
		b.opt.Progress(fmt.Sprintf("%-8s  %.1f tokens a second from the hosts themselves", system, tokens))
		r.Capacities = append(r.Capacities, Capacity{System: system, Tokens: tokens})
		most = max(most, tokens)
	}
	if most == 0 {
		return 0, fmt.Errorf("no host issued a token within %v, without a proxy", b.opt.Length)
	}
	return most, nil
}

// point measures a row's load on system.
func (r *Report) point(ctx context.Context, b *bed, system bench.System, row *Row, capacity float64) error {
	m, err := b.measure(ctx, system, row.Point, capacity)
	if err != nil {
		return err
	}
	row.add(system, m)
	b.opt.Progress(fmt.Sprintf("%-8s  %-28s %s", system, row.Point, m))
	return nil
}

// problem tells of one of the benchmark itself.
func (r *Report) problem(text string) { r.Problems = append(r.Problems, text) }
