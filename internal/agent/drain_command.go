package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"holdfast/internal/catalog"
	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

const (
	// maxReason is the longest reason of a drain, in bytes.
	maxReason = 500
	// stepDownTime bounds the handover of VIPs that is part of a drain.
	stepDownTime = 20 * time.Second
)

// wrongRequest refuses what does not make sense, whatever the cloud is like.
func wrongRequest(format string, args ...any) error {
	return &web.ControlError{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

// Drain takes a controller, or services on it, out for maintenance: this one,
// or another by its agent.
func (a *Agent) Drain(ctx context.Context, req web.DrainRequest) (web.DrainResult, error) {
	return a.drainAt(ctx, "drain", req, a.drainHere)
}

// Undrain puts a controller, or services on it, back.
func (a *Agent) Undrain(ctx context.Context, req web.DrainRequest) (web.DrainResult, error) {
	return a.drainAt(ctx, "undrain", req, a.undrainHere)
}

type drainFunc func(ctx context.Context, req web.DrainRequest, by string) (web.DrainResult, error)

// drainAt has the command carried out by the agent of the controller that req names.
func (a *Agent) drainAt(ctx context.Context, command string, req web.DrainRequest, here drainFunc) (web.DrainResult, error) {
	s := a.currentSpec()
	if s == nil {
		return web.DrainResult{}, errors.New("no spec is in force yet")
	}
	if err := checkDrain(s, req); err != nil {
		return web.DrainResult{}, err
	}
	if req.Controller == a.opt.Controller {
		return here(ctx, req, "")
	}
	var result web.DrainResult
	err := a.peers.Ask(ctx, req.Controller, command, req, &result)
	if e, ok := errors.AsType[*peer.Error](err); ok {
		err = drainUnasked(command, e)
	}
	return result, err
}

// drainUnasked says why another agent has not drained, or put back, its controller.
func drainUnasked(command string, e *peer.Error) error {
	what := "drained"
	if command == "undrain" {
		what = "put back"
	}
	if e.Refusal != "" {
		return &web.ControlError{Status: http.StatusConflict, Message: e.Refusal}
	}
	cause := e.Err
	if op, ok := errors.AsType[*net.OpError](e.Err); ok {
		cause = op.Err // without the addresses
	}
	if system, ok := errors.AsType[*os.SyscallError](cause); ok {
		cause = system.Err // without the name of the call
	}
	unasked := fmt.Sprintf("the agent of %s does not answer at %s: %v; only that agent can have it %s", e.Controller, e.Address, cause, what)
	if peer.NoAgent(e) {
		return &web.ControlError{Status: http.StatusBadGateway, Message: unasked + ": start it there with systemctl start holdfast"}
	}
	remedy := "if its host is down, no request goes there as it is"
	if command == "undrain" {
		remedy = "ask again when it answers"
	}
	return &web.ControlError{Status: http.StatusBadGateway, Message: unasked + "; " + remedy}
}

// drainCommand gives a command that other agents may ask for.
func (a *Agent) drainCommand(here drainFunc) peer.Handler {
	return peer.Handle(func(ctx context.Context, from string, req web.DrainRequest) (any, error) {
		if req.Controller != a.opt.Controller {
			return nil, fmt.Errorf("this is controller %s, not %q; are the specs of both the same?", a.opt.Controller, req.Controller)
		}
		if err := checkDrain(a.currentSpec(), req); err != nil {
			return nil, err
		}
		return here(ctx, req, from)
	})
}

// checkDrain refuses names that the spec does not have, and values out of range.
func checkDrain(s *spec.Spec, req web.DrainRequest) error {
	c, ok := s.Controller(req.Controller)
	switch {
	case !ok:
		return unknownController(s, req.Controller)
	case req.For < 0:
		return wrongRequest("a drain of %s is none", req.For)
	case len(req.Reason) > maxReason || !utf8.ValidString(req.Reason):
		return wrongRequest("the reason has %d bytes; write a text of at most %d", len(req.Reason), maxReason)
	}
	for _, name := range req.Services {
		if err := checkService(s, c, name); err != nil {
			return err
		}
	}
	return nil
}

// unknownController says that no controller is called name, and what to do.
func unknownController(s *spec.Spec, name string) error {
	for _, svc := range s.Services {
		for _, h := range svc.Hosts {
			if h.Name == name {
				return wrongRequest("%s is a host of %s, not a controller: it has no agent, and so cannot be drained by name; stop the service there, "+
					"and each HAProxy sends its requests elsewhere once a check has failed", name, svc.Name)
			}
		}
	}
	names := s.ControllerNames()
	if near, ok := catalog.Nearest(name, names); ok {
		return wrongRequest("no controller is called %q; did you mean %q? There are %s", name, near, strings.Join(names, ", "))
	}
	return wrongRequest("no controller is called %q; there are %s", name, strings.Join(names, ", "))
}

// checkService refuses a service that c does not have. One that has been
// drained and is not in the spec any more can be put back with all others.
func checkService(s *spec.Spec, c spec.Controller, name string) error {
	here := servicesOn(s, c)
	if slices.Contains(here, name) {
		return nil
	}
	for _, svc := range s.Services {
		if svc.Name != name {
			continue
		}
		var hosts []string
		for _, h := range svc.Hosts {
			hosts = append(hosts, h.Name)
		}
		return wrongRequest("service %s does not run on %s, but on %s", name, c.Name, strings.Join(hosts, ", "))
	}
	if near, ok := catalog.Nearest(name, here); ok {
		return wrongRequest("no service is called %q; did you mean %q?", name, near)
	}
	return wrongRequest("no service is called %q; on %s there are %s", name, c.Name, strings.Join(here, ", "))
}

// drainHere drains this controller. by is who passed the command on, "" for nobody.
//
// The intention is noted before the look at the others: of two controllers that
// are drained at the same moment at least one sees the other.
func (a *Agent) drainHere(ctx context.Context, req web.DrainRequest, by string) (web.DrainResult, error) {
	d := a.drains
	d.commands.Lock()
	defer d.commands.Unlock()
	s := a.currentSpec()
	self, _ := s.Controller(a.opt.Controller)
	entries := newEntries(req, d.now())
	d.intend(entries)
	defer d.intend(nil)
	services := req.Services
	if len(services) == 0 {
		services = servicesOn(s, self)
	}
	result := web.DrainResult{Controller: self.Name, Changed: true, Services: services, Notes: []string{}}
	notes, err := a.mayDrain(ctx, s, self, services, req)
	if err != nil {
		return result, err
	}
	result.Notes = append(result.Notes, notes...)
	d.put(entries)
	for _, e := range entries {
		a.journal.add(drainBegun(self.Name, e, by))
	}
	result.Notes = append(result.Notes, a.reportDrains()...)
	if len(req.Services) == 0 {
		result.Notes = append(result.Notes, a.stepDown(ctx, req.Reason)...)
	}
	result.Drains = d.inForce()
	return result, nil
}

func newEntries(req web.DrainRequest, now time.Time) []status.Drained {
	now = now.UTC().Truncate(time.Millisecond)
	one := status.Drained{Since: now, Reason: req.Reason}
	if req.For > 0 {
		one.Until = now.Add(req.For)
	}
	if len(req.Services) == 0 {
		return []status.Drained{one}
	}
	var entries []status.Drained
	for _, name := range req.Services {
		one.Service = name
		if findDrained(entries, name) < 0 {
			entries = append(entries, one)
		}
	}
	return entries
}

// mayDrain says why services cannot be drained here, or, by force, gives what
// speaks against it.
func (a *Agent) mayDrain(ctx context.Context, s *spec.Spec, self spec.Controller, services []string, req web.DrainRequest) (notes []string, err error) {
	whys, unseen := a.leftWithout(ctx, s, self, services)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("nothing was drained: %w", err)
	}
	refuse := func(why, remedy string) error {
		return &web.ControlError{Status: http.StatusConflict, Message: fmt.Sprintf(
			"%s not drained: %s; %s, or insist with --force", is(self.Name, req.Services), why, remedy)}
	}
	all := slices.Concat(whys, unseen)
	switch {
	case req.Force:
	case len(whys) > 0:
		return nil, refuse(strings.Join(all, "; "), "mend or undrain another host first")
	case len(unseen) > 0:
		return nil, refuse(strings.Join(all, "; "), "ask again when it does")
	}
	for _, why := range all {
		notes = append(notes, "by force: "+why)
	}
	return notes, nil
}

// leftWithout gives why services cannot be drained, those that are not yet; and
// which controllers may be draining the same, for all that is known.
func (a *Agent) leftWithout(ctx context.Context, s *spec.Spec, self spec.Controller, services []string) (whys, unseen []string) {
	have := a.drains.inForce()
	fresh := slices.DeleteFunc(slices.Clone(services), func(name string) bool { return covers(have, name) })
	if len(fresh) == 0 {
		return nil, nil
	}
	all, unseen := a.lookAround(ctx, s)
	return drainCheck{s, self, all}.without(fresh), unseen
}

// askOthers asks all other controllers for their Snapshots, now.
func (a *Agent) askOthers(ctx context.Context) []status.Answer {
	others := slices.DeleteFunc(a.controllers(), func(t web.Target) bool { return t.Name == a.opt.Controller })
	return a.gather(ctx, others)
}

// gather asks targets for their Snapshots, from this controller's own address.
func (a *Agent) gather(ctx context.Context, targets []web.Target) []status.Answer {
	var own spec.Controller
	if s := a.currentSpec(); s != nil {
		own, _ = s.Controller(a.opt.Controller)
	}
	return web.GatherFrom(ctx, own.Address, targets)
}

func seenBy(controller string, s *status.Snapshot) seen {
	one := seen{controller: controller, drains: s.Drains}
	if s.HAProxy.State == status.HAProxyRunning {
		one.services = s.Services
	}
	return one
}

// undrainHere puts back what is drained here: the services of req or, where it
// has none, all.
func (a *Agent) undrainHere(_ context.Context, req web.DrainRequest, by string) (web.DrainResult, error) {
	d := a.drains
	d.commands.Lock()
	defer d.commands.Unlock()
	if err := a.coveredByWhole(req.Services); err != nil {
		return web.DrainResult{}, err
	}
	known := d.unknown() == nil
	gone := d.end(func(e status.Drained) bool { return len(req.Services) == 0 || slices.Contains(req.Services, e.Service) })
	a.undrained(gone, undrainCause(req.Reason, by))
	self, _ := a.currentSpec().Controller(a.opt.Controller)
	result := web.DrainResult{
		Controller: self.Name, Changed: len(gone) > 0 || !known, Services: []string{}, Drains: d.inForce(), Notes: append([]string{}, a.reportDrains()...),
	}
	for _, name := range servicesOn(a.currentSpec(), self) {
		if covers(gone, name) && !covers(result.Drains, name) {
			result.Services = append(result.Services, name)
		}
	}
	return result, nil
}

// coveredByWhole refuses to put single services back while the whole controller is drained.
func (a *Agent) coveredByWhole(services []string) error {
	if len(services) == 0 || !a.drains.isWhole() {
		return nil
	}
	return &web.ControlError{Status: http.StatusConflict, Message: fmt.Sprintf(
		"%s stays drained, as all of %s is; holdfast undrain %s puts all back", inWords(services), a.opt.Controller, a.opt.Controller)}
}

// undrained says that entries are over, and lets this controller take VIPs as before.
func (a *Agent) undrained(entries []status.Drained, cause string) {
	for _, e := range entries {
		a.journal.add(drainEnded(a.opt.Controller, e, cause, a.drains.now()))
	}
	a.settlePriorities()
}

func undrainCause(reason, by string) string {
	switch {
	case reason != "":
		return reason
	case by != "":
		return "asked for at " + by
	}
	return "asked for"
}

// drainedWords names what is drained: "ctl1", "keystone and nova on ctl1".
func drainedWords(controller string, services []string) string {
	if len(services) == 0 {
		return controller
	}
	return inWords(services) + " on " + controller
}

// is begins a sentence on what is drained: "ctl1 is", "keystone and nova on ctl1 are".
func is(controller string, services []string) string {
	if len(services) > 1 {
		return drainedWords(controller, services) + " are"
	}
	return drainedWords(controller, services) + " is"
}

func drainSubject(controller string, e status.Drained) string {
	if e.Service == "" {
		return "controller " + controller
	}
	return status.HostSubject(e.Service, controller)
}

func drainBegun(controller string, e status.Drained, by string) status.Event {
	text := "is drained: it gets no new requests"
	if !e.Until.IsZero() {
		text += ", until " + e.Until.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	var named []string
	if e.Service != "" {
		named = []string{e.Service}
	}
	return status.Event{
		Kind: status.EventDrainBegun, Subject: drainSubject(controller, e), Cause: undrainCause(e.Reason, by),
		Text: drainedWords(controller, named) + " " + text,
	}
}

func drainEnded(controller string, e status.Drained, cause string, now time.Time) status.Event {
	var named []string
	if e.Service != "" {
		named = []string{e.Service}
	}
	return status.Event{
		Kind: status.EventDrainEnded, Subject: drainSubject(controller, e), Cause: cause, Took: max(0, now.Sub(e.Since)),
		Text: drainedWords(controller, named) + " is drained no more",
	}
}
