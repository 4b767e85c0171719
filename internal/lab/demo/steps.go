package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/bench"
	"holdfast/internal/lab/load"
)

// A step is one thing that is done while clients go on asking.
type step struct {
	name    string
	watch   time.Duration                            // how long clients are watched after it
	fault   func(context.Context) (lab.Fault, error) // nil: none
	undo    func(context.Context) error              // so that it can be done again; nil: nothing
	after   bool                                     // undo it also before the next step
	promise bench.Promise
}

// steps gives the faults in their order. What is done, and what it may cost, is
// what the benchmark has of it.
func (d *demo) steps() []step {
	rows := map[string]bench.Fault{}
	for _, f := range bench.Faults() {
		rows[f.ID] = f
	}
	breaks := func(name, row string, watch time.Duration) step {
		return step{name: name, watch: watch, fault: d.doing(rows[row].Action), promise: rows[row].Promise}
	}
	nothing := rows["host-back"].Promise
	killed, hung := breaks("nova killed", "service-kill", 4*time.Second), breaks("nova hung", "service-hang", 4*time.Second)
	killed.undo, killed.after = d.mend, true
	hung.undo, hung.after = d.mend, true
	cut, back := breaks("power cut", "holder-lost", 5*time.Second), breaks("its return", "host-back", 6*time.Second)
	cut.undo = func(ctx context.Context) error { return d.do(ctx, "back", d.node) }
	back.undo = func(ctx context.Context) error { return d.do(ctx, "power-off", d.node) }
	return []step{
		{name: "nothing", watch: 3 * time.Second, promise: nothing},
		killed,
		hung,
		breaks("HAProxy killed", "haproxy-kill", 4*time.Second),
		breaks("HAProxy hung", "haproxy-hang", 5*time.Second),
		breaks("agent killed", "agent-kill", 5*time.Second),
		cut,
		back,
		{name: "handed over", watch: 4 * time.Second, promise: nothing, fault: d.handOver},
	}
}

// doing does a to the lab.
func (d *demo) doing(a bench.Action) func(context.Context) (lab.Fault, error) {
	return func(ctx context.Context) (lab.Fault, error) {
		f := lab.Fault{Kind: a.Kind, Node: lab.Holder}
		switch a.On {
		case bench.OnBusiest:
			if f.Node = d.busiest(); f.Node == "" {
				return f, fmt.Errorf("no host of %s answers", service)
			}
			f.Service = service
		case bench.OnSame:
			f.Node = d.node
		default:
		}
		f, err := lab.Inject(ctx, d.lab.Dir, f)
		d.node = f.Node
		return f, err
	}
}

// busiest gives the host of the service that answers most; empty when none does.
func (d *demo) busiest() string {
	records := d.records.Since(time.Now().Add(-2 * time.Second))
	return load.Busiest(slices.DeleteFunc(records, func(r load.Record) bool { return r.Target != service }), "")
}

// handOver moves the address by hand, as planned work.
func (d *demo) handOver(ctx context.Context) (lab.Fault, error) {
	f := lab.Fault{Kind: "handover", Time: time.Now()}
	return f, lab.Command{Node: lab.Holder, Args: []string{"holdfast", "handover"}}.Do(ctx, d.lab.Dir)
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
	if err := lab.Sleep(ctx, s.watch); err != nil {
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
		records := d.records.Since(begin)
		n := 0
		for _, r := range records {
			if r.Due.Before(end) {
				n++
			}
		}
		if n >= want || time.Since(end) > requestTimeout+time.Second {
			return records, nil
		}
		if err := lab.Sleep(ctx, 50*time.Millisecond); err != nil {
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
		for _, r := range d.records.Since(time.Now().Add(-pause)) {
			calm = calm && r.Failure == "" && (r.Late < busy || time.Since(begin) > patience)
		}
		if calm {
			s, err := lab.GetStatus(ctx, d.lab.Dir)
			if err != nil {
				return err
			}
			if s.Sick() == nil {
				return nil
			}
		}
		if err := lab.Sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// do injects a fault of a node, or its end.
func (d *demo) do(ctx context.Context, kind, node string) error {
	_, err := lab.Inject(ctx, d.lab.Dir, lab.Fault{Kind: kind, Node: node})
	return err
}

// mend brings every node's services back.
func (d *demo) mend(ctx context.Context) error {
	s, err := lab.GetStatus(ctx, d.lab.Dir)
	if err != nil {
		return err
	}
	for _, n := range s.Nodes {
		for _, service := range n.Services {
			if service.State == "up" {
				continue
			}
			if _, err := lab.Inject(ctx, d.lab.Dir, lab.Fault{Kind: "service-back", Node: n.Name, Service: service.Name}); err != nil {
				return err
			}
		}
	}
	return nil
}
