package agent

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/status"
	"holdfast/internal/vip"
)

// silentWindow is how long after a host went down its connections are looked
// for: a request that was on its way to it may have been sent since.
const silentWindow = 3 * time.Second

// cutSilent ends the connections that HAProxy has to the hosts which have just
// gone down because they no longer answer at all. Each request that waits
// there fails at once inside HAProxy, which repeats the safe ones on another
// host, instead of waiting for a timeout meant for slow answers. A host that
// answers its check, though wrongly, is left to finish what it has.
func (a *Agent) cutSilent(ctx context.Context, rows []haproxy.Server) {
	silent := map[netip.AddrPort]haproxy.Server{}
	for _, r := range rows {
		if !haproxy.Silent(r) || r.Since > silentWindow {
			continue
		}
		if to, err := netip.ParseAddrPort(r.Address); err == nil {
			silent[to] = r
		}
	}
	if len(silent) == 0 {
		return
	}
	begun := time.Now()
	cut, err := a.cut(ctx, slices.Collect(maps.Keys(silent)))
	if err != nil {
		a.log.Warn("the connections to silent hosts are left to their timeouts", "hosts", len(silent), "error", err)
	}
	for to, n := range cut {
		r := silent[to]
		a.journal.add(status.Event{
			Kind: "connections-cut", Subject: fmt.Sprintf("service %s on %s", r.Proxy, r.Name), Took: time.Since(begun),
			Text:  fmt.Sprintf("cut %d connections to %s, so that their requests can go elsewhere", n, to),
			Cause: "it is down and answers nothing",
		})
	}
}

// cut destroys the connections of all HAProxy's workers, old ones too, to some
// hosts, and counts them. Others that this controller has to them, a service's
// own, stay.
func (a *Agent) cut(ctx context.Context, to []netip.AddrPort) (map[netip.AddrPort]int, error) {
	reply, err := a.haproxy.Master(ctx, "show proc")
	if err != nil {
		return nil, fmt.Errorf("find HAProxy's workers: %w", err)
	}
	processes, err := haproxy.ParseProc([]byte(reply))
	if err != nil {
		return nil, fmt.Errorf("find HAProxy's workers: %w", err)
	}
	var pids []int
	for _, p := range append(processes.Workers, processes.Old...) {
		pids = append(pids, p.PID)
	}
	return vip.DestroySocketsOf(ctx, pids, to...)
}

// failingWindow is the time over which answers are counted before a host that
// gives failures alone is taken out.
const failingWindow = 400 * time.Millisecond

// watchAnswers takes out hosts that pass their check and fail their clients.
// HAProxy takes such a host back when its checks have passed for some seconds;
// it is then taken out again if it goes on.
func (a *Agent) watchAnswers(ctx context.Context) {
	ticker := time.NewTicker(failingWindow)
	defer ticker.Stop()
	var before []haproxy.Server
	for ticked(ctx, ticker) {
		after, err := a.rows(ctx)
		if err != nil {
			before = nil // HAProxy is away, which others tell of
			continue
		}
		for _, r := range haproxy.Failing(before, after) {
			a.takeOut(ctx, r)
		}
		before = after
		// A list of thousands takes a while to write and to read.
		ticker.Reset(max(failingWindow, time.Duration(len(after))*time.Millisecond))
	}
}

// rows gives the rows of "show stat".
func (a *Agent) rows(ctx context.Context) ([]haproxy.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	reply, err := a.haproxy.Runtime(ctx, "show stat")
	if err != nil {
		return nil, fmt.Errorf("ask HAProxy for its servers: %w", err)
	}
	return haproxy.ParseStat([]byte(reply))
}

// takeOut has HAProxy count the server r as down (management guide 9.3, "set
// server ... health down"), until its checks have found it up again.
func (a *Agent) takeOut(ctx context.Context, r haproxy.Server) {
	begun := time.Now()
	command := fmt.Sprintf("set server %s/%s health down", r.Proxy, r.Name)
	if _, err := a.haproxy.Runtime(ctx, command); err != nil {
		a.log.Warn("a host that fails its clients could not be taken out", "service", r.Proxy, "host", r.Name, "error", err)
		return
	}
	a.journal.add(status.Event{
		Kind: "host-taken-out", Subject: fmt.Sprintf("service %s on %s", r.Proxy, r.Name), Took: time.Since(begun),
		Text:  fmt.Sprintf("took %s on %s out for some seconds", r.Proxy, r.Name),
		Cause: "it passes its check and answered its clients with 5xx alone, while other hosts answered well",
	})
}
