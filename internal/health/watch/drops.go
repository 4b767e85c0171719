package watch

import (
	"context"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/health"
	"holdfast/internal/spec"
)

// dropPause is between two looks, of which each goes through all rows, and through the
// clients of a service that may be thousands.
const dropPause = time.Second

// A dropWatch finds the hosts that end requests by dropping the connection. Its
// zero value has seen nothing yet.
type dropWatch struct {
	looked   time.Time
	marks    []markedRows // oldest first, DropWindow/2 apart at the least
	suspects map[health.Key]*dropSuspect
}

type markedRows struct {
	at   time.Time
	rows []output.Row
}

// A dropSuspect is a host that has answered nothing for a while, and reset
// connections. From when it was suspected on, clients are counted.
type dropSuspect struct {
	markedRows
	clients haproxy.Clients
}

// find gives of how many clients, at the least, each such host of places has reset all
// requests by rows; nothing until it is time for another look.
func (w *dropWatch) find(ctx context.Context, on *Watch, places map[health.Key]place, rows []output.Row) map[health.Key]int {
	now := time.Now()
	if now.Sub(w.looked) < dropPause {
		return nil
	}
	w.looked = now
	before, elapsed := w.mark(now, rows)
	if before == nil {
		return nil
	}
	found, suspects := map[health.Key]int{}, map[health.Key]*dropSuspect{}
	for _, one := range haproxy.Dropping(before, rows, elapsed) {
		key, p, ok := placeOf(places, one.Host)
		if !ok {
			continue
		}
		suspect, n, err := w.suspects[key].look(now, rows, one.Host, func() (haproxy.Clients, error) { return on.clientsOf(ctx, p.service) })
		if err != nil {
			on.log.Debug("HAProxy does not tell which clients got no answer", "service", p.service.Name, "error", err)
			continue
		}
		suspects[key] = suspect
		if n >= haproxy.DropClients {
			found[key] = n
		}
	}
	w.suspects = suspects
	return found
}

// look gives what is known of a suspect from now on, and how many clients it has
// left without an answer, at the least; nil is one that was none until now.
func (r *dropSuspect) look(now time.Time, rows []output.Row, row output.Row, ask func() (haproxy.Clients, error)) (*dropSuspect, int, error) {
	clients, err := ask()
	if err != nil {
		return nil, 0, err
	}
	n := 0
	if r != nil {
		for _, one := range haproxy.Dropping(r.rows, rows, 0) {
			if one.Host.Proxy == row.Proxy && one.Host.Name == row.Name {
				n = clients.Since(r.clients) - int(one.Spare)
			}
		}
	}
	if r == nil || now.Sub(r.at) > haproxy.DropWindow {
		r = &dropSuspect{markedRows{now, rows}, clients}
	}
	return r, n, nil
}

// mark keeps rows for later, and gives the newest of those that are DropWindow old,
// and how old: nil where there are none yet.
func (w *dropWatch) mark(now time.Time, rows []output.Row) ([]output.Row, time.Duration) {
	if n := len(w.marks); n == 0 || now.Sub(w.marks[n-1].at) >= haproxy.DropWindow/2 {
		w.marks = append(w.marks, markedRows{now, rows})
	}
	for len(w.marks) > 1 && now.Sub(w.marks[1].at) >= haproxy.DropWindow {
		w.marks = w.marks[1:]
	}
	elapsed := now.Sub(w.marks[0].at)
	if elapsed < haproxy.DropWindow {
		return nil, 0
	}
	return w.marks[0].rows, elapsed
}

// clientsOf gives the clients of svc that asked something that is sent once.
func (w *Watch) clientsOf(ctx context.Context, svc spec.Service) (haproxy.Clients, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	reply, err := w.opt.HAProxy.Runtime(ctx, haproxy.ShowClients(svc))
	if err != nil {
		return nil, err
	}
	return haproxy.ParseClients([]byte(reply)), nil
}
