package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vrrp/link"
)

const (
	// drainInterval is how often it is seen to that drains end in time.
	drainInterval = time.Second
	// Pauses after attempts to hand over the VIPs that a drained controller
	// holds for want of another, and that nobody took.
	firstOffer, lastOffer = 5 * time.Second, 5 * time.Minute
	// drainedDivisor lowers the VRRP priority of a drained controller, and of one
	// with a bad link, below those of all that are neither, in the order of
	// preference all the same.
	drainedDivisor = 10
)

// Codes of the findings about drains.
const (
	codeDrainUnknown = "drain-unknown"
	codeDrainUnkept  = "drain-not-kept"
)

// loadDrains reads what is drained. What has had its time meanwhile is over.
func (a *Agent) loadDrains() {
	if err := a.drains.load(); err != nil {
		a.log.Error("it is not known what is drained here", "error", err)
	}
	a.expireDrains()
	a.reportDrains()
}

// watchDrains ends drains in time, and has a drained controller hold no VIP
// that another one can.
func (a *Agent) watchDrains(ctx context.Context) {
	ticker := time.NewTicker(drainInterval)
	defer ticker.Stop()
	var next time.Time
	pause := firstOffer
	for ticked(ctx, ticker) {
		a.expireDrains()
		a.reportDrains()
		if !a.drains.last() || !a.holdsAny() {
			next, pause = time.Time{}, firstOffer
			continue
		}
		if time.Now().After(next) && a.offerVIPs(ctx) {
			next, pause = time.Now().Add(pause), min(2*pause, lastOffer)
		}
	}
}

func (a *Agent) expireDrains() {
	if gone := a.drains.expire(); len(gone) > 0 {
		a.undrained(gone, "its time was over")
	}
}

// reportDrains writes what is not on disk yet, and says what is wrong with the
// file, both as findings and in words.
func (a *Agent) reportDrains() []string {
	var notes []string
	var unknown, unkept *status.Finding
	if err := a.drains.unknown(); err != nil {
		unknown = &status.Finding{
			Severity: status.Warning, Code: codeDrainUnknown, Subject: "controller " + a.opt.Controller,
			Text:   fmt.Sprintf("it is not known what is drained here, so every HAProxy leaves it as it is: %v", err),
			Remedy: fmt.Sprintf("say it anew: holdfast undrain %[1]s, or holdfast drain %[1]s", a.opt.Controller),
		}
	}
	if err := a.drains.keepLater(); err != nil {
		unkept = &status.Finding{
			Severity: status.Warning, Code: codeDrainUnkept, Subject: "controller " + a.opt.Controller,
			Text:   fmt.Sprintf("what is drained is in force, but not kept for the next start: %v", err),
			Remedy: "it is tried again every second",
		}
		notes = append(notes, unkept.Text)
	}
	a.report(codeDrainUnknown, unknown)
	a.report(codeDrainUnkept, unkept)
	return notes
}

// drained reports whether this whole controller is taken out for maintenance:
// then it takes a VIP only if nobody else can.
func (a *Agent) drained() bool { return a.drains.isWhole() }

func (a *Agent) holdsAny() bool {
	for _, o := range a.owners() {
		if o.holds() {
			return true
		}
	}
	return false
}

// stepDown hands over the VIPs that this controller holds, and has it be the
// last to take one from then on. It gives what the operator ought to know.
func (a *Agent) stepDown(ctx context.Context, reason string) []string {
	cause := a.opt.Controller + " is drained"
	if reason != "" {
		cause += ": " + reason
	}
	// The drain stands, whether the one who asked for it still listens or not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepDownTime)
	defer cancel()
	notes := a.restlessHere()
	err := a.drains.handOver(ctx, cause, false)
	a.drains.step()
	a.settlePriorities()
	if err != nil {
		notes = append(notes, err.Error())
	}
	return notes
}

// restlessHere gives what to say of VIPs that are held here, before they move.
func (a *Agent) restlessHere() []string {
	var notes []string
	for _, o := range a.owners() {
		if note := a.restless(o.view.Load().vip.Name); note != "" && o.holds() {
			notes = append(notes, note)
		}
	}
	return notes
}

// each gives the errors that err has joined, none for nil.
func each(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// offerVIPs hands over the VIPs that this drained controller has had to hold,
// if there is another one now that looks fit; it reports whether that was in vain.
// It is not where all that is left rests.
func (a *Agent) offerVIPs(ctx context.Context) bool {
	if !a.otherFit(ctx) {
		return false
	}
	inVain := slices.DeleteFunc(each(a.drains.handOver(ctx, a.opt.Controller+" is drained", true)), func(err error) bool {
		_, rests := errors.AsType[*restError](err)
		return rests
	})
	if len(inVain) > 0 {
		a.log.Info("a drained controller goes on holding a vip", "error", errors.Join(inVain...))
	}
	return len(inVain) > 0
}

// otherFit reports whether there is another controller that looks fit to take a VIP.
func (a *Agent) otherFit(ctx context.Context) bool {
	return slices.ContainsFunc(a.askOthers(ctx), func(answer status.Answer) bool {
		s := answer.Snapshot
		return s != nil && s.HAProxy.State == status.HAProxyRunning && !status.DrainedWhole(s.Drains)
	})
}

// asDrained gives router as it is while this controller is drained, or its own
// link is bad, or it is about to leave and gives way to whoever comes.
func (a *Agent) asDrained(router link.Options) link.Options {
	if a.lastHere.Load() {
		router.Priority = 1
		return router
	}
	router.Patient = a.limps.Load()
	if a.drains.last() || router.Patient {
		router.Priority = max(1, router.Priority/drainedDivisor)
	}
	return router
}

// settlePriorities gives each VRRP loop the priority that it should have now.
func (a *Agent) settlePriorities() {
	s := a.currentSpec()
	if s == nil {
		return
	}
	self, _ := s.Controller(a.opt.Controller)
	a.configuring.Lock()
	defer a.configuring.Unlock()
	for _, o := range a.owners() {
		next := *o.view.Load()
		before := next.router
		next.router = a.routerOptions(s, next.vip, self)
		if next.router.Priority == before.Priority && next.router.Patient == before.Patient {
			continue
		}
		if err := o.loop.Configure(next.router); err != nil {
			a.log.Error("the priority of a vip could not be changed", "vip", next.vip.Name, "error", err)
			continue
		}
		o.view.Store(&next)
	}
}

// checkAnswer is what HAProxys are told of a service on this host, by the name
// of its backend. The host's own name says nothing: who asks at this address
// asks for this controller, whatever a spec calls it.
func (a *Agent) checkAnswer(_, backend string) string {
	name, cookie := backend, false
	if s := a.currentSpec(); s != nil {
		for _, svc := range s.Services {
			if haproxy.BackendName(svc) == backend {
				name, cookie = svc.Name, svc.Mode != spec.TCP && svc.Affinity == spec.AffinityCookie
			}
		}
	}
	return a.drains.answer(name, cookie)
}
