package throughput

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/lab"
)

// idleCloud is a cloud whose nova runs on a host of its own with nothing else:
// each connection that this host accepts is a check.
const idleCloud = `cloud: idle
vips:
  - {name: api, addresses: [10.64.20.10/24], hostname: openstack.idle.example.org, interface: eth0, vrrp: {router_id: 51, interval: %s}}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
  - {name: ctl3, address: 10.64.20.15}
services:
  keystone: {}
  glance: {}
  neutron: {}
  nova:
    hosts: [{name: nova1, address: 10.64.20.23}]
`

const idleHost = "nova1"

// IdleOptions says what is measured of a cloud that nobody uses.
type IdleOptions struct {
	Binary    string          // that runs as holdfast; empty: this one
	Intervals []time.Duration // of VRRP, a lab for each
	Length    time.Duration   // of the measurement
	Progress  func(string)    // told what is done; nil: nobody
}

// An IdleReport tells what it costs to be ready. Its JSON form is additive-only.
type IdleReport struct {
	Schema  int           `json:"schema"` // always 1
	Machine Machine       `json:"machine"`
	Length  time.Duration `json:"length_ns"`
	Clouds  []IdleCloud   `json:"clouds"`
}

// An IdleCloud is one idle lab of three controllers and four services.
type IdleCloud struct {
	Interval time.Duration `json:"vrrp_interval_ns"`
	// Checks is how many connections a second one host of a service got from
	// the HAProxys of all controllers together.
	Checks      float64   `json:"checks_per_second"`
	Controllers []IdleUse `json:"controllers"`
}

// IdleUse is what one controller's own processes use.
type IdleUse struct {
	Name    string `json:"name"`
	Holder  bool   `json:"holder"`
	Agent   Use    `json:"agent"`
	HAProxy Use    `json:"haproxy"` // master and worker
}

// Use is processor time, as a share of one processor, and resident memory.
type Use struct {
	CPU    float64 `json:"cpu"`
	Memory int64   `json:"rss_bytes"`
}

// Idle measures what it costs to be ready. It needs what a lab needs.
func Idle(ctx context.Context, opt IdleOptions) (*IdleReport, error) {
	if opt.Length < time.Second {
		return nil, fmt.Errorf("%w: length of %v; at least 1s", ErrOptions, opt.Length)
	}
	report := &IdleReport{Schema: 1, Machine: machine(ctx, "haproxy"), Length: opt.Length}
	for _, interval := range opt.Intervals {
		if opt.Progress != nil {
			opt.Progress(fmt.Sprintf("three controllers at an interval of %v", interval))
		}
		c, err := idleLab(ctx, opt, interval)
		if err != nil {
			return nil, fmt.Errorf("idle at %v: %w", interval, err)
		}
		report.Clouds = append(report.Clouds, c)
	}
	return report, nil
}

// settle is how long a lab is left alone before it counts as idle.
const settle = 5 * time.Second

func idleLab(ctx context.Context, opt IdleOptions, interval time.Duration) (c IdleCloud, err error) {
	l, err := lab.Up(ctx, lab.UpOptions{
		Name: fmt.Sprintf("idle-%d", os.Getpid()), File: "idle.yaml", Data: fmt.Appendf(nil, idleCloud, interval),
		Binary: opt.Binary, Timeout: time.Minute,
	})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := lab.Sleep(ctx, settle); err != nil {
		return c, err
	}
	before, err := look(ctx, l.Dir)
	if err != nil {
		return c, err
	}
	if err := lab.Sleep(ctx, opt.Length); err != nil {
		return c, err
	}
	after, err := look(ctx, l.Dir)
	if err != nil {
		return c, err
	}
	return idleBetween(interval, before, after), nil
}

// A glance is what the processes of a lab had used by a moment.
type glance struct {
	at       time.Time
	accepted int64 // by idleHost
	names    []string
	holder   string
	agent    map[string]used
	haproxy  map[string]used
}

type used struct {
	cpu time.Duration
	rss int64
}

func look(ctx context.Context, d lab.Dir) (*glance, error) {
	s, err := lab.GetStatus(ctx, d)
	if err != nil {
		return nil, err
	}
	g := &glance{at: time.Now(), holder: strings.Join(s.VIPs[0].Holders, " and "), agent: map[string]used{}, haproxy: map[string]used{}}
	for _, n := range s.Nodes {
		if n.Agent == nil {
			continue
		}
		g.names = append(g.names, n.Name)
		if g.agent[n.Name], err = usedBy(ctx, d, n.Name, "*holdfast*agent*--controller*"); err != nil {
			return nil, err
		}
		if g.haproxy[n.Name], err = usedBy(ctx, d, n.Name, "*haproxy*-f*"); err != nil {
			return nil, err
		}
	}
	g.accepted, err = accepted(ctx, d)
	return g, err
}

// ofNode prints statm and each thread's schedstat of the processes in the same
// network namespace whose command line matches a shell pattern, and a line
// with a dot before each process.
const ofNode = `here=$(readlink /proc/self/ns/net)
for p in /proc/[0-9]*; do
  [ "$(readlink $p/ns/net)" = "$here" ] && [ "$p" != /proc/$$ ] || continue
  case "$(tr '\0' ' ' <$p/cmdline)" in %s) echo .; cat $p/statm $p/task/*/schedstat;; esac
done 2>/dev/null
exit 0`

// usedBy sums what the processes of a node use whose command line matches
// pattern. The node is asked, since process ids are its own.
func usedBy(ctx context.Context, d lab.Dir, node, pattern string) (used, error) {
	var sum used
	out, err := lab.Command{Node: node, Args: []string{"sh", "-c", fmt.Sprintf(ofNode, pattern)}}.Output(ctx, d)
	processes := strings.Split(string(out), ".\n")[1:]
	if err == nil && len(processes) == 0 {
		err = errors.New("there is none")
	}
	for _, p := range processes {
		err = errors.Join(err, sum.add(p))
	}
	if err != nil {
		return sum, fmt.Errorf("what %s on %s uses: %w", pattern, node, err)
	}
	return sum, nil
}

// add adds a process: a line of statm (resident pages second), then one of
// schedstat for each thread (nanoseconds first).
func (u *used) add(text string) error {
	first, threads, _ := strings.Cut(text, "\n")
	words := strings.Fields(first)
	if len(words) < 2 {
		return fmt.Errorf("statm is %q", first)
	}
	pages, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return fmt.Errorf("statm: %w", err)
	}
	u.rss += pages * int64(os.Getpagesize())
	for line := range strings.Lines(threads) {
		spent, _, _ := strings.Cut(line, " ")
		n, err := strconv.ParseInt(spent, 10, 64)
		if err != nil {
			return fmt.Errorf("schedstat: %w", err)
		}
		u.cpu += time.Duration(n)
	}
	return nil
}

// accepted reads how many connections idleHost's kernel has accepted (RFC 4022,
// tcpPassiveOpens).
func accepted(ctx context.Context, d lab.Dir) (int64, error) {
	out, err := lab.Command{Node: idleHost, Args: []string{"cat", "/proc/net/snmp"}}.Output(ctx, d)
	if err != nil {
		return 0, fmt.Errorf("read /proc/net/snmp on %s: %w", idleHost, err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] != "Tcp:":
		case names == nil:
			names = words
		default:
			for i, name := range names {
				if name == "PassiveOpens" && i < len(words) {
					return strconv.ParseInt(words[i], 10, 64)
				}
			}
		}
	}
	return 0, fmt.Errorf("/proc/net/snmp on %s has no PassiveOpens", idleHost)
}

func idleBetween(interval time.Duration, before, after *glance) IdleCloud {
	length := after.at.Sub(before.at).Seconds()
	c := IdleCloud{Interval: interval, Checks: float64(after.accepted-before.accepted) / length}
	for _, name := range after.names {
		use := func(in func(*glance) map[string]used) Use {
			return Use{CPU: (in(after)[name].cpu - in(before)[name].cpu).Seconds() / length, Memory: in(after)[name].rss}
		}
		c.Controllers = append(c.Controllers, IdleUse{
			Name: name, Holder: name == after.holder,
			Agent:   use(func(g *glance) map[string]used { return g.agent }),
			HAProxy: use(func(g *glance) map[string]used { return g.haproxy }),
		})
	}
	return c
}

// Text gives the report as a table for people, which is Markdown too.
func (r *IdleReport) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nOver %v with nobody using the cloud: three controllers, four services. Shares are of one processor.\n\n", r.Machine, r.Length)
	b.WriteString("| VRRP interval | controller | agent | agent's memory | HAProxy | HAProxy's memory | checks/s of a host, by all |\n|---|---|---|---|---|---|---|\n")
	for _, c := range r.Clouds {
		for _, u := range c.Controllers {
			name := u.Name
			if u.Holder {
				name += " (holds the VIP)"
			}
			fmt.Fprintf(&b, "| %v | %s | %.2f %% | %.0f MiB | %.2f %% | %.0f MiB | %.1f |\n", c.Interval, name,
				100*u.Agent.CPU, mib(u.Agent.Memory), 100*u.HAProxy.CPU, mib(u.HAProxy.Memory), c.Checks)
		}
	}
	return b.String()
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
