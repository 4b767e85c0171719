package bench

import (
	"bytes"
	"context"
	_ "embed" // for the spec
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/lab"
	"holdfast/internal/lab/peer"
	"holdfast/internal/spec"
)

//go:embed spec.yaml
var benchSpec string

// A System is one of those that are compared.
type System string

// The systems.
const (
	Holdfast System = "holdfast"
	Kolla    System = System(peer.Kolla)
	Tuned    System = System(peer.Tuned)
)

// Systems gives all of them, in the order of the table.
func Systems() []System { return []System{Holdfast, Kolla, Tuned} }

// Named gives the names of systems, in one line.
func Named(systems []System) string {
	var names []string
	for _, s := range systems {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// Peer gives s as a lab knows it: the kind of its peers, empty for agents.
func (s System) Peer() string {
	if s == Holdfast {
		return ""
	}
	return string(s)
}

// benchInterval is VRRP's in spec.yaml.
const benchInterval = 20 * time.Millisecond

// Text says what s is, with this interval of VRRP.
func (s System) Text(interval time.Duration) string {
	// The others need nothing here.
	//exhaustive:ignore
	switch s {
	case Kolla:
		return "HAProxy + keepalived, kolla-ansible's settings; restart after 100 ms"
	case Tuned:
		return fmt.Sprintf("HAProxy + keepalived, tuned by hand: VRRPv3 at %s, quick checks, retries; restart after 100 ms", short(interval))
	}
	return "holdfast, VRRP interval " + short(interval)
}

// settleTimeout is how long a system may take to be whole again by itself when
// its fault has ended. After that its lab is built anew.
const settleTimeout = 60 * time.Second

// A testbed is the lab of one system.
type testbed struct {
	system   System
	binary   string
	spec     *spec.Spec
	tls      bool // the VIP terminates TLS
	lab      *lab.Lab
	programs string // a directory for copies of HAProxy
	program  string // the last of them that was put in place
	works    int    // done so far, planned
	rebuilt  int    // so often

	interval time.Duration // of VRRP, where it is not the spec's
	settled  bool          // it is not whole while connections of a planned move go on
}

func newTestbed(system System, binary string) (*testbed, error) {
	programs, err := os.MkdirTemp("", "holdfast-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for copies of HAProxy: %w", err)
	}
	return &testbed{system: system, binary: binary, programs: programs}, nil
}

// cloudOf gives the spec of the lab, with TLS on the VIP or without.
func cloudOf(tls bool) string {
	if !tls {
		return benchSpec
	}
	return strings.Replace(benchSpec, "    vrrp:", "    tls: {certificate: /etc/holdfast/tls/api.pem}\n    vrrp:", 1)
}

// up builds the lab and waits until it is whole.
func (t *testbed) up(ctx context.Context, tls bool) error {
	text := cloudOf(tls)
	if t.interval > 0 {
		text = strings.Replace(text, "interval: 20ms", "interval: "+t.interval.String(), 1)
	}
	parsed, findings := spec.Parse("bench.yaml", []byte(text))
	if parsed == nil {
		return fmt.Errorf("the benchmark's own spec is bad: %v", findings)
	}
	t.spec, t.tls = parsed, tls
	var err error
	t.lab, err = lab.Up(ctx, lab.UpOptions{
		Name: fmt.Sprintf("bench-%s-%d", t.system, os.Getpid()), File: "bench.yaml", Data: []byte(text),
		Binary: t.binary, Peer: t.system.Peer(), Programs: t.programs, Timeout: time.Minute,
	})
	if err != nil {
		return fmt.Errorf("build the lab of %s: %w", t.system, err)
	}
	return nil
}

// down ends the lab, if there is one.
func (t *testbed) down() error {
	if t.lab == nil {
		return nil
	}
	l := t.lab
	t.lab = nil
	return l.Close()
}

// close ends the lab and leaves nothing of the testbed.
func (t *testbed) close() error { return errors.Join(t.down(), os.RemoveAll(t.programs)) }

func (t *testbed) dir() lab.Dir { return t.lab.Dir }

// port gives that of the service under load.
func (t *testbed) port() uint16 {
	for _, s := range t.spec.Services {
		if s.Name == service {
			return uint16(s.Port)
		}
	}
	return 0
}

// heal ends whatever was done to the lab.
func (t *testbed) heal(ctx context.Context) error {
	_, err := lab.Inject(ctx, t.dir(), lab.Fault{Kind: "heal"})
	for _, c := range t.spec.Controllers {
		_, backErr := lab.Inject(ctx, t.dir(), lab.Fault{Kind: "back", Node: c.Name})
		err = errors.Join(err, backErr)
	}
	return err
}

// sick says why the system is not whole yet; nil when it is.
func (t *testbed) sick(ctx context.Context) error {
	s, err := lab.GetStatus(ctx, t.dir())
	if err != nil {
		return err
	}
	if err := s.Sick(); err != nil {
		return err
	}
	for _, n := range s.Nodes {
		if t.system != Holdfast && n.Agent != nil && !strings.HasPrefix(n.Agent.Text, peer.Healthy) {
			return fmt.Errorf("%s: %s", n.Name, n.Agent.Text)
		}
	}
	if t.system != Holdfast {
		return nil
	}
	return t.askHoldfast(ctx, s.VIPs[0].Holders[0])
}

// askHoldfast asks holdfast itself, on node, whether all is well.
func (t *testbed) askHoldfast(ctx context.Context, node string) error {
	var out, said bytes.Buffer
	c := lab.Command{Node: node, Args: []string{"holdfast", "status", "-o", "json"}, Stdout: &out, Stderr: &said}
	code, err := c.Run(ctx, t.dir())
	if err != nil {
		return err
	}
	var all cloud.Cloud
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		return fmt.Errorf("holdfast status on %s: exit code %d: %s", node, code, strings.TrimSpace(said.String()))
	}
	if code == 0 {
		return t.moving(all)
	}
	for _, f := range all.Findings {
		return fmt.Errorf("holdfast says: %s", f)
	}
	return errors.New("holdfast says that something is degraded")
}

// moving says which planned move goes on, where that is to be waited for.
func (t *testbed) moving(all cloud.Cloud) error {
	for _, c := range all.Controllers {
		switch {
		case !t.settled:
		case c.Snapshot == nil:
			return fmt.Errorf("holdfast says nothing of %s", c.Name)
		default:
			for _, v := range c.Snapshot.VIPs {
				if v.Giving != nil || v.Taking != nil {
					return fmt.Errorf("connections of a planned move go on at %s", c.Name)
				}
			}
		}
	}
	return nil
}
