package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/peer"
	"holdfast/internal/reach"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// Handover moves VIPs, wherever they are, as planned work. The error is for
// people; what was moved before it is in the result.
func (a *Agent) Handover(ctx context.Context, req web.HandoverRequest) (web.HandoverResult, error) {
	result := web.HandoverResult{Handovers: []web.Handover{}}
	owners, err := a.ownersOf(req)
	if err != nil {
		return result, err
	}
	for _, o := range owners {
		one, err := a.handOver(ctx, o, req)
		if err != nil {
			return result, web.Refused("%v", err)
		}
		result.Handovers = append(result.Handovers, one)
	}
	return result, nil
}

// ownersOf gives what req names, which must be there.
func (a *Agent) ownersOf(req web.HandoverRequest) ([]*owner, error) {
	s := a.currentSpec()
	if s == nil {
		return nil, errors.New("no spec is in force yet")
	}
	if _, known := s.Controller(req.To); req.To != "" && !known {
		return nil, web.Wrong("no controller is called %q; name one of %s", req.To, strings.Join(s.ControllerNames(), ", "))
	}
	var owners []*owner
	var names []string
	for _, o := range a.owners() {
		name := o.view.Load().vip.Name
		names = append(names, name)
		if req.VIP == "" || req.VIP == name {
			owners = append(owners, o)
		}
	}
	if len(owners) == 0 {
		return nil, web.Wrong("no vip is called %q; name one of %s", req.VIP, strings.Join(names, ", "))
	}
	return owners, nil
}

// handOver moves the VIP of o from whoever holds it.
func (a *Agent) handOver(ctx context.Context, o *owner, req web.HandoverRequest) (web.Handover, error) {
	name := o.view.Load().vip.Name
	holder := o.loop.Stats().Holder
	if o.holds() {
		holder = a.opt.Controller
	}
	switch holder {
	case "":
		return web.Handover{}, fmt.Errorf("nobody holds vip %s at the moment, as far as %s knows", name, a.opt.Controller)
	case req.To:
		return web.Handover{VIP: name, From: holder, To: holder, Kept: true}, nil
	case a.opt.Controller:
		return a.give(ctx, o, req)
	}
	req.VIP = name
	var result web.HandoverResult
	if err := a.peers.Ask(ctx, holder, "handover", req, &result); err != nil {
		if e, ok := errors.AsType[*peer.Error](err); ok && e.Refusal != "" {
			return web.Handover{}, errors.New(e.Refusal) // which names the VIP and its holder
		}
		return web.Handover{}, fmt.Errorf("vip %s is held by %s: %w", name, holder, err)
	}
	if len(result.Handovers) != 1 {
		return web.Handover{}, fmt.Errorf("%s has no vip %s; are the specs of both the same?", holder, name)
	}
	return result.Handovers[0], nil
}

// handoverHere is the command of another agent: it moves only what is held here.
func (a *Agent) handoverHere(ctx context.Context, from string, req web.HandoverRequest) (any, error) {
	req.Cause = cmp.Or(req.Cause, "asked for by "+from)
	owners, err := a.ownersOf(req)
	if err != nil {
		return nil, err
	}
	result := web.HandoverResult{}
	for _, o := range owners {
		if !o.holds() {
			return nil, fmt.Errorf("%s does not hold vip %s any more", a.opt.Controller, o.view.Load().vip.Name)
		}
		one, err := a.give(ctx, o, req)
		if err != nil {
			return nil, err
		}
		result.Handovers = append(result.Handovers, one)
	}
	return result, nil
}

// giveAll gives away every VIP that this controller holds, and gives what is to be
// said of these moves. With waits set those that have moved often come later, and
// nothing is tried where no other controller looks fit.
func (a *Agent) giveAll(ctx context.Context, req web.HandoverRequest, waits bool) (warnings []string, err error) {
	if waits && !a.otherFit(ctx) {
		return nil, nil
	}
	var errs []error
	for _, o := range a.owners() {
		if !o.holds() || waits && a.rest(o.view.Load().vip.Name, time.Now()) > 0 {
			continue
		}
		h, err := a.give(ctx, o, req)
		if h.Warning != "" {
			warnings = append(warnings, h.Warning)
		}
		errs = append(errs, err)
	}
	return warnings, errors.Join(errs...)
}

// otherFit reports whether there is another controller that looks fit to take a VIP.
func (a *Agent) otherFit(ctx context.Context) bool {
	others := slices.DeleteFunc(a.currentSpec().ControllerNames(), func(name string) bool { return name == a.opt.Controller })
	return slices.ContainsFunc(a.gather(ctx, others), func(answer cloud.Answer) bool {
		s := answer.Snapshot
		return s != nil && s.HAProxy.State == status.HAProxyRunning && !status.DrainedWhole(s.Drains)
	})
}

// give gives the VIP of o away: to req.To, or to the best controller that takes
// it: by what they reach, and then in the order of preference. One that would lose
// clients a service takes it by force only. Those whose agent does not answer
// come last: they may be ones that run keepalived, to which plain adverts speak. With
// an error comes what there is to be said of the move all the same, and no more.
func (a *Agent) give(ctx context.Context, o *owner, req web.HandoverRequest) (web.Handover, error) {
	name := o.view.Load().vip.Name
	none := web.Handover{Warning: a.restless(name)}
	done, err := a.moves.begin(name)
	if err != nil {
		return none, err
	}
	defer done()
	var errs []error
	silent := map[string]bool{} // the agents that did not answer
	own := a.ownReach()
	views, _ := a.askReach(ctx, a.candidates(req), reachTimeout)
	for _, to := range a.takers(req, own, views) {
		if to.plain != silent[to.Name] {
			continue
		}
		var h web.Handover
		if err = lostBy(own, views[to.Name]); err == nil || to.request.Force {
			h, err = a.giveTo(ctx, o, to.Controller, to.request, to.plain)
		}
		if err == nil {
			h.Warning = none.Warning
			return h, nil
		}
		if silent[to.Name] = peer.Unanswered(err); !silent[to.Name] && !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return none, fmt.Errorf("vip %s stays on %s: there is no other controller", name, a.opt.Controller)
	}
	err = fmt.Errorf("vip %s stays on %s: %w", name, a.opt.Controller, inOneLine(errs))
	a.journal.add(status.Event{Kind: status.EventHandoverFailed, Subject: "vip " + name, Text: err.Error(), Cause: req.Cause})
	return none, err
}

// inOneLine joins errors with "; ".
func inOneLine(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return fmt.Errorf("%w; %w", errs[0], inOneLine(errs[1:]))
}

// A taker is a controller that may take a VIP, and how it is asked to.
type taker struct {
	spec.Controller
	request web.HandoverRequest
	plain   bool // without a word with its agent
}

// candidates gives the controllers that may take a VIP, in the order of preference.
func (a *Agent) candidates(req web.HandoverRequest) []spec.Controller {
	return slices.DeleteFunc(a.otherControllers(a.currentSpec()), func(c spec.Controller) bool {
		return req.To != "" && c.Name != req.To
	})
}

// takers gives the attempts to have another controller take a VIP, in order:
// those by force after those without, and last those without a word, for agents
// that did not answer; in each the best first, by what they say that they reach.
func (a *Agent) takers(req web.HandoverRequest, own reach.View, views map[string]reach.View) []taker {
	gentle := req
	gentle.Force = false
	var asked, forced, plain []taker
	candidates := a.candidates(req)
	for _, name := range reach.Best(own, a.currentSpec().ControllerNames(), views) {
		i := slices.IndexFunc(candidates, func(c spec.Controller) bool { return c.Name == name })
		if i < 0 {
			continue
		}
		c := candidates[i]
		asked = append(asked, taker{c, gentle, false})
		if req.Force {
			forced = append(forced, taker{c, req, false})
		}
		plain = append(plain, taker{c, req, true})
	}
	return slices.Concat(asked, forced, plain)
}
