package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/lab"
)

// Bounds of chaos.
const (
	MinChaos = 10 * time.Second
	MaxChaos = 24 * time.Hour

	shortest = 300 * time.Millisecond // that a fault lasts
	longest  = 8 * time.Second
	rest     = 2 * time.Second // at most, between two faults; and at least half of it
	// wholeTimeout is how long a cloud may take to be whole again by itself
	// when a fault has ended.
	wholeTimeout = 30 * time.Second
)

// ChaosOptions says how long what is broken, and how.
type ChaosOptions struct {
	Duration time.Duration
	Seed     uint64  // of the faults, their nodes and their lengths
	Rate     float64 // requests a second; 200 when 0
	// Interval is VRRP's; that of the benchmark, 20 ms, when 0. With that a machine
	// which stands still for 60 ms loses its address, rightly.
	Interval time.Duration
	Binary   string // that the lab runs; this process's own when empty
	// Faults are those of the lab that are done; all of chaosKinds when empty.
	Faults []string
	// Logs is a directory for what the agents wrote, kept when something was
	// not as it must be; one in the place for temporary files when empty.
	Logs string
	// Progress is told of each fault, a line at a time.
	Progress func(string)
}

func (o *ChaosOptions) complete() error {
	opt := Options{Rate: o.Rate, Binary: o.Binary, Progress: o.Progress}
	if err := opt.complete(); err != nil {
		return err
	}
	o.Rate, o.Binary, o.Progress = opt.Rate, opt.Binary, opt.Progress
	if o.Duration < MinChaos || o.Duration > MaxChaos {
		return fmt.Errorf("chaos of %v; %v to %v", o.Duration, MinChaos, MaxChaos)
	}
	for _, name := range o.Faults {
		if !slices.ContainsFunc(chaosKinds(), func(k chaosKind) bool { return k.name == name }) {
			return fmt.Errorf("chaos does no fault %q: %s", name, cmp.Or(notDrawn()[name], `"holdfast lab fault --list" has all`))
		}
	}
	return nil
}

// kinds gives the faults that are done.
func (o *ChaosOptions) kinds() []chaosKind {
	return slices.DeleteFunc(chaosKinds(), func(k chaosKind) bool { return len(o.Faults) > 0 && !slices.Contains(o.Faults, k.name) })
}

// A chaos is one run of it.
type chaos struct {
	opt      ChaosOptions
	bed      *testbed
	watch    *watch
	random   *rand.Rand
	started  time.Time
	episodes []Episode
	usage    []usageAt
	broken   []Violation // found on the way
}

// Chaos does one random fault after the other to a cloud of holdfast under
// load, and tells in what it was not as it must be: see ChaosReport. When ctx
// ends before its time, the report is of what has been till then.
func Chaos(ctx context.Context, opt ChaosOptions) (report *ChaosReport, err error) {
	if err := opt.complete(); err != nil {
		return nil, &lab.OptionsError{Err: err}
	}
	bed, err := newTestbed(Holdfast, opt.Binary)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.close()) }()
	bed.interval, bed.settled = opt.Interval, true
	if err := bed.up(ctx, false); err != nil {
		return nil, err
	}
	c := &chaos{opt: opt, bed: bed, watch: &watch{}, random: rand.New(rand.NewPCG(opt.Seed, 1)), started: time.Now()}
	if err := c.underLoad(ctx); err != nil {
		return nil, err
	}
	report, err = c.report(ctx)
	if err == nil && len(report.Violations) > 0 {
		report.Logs, err = keepLogs(bed.dir(), opt.Logs)
	}
	return report, err
}

// underLoad does the faults while the load generator runs.
func (c *chaos) underLoad(ctx context.Context) error {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() {
		d := &drive{bed: c.bed, out: c.watch}
		ended <- d.load(loading, c.opt.Rate, 2*c.opt.Duration+time.Hour)
	})
	err := c.breakThings(ctx)
	switch {
	case ctx.Err() != nil:
		err = nil // the report says that it was interrupted
	case err == nil:
		err = lab.Sleep(ctx, rest) // what is under way may still come to its end
	}
	stop()
	running.Wait()
	if loadErr := <-ended; !errors.Is(loadErr, context.Canceled) && err == nil {
		err = loadErr
	}
	return err
}

// breakThings does one fault after the other until the time is over.
func (c *chaos) breakThings(ctx context.Context) error {
	for {
		if why := c.awaitWhole(ctx); why != nil && ctx.Err() == nil {
			c.violate(time.Now(), "the cloud was not whole again after %v: %v", wholeTimeout, why)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.ended()
		if err := c.sampleUsage(ctx); err != nil {
			return err
		}
		if time.Since(c.started) >= c.opt.Duration {
			return nil
		}
		if err := lab.Sleep(ctx, rest/2+c.upTo(rest/2)); err != nil {
			return err
		}
		if err := c.episode(ctx); err != nil {
			return err
		}
	}
}

// upTo gives a random time below limit.
func (c *chaos) upTo(limit time.Duration) time.Duration {
	return time.Duration(c.random.Int64N(int64(limit)))
}

// length gives how long a fault lasts: short ones are as likely as long ones
// of ten times the length.
func (c *chaos) length() time.Duration { return drawTime(c.random, shortest, longest) }

// A plan is what an episode does. All of it is drawn before anything is looked at,
// so that a seed means the same faults whatever comes of them.
type plan struct {
	kind   chaosKind
	fault  lab.Fault
	node   string // to which the fault is done; of a partition, the one that is alone
	length time.Duration

	// Of a kind with planned work: drain, or else hand over; the fault or the work
	// first, and how long later the other.
	drain, faultFirst bool
	between           time.Duration
}

// draw draws the next episode.
func (c *chaos) draw() plan {
	kinds, controllers := c.opt.kinds(), c.bed.spec.Controllers
	p := plan{kind: kinds[c.random.IntN(len(kinds))]}
	i := c.random.IntN(len(controllers))
	p.node, p.length = controllers[i].Name, c.length()
	value := ""
	if p.kind.value != nil {
		value = p.kind.value(c.random, p.length)
	}
	if p.kind.work {
		p.drain, p.faultFirst, p.between = c.random.IntN(2) == 0, c.random.IntN(2) == 0, c.upTo(rest/2)
	}
	p.fault = Action{Kind: p.kind.name, Value: value}.fault(p.node)
	switch p.kind.name {
	case "partition":
		p.fault.Node, p.fault.Sets = "", (&drive{bed: c.bed}).cut(p.node)
	case "stall":
		p.node, p.fault.Node = "every host", ""
	case "one-way":
		p.fault.To = controllers[(i+1+c.random.IntN(len(controllers)-1))%len(controllers)].Name
	}
	return p
}

// episode does one fault and ends it.
func (c *chaos) episode(ctx context.Context) error {
	p := c.draw()
	s, err := lab.GetStatus(ctx, c.bed.dir())
	if err != nil {
		return err
	}
	holder := s.VIPs[0].Holders[0]
	e := Episode{Kind: p.kind.name, Node: p.node, Holder: holder == p.node, To: p.fault.To, Value: p.fault.Value, From: time.Now()}
	if p.kind.work {
		e.Work, err = c.moveWith(ctx, p, holder)
	} else {
		_, err = lab.Inject(ctx, c.bed.dir(), p.fault)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.what(), err)
	}
	if err := lab.Sleep(ctx, p.length); err != nil {
		return err
	}
	if p.kind.work && p.drain {
		if err := c.operate(ctx, e, holder, "undrain", holder); err != nil {
			return err
		}
	}
	e.Undone = time.Now()
	if err := c.bed.heal(ctx); err != nil {
		return err
	}
	c.episodes = append(c.episodes, e)
	return nil
}

// moveWith does p's fault and moves the address, to p's node where that has not
// got it, and tells what moved it.
func (c *chaos) moveWith(ctx context.Context, p plan, holder string) (string, error) {
	args := []string{"drain", holder}
	if !p.drain {
		to := p.node
		if to == holder {
			to = (&drive{bed: c.bed}).variables(holder)["NEXT"]
		}
		args = []string{"handover", "--to", to}
	}
	e := Episode{Kind: p.kind.name, Node: p.node, Holder: holder == p.node, From: time.Now()}
	steps := []func() error{
		func() error { return c.operate(ctx, e, holder, args...) },
		func() error { return lab.Sleep(ctx, p.between) },
		func() error { _, err := lab.Inject(ctx, c.bed.dir(), p.fault); return err },
	}
	if p.faultFirst {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return "", err
		}
	}
	order := "before"
	if p.faultFirst {
		order = "after"
	}
	return fmt.Sprintf("holdfast %s %s %s", strings.Join(args, " "), short(p.between), order), nil
}

// operate runs holdfast on node. That it fails is a violation: nothing that an
// episode does beside is a reason.
func (c *chaos) operate(ctx context.Context, e Episode, node string, args ...string) error {
	_, failed, err := (&drive{bed: c.bed}).run(ctx, append([]string{"holdfast"}, args...), node)
	if failed != "" {
		c.violate(time.Now(), "%s, during %s", failed, e.what())
	}
	return err
}

// awaitWhole waits until nothing is wrong with the cloud, and says what is
// when that takes too long.
func (c *chaos) awaitWhole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wholeTimeout)
	defer cancel()
	for {
		why := c.bed.sick(ctx)
		if why == nil {
			return nil
		}
		if err := lab.Sleep(ctx, settlePoll); err != nil {
			return why
		}
	}
}

// ended notes that the cloud is whole after the last episode.
func (c *chaos) ended() {
	if len(c.episodes) == 0 {
		return
	}
	e := &c.episodes[len(c.episodes)-1]
	e.Whole = time.Now()
	c.opt.Progress(fmt.Sprintf("%s  %s: %s; whole %s later; %d requests failed so far", clock(e.From.Sub(c.started)),
		e.what(), short(e.Undone.Sub(e.From)), short(e.Whole.Sub(e.Undone)), c.watch.failedSoFar()))
}

func (c *chaos) violate(when time.Time, format string, args ...any) {
	v := Violation{At: when, Text: fmt.Sprintf(format, args...)}
	c.broken = append(c.broken, v)
	c.opt.Progress("BROKEN: " + v.Text)
}

// sampleUsage looks how much memory and how many descriptors the agents and
// the HAProxys have.
func (c *chaos) sampleUsage(ctx context.Context) error {
	sum := Usage{}
	for _, controller := range c.bed.spec.Controllers {
		out, err := lab.Command{Node: controller.Name, Args: []string{"holdfast", "lab", "usage"}}.Output(ctx, c.bed.dir())
		if err != nil {
			return fmt.Errorf("look at the processes of %s: %w", controller.Name, err)
		}
		if err := sum.add(out); err != nil {
			return err
		}
	}
	c.usage = append(c.usage, usageAt{time.Now(), sum})
	return nil
}

// keepLogs copies what the lab's nodes wrote to a directory that stays.
func keepLogs(from lab.Dir, to string) (string, error) {
	var err error
	if to == "" {
		to, err = os.MkdirTemp("", "holdfast-chaos-")
	} else {
		err = os.MkdirAll(to, 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("keep the logs: %w", err)
	}
	for _, pattern := range []string{"*.jsonl", "lab.log", "nodes/*/*.log"} {
		files, globErr := filepath.Glob(filepath.Join(string(from), pattern))
		err = errors.Join(err, globErr)
		for _, file := range files {
			name := strings.ReplaceAll(strings.TrimPrefix(file, string(from)+"/"), "/", "-")
			data, copyErr := os.ReadFile(file)
			if copyErr == nil {
				copyErr = os.WriteFile(filepath.Join(to, name), data, 0o644)
			}
			err = errors.Join(err, copyErr)
		}
	}
	if err != nil {
		return "", fmt.Errorf("keep the logs: %w", err)
	}
	return to, nil
}

// clock gives a time since the start: 3:07.250.
func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%06.3f", int(d.Minutes()), math.Mod(d.Seconds(), 60))
}
