package tokens

import (
	"bytes"
	"context"
	_ "embed" // for the spec
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/bench"
	"holdfast/internal/spec"
)

//go:embed spec.yaml
var cloud []byte

const (
	service = "keystone"
	// patience is how long a client waits for its token: longer than any
	// proxy does, so that it is their error that is seen.
	patience = 90 * time.Second
	// upTimeout is for packages' first start and a database's schema.
	upTimeout = 3 * time.Minute
	// busyClients are as many as the three Keystones have threads.
	busyClients  = 12
	warmUp       = 3 * time.Second
	warmPatience = 30 * time.Second
	// settleTimeout is how long a system may take to be whole, and settled for how
	// long it has to be: keepalived of kolla's settings needs as long to move.
	settleTimeout = 60 * time.Second
	settled       = 4 * time.Second
	settlePoll    = 250 * time.Millisecond
	// quiet is how long no host has finished a request when all has ended.
	quiet = time.Second
)

// A bed is the lab, and which system is on its controllers.
type bed struct {
	system  bench.System
	opt     Options
	spec    *spec.Spec
	lab     *lab.Lab
	seen    *logs
	problem func(string)
}

// newBed builds the lab with system on its controllers.
func newBed(ctx context.Context, system bench.System, opt Options, problem func(string)) (*bed, error) {
	parsed, findings := spec.Parse("keystone.yaml", cloud)
	if parsed == nil {
		return nil, fmt.Errorf("the benchmark's own spec is bad: %v", findings)
	}
	l, err := lab.Up(ctx, lab.UpOptions{
		Name: fmt.Sprintf("keystone-%d", os.Getpid()), File: "keystone.yaml", Data: cloud,
		Binary: opt.Binary, Peer: system.Peer(), OpenStack: []string{service}, Timeout: upTimeout,
	})
	if err != nil {
		return nil, fmt.Errorf("build the lab with %s: %w", system, err)
	}
	b := &bed{system: system, opt: opt, spec: parsed, lab: l, seen: newLogs()}
	b.problem = func(text string) {
		text = fmt.Sprintf("%s: %s", b.system, text)
		problem(text)
		opt.Progress(text)
	}
	for _, h := range b.hosts() {
		b.seen.add(l.Dir.ServiceLog(h.Name, service))
	}
	return b, nil
}

// warmBed builds the lab and warms it up. When that fails it is built once more:
// see warm.
func warmBed(ctx context.Context, system bench.System, opt Options, problem func(string)) (*bed, error) {
	b, err := tryBed(ctx, system, opt, problem)
	if err == nil || ctx.Err() != nil {
		return b, err
	}
	text := fmt.Sprintf("%v; it is built anew", err)
	problem(text)
	opt.Progress(text)
	return tryBed(ctx, system, opt, problem)
}

func tryBed(ctx context.Context, system bench.System, opt Options, problem func(string)) (*bed, error) {
	b, err := newBed(ctx, system, opt, problem)
	if err != nil {
		return nil, err
	}
	if err = b.warm(ctx); err == nil {
		err = b.greet(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("warm up the lab: %w", err), b.lab.Close())
	}
	return b, nil
}

// warm has every host issue tokens: to one client each, and only then to many.
// oslo.log gives Python's logging a lock of eventlet's, and threads that wait for
// one can wait for ever (eventlet's issue 432). It is taken when a logger is used
// for the first time: a Keystone whose first clients come together may hang.
func (b *bed) warm(ctx context.Context) error {
	for _, clients := range []int{len(b.hosts()), busyClients} {
		all, err := b.direct(ctx, warmUp, clients, "--patience", warmPatience.String())
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Failure != "" {
				return fmt.Errorf("%d clients, one at %s: %s failed: %s", clients, s.Client, s.At, s.Error)
			}
		}
	}
	return nil
}

// hosts gives those of Keystone.
func (b *bed) hosts() []spec.Host { return b.spec.Services[0].Hosts }

// play puts system on the controllers, whole, if another one is there.
func (b *bed) play(ctx context.Context, system bench.System) error {
	if system != b.system {
		if err := lab.Switch(ctx, b.lab.Dir, system.Peer()); err != nil {
			return fmt.Errorf("put %s in the place of %s: %w", system, b.system, err)
		}
		b.system = system
		if err := b.greet(ctx); err != nil {
			return err
		}
	}
	return b.settle(ctx)
}

// greet has the system on the controllers serve some clients: one that was just
// started knows nothing of its hosts.
func (b *bed) greet(ctx context.Context) error {
	few := strconv.Itoa(len(b.hosts()))
	_, err := b.load(ctx, warmUp, "--loops", few, "--clients", few, "--url", b.url())
	return err
}

// url gives that of Keystone by the VIP's name.
func (b *bed) url() string {
	return fmt.Sprintf("http://%s:%d", b.spec.VIPs[0].Hostname, b.spec.Services[0].Port)
}

// capacity gives how many tokens a second the hosts can issue, under the checks of
// system.
func (b *bed) capacity(ctx context.Context, system bench.System) (float64, error) {
	if err := b.play(ctx, system); err != nil {
		return 0, err
	}
	all, err := b.direct(ctx, b.opt.Length, busyClients)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	first := slices.MinFunc(all, func(a, b Session) int { return a.Due.Compare(b.Due) }).Due
	issued := 0
	for _, s := range all {
		if s.Failure != "" {
			b.problem(fmt.Sprintf("without a proxy, from %s: %s failed: %s", s.Client, s.At, s.Error))
		} else if s.Due.Add(s.Took).Sub(first) <= b.opt.Length {
			issued++
		}
	}
	return float64(issued) / b.opt.Length.Seconds(), nil
}

// direct has clients ask the hosts in a loop, without a proxy, each always the
// same one.
func (b *bed) direct(ctx context.Context, d time.Duration, clients int, args ...string) ([]Session, error) {
	args = append(args, "--loops", strconv.Itoa(clients), "--clients", strconv.Itoa(clients))
	for _, h := range b.hosts() {
		args = append(args, "--url", fmt.Sprintf("http://%s:%d", h.Name, b.spec.Services[0].Port))
	}
	return b.load(ctx, d, args...)
}

// measure measures p through system.
func (b *bed) measure(ctx context.Context, system bench.System, p Point, capacity float64) (Measure, error) {
	if err := b.play(ctx, system); err != nil {
		return Measure{}, err
	}
	args := []string{"--url", b.url()}
	rate := 0.0
	switch {
	case p.Loops > 0:
		args = append(args, "--loops", strconv.Itoa(p.Loops), "--clients", strconv.Itoa(p.Loops))
	default:
		rate = p.Share * capacity
		clients := b.opt.Clients
		if p.One {
			clients = 1
		}
		args = append(args, "--rate", strconv.FormatFloat(rate, 'f', 3, 64), "--clients", strconv.Itoa(clients))
	}
	before, err := b.counts(ctx)
	if err != nil {
		return Measure{}, err
	}
	if _, err := b.seen.read(); err != nil {
		return Measure{}, err
	}
	told := b.agents()
	told.read()
	began := time.Now()
	all, err := b.load(ctx, b.opt.Length, args...)
	if err != nil {
		return Measure{}, err
	}
	arrived, took, err := b.arrived(ctx, began)
	if err != nil {
		return Measure{}, err
	}
	after, err := b.counts(ctx)
	if err != nil {
		return Measure{}, err
	}
	m := sum(all, b.opt.Length)
	m.Rate = rate
	m.Seen = arrived.requests
	m.Checks = float64(arrived.checks) / took.Seconds() / float64(len(b.hosts()))
	m.addCounts(before, after)
	if m.Down > 0 && system == bench.Holdfast {
		for _, why := range told.read() {
			b.problem(fmt.Sprintf("%s: %s", p, why))
		}
	}
	return m, nil
}

// agents gives what holdfast's agents have to say of hosts.
func (b *bed) agents() *verdicts {
	v := &verdicts{offsets: map[string]int64{}}
	for _, c := range b.spec.Controllers {
		v.offsets[b.lab.Dir.AgentLog(c.Name)] = 0
	}
	return v
}

// arrived gives what the hosts have written down when they have ended whatever
// they were asked for, and how long that took.
func (b *bed) arrived(ctx context.Context, began time.Time) (arrivals, time.Duration, error) {
	var sum arrivals
	for last := time.Now(); time.Since(last) < quiet; {
		more, err := b.seen.read()
		if err != nil {
			return sum, 0, err
		}
		if more.requests > 0 {
			last = time.Now()
		}
		sum.requests += more.requests
		sum.checks += more.checks
		if err := lab.Sleep(ctx, settlePoll); err != nil {
			return sum, 0, err
		}
	}
	return sum, time.Since(began), nil
}

// settle waits until the address has had one holder and every HAProxy every host
// for a while: what was just started may move the address yet. That it does not
// come to that is told, and measured all the same.
func (b *bed) settle(ctx context.Context) error {
	end := time.Now().Add(settleTimeout)
	for whole := time.Now(); time.Since(whole) < settled; {
		why, err := b.unsettled(ctx)
		if err != nil || why != "" {
			whole = time.Now()
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().Before(end):
		case err != nil:
			return err
		case why != "":
			b.problem(fmt.Sprintf("not whole %v after it was started: %s", settleTimeout, why))
			return nil
		}
		if err := lab.Sleep(ctx, settlePoll); err != nil {
			return err
		}
	}
	return nil
}

// unsettled says why the lab is not whole; empty when it is.
func (b *bed) unsettled(ctx context.Context) (string, error) {
	s, err := lab.GetStatus(ctx, b.lab.Dir)
	if err != nil {
		return "", err
	}
	if n := len(s.VIPs[0].Holders); n != 1 {
		return fmt.Sprintf("the address has %d holders", n), nil
	}
	now, err := b.counts(ctx)
	return strings.Join(now.out, ", "), err
}

// load runs a load in the client's node and gives its sessions.
func (b *bed) load(ctx context.Context, d time.Duration, args ...string) ([]Session, error) {
	args = append([]string{"holdfast", "lab", "bench", "keystone", "load", "--duration", d.String(), "--patience", patience.String()}, args...)
	out, err := lab.Command{Node: "client", Args: args}.Output(ctx, b.lab.Dir)
	if err != nil {
		return nil, fmt.Errorf("the load generator: %w", err)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var all []Session
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var one Session
		if err := dec.Decode(&one); err != nil {
			return nil, fmt.Errorf("a line of the load generator: %w", err)
		}
		all = append(all, one)
	}
	return all, nil
}
