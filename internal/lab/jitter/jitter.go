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
	// maxCrowd is the largest that an agent lets in, and some more.
	maxCrowd = 2000
	// gather is how long a crowd takes to be there.
	gather = 5 * time.Second
	// grace is how much longer the listener may take than it listens.
	grace = 10 * time.Second
)

// Options says what to measure.
type Options struct {
	Intervals []time.Duration
	Length    time.Duration  // of each
	Only      []bench.System // bench.Holdfast and bench.Tuned, which is keepalived, when empty
	Crowd     int            // how many look at the holder's page, in rows of their own; 0: none
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
	if o.Crowd < 0 || o.Crowd > maxCrowd {
		return fmt.Errorf("a crowd of %d; up to %d", o.Crowd, maxCrowd)
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
	Busy     bool          `json:"busy"` // all processors were taken
	Crowd    *Crowd        `json:"crowd,omitempty"`
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
		switch {
		case r.Busy:
			return r.Interval + 1
		case r.Crowd != nil:
			return r.Interval + 2
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
	loads := []load{idle, busy}
	if opt.Crowd > 0 && system == bench.Holdfast {
		loads = append(loads, crowded)
	}
	for _, by := range loads {
		opt.Progress(fmt.Sprintf("%s at %v, %s", system, interval, by))
		row, err := measureOne(ctx, l.Dir, by, opt)
		if err != nil {
			return nil, err
		}
		row.System, row.Interval, row.Busy = system, interval, by == busy
		if row.Spread, err = spreadOf(row.times, interval); err != nil {
			return nil, err
		}
		rows = append(rows, row.Row)
	}
	return rows, nil
}

// A load is what else goes on.
type load string

const (
	idle    load = "idle machine"
	busy    load = "busy machine"
	crowded load = "many at its page"
)

// holderOf gives the controller that holds the VIP.
func holderOf(ctx context.Context, dir lab.Dir) (string, error) {
	s, err := lab.GetStatus(ctx, dir)
	if err != nil {
		return "", err
	}
	return s.Holder()
}

// measured is a Row whose adverts are not looked at yet.
type measured struct {
	Row
	times []time.Duration // when the holder's adverts came to the other controller
}

// measureOne listens to the holder's adverts at the other controller.
func measureOne(ctx context.Context, dir lab.Dir, by load, opt Options) (m measured, err error) {
	if err := lab.Sleep(ctx, settle); err != nil {
		return m, err
	}
	holder, err := holderOf(ctx, dir)
	if err != nil {
		return m, err
	}
	other := "ctl1"
	if holder == other {
		other = "ctl2"
	}
	own, err := os.Executable()
	if err != nil {
		return m, fmt.Errorf("find this program: %w", err)
	}
	end := func() error { return nil }
	switch by {
	case busy:
		stop, err := occupy(ctx)
		if err != nil {
			return m, err
		}
		end = func() error { stop(); return nil }
	case crowded:
		m.Crowd = &Crowd{}
		if end, err = invite(ctx, dir, own, addresses()[holder], opt, m.Crowd); err != nil {
			return m, err
		}
	case idle:
	}
	listening, cancel := context.WithTimeout(ctx, opt.Length+grace)
	defer cancel()
	out, err := lab.Command{Node: other, Args: []string{
		own, "lab", "bench", "jitter", "listen", "--from", addresses()[holder], "--length", opt.Length.String(),
	}}.Output(listening, dir)
	if err = errors.Join(err, end()); err != nil {
		return m, fmt.Errorf("listen on %s: %w", other, err)
	}
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&m.times); err != nil {
		return m, fmt.Errorf("what the listener on %s says is not understood: %w", other, err)
	}
	now, err := holderOf(ctx, dir)
	m.Moved = now != holder
	return m, err
}

// invite has a crowd look at the page of address, and gives once it is there what waits
// until it has left; into has then what became of it.
func invite(ctx context.Context, dir lab.Dir, own, address string, opt Options, into *Crowd) (wait func() error, err error) {
	left := make(chan error, 1)
	go func() {
		out, err := lab.Command{Node: "client", Args: []string{
			own, "lab", "bench", "jitter", "crowd", "--to", address + ":9470", "--size", fmt.Sprint(opt.Crowd), "--length", (opt.Length + gather).String(),
		}}.Output(ctx, dir)
		if err == nil {
			err = json.NewDecoder(bytes.NewReader(out)).Decode(into)
		}
		left <- err
	}()
	return func() error { return <-left }, lab.Sleep(ctx, gather)
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
