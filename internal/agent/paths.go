package agent

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
)

const (
	// pathInterval is between two handshakes with one host.
	pathInterval = time.Second
	// pathWait is how long one may take: less than the second after which the
	// kernel asks again, so that each question counts by itself.
	pathWait = 900 * time.Millisecond
)

// A pathTarget is where handshakes with one host go: to the agent's port on a
// controller, and else to the first service there. A host needs none of both to
// answer: its kernel refuses, and that has come and gone, too.
type pathTarget struct {
	host string
	at   netip.AddrPort
	// services are those at that port.
	services []string
}

// pathTargets gives one target for each address of a host, but for those of this
// controller.
func pathTargets(s *spec.Spec, self string) []pathTarget {
	var all []pathTarget
	own, _ := s.Controller(self)
	add := func(host string, at netip.AddrPort, service string) {
		at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		if at.Addr() == own.Address.Unmap() {
			return
		}
		i := slices.IndexFunc(all, func(t pathTarget) bool { return t.at.Addr() == at.Addr() })
		if i < 0 {
			i = len(all)
			all = append(all, pathTarget{host: host, at: at})
		}
		if service != "" && all[i].at == at {
			all[i].services = append(all[i].services, service)
		}
	}
	for _, c := range s.Controllers {
		add(c.Name, netip.AddrPortFrom(c.Address, uint16(s.Agent.CheckPort)), "")
	}
	for _, svc := range s.Services {
		for _, h := range svc.Hosts {
			add(h.Name, netip.AddrPortFrom(h.Address, uint16(svc.Port)), svc.Name)
		}
	}
	return all
}

// paths has the last handshakes with each host.
type paths struct {
	mu      sync.Mutex // guards following
	targets []pathTarget
	windows map[netip.AddrPort]*reach.Window
}

// watchPaths measures the ways to other hosts, again and again: on every
// controller, since one alone says nothing of whether it is worse than others.
func (a *Agent) watchPaths(ctx context.Context) {
	ticker := time.NewTicker(pathInterval)
	defer ticker.Stop()
	for ticked(ctx, ticker) {
		if s := a.currentSpec(); s != nil {
			a.paths.measure(ctx, pathTargets(s, a.opt.Controller))
		}
	}
}

// measure does one handshake with each of the targets, and forgets all others.
func (p *paths) measure(ctx context.Context, targets []pathTarget) {
	var to []netip.AddrPort
	for _, t := range targets {
		to = append(to, t.at)
	}
	results := handshake.All(ctx, to, pathWait)
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
		case handshake.Untold: // a lack of descriptors is no fault of the way
		}
		p.windows[at] = w
	}
}

// list gives the path to each host, in the order of the spec.
func (p *paths) list() []status.Path {
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

// needs gives, for each service of which hosts are in use here, the addresses of
// these, if there is a path to the service itself at each.
func (p *paths) needs(services []status.Service) map[string][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	needs := map[string][]string{}
	for _, s := range services {
		var of []string
		for _, h := range s.Hosts {
			if h.State != status.Up || h.Condition == status.Dead {
				continue
			}
			i := slices.IndexFunc(p.targets, func(t pathTarget) bool {
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

// reach gives what this controller's HAProxy reaches.
func (a *Agent) reach() reach.View {
	v := reach.View{Controller: a.opt.Controller}
	config := a.rollout.InForce().Config
	a.mu.Lock()
	services := a.services
	v.At, v.Spec, v.Services = a.polled, config.Digest, reach.Services(services)
	a.mu.Unlock()
	v.Paths, v.Needs = a.paths.list(), a.paths.needs(services)
	switch h := a.haproxy.State(); {
	case h.State != status.HAProxyRunning:
		v.Unfit = "HAProxy is " + string(h.State)
	case a.moves.Ending():
		v.Unfit = "its agent is about to end"
	case a.drains.Whole():
		v.Unfit = "it is drained"
	case !config.TrialUntil.IsZero() || a.forcing.Load():
		v.Unfit = "a new spec is on trial"
	}
	return v
}
