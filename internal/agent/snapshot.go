package agent

import (
	"maps"
	"os"
	"slices"
	"time"

	"holdfast/internal/reach"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// Snapshot tells what this agent knows at this moment.
func (a *Agent) Snapshot() status.Snapshot {
	snap := status.Snapshot{
		Schema: 1, Time: time.Now(), Version: a.opt.Version, Controller: a.opt.Controller,
		PID: os.Getpid(), Started: a.started, HAProxy: a.haproxy.State(),
		VIPs: []status.VIP{}, Services: []status.Service{}, Findings: []status.Finding{},
		Drains: a.drains.List(), Paths: a.paths.List(), Clients: a.clients.Rates(),
	}
	is := a.rollout.InForce()
	snap.Config = is.Config
	a.mu.Lock()
	snap.Services = append(snap.Services, a.services...)
	snap.HAProxy.Connections = a.connections
	for _, name := range slices.Sorted(maps.Keys(a.findings)) {
		snap.Findings = append(snap.Findings, a.findings[name])
	}
	a.mu.Unlock()
	if is.Spec != nil {
		snap.Cloud = is.Spec.Cloud
	}
	snap.BGP = a.announcer.Sessions()
	for _, v := range append(a.vips.Status(), a.announcer.Status()...) {
		if all := a.certificates.Describe(v.Name); len(all) > 0 {
			v.Certificate, v.MoreCertificates = &all[0], all[1:]
		}
		v.Giving, v.Taking = a.moves.Status(v.Name)
		snap.VIPs = append(snap.VIPs, v)
	}
	snap.Findings = append(snap.Findings, a.certificates.Findings()...)
	snap.Authentication = a.authentication()
	snap.Findings = append(snap.Findings, a.findUnproven(is.Spec)...)
	return snap
}

// seen records how the services of s are.
func (a *Agent) seen(s *spec.Spec, services []status.Service, connections int) {
	a.mu.Lock()
	a.services, a.connections, a.polled = services, connections, time.Now()
	a.mu.Unlock()
	a.rollout.Sight(s, services)
}

// reach gives what this controller's HAProxy reaches.
func (a *Agent) reach() reach.View {
	v := reach.View{Controller: a.opt.Controller}
	config := a.rollout.InForce().Config
	a.mu.Lock()
	services := a.services
	v.At, v.Spec, v.Services = a.polled, config.Digest, reach.Services(services)
	a.mu.Unlock()
	v.Paths, v.Needs = a.paths.List(), a.paths.Needs(services)
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

// lives reports whether the host of a controller has answered each handshake of the last seconds.
func (a *Agent) lives(controller string) bool {
	return slices.ContainsFunc(a.paths.List(), func(p status.Path) bool {
		return p.Host == controller && p.Sent > 0 && p.Lost == 0 && p.Silent == 0
	})
}

// setFinding records f under key, or that what was under key is over.
func (a *Agent) setFinding(key string, f *status.Finding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f == nil {
		delete(a.findings, key)
		return
	}
	found := *f
	if found.Since = a.findings[key].Since; found.Since.IsZero() {
		found.Since = time.Now()
	}
	a.findings[key] = found
}

func (a *Agent) currentSpec() *spec.Spec { return a.rollout.Spec() }
