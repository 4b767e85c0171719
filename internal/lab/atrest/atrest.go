// Package atrest measures what a cloud's agents and HAProxys cost while no client asks
// anything: of one holdfast, or of several side by side in one run. It builds each
// cloud with that holdfast's own "lab up", and reads /proc; it puts no load on any.
package atrest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/bench"
)

// What is measured where Options say nothing: the cloud by which a release is judged.
const (
	DefaultVIPs        = 3
	DefaultServices    = 30
	DefaultControllers = 5
	DefaultLength      = 20 * time.Second

	settle  = 15 * time.Second // from when a cloud is up until it is at rest
	upTime  = 3 * time.Minute
	endTime = 30 * time.Second
)

// Options says what to measure.
type Options struct {
	VIPs        int // 1 to 3
	Services    int // 1 to 200, on every controller
	Controllers int // 1 to 9
	Length      time.Duration
	Runs        int // of which the report has the medians
	// Binaries are the holdfasts that are measured, by turns; the ratios are of the
	// first to each of the others.
	Binaries []string
	Progress func(text string)
}

// Check refuses what cannot be measured.
func (o Options) Check() error {
	switch {
	case o.VIPs < 1 || o.VIPs > 3:
		return fmt.Errorf("%d VIPs; from 1 to 3, since each is for catalog interfaces of its own", o.VIPs)
	case o.Services < 1 || o.Services > 200:
		return fmt.Errorf("%d services; from 1 to 200", o.Services)
	case o.Controllers < 1 || o.Controllers > 9:
		return fmt.Errorf("%d controllers; from 1 to 9", o.Controllers)
	case o.Length < time.Second:
		return fmt.Errorf("%v of each; at least 1s", o.Length)
	case o.Runs < 1:
		return fmt.Errorf("%d runs; at least 1", o.Runs)
	}
	return nil
}

// A Cost is what one process takes.
type Cost struct {
	CPU      float64 `json:"cpu_ms_per_second"`
	Switches float64 `json:"switches_per_second"` // to it, from another process or from idleness
	Memory   int64   `json:"memory_bytes"`        // resident
}

// Costs are those of a cloud's processes: on the controller that holds the VIPs, and on
// the others, the most that one of them takes.
type Costs struct {
	HolderAgent   Cost `json:"holder_agent"`
	OtherAgent    Cost `json:"other_agent"`
	HolderHAProxy Cost `json:"holder_haproxy"`
	OtherHAProxy  Cost `json:"other_haproxy"`
	All           Cost `json:"all"` // of all controllers together
}

// A Row is what was measured of one holdfast.
type Row struct {
	Binary  string  `json:"binary"`
	Version string  `json:"version"`
	Runs    []Costs `json:"runs"`
	Median  Costs   `json:"median"` // of each figure by itself
}

// A Report is what Run gives.
type Report struct {
	Machine     bench.Machine `json:"machine"`
	VIPs        int           `json:"vips"`
	Services    int           `json:"services"`
	Controllers int           `json:"controllers"`
	Length      time.Duration `json:"length_ns"`
	Rows        []Row         `json:"rows"`
}

// Run measures. Nothing that it started is left when it returns.
func Run(ctx context.Context, opt Options) (*Report, error) {
	if err := opt.Check(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "holdfast-rest-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the spec: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is below the temporary directory
	file := filepath.Join(dir, "holdfast.yaml")
	if err := os.WriteFile(file, opt.spec(), 0o600); err != nil {
		return nil, fmt.Errorf("write the spec: %w", err)
	}
	r := &Report{Machine: bench.Describe(ctx), VIPs: opt.VIPs, Services: opt.Services, Controllers: opt.Controllers, Length: opt.Length}
	for _, binary := range opt.Binaries {
		out, err := exec.CommandContext(ctx, binary, "version").Output()
		if err != nil {
			return nil, fmt.Errorf("%s is no holdfast: %w", binary, err)
		}
		first, _, _ := strings.Cut(string(out), "\n")
		r.Rows = append(r.Rows, Row{Binary: binary, Version: strings.TrimPrefix(first, "holdfast ")})
	}
	for run := range opt.Runs {
		for i := range r.Rows {
			row := &r.Rows[i]
			opt.Progress(fmt.Sprintf("run %d of %d: %s, %s", run+1, opt.Runs, row.Binary, row.Version))
			c, err := measure(ctx, row.Binary, file, fmt.Sprintf("rest-%d-%d", os.Getpid(), i), opt.Length)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", row.Binary, err)
			}
			row.Runs = append(row.Runs, c)
		}
	}
	for i := range r.Rows {
		r.Rows[i].Median = medianCosts(r.Rows[i].Runs)
	}
	return r, nil
}

// spec gives the spec of the cloud.
func (o Options) spec() []byte {
	interfaces := map[int][]string{
		1: {"public, internal, admin"}, 2: {"public", "internal, admin"}, 3: {"public", "internal", "admin"},
	}[o.VIPs]
	var b bytes.Buffer
	b.WriteString("cloud: rest\nvips:\n")
	for i, served := range interfaces {
		fmt.Fprintf(&b, "  - {name: vip%d, addresses: [10.64.20.%d/24], hostname: api%d.rest.example.org, interface: eno1, endpoints: [%s], vrrp: {router_id: %d}}\n",
			i+1, 10+i, i+1, served, 51+i)
	}
	b.WriteString("controllers:\n")
	for i := range o.Controllers {
		fmt.Fprintf(&b, "  - {name: ctl%d, address: 10.64.20.%d}\n", i+1, 21+i)
	}
	b.WriteString("services:\n")
	for i := range o.Services {
		fmt.Fprintf(&b, "  service%d: {type: service%[1]d, port: %d, path: /v1, check: {path: /healthcheck}}\n", i+1, 8001+i)
	}
	return b.Bytes()
}

// measure builds a cloud, lets it come to rest, and gives what it costs for a while.
func measure(ctx context.Context, binary, file, name string, length time.Duration) (c Costs, err error) {
	defer func() {
		// A cloud that did not come up is gone already.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
		defer cancel()
		out, failed := exec.CommandContext(ctx, binary, "lab", "down", "--name", name).CombinedOutput()
		if failed != nil && err == nil {
			err = fmt.Errorf("end the cloud: %w: %s", failed, bytes.TrimSpace(out))
		}
	}()
	up := exec.CommandContext(ctx, binary, "lab", "up", "-f", file, "--name", name, "--detach", "--timeout", upTime.String())
	up.Cancel = func() error { return up.Process.Signal(os.Interrupt) }
	up.WaitDelay = endTime
	if out, err := up.CombinedOutput(); err != nil {
		return c, fmt.Errorf("build a cloud: %w: %s", err, bytes.TrimSpace(out))
	}
	if err := lab.Sleep(ctx, settle); err != nil {
		return c, err
	}
	before, err := holderOf(ctx, binary, name)
	if err != nil {
		return c, err
	}
	first, begun := look(os.DirFS("/proc"), name), time.Now()
	if err := lab.Sleep(ctx, length); err != nil {
		return c, err
	}
	last, elapsed := look(os.DirFS("/proc"), name), time.Since(begun)
	after, err := holderOf(ctx, binary, name)
	if err == nil && after != before {
		err = fmt.Errorf("the VIPs went from %s to %s meanwhile: that is no rest", before, after)
	}
	if err != nil {
		return c, err
	}
	return costsOf(first, last, elapsed, before)
}

// holderOf gives the controller that holds the first VIP.
func holderOf(ctx context.Context, binary, name string) (string, error) {
	out, err := exec.CommandContext(ctx, binary, "lab", "status", "--name", name, "-o", "json").Output()
	if err != nil {
		return "", fmt.Errorf("ask for the cloud's state: %w", err)
	}
	var s lab.Status
	if err := json.Unmarshal(out, &s); err != nil {
		return "", fmt.Errorf("the cloud's state is not understood: %w", err)
	}
	return s.Holder()
}
