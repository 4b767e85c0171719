// Command simulate runs virtual routers in virtual time: random schedules until
// the address has moved a number of times, one schedule again, or the table of
// docs/benchmarks/vrrp.md. It is for those who change package vrrp; "make sim"
// runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/vrrp/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	var o options
	flags.Int64Var(&o.failovers, "failovers", 1_000_000, "run until the address has moved `so often`")
	flags.Uint64Var(&o.seed, "seed", 1, "the `first` of the schedules")
	flags.IntVar(&o.workers, "workers", runtime.GOMAXPROCS(0), "how `many` run at once")
	replay := flags.String("replay", "", "run the schedule in `file` (- is standard input), and print what happens")
	table := flags.Bool("table", false, "print how long a takeover takes, what is sent, and what moves for nothing")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is not known; see -help", flags.Arg(0))
	case *replay != "":
		return again(*replay, out)
	case *table:
		return sim.WriteTable(out)
	}
	return o.search(ctx, out)
}

type options struct {
	failovers int64
	seed      uint64
	workers   int
}

// again runs one schedule.
func again(path string, out io.Writer) error {
	text, err := io.ReadAll(os.Stdin)
	if path != "-" {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return fmt.Errorf("read the schedule: %w", err)
	}
	s, err := sim.Parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r := sim.Check(s, sim.Lab{Trace: true})
	fmt.Fprintln(out, strings.Join(r.Trace, "\n"))
	if r.Violation != nil {
		return r.Violation
	}
	fmt.Fprintf(out, "all holds; the address moved %d times\n", r.Moves)
	return nil
}

// progress is what has been run.
type progress struct {
	begun                             time.Time
	seed                              atomic.Uint64 // the next one
	schedules, moves, events, virtual atomic.Int64
}

func (p *progress) String() string {
	took := time.Since(p.begun)
	return fmt.Sprintf("%d failovers in %d schedules, %v of virtual time, %d events; %v, %.0f failovers a second",
		p.moves.Load(), p.schedules.Load(), time.Duration(p.virtual.Load()).Round(time.Minute), p.events.Load(),
		took.Round(time.Second), float64(p.moves.Load())/took.Seconds())
}

// search runs schedules until the address has moved often enough, or one of them
// shows what must not be: that it prints as small as it can.
func (o options) search(ctx context.Context, out io.Writer) error {
	p := &progress{begun: time.Now()}
	p.seed.Store(o.seed)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range max(1, o.workers) {
		wg.Go(func() {
			for ctx.Err() == nil && p.moves.Load() < o.failovers {
				s := sim.Random(p.seed.Add(1) - 1)
				r := sim.Check(s, sim.Lab{})
				p.schedules.Add(1)
				p.moves.Add(int64(r.Moves))
				p.events.Add(int64(r.Events))
				p.virtual.Add(int64(r.Lasted))
				if r.Violation != nil {
					cancel(broken(s))
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	every := time.NewTicker(10 * time.Second)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			fmt.Fprintln(out, p)
		case <-done:
			fmt.Fprintln(out, p)
			if err := context.Cause(ctx); err != nil {
				return err
			}
			fmt.Fprintln(out, "all holds")
			return nil
		}
	}
}

// broken says what goes wrong in s, with a schedule to run again.
func broken(s sim.Schedule) error {
	small, r := sim.Shrink(s, sim.Lab{})
	if r.Violation == nil {
		return fmt.Errorf("seed %d: what goes wrong in it does not when it is run again", s.Seed)
	}
	const end = 60 // lines; all of it comes with -replay
	return fmt.Errorf("seed %d: %w\n\n# to run again: go run ./internal/vrrp/sim/simulate -replay FILE\n%s\n%s",
		s.Seed, r.Violation, small, strings.Join(r.Trace[max(0, len(r.Trace)-end):], "\n"))
}
