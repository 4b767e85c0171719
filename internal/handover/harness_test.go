package handover

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/netnstest"
	"holdfast/internal/peer"
	"holdfast/internal/reach"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vrrp"
	"holdfast/internal/vrrp/link"
)

// enterHost moves the test's goroutine to a namespace with eno1 as ctl1 has it.
func enterHost(t *testing.T) {
	t.Helper()
	n := netnstest.New(t)
	n.Run(`ip link add eno1 type veth peer name peer
		ip link set eno1 up
		ip link set peer up
		ip address add 192.0.2.1/24 dev eno1`)
	n.Enter()
}

const testSpec = `cloud: test
vips:
  - name: api
    addresses: [192.0.2.10/24]
    hostname: api.example.org
    interface: eno1
    vrrp: {router_id: 7, interval: 20ms, startup_delay: 0s}
controllers:
  - {name: ctl1, address: 192.0.2.1}
  - {name: ctl2, address: 192.0.2.2}
  - {name: ctl3, address: 192.0.2.3}
services:
  keystone: {}
`

// A controller has the moves of one of three, none of which runs: their VIP is at
// ctl1, as far as its loop goes, and they ask each other without a network.
type controller struct {
	*Moves
	spec  *spec.Spec
	stats link.Stats   // of the loop
	view  reach.View   // what its HAProxy reaches
	cloud *controllers // nil: nobody answers

	mu       sync.Mutex // guards following
	rival    time.Time
	events   []status.Event
	findings map[string]status.Finding
}

// controllers are those that answer, by name.
type controllers struct {
	all map[string]*controller
	mu  sync.Mutex // guards following
	// prepared are those that were asked to take the VIP, in order; "!" by force.
	// None takes it.
	prepared []string
}

// rivalAt is when a stranger said that it holds the VIP.
func (c *controller) rivalAt() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rival
}

// newController gives one that nobody answers.
func newController(t *testing.T, name string) *controller {
	t.Helper()
	s, findings := spec.Parse("test.yaml", []byte(testSpec))
	if s == nil {
		t.Fatal(findings)
	}
	c := &controller{spec: s, view: reach.View{Controller: name, Unfit: "HAProxy is not there"}, findings: map[string]status.Finding{}}
	if name == "ctl1" {
		c.stats.State = vrrp.Active
	}
	c.Moves = New(Options{
		Controller: name, RunDir: t.TempDir(), Log: slog.New(slog.DiscardHandler), HAProxy: noHAProxy{},
		Spec: func() *spec.Spec { return c.spec },
		VIPs: func() []VIP {
			return []VIP{{VIP: c.spec.VIPs[0], Loop: c, Release: func(context.Context) error { return nil }, Rival: c.rivalAt}}
		},
		Ask: c.ask,
		Gather: func(_ context.Context, names []string) (all []cloud.Answer) {
			for _, name := range names {
				all = append(all, cloud.Answer{Name: name, Snapshot: &status.Snapshot{HAProxy: status.HAProxy{State: status.HAProxyRunning}}})
			}
			return all
		},
		Reach: func() reach.View { return c.view }, Drained: func() bool { return false },
		Greet: func(string, string) bool { return true }, Preempt: func(string, bool) bool { return true }, Settle: func() {},
		Event: func(e status.Event) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.events = append(c.events, e)
		},
		SetFinding: c.setFinding,
		Report:     func(_, key string, f *status.Finding) { c.setFinding(key, f) },
	})
	return c
}

func (c *controller) setFinding(key string, f *status.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.findings, key)
	if f != nil {
		c.findings[key] = *f
	}
}

func (c *controller) Stats() link.Stats                    { return c.stats }
func (c *controller) Hearing() map[netip.Addr]link.Hearing { return nil }
func (c *controller) Yield(context.Context, netip.Addr, link.YieldOptions) error {
	return errors.New("it yields to nobody")
}

func (c *controller) GiveWay(context.Context, netip.Addr, link.YieldOptions) error {
	return errors.New("it gives way to nobody")
}

// ask has another controller carry out a command, if it is one that answers.
func (c *controller) ask(ctx context.Context, name, command string, req, resp any) error {
	if c.cloud == nil || c.cloud.all[name] == nil {
		return &peer.Error{Controller: name, Err: context.DeadlineExceeded}
	}
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	if command == "prepare" {
		c.cloud.mu.Lock()
		defer c.cloud.mu.Unlock()
		if strings.Contains(string(body), `"force":true`) {
			name = "!" + name
		}
		c.cloud.prepared = append(c.cloud.prepared, name)
		return &peer.Error{Controller: strings.TrimPrefix(name, "!"), Refusal: "it takes none"}
	}
	answer, err := c.cloud.all[name].Commands()[command](ctx, c.opt.Controller, body)
	if err != nil {
		return &peer.Error{Controller: name, Refusal: err.Error()}
	}
	if body, err = json.Marshal(answer); err != nil || resp == nil {
		return err
	}
	return json.Unmarshal(body, resp)
}

// newControllers gives ctl1 and those that answer it, with what each reaches: "a !b"
// has a host of a, and finds those of b down.
func newControllers(t *testing.T, reached map[string]string) (*controller, *controllers) {
	t.Helper()
	cloud := &controllers{all: map[string]*controller{}}
	for name, words := range reached {
		c := newController(t, name)
		c.cloud = cloud
		c.reaches(words)
		cloud.all[name] = c
	}
	return cloud.all["ctl1"], cloud
}

func (c *controller) reaches(words string) {
	c.view.At, c.view.Spec, c.view.Services = time.Now(), "one", map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		name, lacks := strings.CutPrefix(word, "!")
		c.view.Services[name] = !lacks
	}
}

// setPaths has the controller know of 20 handshakes with each other one, of which
// every second got lost with those named.
func (c *controller) setPaths(lossy ...string) {
	c.view.Paths = nil
	for _, other := range c.spec.Others(c.opt.Controller) {
		var w reach.Window
		for i := range status.PathWindow {
			w.Add(time.Now(), i%2 == 0 || !slices.Contains(lossy, other.Name), time.Millisecond)
		}
		p := w.Path(time.Now())
		p.Host, p.Address = other.Name, other.Address.String()
		c.view.Paths = append(c.view.Paths, p)
	}
}

// noHAProxy closes what it is told to.
type noHAProxy struct{}

func (noHAProxy) State() status.HAProxy                          { return status.HAProxy{} }
func (noHAProxy) Info(context.Context) (output.Info, error)      { return output.Info{}, nil }
func (noHAProxy) ClosingIs([]netip.Addr) bool                    { return true }
func (noHAProxy) SetClosing(context.Context, []netip.Addr) error { return nil }
