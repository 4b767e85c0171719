package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast/internal/cli/tui"
	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

const (
	// drainLooks is how many looks in a row must find that nothing is left to
	// wait for: a request may be on its way between two HAProxys are asked.
	drainLooks = 2
	// silence is for how many looks in a row the local agent may not answer: it
	// may be restarted while somebody waits.
	silence = 10
)

// awaitCloud looks at the cloud, every second, until left finds nothing left to
// wait for, and gives how long that took. On a terminal it shows what is left.
func (a commands) awaitCloud(ctx context.Context, left func(cloud.Cloud) []string) (time.Duration, error) {
	begun := time.Now()
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	defer a.progress("")
	quiet, failed := 0, 0
	var seen time.Time
	for {
		all, err := a.Control().Cloud(ctx)
		switch {
		case ctx.Err() != nil:
			return time.Since(begun), errors.New("not waited for any longer")
		case err != nil:
			if failed++; failed == silence {
				return time.Since(begun), err
			}
		case all.Time != seen: // the agent gives one look to all who ask within a second
			seen, failed = all.Time, 0
			quiet++
			if waits := left(all); len(waits) > 0 {
				quiet = 0
				a.progress("waiting: " + strings.Join(waits, "; "))
			}
		}
		if quiet == drainLooks {
			return time.Since(begun), nil
		}
		select {
		case <-ctx.Done():
			return time.Since(begun), errors.New("not waited for any longer")
		case <-ticker.C:
		}
	}
}

// progress shows text in place, on a terminal; "" takes it away.
func (a commands) progress(text string) {
	if !tui.IsTerminal(a.Stdio.Err) {
		return
	}
	if runes := []rune(tui.Printable(text)); len(runes) > tui.DefaultWidth-1 {
		text = string(runes[:tui.DefaultWidth-4]) + "..."
	}
	_, _ = io.WriteString(a.Stdio.Err, "\r"+tui.ClearLine+tui.Printable(text)) // it is only shown
}

// running says what still runs on the drained controller of result: VIPs that
// it holds or finishes, and requests by any HAProxy.
func running(c cloud.Cloud, result web.DrainResult, whole bool) []string {
	var left []string
	i := slices.IndexFunc(c.Controllers, func(cc cloud.Controller) bool { return cc.Name == result.Controller })
	if i < 0 {
		return []string{"controller " + result.Controller + " is not in the spec any more"}
	}
	if own := c.Controllers[i].Snapshot; own != nil && whole {
		left = append(left, vipsLeft(own.VIPs)...)
	}
	for _, cc := range c.Controllers {
		if s := cc.Snapshot; s != nil && s.HAProxy.State == status.HAProxyRunning {
			left = append(left, requestsLeft(cc, c.Controllers[i].Address, result.Services)...)
		}
	}
	return left
}

func vipsLeft(vips []status.VIP) []string {
	var left []string
	for _, v := range vips {
		switch {
		case v.State == status.Active:
			left = append(left, "it holds vip "+v.Name)
		case v.Giving != nil && v.Giving.Connections == 1:
			left = append(left, "1 connection of vip "+v.Name+" goes on")
		case v.Giving != nil:
			left = append(left, fmt.Sprintf("%d connections of vip %s go on", v.Giving.Connections, v.Name))
		}
	}
	return left
}

// requestsLeft says what the HAProxy of c has on the host at the agent's
// address, of services: requests that run, or that it would send there still.
func requestsLeft(c cloud.Controller, agent string, services []string) []string {
	var left, undrained []string
	for _, svc := range c.Snapshot.Services {
		for _, h := range svc.Hosts {
			if !slices.Contains(services, svc.Name) || !sameHost(h.Address, agent) {
				continue
			}
			if h.State == status.Up || h.State == status.Unknown {
				undrained = append(undrained, svc.Name)
			}
			if h.Sessions > 0 {
				left = append(left, fmt.Sprintf("%d of %s from %s", h.Sessions, svc.Name, c.Name))
			}
		}
	}
	if len(undrained) > 0 {
		left = append(left, fmt.Sprintf("%s still sends requests of %s", c.Name, strings.Join(undrained, ", ")))
	}
	return left
}

// sameHost reports whether two address:port are on the same host.
func sameHost(a, b string) bool {
	x, errX := netip.ParseAddrPort(a)
	y, errY := netip.ParseAddrPort(b)
	return errX == nil && errY == nil && x.Addr().Unmap() == y.Addr().Unmap()
}

// stillOut says which HAProxys do not have the services of result back yet.
func stillOut(c cloud.Cloud, result web.DrainResult) []string {
	var left []string
	i := slices.IndexFunc(c.Controllers, func(cc cloud.Controller) bool { return cc.Name == result.Controller })
	for _, cc := range c.Controllers {
		s := cc.Snapshot
		if i < 0 || s == nil || s.HAProxy.State != status.HAProxyRunning {
			continue
		}
		var out []string
		for _, svc := range s.Services {
			for _, h := range svc.Hosts {
				if slices.Contains(result.Services, svc.Name) && sameHost(h.Address, c.Controllers[i].Address) && h.State == status.Drain {
					out = append(out, svc.Name)
				}
			}
		}
		if len(out) > 0 {
			left = append(left, fmt.Sprintf("%s does not send requests of %s yet", cc.Name, strings.Join(out, ", ")))
		}
	}
	return left
}
