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

// pollInterval is how often the services are looked at, where nothing changes.
const pollInterval = time.Second

// watchServices looks at HAProxy's servers, at each change of one, and every second or
// so anyway, by what the watch over the hosts has read; and journals what has become of
// them.
func (w *Watch) watchServices(ctx context.Context) {
	known := map[hostKey]status.ServiceState{}
	since := time.Time{} // when the rows must have been read at the earliest
	for {
		changed := w.opt.HAProxy.ServerChanges()
		n := w.pollServices(ctx, known, since)
		polled := time.Now()
		overdue := time.After(2 * max(pollInterval, time.Duration(n)*awayPerRow)) // the other watch is held up
		for waits := true; waits; {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				since, waits = time.Now(), false
			case <-w.read:
				since, waits = polled, time.Since(polled) < pollInterval*9/10
			case <-overdue:
				since, waits = time.Now(), false
			}
		}
	}
}

// pollServices looks once, at what was read after since, and gives how many rows that
// were. A HAProxy that does not answer leaves the hosts unknown: what was known of
// them may be true no more.
func (w *Watch) pollServices(ctx context.Context, known map[hostKey]status.ServiceState, since time.Time) (rows int) {
	s := w.opt.Spec()
	if s == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	servers, err := w.serversSince(ctx, since)
	if err != nil {
		w.log.Debug("HAProxy does not tell of its servers", "error", err)
	}
	servers = w.markDrained(ctx, servers)
	services := w.judged(haproxy.Services(s, servers, time.Now()))
	w.opt.Seen(s, services, w.opt.HAProxy.State().Connections)
	for _, e := range hostChanges(known, services) {
		w.opt.Event(e)
	}
	return len(servers)
}

// markDrained finds out which servers of rows are drained that are down, as of a host
// that was drained and powered off, and gives the rows with that.
func (w *Watch) markDrained(ctx context.Context, rows []output.Row) []output.Row {
	wordless := haproxy.Wordless(rows)
	if len(wordless) > 0 {
		rows = slices.Clone(rows)
	}
	for _, backend := range wordless {
		reply, err := w.opt.HAProxy.Runtime(ctx, "show servers state "+haproxy.CLIWord(backend))
		var states []haproxy.ServerState
		if err == nil {
			states, err = haproxy.ParseServerStates([]byte(reply))
		}
		if err != nil {
			w.log.Debug("HAProxy does not tell what is drained", "backend", backend, "error", err)
			return rows
		}
		haproxy.MarkDrained(rows, states)
	}
	return rows
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
	// Which servers there are is all that counts here, and it is told once for each controller.
	rows, err := w.serversSince(ctx, time.Now().Add(-pollInterval))
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
