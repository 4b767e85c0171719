package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
)

// The load. Twice as many ways to connect, methods and clients have no divisor
// in common, so that each goes with each.
const (
	service        = "nova" // the one that is loaded, and broken
	clients        = 13
	methods        = 11 // of which one is POST
	requestTimeout = 10 * time.Second
	// lead is how long the load runs before something is broken.
	lead = time.Second
	// slack is for the load generator's start.
	slack = 200 * time.Millisecond
	// recovery is how long the processes that come back are left alone.
	recovery = 250 * time.Millisecond
)

// A drive is one load with what is done while it runs.
type drive struct {
	bed     *testbed
	records *records
	out     io.Writer  // where the records go: to those above, or to who watches a long load
	ended   chan error // the load generator's end
	node    string     // that the last fault was done to
}

// play measures s once.
func (b *bench) play(ctx context.Context, t *testbed, s scenario) (outcome, error) {
	d := &drive{bed: t, records: &records{}, ended: make(chan error, 1)}
	d.out = d.records
	loading, cancel := context.WithCancel(ctx)
	spans, faults, err := b.drive(loading, d, s)
	if err != nil {
		cancel() // the load generator ends with it
	}
	err = errors.Join(err, <-d.ended)
	cancel()
	if err != nil {
		return outcome{}, err
	}
	o, err := b.evaluate(d, s, spans, faults)
	if err != nil {
		return outcome{}, err
	}
	b.quiet.Lock()
	defer b.quiet.Unlock()
	err = errors.Join(t.heal(ctx), sleep(ctx, recovery))
	return o, err
}

// drive loads this machine and does the faults of s. It returns when the last
// request was sent; the answers of some may be long in coming.
func (b *bench) drive(ctx context.Context, d *drive, s scenario) ([]span, []lab.Fault, error) {
	b.quiet.Lock()
	defer b.quiet.Unlock()
	total := lead + slack
	for _, f := range s {
		total += f.watch(d.bed.system)
	}
	go func() { d.ended <- d.load(ctx, b.opt.Rate, total) }()
	begin, err := d.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := sleep(ctx, time.Until(begin.Add(lead))); err != nil {
		return nil, nil, err
	}
	var spans []span
	var faults []lab.Fault
	for _, f := range s {
		fault, err := d.do(ctx, f.Action)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		end := fault.Time.Add(f.watch(d.bed.system))
		spans, faults = append(spans, span{fault.Time, end}), append(faults, fault)
		if err := sleep(ctx, time.Until(end)); err != nil {
			return nil, nil, err
		}
		if len(spans) > 1 { // a fault begins where the time of the one before it ends
			spans[len(spans)-2].to = fault.Time
		}
	}
	return spans, faults, sleep(ctx, time.Until(begin.Add(total)))
}

// load runs the load generator in the client's node until all its requests
// have ended.
func (d *drive) load(ctx context.Context, rate float64, duration time.Duration) error {
	url := ""
	for _, t := range load.TargetsOf(d.bed.spec) {
		if t.Name == service {
			url = t.URL
		}
	}
	args := []string{
		"holdfast", "lab", "load", "--records", "--url", service + "=" + url, "--connections", string(load.Mixed),
		"--rate", strconv.FormatFloat(rate, 'g', -1, 64), "--duration", duration.String(),
		"--timeout", requestTimeout.String(), "--clients", strconv.Itoa(clients), "--body", "200",
		"--method", strings.Repeat("GET,", methods-1) + "POST",
	}
	var said bytes.Buffer
	c := lab.Command{Node: "client", Args: args, Stdout: d.out, Stderr: &said}
	code, err := c.Run(ctx, d.bed.dir())
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(said.String()))
	}
	if err != nil {
		return fmt.Errorf("the load generator: %w", err)
	}
	return nil
}

// begin waits for the first request and gives when it was due.
func (d *drive) begin(ctx context.Context) (time.Time, error) {
	for end := time.Now().Add(requestTimeout); time.Now().Before(end); {
		if due, ok := d.records.first(); ok {
			return due, nil
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, errors.New("no request was answered")
}

// do does a to the lab and gives it with its time and the node it was done to.
func (d *drive) do(ctx context.Context, a Action) (lab.Fault, error) {
	node, err := d.target(ctx, a.On)
	if err != nil {
		return lab.Fault{}, err
	}
	d.node = node
	f := lab.Fault{Kind: a.Kind, Node: node}
	switch {
	case a.Kind == "":
		return d.command(ctx, f, a.Command[d.bed.system])
	case strings.HasPrefix(a.Kind, "service-"):
		f.Service = service
	case a.Kind == "partition":
		f.Node, f.Sets = "", d.cut(node)
	case a.Kind == "heal":
		f.Node = ""
	}
	return lab.Inject(ctx, d.bed.dir(), f)
}

// target gives the node that on means at this moment.
func (d *drive) target(ctx context.Context, on Target) (string, error) {
	if on == OnSame || on == OnWire && d.node != "" {
		return d.node, nil
	}
	s, err := lab.GetStatus(ctx, d.bed.dir())
	if err != nil {
		return "", err
	}
	holders := s.VIPs[0].Holders
	if len(holders) != 1 {
		return "", fmt.Errorf("the address has %d holders before the fault", len(holders))
	}
	host, ok := holders[0], true
	switch on {
	case OnBusiest:
		host, ok = d.records.busiest("")
	case OnOther:
		host, ok = d.records.busiest(holders[0])
	case OnHolder, OnWire, OnSame:
	}
	if !ok {
		return "", errors.New("no request was answered before the fault")
	}
	return host, nil
}

// cut parts node from all others.
func (d *drive) cut(node string) [][]string {
	others := []string{"client"}
	for _, c := range d.bed.spec.Controllers {
		if c.Name != node {
			others = append(others, c.Name)
		}
	}
	return [][]string{{node}, others}
}

// command runs a command on f's node, as planned work.
func (d *drive) command(ctx context.Context, f lab.Fault, args []string) (lab.Fault, error) {
	f.Time, f.Done = time.Now(), strings.Join(args, " ")+" on "+f.Node
	var said bytes.Buffer
	code, err := lab.Command{Node: f.Node, Args: args, Stderr: &said}.Run(ctx, d.bed.dir())
	if err == nil && code != 0 {
		err = fmt.Errorf("%s: exit code %d: %s", f.Done, code, strings.TrimSpace(said.String()))
	}
	return f, err
}

// evaluate makes a Sample of each row from what was seen.
func (b *bench) evaluate(d *drive, s scenario, spans []span, faults []lab.Fault) (outcome, error) {
	o := outcome{system: d.bed.system, rows: s}
	changes, err := lab.ReadHoldings(d.bed.dir())
	if err != nil {
		return o, err
	}
	twice, err := d.postsTwice()
	if err != nil {
		return o, err
	}
	vip := d.bed.spec.VIPs[0].Addresses[0].Addr()
	all := d.records.take()
	for i, f := range faults {
		moved := lab.TakeoverOf(changes, vip, spans[i].from, spans[i].to)
		m := measure(all, spans[i], moved, b.load.spacing(), i == 0)
		if i == 0 {
			m.PostsTwice = twice
		}
		o.runs = append(o.runs, Sample{
			Measure: m, Node: d.node, Done: f.Done,
			Timeline: timeline(all, spans[i], changes, vip, f.Done),
		})
	}
	return o, nil
}

// postsTwice counts the POSTs of this load that arrived at services more than
// once, as the stand-ins wrote down.
func (d *drive) postsTwice() (int, error) {
	arrived, err := lab.ReadArrivals(d.bed.dir())
	if err != nil {
		return 0, err
	}
	n := 0
	for _, r := range d.records.take() {
		if !safe(r.Method) && arrived[r.Key] > 1 {
			n++
		}
	}
	return n, nil
}
