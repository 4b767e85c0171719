// Package paths measures the ways from this host to the others of a cloud, by one TCP
// handshake a second with each, and keeps the last of them. Every controller does so,
// since one alone says nothing of whether it is worse than others: that package reach
// judges.
package paths

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"holdfast/internal/reach"
	"holdfast/internal/reach/handshake"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
)

const (
	// interval is between two handshakes with one host.
	interval = time.Second
	// wait is how long one may take: less than the second after which the
	// kernel asks again, so that each question counts by itself.
	wait = 900 * time.Millisecond
)

// A target is where handshakes with one host go: to the agent's port on a
// controller, and else to the first service there. A host needs none of both to
// answer: its kernel refuses, and that has come and gone, too.
type target struct {
	host string
	at   netip.AddrPort
	// services are those at that port.
	services []string
	agent    bool // it is the port of a controller's agent
}

// targetsOf gives one target for each address of a host, but for those of this
// controller.
func targetsOf(s *spec.Spec, self string) []target {
	var all []target
	own, _ := s.Controller(self)
	add := func(host string, at netip.AddrPort, service string, agent bool) {
		at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		if at.Addr() == own.Address.Unmap() {
			return
		}
		i := slices.IndexFunc(all, func(t target) bool { return t.at.Addr() == at.Addr() })
		if i < 0 {
			i = len(all)
			all = append(all, target{host: host, at: at, agent: agent})
		}
		if service != "" && all[i].at == at {
			all[i].services = append(all[i].services, service)
		}
	}
	for _, c := range s.Controllers {
		add(c.Name, netip.AddrPortFrom(c.Address, uint16(s.Agent.CheckPort)), "", true)
	}
	for _, svc := range s.Services {
		for _, h := range svc.Hosts {
			add(h.Name, svc.At(h), svc.Name, false)
		}
	}
	return all
}

// Options is what Paths are made of.
type Options struct {
	Controller string // this one's name in the spec
	// Spec gives the spec in force; nil while there is none.
	Spec func() *spec.Spec
}

// Paths has the last handshakes with each host. Its methods may be called by any
// goroutine.
type Paths struct {
	opt Options

	mu      sync.Mutex // guards following
	targets []target
	windows map[netip.AddrPort]*reach.Window
}

// New makes Paths. It touches nothing until Measure or Watch.
func New(opt Options) *Paths { return &Paths{opt: opt} }

// Watch measures again and again, until ctx ends.
func (p *Paths) Watch(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for tick.Next(ctx, ticker) {
		p.Measure(ctx)
	}
}

// Measure does one handshake with each host of the spec in force, and forgets all
// others.
func (p *Paths) Measure(ctx context.Context) {
	s := p.opt.Spec()
	if s == nil {
		return
	}
	targets := targetsOf(s, p.opt.Controller)
	var to []netip.AddrPort
	for _, t := range targets {
		to = append(to, t.at)
	}
	results := handshake.All(ctx, to, wait)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.windows
	p.targets, p.windows = targets, map[netip.AddrPort]*reach.Window{}
	for i, at := range to {
		w := cmp.Or(before[at], &reach.Window{})
		switch r := results[i]; r.Outcome {
		case handshake.Local:
			continue
		case handshake.Answered, handshake.Lost:
			w.Add(now, r.Outcome == handshake.Answered, r.RTT)
			w.Refuse(now, r.Refused && targets[i].agent)
		case handshake.Untold: // a lack of descriptors is no fault of the way
		}
		p.windows[at] = w
	}
}

// List gives the path to each host, in the order of the spec.
func (p *Paths) List() []status.Path {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []status.Path
	for _, t := range p.targets {
		w, ok := p.windows[t.at]
		if !ok {
			continue
		}
		path := w.Path(time.Now())
		path.Host, path.Address = t.host, t.at.Addr().String()
		all = append(all, path)
	}
	return all
}

// Needs gives, for each service of which hosts are in use here, the addresses of
// these, if there is a path to the service itself at each.
func (p *Paths) Needs(services []status.Service) map[string][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	needs := map[string][]string{}
	for _, s := range services {
		var of []string
		for _, h := range s.Hosts {
			if h.State != status.Up || h.Condition == status.Dead {
				continue
			}
			i := slices.IndexFunc(p.targets, func(t target) bool {
				return t.at.String() == h.Address && slices.Contains(t.services, s.Name)
			})
			if i < 0 {
				of = nil
				break
			}
			of = append(of, p.targets[i].at.Addr().String())
		}
		if len(of) > 0 {
			needs[s.Name] = of
		}
	}
	return needs
}
