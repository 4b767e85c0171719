package bench

import (
	"cmp"
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
	records  *load.Records
	connects *load.Records // of attempts to connect, while work is planned
	out      io.Writer     // where the records go: to those above, or to who watches a long load
	ended    chan error    // the load generators' end
	node     string        // that the last fault was done to
	before   sight         // of the hosts, where the service is busy
	after    sight
}

// wait waits until all requests of the load have ended.
func (d *drive) wait() error {
	err := <-d.ended
	d.ended <- err // for who asks again
	return err
}

// play measures s once.
func (b *bench) play(ctx context.Context, t *testbed, s scenario) (outcome, error) {
	d := &drive{bed: t, records: &load.Records{}, connects: &load.Records{}, ended: make(chan error, 1)}
	d.out = d.records
	loading, cancel := context.WithCancel(ctx)
	deeds, err := b.drive(loading, d, s)
	if err != nil {
		cancel() // the load generator ends with it
	}
	err = errors.Join(err, d.wait())
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
	err = errors.Join(t.heal(ctx), d.again(ctx, deeds), lab.Sleep(ctx, recovery))
	return o, err
}

// A deed is what was done, and the time in which clients were watched.
type deed struct {
	span
	fault  lab.Fault
	worked worked
}

// drive loads this machine and does the faults of s. It returns when the last
// request was sent; the answers of some may be long in coming. Those of a queue it
// waits for, as they keep the machine busy.
func (b *bench) drive(ctx context.Context, d *drive, s scenario) ([]deed, error) {
	b.quiet.Lock()
	defer b.quiet.Unlock()
	if err := d.prepare(ctx, s); err != nil {
		d.ended <- nil // no load was begun
		return nil, err
	}
	before := s.lead()
	total := before + slack
	for _, f := range s {
		total += f.watch(d.bed.system)
	}
	go func() { d.ended <- d.loadOf(ctx, s, b.opt.Rate, total) }()
	begin, err := d.begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := lab.Sleep(ctx, time.Until(begin.Add(before))); err != nil {
		return nil, err
	}
	deeds, err := d.faults(ctx, s, begin)
	if err == nil {
		err = lab.Sleep(ctx, time.Until(begin.Add(total)))
	}
	if err == nil && s.phased() {
		err = d.wait()
	}
	if err == nil && s.counted() {
		d.after.downs, err = d.bed.downs(ctx)
	}
	return deeds, err
}

// counted reports whether hosts are looked at before and after s.
func (s scenario) counted() bool {
	group := s[0].Group()
	return group == GroupBusy || group == GroupSweep
}

// prepare makes the lab as s wants it before its load.
func (d *drive) prepare(ctx context.Context, s scenario) error {
	for _, a := range s[0].Before {
		if _, err := d.do(ctx, a); err != nil {
			return fmt.Errorf("before %s: %w", s[0].Name, err)
		}
	}
	if !s.counted() {
		return nil
	}
	if len(s[0].Before) > 0 { // health checks learn of it
		if err := lab.Sleep(ctx, recovery); err != nil {
			return err
		}
	}
	var err error
	d.before, err = d.look(ctx)
	return err
}

// faults does those of s, and watches clients after each. With phases, the load
// is all that is done.
func (d *drive) faults(ctx context.Context, s scenario, begin time.Time) ([]deed, error) {
	var deeds []deed
	for _, f := range s {
		one := deed{}
		var err error
		switch {
		case f.Promise.Planned:
			one.fault, one.worked, err = d.work(ctx, f)
		case s.phased():
			one.fault = lab.Fault{Kind: f.ID, Time: begin, Done: f.Load.String()}
		default:
			one.fault, err = d.do(ctx, f.Action)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		one.span = span{one.fault.Time, one.fault.Time.Add(f.watch(d.bed.system))}
		if err := lab.Sleep(ctx, time.Until(one.to)); err != nil {
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
	return deeds, nil
}

// lead gives how long the load of s runs before anything is done.
func (s scenario) lead() time.Duration {
	switch {
	case s.planned():
		return plannedLead
	case s.phased():
		return 0
	case s[0].Load != nil && s[0].Load.Lead > 0:
		return s[0].Load.Lead
	}
	return lead
}

// loadOf runs the load of s until all its requests have ended.
func (d *drive) loadOf(ctx context.Context, s scenario, rate float64, duration time.Duration) error {
	own := s[0].Load
	switch {
	case s.planned():
		return d.plannedLoad(ctx, duration)
	case own == nil:
		return d.load(ctx, rate, duration)
	}
	f := loadFlags{rate: cmp.Or(own.Rate, rate), clients: clients, timeout: own.Timeout, gets: own.Gets}
	if own.Uploads > 0 {
		f.clients = uploadClients
	}
	flags := d.loadFlags(f, duration)
	for _, p := range own.Phases {
		flags = append(flags, "--phase", fmt.Sprintf("%gx%v", p.Rate, p.Duration))
	}
	if own.Uploads > 0 {
		flags = append(flags, "--uploads", strconv.Itoa(own.Uploads), "--upload-time", uploadTime.String(),
			"--upload-bytes", strconv.Itoa(uploadBytes), "--upload-spread", uploadSpread.String())
	}
	return d.generate(ctx, d.out, "load", flags...)
}

// load runs the load generator in the client's node until all its requests
// have ended.
func (d *drive) load(ctx context.Context, rate float64, duration time.Duration) error {
	return d.generate(ctx, d.out, "load", d.loadFlags(loadFlags{rate: rate, clients: clients}, duration)...)
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
	flags := append(d.loadFlags(loadFlags{rate: plannedRate, clients: plannedClients, connections: load.KeepAlive}, duration),
		"--new-rate", strconv.Itoa(plannedNew), "--downloads", strconv.Itoa(downloads),
		"--download-time", (plannedLead + downloadTail).String(), "--download-bytes", strconv.Itoa(downloadBytes),
		"--download-spread", downloadSpread.String())
	err := d.generate(ctx, d.out, "load", flags...)
	return errors.Join(err, <-connects)
}

// loadFlags is what is not the same in every load.
type loadFlags struct {
	rate        float64
	clients     int
	connections load.Connections // Mixed when empty
	timeout     time.Duration    // requestTimeout when 0
	gets        bool             // GET only
}

func (d *drive) loadFlags(f loadFlags, duration time.Duration) []string {
	url, method := "", strings.Repeat("GET,", methods-1)+"POST"
	if f.gets {
		method = "GET"
	}
	for _, t := range load.TargetsOf(d.bed.spec) {
		if t.Name == service {
			url = t.URL
		}
	}
	return []string{
		"--records", "--url", service + "=" + url, "--connections", string(cmp.Or(f.connections, load.Mixed)),
		"--rate", strconv.FormatFloat(f.rate, 'g', -1, 64), "--duration", duration.String(),
		"--timeout", cmp.Or(f.timeout, requestTimeout).String(), "--clients", strconv.Itoa(f.clients), "--body", "200",
		"--method", method,
	}
}

// generate runs a load generator in the client's node, and passes its records on.
func (d *drive) generate(ctx context.Context, out io.Writer, command string, flags ...string) error {
	c := lab.Command{Node: "client", Args: append([]string{"holdfast", "lab", command}, flags...), Stdout: out}
	if err := c.Do(ctx, d.bed.dir()); err != nil {
		return fmt.Errorf("the load generator (lab %s): %w", command, err)
	}
	return nil
}

// begin waits for the first request and gives when it was due.
func (d *drive) begin(ctx context.Context) (time.Time, error) {
	for end := time.Now().Add(requestTimeout); time.Now().Before(end); {
		if due, ok := d.records.First(); ok {
			return due, nil
		}
		if err := lab.Sleep(ctx, 5*time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, errors.New("no request was answered")
}

// do does a to the lab and gives it with its time and the node it was done to.
func (d *drive) do(ctx context.Context, a Action) (lab.Fault, error) {
	switch a.On {
	case OnEveryHost:
		return lab.Inject(ctx, d.bed.dir(), a.fault(""))
	case OnAll:
		return d.doEverywhere(ctx, a)
	default:
	}
	node, err := d.target(ctx, a.On)
	if err != nil {
		return lab.Fault{}, err
	}
	d.node = node
	f := a.fault(node)
	switch a.Kind {
	case "partition":
		f.Node, f.Sets = "", d.cut(node)
	case "heal":
		f.Node = ""
	}
	return lab.Inject(ctx, d.bed.dir(), f)
}

// doEverywhere does a to each controller, and gives it with the time of the first.
func (d *drive) doEverywhere(ctx context.Context, a Action) (lab.Fault, error) {
	var first lab.Fault
	for i, c := range d.bed.spec.Controllers {
		f, err := lab.Inject(ctx, d.bed.dir(), a.fault(c.Name))
		if err != nil {
			return f, err
		}
		if i == 0 {
			first, first.Done = f, strings.Replace(f.Done, " on "+c.Name, " on each", 1)
		}
	}
	return first, nil
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
	host := holders[0]
	switch on {
	case OnBusiest:
		host = load.Busiest(d.records.All(), "")
	case OnOther:
		host = load.Busiest(d.records.All(), host)
	case OnHolder, OnWire, OnSame, OnAll, OnEveryHost:
	}
	if host == "" {
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
	all := d.records.All()
	requests := ofKind(all, load.Request)
	if s.counted() {
		if d.after.seen, err = lab.ReadCounts(d.bed.dir(), service); err != nil {
			return o, err
		}
	}
	if s.phased() { // from the very first request on
		deeds[0].from, _ = d.records.First()
	}
	for i, one := range deeds {
		moved := lab.TakeoverOf(changes, vip, one.from, one.to)
		m := measure(requests, one.span, moved, b.load.spacing(s), i == 0)
		if i == 0 {
			m.PostsTwice = twice
		}
		if s.counted() {
			m.Hosts = hosts(one.span, all, d.before, d.after)
		}
		sample := Sample{Measure: m, Node: d.node, Done: one.fault.Done}
		if s[0].Group() != GroupSweep { // of which nothing happens
			sample.Timeline = timeline(requests, one.span, changes, vip, one.fault.Done)
		}
		if s.planned() {
			sample.addPlanned(s[i], one, all, d.connects.All())
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
	for _, r := range d.records.All() {
		if !safe(r.Method) && arrived[r.Key] > 1 {
			n++
		}
	}
	return n, nil
}
