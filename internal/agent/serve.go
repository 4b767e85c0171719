package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/incident"
	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
	"holdfast/internal/web"
)

// listenRetry is the pause before an address that is not there yet, as at
// boot, or not free, is tried again.
const listenRetry = time.Second

// serve starts what answers: the control socket, the page, the agent-check.
func (a *Agent) serve(ctx context.Context, all *tasks, socket net.Listener) {
	// Another spec may have come while no agent ran.
	page, check := addresses(a)
	a.sockets.Drop(page(), check())
	control := web.NewControlServer(controls{a}, a.log.With("component", "control"))
	web.Handle(control, "/drain", controls{a}.Drain)
	web.Handle(control, "/undrain", controls{a}.Undrain)
	web.Handle(control, "/handover", controls{a}.Move)
	web.HandleGet(control, "/spec", controls{a}.InForce)
	web.Handle(control, "/plan", controls{a}.Plan)
	all.start("the control socket", func() error { return a.serveControl(ctx, control, socket) })
	all.start("the page", func() error {
		a.listen(ctx, page, "page", a.web.Serve)
		return nil
	})
	all.start("the agent-check", func() error {
		a.listen(ctx, check, "agent-check", a.check.Serve)
		return nil
	})
}

// addresses give where this controller's page is, and where HAProxys and other agents ask,
// as the spec in force has them.
func addresses(a *Agent) (page, check func() netip.AddrPort) {
	own := func(port func(spec.Agent) int) func() netip.AddrPort {
		return func() netip.AddrPort {
			s := a.currentSpec()
			self, _ := s.Controller(a.opt.Controller)
			return netip.AddrPortFrom(self.Address, uint16(port(s.Agent)))
		}
	}
	return own(func(p spec.Agent) int { return p.Port }), own(func(p spec.Agent) int { return p.CheckPort })
}

// listen serves at the address that at gives, until ctx ends; when a reload has made
// that another one, there: HAProxys ask at the new one from then on. What cannot be listened on, such as
// an address that the host does not have yet, is reported and tried again: a
// page that is missing must not keep the VIP from being served. A socket that the service
// manager has handed over is taken, and one that this agent has opened is given to it.
func (a *Agent) listen(ctx context.Context, at func() netip.AddrPort, what string, serve func(context.Context, net.Listener) error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // its sockets have no TTL of their own
	said := ""
	var before netip.AddrPort
	for ctx.Err() == nil {
		address := at()
		if before.IsValid() && before != address {
			a.sockets.Forget(before)
		}
		before = address
		listener, err := a.sockets.Listener(address)
		if listener == nil && err == nil {
			if listener, err = config.Listen(ctx, "tcp", address.String()); err == nil {
				a.sockets.Keep(address, listener)
			}
		}
		if err == nil {
			a.setFinding("listen-"+what, nil)
			said = ""
			here, leave := context.WithCancel(ctx)
			go leaveWhenOther(here, leave, at, address)
			err = serve(here, listener)
			leave()
			if err == nil { // it moves, or all ends
				continue
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && err.Error() != said {
			said = err.Error()
			a.log.Warn("cannot serve; trying again every second", "what", what, "error", err)
			a.setFinding("listen-"+what, listenFinding(address, what, err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenRetry):
		}
	}
}

// leaveWhenOther calls leave when at gives another address, unless ctx ends before.
func leaveWhenOther(ctx context.Context, leave func(), at func() netip.AddrPort, address netip.AddrPort) {
	ticker := time.NewTicker(listenRetry)
	defer ticker.Stop()
	for tick.Next(ctx, ticker) {
		if at() != address {
			leave()
			return
		}
	}
}

func listenFinding(address netip.AddrPort, what string, err error) *status.Finding {
	remedy := "the agent tries again every second"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = fmt.Sprintf("see with ss -ltnp which process has port %d, or set another port under agent: in the spec", address.Port())
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		remedy = fmt.Sprintf("give this host the address %s, or correct its address in the spec", address.Addr())
	}
	return &status.Finding{
		Severity: status.Warning, Code: status.CodeNotListening, Subject: what,
		Text: fmt.Sprintf("cannot listen on %s: %v", address, err), Remedy: remedy,
	}
}

// controllers gives where the agents of all controllers answer.
func (a *Agent) controllers() []web.Target {
	s := a.currentSpec()
	if s == nil {
		return nil
	}
	var targets []web.Target
	for _, c := range s.Controllers {
		targets = append(targets, web.Target{Name: c.Name, Addr: netip.AddrPortFrom(c.Address, uint16(s.Agent.Port)).String()})
	}
	return targets
}

// commands gives what other agents may ask for.
func (a *Agent) commands() map[string]peer.Handler {
	all := map[string]peer.Handler{
		"alive": func(context.Context, string, json.RawMessage) (any, error) { return struct{}{}, nil },
		"hears": peer.Handle(a.hearing.Hears),
	}
	maps.Copy(all, a.drains.Commands())
	maps.Copy(all, a.moves.Commands())
	maps.Copy(all, a.split.Commands())
	maps.Copy(all, a.teller.Commands())
	return all
}

// journals gives what has happened on all controllers, and those that do not tell.
func (a *Agent) journals(ctx context.Context) (all []incident.Journal, silent []string) {
	return web.Told(a.web.Journals(ctx, web.IncidentEvents))
}

// gather asks controllers for their Snapshots, from this one's own address. Agents of another
// cloud are as ones that do not answer.
func (a *Agent) gather(ctx context.Context, controllers []string) []cloud.Answer {
	s := a.currentSpec()
	own, _ := s.Controller(a.opt.Controller)
	answers := web.GatherFrom(ctx, own.Address, asker(a), slices.DeleteFunc(a.controllers(), func(t web.Target) bool {
		return !slices.Contains(controllers, t.Name)
	}))
	for i := range answers {
		answers[i] = answers[i].Of(s.Cloud)
	}
	return answers
}
