package throughput

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"holdfast/internal/lab/load"
	"holdfast/internal/lab/peer"
	"holdfast/internal/spec"
)

// Bounds that the addresses of a rig allow: 127.A.B.0/24 has VIPs from 1,
// services from 50, clients from 100.
const (
	maxConnections = 100
	maxVariants    = 20
	services       = 3
	// latencyTimeout is of a request at a fixed rate.
	latencyTimeout = 10 * time.Second
	readyTimeout   = 20 * time.Second
)

// A rig is the services, the HAProxys in front of them, and what takes their logs.
type rig struct {
	opt     Options
	haproxy string
	dir     string
	net     [2]byte
	spec    *spec.Spec
	names   []System
	proxies map[System]*proxy
	origins []*origin
	udp     net.PacketConn
	unix    net.PacketConn
	logging sync.WaitGroup
}

// A proxy is one HAProxy.
type proxy struct {
	at   netip.AddrPort
	cmd  *exec.Cmd
	said *bytes.Buffer
}

func newRig(ctx context.Context, opt Options) (*rig, error) {
	r := &rig{opt: opt, net: [2]byte{byte(1 + rand.IntN(250)), byte(1 + rand.IntN(250))}, proxies: map[System]*proxy{}}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *rig) addr(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, r.net[0], r.net[1], byte(n)})
}

func (r *rig) start(ctx context.Context) error {
	var err error
	if r.haproxy, err = exec.LookPath(cmp.Or(r.opt.HAProxy, "haproxy")); err != nil {
		return fmt.Errorf("find HAProxy: %w; apt-get install haproxy", err)
	}
	if r.dir, err = os.MkdirTemp("", "holdfast-throughput-"); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	if err := r.takeLogs(ctx); err != nil {
		return err
	}
	if err := r.makeSpec(ctx); err != nil {
		return err
	}
	return r.startProxies(ctx)
}

// takeLogs reads what the HAProxys log, as a syslog would.
func (r *rig) takeLogs(ctx context.Context) error {
	var lc net.ListenConfig
	var err error
	if r.udp, err = lc.ListenPacket(ctx, "udp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listen for logs: %w", err)
	}
	if r.unix, err = lc.ListenPacket(ctx, "unixgram", filepath.Join(r.dir, "log")); err != nil {
		return fmt.Errorf("listen for logs: %w", err)
	}
	for _, c := range []net.PacketConn{r.udp, r.unix} {
		r.logging.Go(func() {
			line := make([]byte, 16<<10)
			for {
				if _, _, err := c.ReadFrom(line); errors.Is(err, net.ErrClosed) {
					return
				}
			}
		})
	}
	return nil
}

// makeSpec starts the services and describes them.
func (r *rig) makeSpec(ctx context.Context) error {
	port := 20000 + rand.IntN(10000)
	svc := spec.Service{
		Name: "api", Type: "api", Port: port, Affinity: spec.AffinitySource,
		Check: spec.Check{Layer: 7, Method: "GET", Path: "/healthcheck", Expect: []spec.CodeRange{{From: 200, To: 200}}},
	}
	r.spec = &spec.Spec{Cloud: "throughput", Agent: spec.Agent{CheckPort: 9471}}
	for i := range services {
		at := r.addr(50 + i)
		o, err := newOrigin(ctx, netip.AddrPortFrom(at, uint16(port)))
		if err != nil {
			return err
		}
		r.origins = append(r.origins, o)
		name := fmt.Sprintf("ctl%d", i+1)
		svc.Hosts = append(svc.Hosts, spec.Host{Name: name, Address: at})
		r.spec.Controllers = append(r.spec.Controllers, spec.Controller{Name: name, Address: at})
	}
	r.spec.Services = []spec.Service{svc}
	return nil
}

// startProxies starts every HAProxy on an address of its own.
func (r *rig) startProxies(ctx context.Context) error {
	udp, _ := r.udp.LocalAddr().(*net.UDPAddr)
	systems := []System{Holdfast, Kolla}
	variants := map[System]Variant{}
	for _, v := range r.opt.Variants {
		systems = append(systems, System(v.Name))
		variants[System(v.Name)] = v
	}
	r.names = append(systems, Direct)
	for i, s := range systems {
		at := netip.AddrPortFrom(r.addr(1+i), uint16(r.spec.Services[0].Port))
		dir := filepath.Join(r.dir, string(s))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		// The agent keeps the servers' states here, and the VIPs to close; none are known.
		for name, text := range map[string]string{"haproxy.state": "1\n", "closing.list": ""} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				return fmt.Errorf("write a file of HAProxy's: %w", err)
			}
		}
		cfg := kolla(r.spec, at.String(), udp.Port, dir)
		if s != Kolla {
			own := *r.spec
			own.VIPs = []spec.VIP{{Name: "api", Addresses: []netip.Prefix{netip.PrefixFrom(at.Addr(), 24)}, Hostname: "api.example.org"}}
			var err error
			if cfg, err = variants[s].apply(r.opt.Render(&own, dir, peer.MaxConn)); err != nil {
				return err
			}
			cfg = bytes.Replace(cfg, []byte("log /dev/log "), []byte("log "+filepath.Join(r.dir, "log")+" "), 1)
		}
		if err := r.startProxy(ctx, s, at, dir, cfg); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) startProxy(ctx context.Context, s System, at netip.AddrPort, dir string, cfg []byte) error {
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, cfg, 0o600); err != nil {
		return fmt.Errorf("write the configuration of %s: %w", s, err)
	}
	p := &proxy{at: at, said: &bytes.Buffer{}}
	p.cmd = exec.CommandContext(ctx, r.haproxy, "-db", "-f", file)
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start HAProxy of %s: %w", s, err)
	}
	r.proxies[s] = p
	probe := newLoop(at, Point{Method: "GET", Bytes: 1}, []netip.Addr{r.addr(100)})
	for end := time.Now().Add(readyTimeout); time.Now().Before(end) && ctx.Err() == nil; {
		// Not before a check of each host, so that no host is left out.
		if n, failed := probe.run(ctx, 300*time.Millisecond); n > 0 && failed == 0 {
			return nil
		}
	}
	return fmt.Errorf("HAProxy of %s does not answer: %s", s, p.said)
}

func (r *rig) close() error {
	var errs []error
	for _, p := range r.proxies {
		_ = p.cmd.Process.Kill() //nolint:errcheck // it has ended
		_ = p.cmd.Wait()         //nolint:errcheck // it was killed
	}
	for _, o := range r.origins {
		errs = append(errs, o.close())
	}
	for _, c := range []io.Closer{r.udp, r.unix} {
		if c != nil && c != net.PacketConn(nil) {
			errs = append(errs, c.Close())
		}
	}
	r.logging.Wait()
	if r.dir != "" {
		errs = append(errs, os.RemoveAll(r.dir))
	}
	return errors.Join(errs...)
}

// turn measures s at p once: first the closed loop, then the fixed rate.
func (r *rig) turn(ctx context.Context, p Point, s System) (Turn, error) {
	sources := make([]netip.Addr, r.opt.Connections)
	for i := range sources {
		sources[i] = r.addr(100 + i)
	}
	at := netip.AddrPortFrom(r.addr(50), uint16(r.spec.Services[0].Port))
	px := r.proxies[s]
	if px != nil {
		at = px.at
	}
	spent, err := px.spent()
	if err != nil {
		return Turn{}, err
	}
	begin := time.Now()
	l := newLoop(at, p, sources)
	answered, failed := l.run(ctx, r.opt.Turn)
	took := time.Since(begin)
	after, err := px.spent()
	if err := errors.Join(err, ctx.Err()); err != nil {
		return Turn{}, err
	}
	t := Turn{Requests: answered + failed, Failed: failed, PerSecond: float64(answered) / took.Seconds(), Why: l.firstFailure()}
	if answered > 0 {
		t.CPU = (after - spent) / time.Duration(answered)
	}
	if r.opt.Latency {
		err = r.latency(ctx, p, at, sources, &t)
	}
	return t, err
}

// latency adds to t how long requests take at p's rate.
func (r *rig) latency(ctx context.Context, p Point, at netip.AddrPort, sources []netip.Addr, t *Turn) error {
	c := load.Config{
		Targets: []load.Target{{Name: "api", URL: fmt.Sprintf("http://%s/bytes/%d", at, p.Bytes)}},
		Rate:    p.Rate, Duration: r.opt.Turn, Timeout: latencyTimeout, Connections: load.New,
		Methods: []string{p.Method}, Clients: sources,
	}
	if p.KeepAlive {
		c.Connections = load.KeepAlive
	}
	if p.Method != "GET" {
		c.Body = int64(p.Bytes)
	}
	var mu sync.Mutex
	var took []time.Duration
	c.Record = func(rec load.Record) {
		mu.Lock()
		defer mu.Unlock()
		t.Requests++
		if rec.Failure != "" {
			t.Failed++
			return
		}
		took = append(took, rec.Took-rec.Late)
	}
	if err := load.Run(ctx, c); err != nil {
		return err
	}
	if len(took) == 0 {
		return nil // all failed, which the table says
	}
	slices.Sort(took)
	t.P50, t.P99 = took[len(took)/2], took[len(took)*99/100]
	return nil
}
