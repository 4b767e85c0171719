package agent

import (
	"context"
	"errors"
	"net/netip"

	"holdfast/internal/drain"
	"holdfast/internal/handover"
	"holdfast/internal/haproxy/client"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/hearing"
	"holdfast/internal/spec"
	"holdfast/internal/splitbrain"
	"holdfast/internal/status"
)

// makeVIPs makes the VIPs of s; what it gives takes them into use, and lets all controllers
// of s ask for what this one answers.
func (a *Agent) makeVIPs(s *spec.Spec) (use func(context.Context), err error) {
	useKeys, err := a.keys.read(s)
	if err != nil {
		return nil, err
	}
	useVIPs, err := a.vips.Make(s)
	if err != nil {
		return nil, err
	}
	useAnnounced, err := a.announcer.Make(s)
	return func(ctx context.Context) {
		a.setFinding(status.CodeKeyUnusable, useKeys())
		controllers := map[netip.Addr]string{}
		for _, c := range s.Controllers {
			controllers[c.Address] = c.Name
		}
		a.check.Allow(controllers)
		useVIPs(ctx)
		useAnnounced()
	}, err
}

// parts gives the VIPs as planned moves see them.
func (a *Agent) parts() []handover.VIP {
	var all []handover.VIP
	for _, v := range a.vips.All() {
		all = append(all, handover.VIP{VIP: v.VIP, Loop: v.Loop, Release: v.Address.Release, Rival: v.Rival})
	}
	return all
}

// heard gives the VIPs as who asks what is heard sees them.
func (a *Agent) heard() []hearing.VIP {
	var all []hearing.VIP
	for _, v := range a.vips.All() {
		all = append(all, hearing.VIP{Name: v.Name, Loop: v.Loop})
	}
	return all
}

// holdings gives the VIPs as who ends split brains sees them.
func (a *Agent) holdings() []splitbrain.VIP {
	var all []splitbrain.VIP
	for _, v := range a.vips.All() {
		all = append(all, splitbrain.VIP{VIP: v.VIP, Loop: v.Loop})
	}
	return all
}

// held gives the VIPs whose clients come to this controller, however they find it.
func (a *Agent) held() []spec.VIP { return append(a.vips.Held(), a.announcer.Held()...) }

// seenServices gives how the services fare, as they were seen last.
func (a *Agent) seenServices() []status.Service {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.services
}

// drainedFor gives why this controller is out for maintenance; "" when it is not.
func drainedFor(drains *drain.Drains) string {
	if !drains.Whole() {
		return ""
	}
	for _, d := range drains.List() {
		if d.Service == "" && d.Reason != "" {
			return "drained: " + d.Reason
		}
	}
	return "drained"
}

// lowering divides the VRRP priority of a controller that is to be the last to take a
// VIP: below those of all that are not, in the order of preference all the same.
const lowering = 10

// priority gives this controller's VRRP priority, own by the spec, as it is now: lower
// while it is drained, or its own link is bad, or it is about to leave and gives way
// to whoever comes. A patient one waits longer than others before it takes a VIP.
func (a *Agent) priority(own int) (priority uint8, patient bool) {
	if a.moves.GivesWay() {
		return 1, false
	}
	patient = a.moves.Limps()
	if patient || a.drains.Last() {
		own = max(1, own/lowering)
	}
	return uint8(own), patient
}

// probeVIPs asks HAProxy for a sign of life through each VIP that is held here.
// HAProxy listens on the others too, but nothing on this host leads there. It
// gives the worst that came of it.
func (a *Agent) probeVIPs(ctx context.Context) (process.Sign, error) {
	worst := process.NoSign
	var errs []error
	s := a.currentSpec()
	var held []client.Pinger
	for _, v := range a.held() {
		held = append(held, client.NewPinger(v, s.Services))
	}
	a.pings.Keep(held)
	for _, at := range held {
		forcing := a.forcing.Load()
		sign, err := a.pings.Ping(ctx, at)
		if sign == process.Refused && (forcing || a.forcing.Load()) {
			// HAProxy has the ports of the next spec already, and this is one
			// of those before.
			continue
		}
		errs = append(errs, err)
		if sign.WorseThan(worst) {
			worst = sign
		}
	}
	return worst, errors.Join(errs...)
}
