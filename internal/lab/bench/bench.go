// Package bench measures what faults cost the clients of holdfast, and of what
// operators run in its place, in one run on one machine: the same lab with the
// same stand-in services, the same load and the same faults for each system.
//
// Each system has a lab of its own. Only one of them is under load at a time,
// so that none is disturbed by another; while one recovers, the next is measured.
//
// It measures on whatever machine it is run, and says what that was. It is no
// test: what is not as promised is told, not failed.
package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/lab"
)

// Bounds of Options.
const (
	MaxRuns = 100
	MinRate = 20 // requests a second, below which gaps say nothing
	MaxRate = 2000
)

// DefaultRuns is how often each fault is measured unless Options say otherwise.
const DefaultRuns = 5

// Options says what to measure.
type Options struct {
	Runs   int      // of each fault; DefaultRuns when 0, once of a sweep alone
	Faults []string // by their IDs, or by their Groups; all when empty
	Only   []System // all when empty
	Rate   float64  // requests a second, of faults; 200 when 0
	Seed   uint64   // of the order of the faults in each run
	// Interval is VRRP's, of holdfast and of what is tuned by hand; 20 ms when 0. What is
	// promised is for that one, so with another nothing is.
	Interval time.Duration
	Binary   string // that the labs run; this process's own when empty
	Logs     string // a directory for all that the labs' nodes wrote; not kept when empty
	// Progress is told what was measured, a line at a time.
	Progress func(string)
}

// complete fills in the defaults and says what is wrong with o.
func (o *Options) complete() error {
	if o.Runs == 0 {
		o.Runs = DefaultRuns
		if o.sweepAlone() {
			o.Runs = 1
		}
	}
	if o.Rate == 0 {
		o.Rate = 200
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Runs < 1 || o.Runs > MaxRuns {
		return fmt.Errorf("%d runs; 1 to %d", o.Runs, MaxRuns)
	}
	if o.Interval != 0 {
		if err := CheckInterval(o.Interval); err != nil {
			return err
		}
	}
	if o.Rate < MinRate || o.Rate > MaxRate {
		return fmt.Errorf("rate of %g requests a second; %d to %d", o.Rate, MinRate, MaxRate)
	}
	for _, id := range o.Faults {
		if !slices.ContainsFunc(Faults(), func(f Fault) bool { return f.in(id) }) {
			return fmt.Errorf("no fault is called %q; there are %s", id, Choices())
		}
	}
	var only []System
	for _, s := range Systems() {
		if len(o.Only) == 0 || slices.Contains(o.Only, s) {
			only = append(only, s)
		}
	}
	for _, s := range o.Only {
		if !slices.Contains(Systems(), s) {
			return fmt.Errorf("no system is called %q; there are %s", s, Named(Systems()))
		}
	}
	o.Only = only
	return nil
}

// CheckInterval refuses an interval of VRRP at which nothing is measured.
func CheckInterval(i time.Duration) error {
	const step, most = 10 * time.Millisecond, 10 * time.Second
	if i < step || i > most || i%step != 0 {
		return fmt.Errorf("an interval of %v; from %v to %v, in steps of %v", i, step, most, step)
	}
	return nil
}

// A bench is one run of the benchmark.
type bench struct {
	opt     Options
	load    Load
	machine Machine
	started time.Time
	total   int // scenarios to run, over all systems
	todo    map[System][]job

	// quiet is held by whoever loads this machine: one system at a time.
	quiet sync.Mutex

	mu       sync.Mutex // guards following
	outcomes []outcome
	problems []string
	done     map[System]int
}

// Run measures and gives the Report, of what was measured when ctx ends before
// all was. Nothing of the labs is left. Wrong Options are a lab.OptionsError.
func Run(ctx context.Context, opt Options) (*Report, error) {
	if err := opt.complete(); err != nil {
		return nil, &lab.OptionsError{Err: err}
	}
	b := newBench(opt)
	b.started, b.machine = time.Now(), Describe(ctx)
	err := b.run(ctx)
	report := b.report(time.Since(b.started))
	if ctx.Err() != nil {
		report.Interrupted = "interrupted"
		return report, nil
	}
	return report, err
}

func newBench(opt Options) *bench {
	b := &bench{opt: opt, todo: map[System][]job{}, done: map[System]int{}, load: Load{
		Rate: opt.Rate, Service: service, Posts: 1.0 / float64(methods), New: 0.5, Clients: clients,
		Timeout: requestTimeout, Seed: opt.Seed,
	}}
	for _, s := range opt.Only {
		b.todo[s] = b.jobs(s)
		b.total += len(b.todo[s])
	}
	return b
}

// run builds the labs and measures every system.
func (b *bench) run(ctx context.Context) (err error) {
	var beds []*testbed
	defer func() { err = errors.Join(err, b.keepLogs(beds), closeAll(beds)) }()
	for _, s := range b.opt.Only {
		if len(b.todo[s]) == 0 {
			continue
		}
		t, bedErr := newTestbed(s, b.opt.Binary)
		if bedErr == nil {
			t.interval = b.opt.Interval
			beds = append(beds, t)
			bedErr = t.up(ctx, b.todo[s][0].needsTLS())
		}
		if bedErr != nil {
			return bedErr
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var working sync.WaitGroup
	for _, t := range beds {
		working.Go(func() {
			if err := b.measure(ctx, t); err != nil {
				cancel(err)
			}
		})
	}
	working.Wait()
	return context.Cause(ctx)
}

// keepLogs keeps what the nodes of the labs wrote, if that is wanted.
func (b *bench) keepLogs(beds []*testbed) error {
	var err error
	for _, t := range beds {
		err = errors.Join(err, b.keepLog(t, string(t.system)))
	}
	return err
}

// keepLog is keepLogs for one lab, in a directory called name.
func (b *bench) keepLog(t *testbed, name string) error {
	if b.opt.Logs == "" || t.lab == nil {
		return nil
	}
	_, err := keepLogs(t.dir(), filepath.Join(b.opt.Logs, name))
	return err
}

func closeAll(beds []*testbed) error {
	var err error
	for _, t := range beds {
		err = errors.Join(err, t.close())
	}
	return err
}

// once measures one scenario when the system is whole, and once more in a new
// lab when the lab itself has failed.
func (b *bench) once(ctx context.Context, t *testbed, s scenario, run int) error {
	for attempt := range 2 {
		err := b.settle(ctx, t)
		if err == nil {
			var o outcome
			if o, err = b.play(ctx, t, s); err == nil {
				b.keep(o, run)
				return nil
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err = fmt.Errorf("%s, %s: %w", t.system, s[0].Name, err)
		if attempt > 0 {
			return err
		}
		b.problem(err.Error() + "; its lab is built anew")
		if err := b.rebuild(ctx, t, t.tls); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) rebuild(ctx context.Context, t *testbed, tls bool) error {
	b.quiet.Lock()
	defer b.quiet.Unlock()
	t.rebuilt++
	err := b.keepLog(t, fmt.Sprintf("%s-%d", t.system, t.rebuilt))
	return errors.Join(err, t.down(), t.up(ctx, tls))
}

// settle waits until t's system is whole, and looks only while no other one is
// measured.
func (b *bench) settle(ctx context.Context, t *testbed) error {
	end := time.Now().Add(settleTimeout)
	for {
		b.quiet.Lock()
		err := t.sick(ctx)
		b.quiet.Unlock()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(end) {
			return fmt.Errorf("it was not whole again after %v: %w", settleTimeout, err)
		}
		if err := lab.Sleep(ctx, settlePoll); err != nil {
			return err
		}
	}
}

const settlePoll = 250 * time.Millisecond

func (b *bench) problem(text string) {
	b.mu.Lock()
	b.problems = append(b.problems, text)
	b.mu.Unlock()
	b.opt.Progress(text)
}

// keep takes o into the report and tells of it.
func (b *bench) keep(o outcome, run int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outcomes = append(b.outcomes, o)
	b.done[o.system]++
	done := 0
	for _, n := range b.done {
		done += n
	}
	for i, r := range o.runs {
		f := o.rows[i]
		text := fmt.Sprintf("%d/%d  %-8s  run %d  %-24s %s", done, b.total, o.system, run+1, f.Name, r.brief(f.Group()))
		if missed := r.judge(f, b.load); o.system == Holdfast && len(missed) > 0 {
			text += "  NOT AS PROMISED: " + strings.Join(missed, ", ")
		} else if r.Error != "" {
			text += "  NOT DONE: " + r.Error
		}
		b.opt.Progress(text)
	}
}

// brief tells of s in a few words.
func (s Sample) brief(of Group) string {
	switch of {
	case GroupPlanned:
		return fmt.Sprintf("failed %d of %d, reset %d, cut %d of %d, gap %s", s.Failed+s.PostsFailed, s.Requests,
			s.Work.Resets, s.Work.Cut, s.Work.Downloads, short(s.Work.ConnectGap))
	case GroupBusy, GroupSweep:
		text := fmt.Sprintf("failed %d of %d, p99 %s, slowest %s, down %d, seen %.2f", s.Failed, s.Requests,
			short(s.P99), short(s.Slowest), s.Hosts.Down, s.Hosts.ratio())
		if s.Hosts.Uploads > 0 {
			text += fmt.Sprintf(", uploads cut %d of %d", s.Hosts.Cut, s.Hosts.Uploads)
		}
		return text
	case GroupFaults:
	}
	return fmt.Sprintf("failed %d of %d, gap %s, slowest %s", s.Failed, s.Requests, short(s.Gap), short(s.Slowest))
}
