package watch

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/health"
	"holdfast/internal/health/probe"
	"holdfast/internal/sockdiag"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
)

// What the watch over the hosts of services takes.
const (
	// watchEvery is how often HAProxy is asked for its counters while a host is
	// suspect, restEvery while none is, and awayEvery where no client comes since
	// another controller has the addresses; watchPerRow and awayPerRow are what each row
	// of them takes of that at the least: a list of thousands takes a while to write
	// and to read.
	watchEvery  = 100 * time.Millisecond
	restEvery   = 200 * time.Millisecond
	awayEvery   = time.Second
	watchPerRow = 500 * time.Microsecond
	awayPerRow  = 2 * time.Millisecond
	// failingWindow is over how many readings before the newest failures are counted.
	failingWindow = 3
	// talksTimeout bounds the listing of connections.
	talksTimeout = time.Second
	// lateAfter is how long a host must be late, and inTimeAfter how long no
	// more, before that is an event: under load the one follows the other.
	lateAfter, inTimeAfter = time.Second, 5 * time.Second
)

// A hostWatch judges the hosts of services by what HAProxy, the kernel and
// probes of its own tell of them, and has HAProxy act by that.
type hostWatch struct {
	*Watch
	judge  *health.Judge
	prober *probe.Prober
	before [][]output.Row // the rows of the readings before, oldest first
	drops  dropWatch
	look   []health.Key
	late   map[health.Key]bool // as the journal says
	spec   *spec.Spec          // that places are of
	places map[health.Key]place
}

// watchHosts watches until ctx ends.
func (w *Watch) watchHosts(ctx context.Context) {
	h := &hostWatch{Watch: w, judge: health.NewJudge(), prober: probe.New(), late: map[health.Key]bool{}}
	defer h.prober.Wait()
	pause := watchEvery
	planned := time.Now().Add(pause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.taken:
			planned = time.Now()
		case <-timer.C:
		}
		pause = h.turn(ctx, pause)
		// By the plan, not by when the turn ended: on a machine whose processors are all
		// taken a turn takes long, and the judgement is by what changed between two.
		planned = planned.Add(pause)
		if now := time.Now(); planned.Before(now.Add(-pause)) {
			planned = now // those that were missed are not made up for
		}
		timer.Reset(time.Until(planned))
	}
}

// turn looks once, after a pause, and gives how long the next one is to be.
func (w *hostWatch) turn(ctx context.Context, pause time.Duration) time.Duration {
	rows, err := w.Servers(ctx)
	if err != nil { // HAProxy is away, which others tell of
		w.before, w.look, w.drops = nil, nil, dropWatch{}
		return watchEvery
	}
	busy := w.step(ctx, pause, rows)
	n := time.Duration(len(rows))
	switch {
	case busy:
		return max(watchEvery, n*watchPerRow)
	case w.opt.Holds():
		return max(restEvery, n*watchPerRow)
	}
	return max(awayEvery, n*awayPerRow)
}

// step judges by rows, and acts. It reports whether there is something to watch
// closely.
func (w *hostWatch) step(ctx context.Context, every time.Duration, rows []output.Row) (busy bool) {
	s := w.opt.Spec()
	if s == nil {
		return false
	}
	if w.spec != s {
		w.spec, w.places = s, placesOf(s)
		w.prober.Forget(func(key health.Key) bool { _, ok := w.places[key]; return ok })
	}
	readings := w.readings(ctx, rows)
	now := time.Now()
	out := w.judge.Step(now, every, readings)
	w.look = out.Look
	w.mu.Lock()
	w.verdicts = out.Verdicts
	w.mu.Unlock()
	for _, key := range out.TakeOut {
		w.takeOut(ctx, rows, key, out.Verdicts[key])
	}
	for _, key := range out.Keep {
		w.command(ctx, rows, key, "up")
	}
	w.cut(ctx, out)
	for _, key := range out.Ask {
		w.prober.Ask(ctx, key, w.places[key].target)
	}
	w.tell(now, out.Verdicts)
	return len(out.Cut) > 0 || len(out.Look) > 0
}

// A place is where a host of a service is, and how it is asked.
type place struct {
	service spec.Service
	host    spec.Host
	at      netip.AddrPort
	target  probe.Target
}

func placesOf(s *spec.Spec) map[health.Key]place {
	places := map[health.Key]place{}
	for _, svc := range s.Services {
		request := haproxy.CheckRequest(s, svc)
		for _, h := range svc.Hosts {
			places[health.Key{Service: svc.Name, Host: h.Name}] = place{svc, h, svc.At(h), probe.Target{
				Address: svc.CheckedAt(h), Request: request, TLS: svc.TLS.Mode != "" && svc.Mode != spec.TCP, Name: haproxy.CheckHost(s),
			}}
		}
	}
	return places
}

// isRow reports whether r is the row of p with the checks.
func (p place) isRow(r output.Row) bool {
	return r.Proxy == haproxy.BackendName(p.service) && r.Name == haproxy.ServerName(p.host)
}

// placeOf gives the place that r is the row of.
func placeOf(places map[health.Key]place, r output.Row) (health.Key, place, bool) {
	for key, p := range places {
		if p.isRow(r) {
			return key, p, true
		}
	}
	return health.Key{}, place{}, false
}

// readings puts together what is known of every host.
func (w *hostWatch) readings(ctx context.Context, rows []output.Row) []health.Reading {
	readings := haproxy.Readings(w.spec, rows)
	var failing []output.Row
	for _, before := range w.before { // whichever window shows it first
		failing = append(failing, haproxy.Failing(before, rows)...)
	}
	if w.before = append(w.before, rows); len(w.before) > failingWindow {
		w.before = slices.Delete(w.before, 0, 1)
	}
	dropping := w.drops.find(ctx, w.Watch, w.places, rows)
	talks := w.talks(ctx)
	for i := range readings {
		r := &readings[i]
		r.Probe = w.prober.Last(r.Key)
		p := w.places[r.Key]
		if t, ok := talks[p.at]; ok {
			r.Sockets = &health.Sockets{Waiting: t.Waiting, Longest: t.Longest, Heard: t.Heard, Connecting: t.Connecting}
		}
		if slices.ContainsFunc(failing, p.isRow) {
			r.Fails = "it failed all that its clients asked, while other hosts served the same requests well"
		}
		if n := dropping[r.Key]; n > 0 {
			r.Fails = fmt.Sprintf("it ended all requests without an answer, of %d clients at least, while no other host ended one so", n)
		}
	}
	return readings
}

// talks lists the connections to the hosts that the judge wants to know more of.
func (w *hostWatch) talks(ctx context.Context) map[netip.AddrPort]sockdiag.Talk {
	var to []netip.AddrPort
	for _, key := range w.look {
		if p, ok := w.places[key]; ok {
			to = append(to, p.at)
		}
	}
	if len(to) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, talksTimeout)
	defer cancel()
	talks, err := sockdiag.Talks(ctx, to...)
	if err != nil {
		w.log.Debug("the connections to hosts are not known", "error", err)
	}
	return talks
}

// takeOut has HAProxy count a host as down, until its checks have found it up again.
func (w *hostWatch) takeOut(ctx context.Context, rows []output.Row, key health.Key, v health.Verdict) {
	begun := time.Now()
	if !w.command(ctx, rows, key, "down") {
		return
	}
	w.opt.Event(status.Event{
		Kind: status.EventHostTakenOut, Subject: status.HostSubject(key.Service, key.Host), Took: time.Since(begun),
		Text:  fmt.Sprintf("took %s on %s out: it is %s", key.Service, key.Host, v.Condition),
		Cause: v.Evidence,
	})
}

// command has HAProxy count a host as up or down (management guide 9.3, "set
// server ... health"): in each backend where it is checked by itself. It reports
// whether HAProxy took that.
func (w *hostWatch) command(ctx context.Context, rows []output.Row, key health.Key, health string) bool {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	var commands []string
	for _, name := range haproxy.CheckedServers(rows, key.Service, key.Host) {
		commands = append(commands, "set server "+name+" health "+health)
	}
	if len(commands) == 0 {
		return false
	}
	if _, err := w.opt.HAProxy.Runtime(ctx, strings.Join(commands, ";")); err != nil {
		w.log.Warn("HAProxy was not told how a host is", "service", key.Service, "host", key.Host, "health", health, "error", err)
		return false
	}
	return true
}

// cut ends the connections that HAProxy's workers, old ones too, have to hosts
// which hang or are gone, if no byte came or went on them for as long as the
// judgement takes. Each request that waits there fails at once inside HAProxy,
// which repeats the safe ones on another host. Others that this controller has
// to the host, a service's own, stay.
func (w *hostWatch) cut(ctx context.Context, out health.Output) {
	silence := map[netip.AddrPort]time.Duration{}
	keys := map[netip.AddrPort]health.Key{}
	for key, limit := range out.Cut {
		at := w.places[key].at
		silence[at], keys[at] = limit, key
	}
	if len(silence) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, talksTimeout)
	defer cancel()
	begun := time.Now()
	pids, err := w.workers(ctx)
	var cut map[netip.AddrPort]int
	if err == nil {
		cut, err = sockdiag.DestroySilent(ctx, pids, silence)
	}
	if err != nil {
		w.log.Warn("the connections to silent hosts are left to their timeouts", "hosts", len(silence), "error", err)
	}
	for to, n := range cut {
		key := keys[to]
		if !w.serves(key) {
			w.log.Debug("connections of checks were cut", "connections", n, "to", to)
			continue
		}
		w.opt.Event(status.Event{
			Kind: status.EventConnectionsCut, Subject: status.HostSubject(key.Service, key.Host), Took: time.Since(begun),
			Text:  fmt.Sprintf("cut %s to %s on which nothing moved, so that their requests can go elsewhere", status.Count(n, "connection"), to),
			Cause: out.Verdicts[key].Evidence,
		})
	}
}

// serves reports whether HAProxy had anything of clients at a host when it was looked at
// last: else what was cut was of checks, or idle.
func (w *hostWatch) serves(key health.Key) bool {
	if len(w.before) == 0 {
		return true
	}
	p := w.places[key]
	return slices.ContainsFunc(w.before[len(w.before)-1], func(r output.Row) bool {
		return r.Name == haproxy.ServerName(p.host) && strings.HasPrefix(r.Proxy, haproxy.BackendName(p.service)) && r.Sessions > 0
	})
}

// workers gives the processes of HAProxy's workers, old ones too.
func (w *Watch) workers(ctx context.Context) ([]int, error) {
	reply, err := w.opt.HAProxy.Master(ctx, "show proc")
	if err != nil {
		return nil, fmt.Errorf("find HAProxy's workers: %w", err)
	}
	processes, err := output.ParseProc([]byte(reply))
	if err != nil {
		return nil, fmt.Errorf("find HAProxy's workers: %w", err)
	}
	var pids []int
	for _, p := range append(processes.Workers, processes.Old...) {
		pids = append(pids, p.PID)
	}
	return pids, nil
}

// tell journals which hosts have become late, and which are no more.
func (w *hostWatch) tell(now time.Time, verdicts map[health.Key]health.Verdict) {
	for key, v := range verdicts {
		switch lasts := now.Sub(v.Since); {
		case v.Condition == status.Late && !w.late[key] && lasts >= lateAfter:
			w.late[key] = true
			w.opt.Event(status.Event{
				Kind: status.EventHostLate, Subject: status.HostSubject(key.Service, key.Host),
				Text: fmt.Sprintf("%s on %s is late; it stays in use", key.Service, key.Host), Cause: v.Evidence,
			})
		case v.Condition == status.Well && w.late[key] && lasts >= inTimeAfter:
			delete(w.late, key)
			w.opt.Event(status.Event{
				Kind: status.EventHostInTime, Subject: status.HostSubject(key.Service, key.Host),
				Text: fmt.Sprintf("%s on %s is no longer late", key.Service, key.Host), Cause: v.Evidence,
			})
		}
	}
	maps.DeleteFunc(w.late, func(key health.Key, _ bool) bool { _, ok := verdicts[key]; return !ok })
}

// Servers gives the rows of "show stat" of backends (2) and servers (4), as they are
// now. Who writes to them takes a copy.
func (w *Watch) Servers(ctx context.Context) ([]output.Row, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	rows, err := w.stat(ctx, 2|4, "servers")
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.rows, w.readAt = rows, time.Now()
	w.mu.Unlock()
	tick.Wake(w.read)
	return rows, nil
}

// serversSince gives the rows that were read last, unless that was before then.
func (w *Watch) serversSince(ctx context.Context, then time.Time) ([]output.Row, error) {
	w.mu.Lock()
	rows, at := w.rows, w.readAt
	w.mu.Unlock()
	if at.After(then) {
		return rows, nil
	}
	return w.Servers(ctx)
}

// stat gives the rows of "show stat" of these kinds, a sum of 1 for frontends, 2
// and 4; what is what they are called in an error.
func (w *Watch) stat(ctx context.Context, kinds int, what string) ([]output.Row, error) {
	reply, err := w.opt.HAProxy.Runtime(ctx, fmt.Sprintf("show stat -1 %d -1", kinds))
	if err != nil {
		return nil, fmt.Errorf("ask HAProxy for its %s: %w", what, err)
	}
	return output.ParseStatText(reply)
}

// judged gives services with what is thought of those of their hosts that are
// neither drained nor unknown.
func (w *Watch) judged(services []status.Service) []status.Service {
	w.mu.Lock()
	verdicts := w.verdicts
	w.mu.Unlock()
	for i, s := range services {
		for j := range s.Hosts {
			h := &services[i].Hosts[j]
			if v, ok := verdicts[health.Key{Service: s.Name, Host: h.Name}]; ok && h.State != status.Drain && h.State != status.Unknown {
				h.Condition, h.Evidence, h.ConditionSince = v.Condition, v.Evidence, v.Since
			}
		}
	}
	return services
}
