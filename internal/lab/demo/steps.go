package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
)

// A promise is what design decided that a fault may cost.
type promise struct {
	text string
	// lost allows requests to fail that were in flight, or on a connection
	// that was open, before the gap's end; otherwise none may.
	lost bool
	// gap is the longest time without an answer, beside this machine's noise.
	gap time.Duration
	// slow is how long the slowest answer may take; 0: not looked at.
	slow time.Duration
	// two is the longest time that two nodes may have the address; 0: not looked at.
	two time.Duration
}

// A step is one thing that is done while clients go on asking.
type step struct {
	name    string
	fault   func(context.Context) (lab.Fault, error) // nil: none
	watch   time.Duration                            // how long clients are watched after it
	undo    func(context.Context) error              // so that it can be done again; nil: nothing
	after   bool                                     // undo it also before the next step
	promise promise
}

// steps gives the faults in their order.
func (d *demo) steps() []step {
	nothing := promise{text: "0, no gap"}
	lost := "" // the controller that is powered off
	return []step{
		{name: "nothing", watch: 3 * time.Second, promise: nothing},
		{
			name: "nova killed", watch: 4 * time.Second, promise: nothing,
			fault: d.onBusiest("service-kill"), undo: d.mend, after: true,
		},
		{
			name: "nova hung", watch: 4 * time.Second, promise: promise{text: "0, slowest 1 s", slow: time.Second},
			fault: d.onBusiest("service-hang"), undo: d.mend, after: true,
		},
		{
			name: "HAProxy killed", watch: 4 * time.Second,
			fault:   d.onHolder("haproxy-kill"),
			promise: promise{text: "in flight, 50 ms", lost: true, gap: 50 * time.Millisecond},
		},
		{
			name: "HAProxy hung", watch: 5 * time.Second,
			fault:   d.onHolder("haproxy-hang"),
			promise: promise{text: "in flight, 500 ms", lost: true, gap: 500 * time.Millisecond},
		},
		{
			name: "agent killed", watch: 5 * time.Second,
			fault:   d.onHolder("agent-kill"),
			promise: promise{text: "in flight, no gap", lost: true, two: 2500 * time.Millisecond},
		},
		{
			name: "power cut", watch: 5 * time.Second,
			fault: func(ctx context.Context) (lab.Fault, error) {
				f, err := d.onHolder("power-off")(ctx)
				lost = f.Node
				return f, err
			},
			undo:    func(ctx context.Context) error { return d.do(ctx, "back", lost) },
			promise: promise{text: "in flight, 100 ms", lost: true, gap: 100 * time.Millisecond},
		},
		{
			name: "its return", watch: 6 * time.Second, promise: nothing,
			fault: func(ctx context.Context) (lab.Fault, error) {
				return d.inject(ctx, lab.Fault{Kind: "back", Node: lost})
			},
			undo: func(ctx context.Context) error { return d.do(ctx, "power-off", lost) },
		},
		{name: "handed over", watch: 4 * time.Second, promise: nothing, fault: d.handOver},
	}
}

// handOver moves the address by hand, as planned work.
func (d *demo) handOver(ctx context.Context) (lab.Fault, error) {
	f := lab.Fault{Kind: "handover", Time: time.Now()}
	var said bytes.Buffer
	c := lab.Command{Node: lab.Holder, Args: []string{"holdfast", "handover"}, Stdout: &said, Stderr: &said}
	code, err := c.Run(ctx, d.lab.Dir)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(said.String()))
	}
	return f, err
}

// breakThings runs the steps under load and prints the table.
func (d *demo) breakThings(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loading := make(chan error, 1)
	var wait sync.WaitGroup
	wait.Go(func() {
		_, err := d.load(d.records, "--rate", fmt.Sprint(rate), "--duration", "1h").Run(ctx, d.lab.Dir)
		loading <- err
	})
	d.say("\n%d requests a second to all %d services through that name, from %d clients,", rate, len(load.TargetsOf(d.spec)), clients)
	d.say("half of them on new connections. Nobody repairs anything.\n")
	d.say("%s", tableHead())
	broken := false
	for _, s := range d.steps() {
		result, err := d.try(ctx, s)
		if err != nil {
			cancel()
			return errors.Join(err, stopped(loading, &wait))
		}
		broken = broken || len(result.broken) > 0
	}
	cancel()
	if err := stopped(loading, &wait); err != nil {
		return err
	}
	d.say("%s", tableFoot)
	if broken {
		return ErrBroken
	}
	d.say("All as promised.")
	return nil
}

// stopped waits for the load's end. That it was stopped is no error.
func stopped(loading <-chan error, wait *sync.WaitGroup) error {
	wait.Wait()
	if err := <-loading; err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("the load: %w", err)
	}
	return nil
}

// try does one step and prints its row; again when the promise was not kept
// while this machine was too busy to tell whose fault that was.
func (d *demo) try(ctx context.Context, s step) (result, error) {
	for again := 0; ; again++ {
		r, err := d.run(ctx, s)
		if err != nil {
			return r, err
		}
		d.say("%s", r)
		more := len(r.broken) > 0 && r.seen.Late >= busy && again < attempts-1
		if s.undo != nil && (more || s.after) {
			err = s.undo(ctx)
		}
		if err != nil || !more {
			return r, err
		}
		d.say("    once more: this machine kept the load generator itself waiting for %s", short(r.seen.Late))
	}
}

// run does one step and measures it.
func (d *demo) run(ctx context.Context, s step) (result, error) {
	if err := d.settle(ctx); err != nil {
		return result{}, err
	}
	begin := time.Now()
	var f lab.Fault
	if s.fault != nil {
		var err error
		if f, err = s.fault(ctx); err != nil {
			return result{}, fmt.Errorf("%s: %w", s.name, err)
		}
		begin = f.Time
	}
	if err := sleep(ctx, s.watch); err != nil {
		return result{}, err
	}
	end := time.Now()
	// A request that was due just now may take as long as it is let wait.
	records, err := d.answered(ctx, begin, end)
	if err != nil {
		return result{}, err
	}
	changes, err := lab.ReadHoldings(d.lab.Dir)
	if err != nil {
		return result{}, err
	}
	vip := d.spec.VIPs[0].Addresses[0].Addr()
	return judge(s, f, load.Summarize(records, begin, end), records, lab.TakeoverOf(changes, vip, begin, end)), nil
}

// answered gives the records of the requests that were due between begin and
// end, when all of them have one.
func (d *demo) answered(ctx context.Context, begin, end time.Time) ([]load.Record, error) {
	want := int(end.Sub(begin).Seconds()*rate) - 2
	for {
		records := d.records.since(begin)
		n := 0
		for _, r := range records {
			if r.Due.Before(end) {
				n++
			}
		}
		if n >= want || time.Since(end) > requestTimeout+time.Second {
			return records, nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// settle waits until nothing has failed for a while, all that should run does,
// and one node has the address; for some time also until this machine is not
// too busy to measure.
func (d *demo) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the lab did not settle within a minute"))
	defer cancel()
	begin := time.Now()
	for {
		calm := time.Since(begin) >= pause
		for _, r := range d.records.since(time.Now().Add(-pause)) {
			calm = calm && r.Failure == "" && (r.Late < busy || time.Since(begin) > patience)
		}
		if calm {
			s, err := d.status(ctx)
			if err != nil {
				return err
			}
			if whole(s) {
				return nil
			}
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// whole reports whether every node that is on has what it should, and each
// address one holder.
func whole(s *lab.Status) bool {
	for _, v := range s.VIPs {
		if len(v.Holders) != 1 {
			return false
		}
	}
	for _, n := range s.Nodes {
		if n.On && n.Agent != nil && (n.Agent.State != "ready" || len(n.HAProxy) == 0 || n.HAProxyHung) {
			return false
		}
	}
	return true
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (d *demo) inject(ctx context.Context, f lab.Fault) (lab.Fault, error) {
	return lab.Inject(ctx, d.lab.Dir, f)
}

func (d *demo) onHolder(kind string) func(context.Context) (lab.Fault, error) {
	return func(ctx context.Context) (lab.Fault, error) {
		return d.inject(ctx, lab.Fault{Kind: kind, Node: lab.Holder})
	}
}

// onBusiest injects a fault at the host of nova that answers most.
func (d *demo) onBusiest(kind string) func(context.Context) (lab.Fault, error) {
	const service = "nova"
	return func(ctx context.Context) (lab.Fault, error) {
		host := d.records.busiest(service, time.Now().Add(-2*time.Second))
		if host == "" {
			return lab.Fault{}, fmt.Errorf("no host of %s answers", service)
		}
		return d.inject(ctx, lab.Fault{Kind: kind, Node: host, Service: service})
	}
}

// do injects a fault of a node, or its end.
func (d *demo) do(ctx context.Context, kind, node string) error {
	_, err := d.inject(ctx, lab.Fault{Kind: kind, Node: node})
	return err
}

// mend brings every node's services back.
func (d *demo) mend(ctx context.Context) error {
	s, err := d.status(ctx)
	if err != nil {
		return err
	}
	for _, n := range s.Nodes {
		for _, service := range n.Services {
			if service.State == "up" {
				continue
			}
			if _, err := d.inject(ctx, lab.Fault{Kind: "service-back", Node: n.Name, Service: service.Name}); err != nil {
				return err
			}
		}
	}
	return nil
}
