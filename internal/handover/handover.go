package handover

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

// Move moves VIPs, wherever they are. What is refused is a *web.ControlError; what was
// moved before it is in the result.
func (m *Moves) Move(ctx context.Context, req web.HandoverRequest) (web.HandoverResult, error) {
	result := web.HandoverResult{Handovers: []web.Handover{}}
	named, err := m.named(req)
	if err != nil {
		return result, err
	}
	for _, v := range named {
		one, err := m.move(ctx, v, req)
		if err != nil {
			return result, web.Refused("%v", err)
		}
		result.Handovers = append(result.Handovers, one)
	}
	return result, nil
}

// named gives the VIPs that req names, which must be there.
func (m *Moves) named(req web.HandoverRequest) ([]VIP, error) {
	s := m.opt.Spec()
	if s == nil {
		return nil, errors.New("no spec is in force yet")
	}
	if _, known := s.Controller(req.To); req.To != "" && !known {
		return nil, web.Wrong("no controller is called %q; name one of %s", req.To, strings.Join(s.ControllerNames(), ", "))
	}
	var named []VIP
	var names []string
	for _, v := range m.opt.VIPs() {
		names = append(names, v.Name)
		if req.VIP == "" || req.VIP == v.Name {
			named = append(named, v)
		}
	}
	announced := announcedNames(s, req.VIP)
	switch {
	case len(named) == 0 && len(announced) > 0:
		return nil, web.Wrong("vip %s is announced by BGP by every controller that is well, so there is nothing to hand over; to send clients away from one, drain it", strings.Join(announced, ", "))
	case len(named) == 0:
		return nil, web.Wrong("no vip is called %q; name one of %s", req.VIP, strings.Join(names, ", "))
	}
	return named, nil
}

// announcedNames gives the VIPs that are announced by BGP; only the one called name, if that is not empty.
func announcedNames(s *spec.Spec, name string) []string {
	var all []string
	for _, v := range s.Announced() {
		if name == "" || v.Name == name {
			all = append(all, v.Name)
		}
	}
	return all
}

// move moves v from whoever holds it.
func (m *Moves) move(ctx context.Context, v VIP, req web.HandoverRequest) (web.Handover, error) {
	holder := v.Loop.Stats().Holder
	if v.Holds() {
		holder = m.opt.Controller
	}
	switch holder {
	case "":
		return web.Handover{}, fmt.Errorf("nobody holds vip %s at the moment, as far as %s knows", v.Name, m.opt.Controller)
	case req.To:
		return web.Handover{VIP: v.Name, From: holder, To: holder, Kept: true}, nil
	case m.opt.Controller:
		return m.give(ctx, v, req)
	}
	req.VIP = v.Name
	var result web.HandoverResult
	if err := m.opt.Ask(ctx, holder, "handover", req, &result); err != nil {
		if e, ok := errors.AsType[*peer.Error](err); ok && e.Refusal != "" {
			return web.Handover{}, errors.New(e.Refusal) // which names the VIP and its holder
		}
		return web.Handover{}, fmt.Errorf("vip %s is held by %s: %w", v.Name, holder, err)
	}
	if len(result.Handovers) != 1 {
		return web.Handover{}, fmt.Errorf("%s has no vip %s; are the specs of both the same?", holder, v.Name)
	}
	return result.Handovers[0], nil
}

// moveAsked is the command of another agent: it moves only what is held here.
func (m *Moves) moveAsked(ctx context.Context, from string, req web.HandoverRequest) (any, error) {
	req.Cause = cmp.Or(req.Cause, "asked for by "+from)
	req.By = web.CalledBy(req.By, from)
	named, err := m.named(req)
	if err != nil {
		return nil, err
	}
	result := web.HandoverResult{}
	for _, v := range named {
		if !v.Holds() {
			return nil, fmt.Errorf("%s does not hold vip %s any more", m.opt.Controller, v.Name)
		}
		one, err := m.give(ctx, v, req)
		if err != nil {
			return nil, err
		}
		result.Handovers = append(result.Handovers, one)
	}
	return result, nil
}

// GiveAll gives away every VIP that this controller holds, and gives what is to be
// said of these moves. With waits set those that have moved often come later, and
// nothing is tried where no other controller looks fit; neither is an error.
func (m *Moves) GiveAll(ctx context.Context, req web.HandoverRequest, waits bool) (warnings []string, err error) {
	if waits && !m.otherFit(ctx) {
		return nil, nil
	}
	var errs []error
	for _, v := range m.held() {
		if waits && m.rest(v.Name, time.Now()) > 0 {
			continue
		}
		h, err := m.give(ctx, v, req)
		if h.Warning != "" {
			warnings = append(warnings, h.Warning)
		}
		errs = append(errs, err)
	}
	return warnings, errors.Join(errs...)
}

// otherFit reports whether there is another controller that looks fit to take a VIP.
func (m *Moves) otherFit(ctx context.Context) bool {
	return slices.ContainsFunc(m.opt.Gather(ctx, m.others()), func(answer cloud.Answer) bool {
		s := answer.Snapshot
		return s != nil && s.HAProxy.State == status.HAProxyRunning && !status.DrainedWhole(s.Drains)
	})
}

// give gives v away: to req.To, or to the best controller that takes
// it: by what they reach, and then in the order of preference. One that would lose
// clients a service takes it by force only. Those whose agent does not answer
// come last: they may be ones that run keepalived, to which plain adverts speak. With
// an error comes what there is to be said of the move all the same, and no more.
func (m *Moves) give(ctx context.Context, v VIP, req web.HandoverRequest) (web.Handover, error) {
	none := web.Handover{Warning: m.restless(v.Name)}
	done, err := m.begin(v.Name)
	if err != nil {
		return none, err
	}
	defer done()
	var errs []error
	silent := map[string]bool{} // the agents that did not answer
	own := m.opt.Reach()
	views, _ := m.askReach(ctx, m.candidates(v.VIP, req), reachTimeout)
	for _, to := range m.takers(v.VIP, req, own, views) {
		if to.plain != silent[to.Name] {
			continue
		}
		var h web.Handover
		if err = lostBy(own, views[to.Name]); err == nil || to.request.Force {
			h, err = m.offer(ctx, v, to)
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
		return none, fmt.Errorf("vip %s stays on %s: there is no other controller", v.Name, m.opt.Controller)
	}
	err = fmt.Errorf("vip %s stays on %s: %w", v.Name, m.opt.Controller, inOneLine(errs))
	m.opt.Event(status.Event{Kind: status.EventHandoverFailed, Subject: "vip " + v.Name, Text: err.Error(), Cause: req.Cause, By: req.By})
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
	apart   bool // it holds the VIP, too, see Concede
}

// candidates gives the controllers that may take v, in its order.
func (m *Moves) candidates(v spec.VIP, req web.HandoverRequest) []spec.Controller {
	s := m.opt.Spec()
	return slices.DeleteFunc(s.Prefers(v, s.Others(m.opt.Controller)), func(c spec.Controller) bool {
		return req.To != "" && c.Name != req.To
	})
}

// takers gives the attempts to have another controller take v, in order:
// those by force after those without, and last those without a word, for agents
// that did not answer; in each the best first, by what they say that they reach.
func (m *Moves) takers(v spec.VIP, req web.HandoverRequest, own reach.View, views map[string]reach.View) []taker {
	gentle := req
	gentle.Force = false
	var asked, forced, plain []taker
	candidates := map[string]spec.Controller{}
	var names []string
	for _, c := range m.candidates(v, req) {
		names = append(names, c.Name)
		candidates[c.Name] = c
	}
	for _, name := range reach.Best(own, names, views) {
		c := candidates[name]
		asked = append(asked, taker{Controller: c, request: gentle})
		if req.Force {
			forced = append(forced, taker{Controller: c, request: req})
		}
		plain = append(plain, taker{Controller: c, request: req, plain: true})
	}
	return slices.Concat(asked, forced, plain)
}
