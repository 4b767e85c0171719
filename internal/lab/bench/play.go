package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
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
	bed      *testbed
	records  *records
	connects *records   // of attempts to connect, while work is planned
	out      io.Writer  // where the records go: to those above, or to who watches a long load
	ended    chan error // the load generators' end
	node     string     // that the last fault was done to
}

// play measures s once.
func (b *bench) play(ctx context.Context, t *testbed, s scenario) (outcome, error) {
	d := &drive{bed: t, records: &records{}, connects: &records{}, ended: make(chan error, 1)}
	d.out = d.records
	loading, cancel := context.WithCancel(ctx)
	deeds, err := b.drive(loading, d, s)
	if err != nil {
		cancel() // the load generator ends with it
	}
	err = errors.Join(err, <-d.ended)
	cancel()
	if err != nil {
		return outcome{}, err
	}
	o, err := b.evaluate(d, s, deeds)
	if err != nil {
		return outcome{}, err
	}
	b.quiet.Lock()
	defer b.quiet.Unlock()
	err = errors.Join(t.heal(ctx), d.again(ctx, deeds), sleep(ctx, recovery))
	return o, err
}

// A deed is what was done, and the time in which clients were watched.
type deed struct {
	span
	fault  lab.Fault
	worked worked
}

// drive loads this machine and does the faults of s. It returns when the last
// request was sent; the answers of some may be long in coming.
func (b *bench) drive(ctx context.Context, d *drive, s scenario) ([]deed, error) {
	b.quiet.Lock()
	defer b.quiet.Unlock()
	before := s.lead()
	total := before + slack
	for _, f := range s {
		total += f.watch(d.bed.system)
	}
	go func() {
		if s.planned() {
			d.ended <- d.plannedLoad(ctx, total)
		} else {
			d.ended <- d.load(ctx, b.opt.Rate, total)
		}
	}()
	begin, err := d.begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, time.Until(begin.Add(before))); err != nil {
		return nil, err
	}
	var deeds []deed
	for _, f := range s {
		one := deed{}
		if f.Promise.Planned {
			one.fault, one.worked, err = d.work(ctx, f)
		} else {
			one.fault, err = d.do(ctx, f.Action)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		one.span = span{one.fault.Time, one.fault.Time.Add(f.watch(d.bed.system))}
		if err := sleep(ctx, time.Until(one.to)); err != nil {
			return nil, err
		}
		if err := d.inspect(ctx, f, &one.worked); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if n := len(deeds); n > 0 { // a fault begins where the time of the one before it ends
			deeds[n-1].to = one.from
		}
		deeds = append(deeds, one)
	}
	return deeds, sleep(ctx, time.Until(begin.Add(total)))
}

// lead gives how long the load of s runs before anything is done.
func (s scenario) lead() time.Duration {
	if s.planned() {
		return plannedLead
	}
	return lead
}

// load runs the load generator in the client's node until all its requests
// have ended.
func (d *drive) load(ctx context.Context, rate float64, duration time.Duration) error {
	return d.generate(ctx, d.out, "load", d.loadFlags(rate, duration, clients, load.Mixed)...)
}

// plannedLoad is the same for the load of planned work, with its downloads and
// with attempts to connect beside.
func (d *drive) plannedLoad(ctx context.Context, duration time.Duration) error {
	at := netip.AddrPortFrom(d.bed.spec.VIPs[0].Addresses[0].Addr(), d.bed.port())
	many, every := strconv.Itoa(plannedClients), plannedConnects
	if d.bed.tls {
		every = secureConnects
	}
	connects := make(chan error, 1)
	go func() {
		connects <- d.generate(ctx, d.connects, "connects", "--to", at.String(), "--every", every.String(),
			"--duration", duration.String(), "--patience", patience.String(), "--clients", many)
	}()
	flags := append(d.loadFlags(plannedRate, duration, plannedClients, load.KeepAlive),
		"--new-rate", strconv.Itoa(plannedNew), "--downloads", strconv.Itoa(downloads),
		"--download-time", (plannedLead + downloadTail).String(), "--download-bytes", strconv.Itoa(downloadBytes),
		"--download-spread", downloadSpread.String())
	err := d.generate(ctx, d.out, "load", flags...)
	return errors.Join(err, <-connects)
}

func (d *drive) loadFlags(rate float64, duration time.Duration, clients int, connections load.Connections) []string {
	url := ""
	for _, t := range load.TargetsOf(d.bed.spec) {
		if t.Name == service {
			url = t.URL
		}
	}
	return []string{
		"--records", "--url", service + "=" + url, "--connections", string(connections),
		"--rate", strconv.FormatFloat(rate, 'g', -1, 64), "--duration", duration.String(),
		"--timeout", requestTimeout.String(), "--clients", strconv.Itoa(clients), "--body", "200",
		"--method", strings.Repeat("GET,", methods-1) + "POST",
	}
}

// generate runs a load generator in the client's node, and passes its records on.
func (d *drive) generate(ctx context.Context, out io.Writer, command string, flags ...string) error {
	var said bytes.Buffer
	args := append([]string{"holdfast", "lab", command}, flags...)
	c := lab.Command{Node: "client", Args: args, Stdout: out, Stderr: &said}
	code, err := c.Run(ctx, d.bed.dir())
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(said.String()))
	}
	if err != nil {
		return fmt.Errorf("the load generator (lab %s): %w", command, err)
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

// evaluate makes a Sample of each row from what was seen.
func (b *bench) evaluate(d *drive, s scenario, deeds []deed) (outcome, error) {
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
	requests := ofKind(all, load.Request)
	for i, one := range deeds {
		moved := lab.TakeoverOf(changes, vip, one.from, one.to)
		m := measure(requests, one.span, moved, b.load.spacing(s), i == 0)
		if i == 0 {
			m.PostsTwice = twice
		}
		sample := Sample{Measure: m, Node: d.node, Done: one.fault.Done}
		sample.Timeline = timeline(requests, one.span, changes, vip, one.fault.Done)
		if s.planned() {
			sample.addPlanned(s[i], one, all, d.connects.take())
		}
		o.runs = append(o.runs, sample)
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
