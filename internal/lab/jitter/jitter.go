// Package jitter measures how evenly a VIP's holder sends its adverts: as they arrive at
// another controller, on a machine that is idle and on one whose processors are all
// taken, of holdfast and of keepalived side by side. It breaks nothing and judges no
// takeover.
package jitter

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/bench"
)

// What is measured where Options say nothing.
const (
	DefaultIntervals = "10ms,20ms,100ms"
	DefaultLength    = 20 * time.Second

	upTime = time.Minute
	settle = 3 * time.Second
	// crowd is how many processes compete for each processor of a busy machine.
	crowd = 2
	// grace is how much longer the listener may take than it listens.
	grace = 10 * time.Second
)

// Options says what to measure.
type Options struct {
	Intervals []time.Duration
	Length    time.Duration  // of each
	Only      []bench.System // bench.Holdfast and bench.Tuned, which is keepalived, when empty
	Progress  func(text string)
}

// Check refuses what cannot be measured.
func (o Options) Check() error {
	if o.Length < time.Second {
		return fmt.Errorf("%v of each; at least 1s", o.Length)
	}
	for _, i := range o.Intervals {
		if err := bench.CheckInterval(i); err != nil {
			return err
		}
	}
	for _, s := range o.Only {
		if s != bench.Holdfast && s != bench.Tuned {
			return fmt.Errorf("no system is called %q here; there are %s, and %s for keepalived, which can have an interval below a second", s, bench.Holdfast, bench.Tuned)
		}
	}
	return nil
}

// A Row is what was measured of one system at one interval.
type Row struct {
	System   bench.System  `json:"system"`
	Interval time.Duration `json:"interval_ns"`
	Busy     bool          `json:"busy"`  // all processors were taken
	Moved    bool          `json:"moved"` // another controller took the VIP meanwhile, for whatever reason
	Spread
}

// A Report is what Run gives.
type Report struct {
	Machine bench.Machine `json:"machine"`
	Length  time.Duration `json:"length_ns"`
	Rows    []Row         `json:"rows"`
}

// Run measures. Nothing that it started is left when it returns.
func Run(ctx context.Context, opt Options) (*Report, error) {
	if err := opt.Check(); err != nil {
		return nil, err
	}
	if len(opt.Only) == 0 {
		opt.Only = []bench.System{bench.Holdfast, bench.Tuned}
	}
	r := &Report{Machine: bench.Describe(ctx), Length: opt.Length}
	for _, interval := range opt.Intervals {
		for _, system := range opt.Only {
			rows, err := measure(ctx, system, interval, opt)
			if err != nil {
				return nil, fmt.Errorf("%s at %v: %w", system, interval, err)
			}
			r.Rows = append(r.Rows, rows...)
		}
	}
	// The idle ones of an interval first, and its systems side by side.
	place := func(r Row) time.Duration {
		if r.Busy {
			return r.Interval + 1
		}
		return r.Interval
	}
	slices.SortStableFunc(r.Rows, func(a, b Row) int { return cmp.Compare(place(a), place(b)) })
	return r, nil
}

const spec = `cloud: jitter
vips: [{name: api, addresses: [10.64.20.10/24], hostname: api.jitter.example.org, interface: eth0, vrrp: {router_id: 51, interval: %v}}]
controllers: [{name: ctl1, address: 10.64.20.11}, {name: ctl2, address: 10.64.20.12}]
services: {keystone: {}}
`

// addresses are those of spec's controllers.
func addresses() map[string]string {
	return map[string]string{"ctl1": "10.64.20.11", "ctl2": "10.64.20.12"}
}

// measure measures a system on an idle machine, and on a busy one.
func measure(ctx context.Context, system bench.System, interval time.Duration, opt Options) (rows []Row, err error) {
	l, err := lab.Up(ctx, lab.UpOptions{
		Name: fmt.Sprintf("jitter-%s-%d", system, os.Getpid()), File: "jitter.yaml", Data: fmt.Appendf(nil, spec, interval),
		Peer: system.Peer(), Timeout: upTime,
	})
	if err != nil {
		return nil, fmt.Errorf("build a cloud: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	for _, busy := range []bool{false, true} {
		opt.Progress(fmt.Sprintf("%s at %v, %s", system, interval, machineIs(busy)))
		times, moved, err := arrivals(ctx, l.Dir, busy, opt.Length)
		if err != nil {
			return nil, err
		}
		s, err := spreadOf(times, interval)
		if err != nil {
			return nil, err
		}
		rows = append(rows, Row{System: system, Interval: interval, Busy: busy, Moved: moved, Spread: s})
	}
	return rows, nil
}

func machineIs(busy bool) string {
	if busy {
		return "busy machine"
	}
	return "idle machine"
}

// holderOf gives the controller that holds the VIP.
func holderOf(ctx context.Context, dir lab.Dir) (string, error) {
	s, err := lab.GetStatus(ctx, dir)
	if err != nil {
		return "", err
	}
	return s.Holder()
}

// arrivals gives when the holder's adverts came to the other controller, and whether
// that holds the VIP at the end.
func arrivals(ctx context.Context, dir lab.Dir, busy bool, length time.Duration) (times []time.Duration, moved bool, err error) {
	if err := lab.Sleep(ctx, settle); err != nil {
		return nil, false, err
	}
	holder, err := holderOf(ctx, dir)
	if err != nil {
		return nil, false, err
	}
	other := "ctl1"
	if holder == other {
		other = "ctl2"
	}
	if busy {
		end, err := occupy(ctx)
		if err != nil {
			return nil, false, err
		}
		defer end()
	}
	own, err := os.Executable()
	if err != nil {
		return nil, false, fmt.Errorf("find this program: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, length+grace)
	defer cancel()
	out, err := lab.Command{Node: other, Args: []string{
		own, "lab", "bench", "jitter", "listen", "--from", addresses()[holder], "--length", length.String(),
	}}.Output(ctx, dir)
	if err != nil {
		return nil, false, fmt.Errorf("listen on %s: %w", other, err)
	}
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&times); err != nil {
		return nil, false, fmt.Errorf("what the listener on %s says is not understood: %w", other, err)
	}
	now, err := holderOf(ctx, dir)
	return times, now != holder, err
}

// occupy has several processes compete for each processor, until end.
func occupy(ctx context.Context) (end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var all []*exec.Cmd
	end = func() {
		cancel()
		for _, c := range all {
			_ = c.Wait() // that it was killed
		}
	}
	for range crowd * runtime.NumCPU() {
		c := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			end()
			return nil, fmt.Errorf("occupy the processors: %w", err)
		}
		all = append(all, c)
	}
	return end, nil
}
