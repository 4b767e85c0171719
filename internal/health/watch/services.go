package watch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/status"
)

// pollInterval is how often HAProxy is asked for the state of its servers.
const pollInterval = time.Second

// watchServices asks HAProxy for its servers, at each change of one and every
// second anyway, and journals what has become of them.
func (w *Watch) watchServices(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	known := map[hostKey]status.ServiceState{}
	for {
		changed := w.opt.HAProxy.ServerChanges()
		w.pollServices(ctx, known)
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
func (w *Watch) pollServices(ctx context.Context, known map[hostKey]status.ServiceState) {
	s := w.opt.Spec()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	servers, connections, err := w.askServers(ctx)
	if err != nil {
		w.log.Debug("HAProxy does not tell of its servers", "error", err)
	}
	services := w.judged(haproxy.Services(s, servers, time.Now()))
	w.opt.Seen(s, services, connections)
	for _, e := range hostChanges(known, services) {
		w.opt.Event(e)
	}
}

// askServers gives the rows of "show stat", and the number of open connections.
func (w *Watch) askServers(ctx context.Context) ([]output.Row, int, error) {
	servers, err := w.Servers(ctx)
	if err != nil {
		return nil, 0, err
	}
	w.markDrained(ctx, servers)
	info, err := w.opt.HAProxy.Info(ctx)
	return servers, info.Conns, err
}

// markDrained finds out which servers of rows are drained that are down, and whose
// agent does not answer: of a host that was drained and powered off.
func (w *Watch) markDrained(ctx context.Context, rows []output.Row) {
	for _, backend := range haproxy.Wordless(rows) {
		reply, err := w.opt.HAProxy.Runtime(ctx, "show servers state "+haproxy.CLIWord(backend))
		var states []haproxy.ServerState
		if err == nil {
			states, err = haproxy.ParseServerStates([]byte(reply))
		}
		if err != nil {
			w.log.Debug("HAProxy does not tell what is drained", "backend", backend, "error", err)
			return
		}
		haproxy.MarkDrained(rows, states)
	}
}

// carryAtOnce is how many commands go to HAProxy in one line, which is bounded.
const carryAtOnce = 50

// Carry has HAProxy take the hosts of services on a controller as "ready", "drain" or
// "maint", by the services' names, as that controller's agent would have it. What the
// spec in force does not have is left out.
func (w *Watch) Carry(ctx context.Context, controller string, states map[string]string) error {
	s := w.opt.Spec()
	if s == nil {
		return nil
	}
	c, ok := s.Controller(controller)
	if !ok {
		return nil
	}
	rows, err := w.Servers(ctx)
	if err != nil {
		return err
	}
	for commands := range slices.Chunk(haproxy.DrainCommands(s, rows, c.Address, states), carryAtOnce) {
		if _, err := w.opt.HAProxy.Runtime(ctx, strings.Join(commands, ";")); err != nil {
			return fmt.Errorf("tell HAProxy what is drained: %w", err)
		}
	}
	return nil
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
				Subject: status.HostSubject(s.Name, h.Name),
				Text:    fmt.Sprintf("%s on %s went from %s to %s", s.Name, h.Name, from, h.State),
				Cause:   cause(h),
			})
		}
	}
	return events
}
