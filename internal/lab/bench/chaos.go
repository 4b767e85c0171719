package bench

import (
	"bytes"
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
	return nil
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
	bed.interval = opt.Interval
	if err := bed.up(ctx, false); err != nil {
		return nil, err
	}
	c := &chaos{opt: opt, bed: bed, watch: newWatch(), random: rand.New(rand.NewPCG(opt.Seed, 1)), started: time.Now()}
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
		err = sleep(ctx, rest) // what is under way may still come to its end
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
		if err := sleep(ctx, rest/2+c.upTo(rest/2)); err != nil {
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
func (c *chaos) length() time.Duration {
	low, high := math.Log(float64(shortest)), math.Log(float64(longest))
	return time.Duration(math.Exp(low + c.random.Float64()*(high-low)))
}

// episode does one fault and ends it.
func (c *chaos) episode(ctx context.Context) error {
	kinds := chaosKinds()
	// All is drawn before anything is looked at, so that a seed means the same
	// faults whatever comes of them.
	kind := kinds[c.random.IntN(len(kinds))]
	node := c.bed.spec.Controllers[c.random.IntN(len(c.bed.spec.Controllers))].Name
	length := c.length()
	f := lab.Fault{Kind: kind, Node: node}
	switch {
	case strings.HasPrefix(kind, "service-"):
		f.Service = service
	case kind == "partition":
		f.Node, f.Sets = "", (&drive{bed: c.bed}).cut(node)
	}
	s, err := lab.GetStatus(ctx, c.bed.dir())
	if err != nil {
		return err
	}
	e := Episode{Kind: kind, Node: node, Holder: slices.Contains(s.VIPs[0].Holders, node)}
	f, err = lab.Inject(ctx, c.bed.dir(), f)
	if err != nil {
		return err
	}
	e.From = f.Time
	if err := sleep(ctx, length); err != nil {
		return err
	}
	e.Undone = time.Now()
	if err := c.bed.heal(ctx); err != nil {
		return err
	}
	c.episodes = append(c.episodes, e)
	return nil
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
		if err := sleep(ctx, settlePoll); err != nil {
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
	holder := ""
	if e.Holder {
		holder = ", which had the address,"
	}
	c.opt.Progress(fmt.Sprintf("%s  %s on %s%s for %s; whole %s later; %d requests failed so far", clock(e.From.Sub(c.started)),
		e.Kind, e.Node, holder, short(e.Undone.Sub(e.From)), short(e.Whole.Sub(e.Undone)), c.watch.failedSoFar()))
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
		var out, said bytes.Buffer
		cmd := lab.Command{Node: controller.Name, Args: []string{"holdfast", "lab", "usage"}, Stdout: &out, Stderr: &said}
		code, err := cmd.Run(ctx, c.bed.dir())
		if err == nil && code != 0 {
			err = fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(said.String()))
		}
		if err != nil {
			return fmt.Errorf("look at the processes of %s: %w", controller.Name, err)
		}
		if err := sum.add(out.Bytes()); err != nil {
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
	var files []string
	for _, pattern := range []string{"*.jsonl", "lab.log", "nodes/*/*.log"} {
		found, err := filepath.Glob(filepath.Join(string(from), pattern))
		if err != nil {
			return "", fmt.Errorf("keep the logs: %w", err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		name := strings.ReplaceAll(strings.TrimPrefix(file, string(from)+"/"), "/", "-")
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o644)
		}
		if err != nil {
			return "", fmt.Errorf("keep the logs: %w", err)
		}
	}
	return to, nil
}

// clock gives a time since the start: 3:07.250.
func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%06.3f", int(d.Minutes()), math.Mod(d.Seconds(), 60))
}
