package agent

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// pollInterval is how often HAProxy is asked for the state of its servers.
const pollInterval = time.Second

// pollTimeout is how long HAProxy may take to tell of its servers.
const pollTimeout = 500 * time.Millisecond

// Snapshot tells what this agent knows at this moment.
func (a *Agent) Snapshot() status.Snapshot {
	snap := status.Snapshot{
		Schema: 1, Time: time.Now(), Version: a.opt.Version, Controller: a.opt.Controller,
		PID: os.Getpid(), Started: a.started, HAProxy: a.haproxy.State(),
		VIPs: []status.VIP{}, Services: []status.Service{}, Findings: []status.Finding{},
		Drains: a.drains.list(), Paths: a.paths.list(),
	}
	a.mu.Lock()
	snap.Config = a.config
	snap.Services = append(snap.Services, a.services...)
	snap.HAProxy.Connections = a.connections
	for _, name := range slices.Sorted(maps.Keys(a.findings)) {
		snap.Findings = append(snap.Findings, a.findings[name])
	}
	s := a.spec
	a.mu.Unlock()
	if s != nil {
		snap.Cloud = s.Cloud
	}
	for _, o := range a.owners() {
		v := o.status(a.opt.Controller)
		v.Certificate = a.certificates.describe(v.Name)
		v.Giving, v.Taking = a.moves.status(v.Name)
		snap.VIPs = append(snap.VIPs, v)
	}
	snap.Findings = append(snap.Findings, a.certificates.findings()...)
	return snap
}

// setFinding records f under key, or that what was under key is over.
func (a *Agent) setFinding(key string, f *status.Finding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f == nil {
		delete(a.findings, key)
		return
	}
	a.findings[key] = *f
}

func (a *Agent) currentSpec() *spec.Spec {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spec
}

// watchServices asks HAProxy for its servers, at each change of one and every
// second anyway, and journals what has become of them.
func (a *Agent) watchServices(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	known := map[hostKey]status.ServiceState{}
	for {
		changed := a.haproxy.ServerChanges()
		a.pollServices(ctx, known)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
	}
}

// pollServices asks once. A HAProxy that does not answer leaves the hosts
// unknown: what was known of them may be true no more.
func (a *Agent) pollServices(ctx context.Context, known map[hostKey]status.ServiceState) {
	s := a.currentSpec()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	servers, connections, err := a.askServers(ctx)
	if err != nil {
		a.log.Debug("HAProxy does not tell of its servers", "error", err)
	}
	services := a.judged(haproxy.Services(s, servers, time.Now()))
	a.mu.Lock()
	a.services, a.connections, a.polled = services, connections, time.Now()
	a.mu.Unlock()
	a.sight(s, services)
	for _, e := range hostChanges(known, services) {
		a.journal.add(e)
	}
}

// askServers gives the rows of "show stat", and the number of open connections.
func (a *Agent) askServers(ctx context.Context) ([]output.Row, int, error) {
	servers, err := a.rows(ctx)
	if err != nil {
		return nil, 0, err
	}
	a.markDrained(ctx, servers)
	info, err := a.haproxy.Info(ctx)
	return servers, info.Conns, err
}

// markDrained finds out which servers of rows are drained that are down, and whose
// agent does not answer: of a host that was drained and powered off.
func (a *Agent) markDrained(ctx context.Context, rows []output.Row) {
	for _, backend := range haproxy.Wordless(rows) {
		reply, err := a.haproxy.Runtime(ctx, "show servers state "+haproxy.CLIWord(backend))
		var states []haproxy.ServerState
		if err == nil {
			states, err = haproxy.ParseServerStates([]byte(reply))
		}
		if err != nil {
			a.log.Debug("HAProxy does not tell what is drained", "backend", backend, "error", err)
			return
		}
		haproxy.MarkDrained(rows, states)
	}
}

// A hostKey names one host of one service.
type hostKey struct{ service, host string }

// out reports whether the agent's judgement c is one that takes a host out. HAProxy's
// check may be ahead of it.
func out(c status.Condition) bool {
	return c == status.Dead || c == status.Hung || c == status.Failing
}

// cause says why h has come into its state: what its check found, unless
// somebody has drained it.
func cause(h status.Host) string {
	switch {
	case h.State == status.Drain:
		return ""
	case h.State == status.Down && out(h.Condition) && h.Evidence != "":
		return string(h.Condition) + ": " + h.Evidence
	}
	return h.Check
}

// hostChanges tells what has become of the hosts in services since known,
// which it brings up to date. A state that is unknown, as while HAProxy
// starts, neither is a change nor is remembered.
func hostChanges(known map[hostKey]status.ServiceState, services []status.Service) []status.Event {
	var events []status.Event
	for _, s := range services {
		for _, h := range s.Hosts {
			key := hostKey{s.Name, h.Name}
			from := known[key]
			if h.State == status.Unknown || h.State == from {
				continue
			}
			known[key] = h.State
			if from == "" {
				continue
			}
			events = append(events, status.Event{
				Kind:    "host-" + string(h.State),
				Subject: hostSubject(s.Name, h.Name),
				Text:    fmt.Sprintf("%s on %s went from %s to %s", s.Name, h.Name, from, h.State),
				Cause:   cause(h),
			})
		}
	}
	return events
}
