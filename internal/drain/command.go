package drain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"holdfast/internal/peer"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// maxReason is the longest reason of a drain, in bytes.
const maxReason = 500

// Drain takes a controller, or services on it, out for maintenance: this one,
// or another by its agent. What is refused is a *web.ControlError.
func (d *Drains) Drain(ctx context.Context, req web.DrainRequest) (web.DrainResult, error) {
	return d.at(ctx, "drain", req, d.drain)
}

// Undrain puts a controller, or services on it, back.
func (d *Drains) Undrain(ctx context.Context, req web.DrainRequest) (web.DrainResult, error) {
	return d.at(ctx, "undrain", req, d.undrain)
}

// Commands gives what the agents of other controllers may ask for, by name.
func (d *Drains) Commands() map[string]peer.Handler {
	return map[string]peer.Handler{"drain": d.asked(d.drain), "undrain": d.asked(d.undrain), "drained": d.told()}
}

// A command is carried out on this controller.
type command func(ctx context.Context, req web.DrainRequest) (web.DrainResult, error)

// at has the command carried out by the agent of the controller that req names.
func (d *Drains) at(ctx context.Context, name string, req web.DrainRequest, here command) (web.DrainResult, error) {
	s := d.opt.Spec()
	if s == nil {
		return web.DrainResult{}, errors.New("no spec is in force yet")
	}
	if err := check(s, req); err != nil {
		return web.DrainResult{}, err
	}
	if req.Controller == d.opt.Controller {
		return here(ctx, req)
	}
	var result web.DrainResult
	err := d.opt.Ask(ctx, req.Controller, name, req, &result)
	if e, ok := errors.AsType[*peer.Error](err); ok {
		err = unasked(name, e)
	}
	return result, err
}

// unasked says why another agent has not drained, or put back, its controller.
func unasked(command string, e *peer.Error) error {
	what, remedy := "drained", "if its host is down, no request goes there as it is"
	if command == "undrain" {
		what, remedy = "put back", "ask again when it answers"
	}
	if e.Refusal != "" {
		return web.Refused("%s", e.Refusal)
	}
	cause := e.Err
	if op, ok := errors.AsType[*net.OpError](e.Err); ok {
		cause = op.Err // without the addresses
	}
	if system, ok := errors.AsType[*os.SyscallError](cause); ok {
		cause = system.Err // without the name of the call
	}
	text := fmt.Sprintf("the agent of %s does not answer at %s: %v; only that agent can have it %s", e.Controller, e.Address, cause, what)
	if peer.NoAgent(e) {
		return web.Unanswered("%s: start it there with systemctl start holdfast", text)
	}
	return web.Unanswered("%s; %s", text, remedy)
}

// asked has a command carried out that comes from another agent.
func (d *Drains) asked(here command) peer.Handler {
	return peer.Handle(func(ctx context.Context, from string, req web.DrainRequest) (any, error) {
		if req.Controller != d.opt.Controller {
			return nil, fmt.Errorf("this is controller %s, not %q; are the specs of both the same?", d.opt.Controller, req.Controller)
		}
		if err := check(d.opt.Spec(), req); err != nil {
			return nil, err
		}
		req.By = cmp.Or(web.CalledBy(req.By, from), web.SomebodyOn(from))
		return here(ctx, req)
	})
}

// drain drains this controller.
//
// The intention is noted before the look at the others: of two controllers that
// are drained at the same moment at least one sees the other.
func (d *Drains) drain(ctx context.Context, req web.DrainRequest) (web.DrainResult, error) {
	d.commands.Lock()
	defer d.commands.Unlock()
	s := d.opt.Spec()
	self, _ := s.Controller(d.opt.Controller)
	entries := newEntries(req, d.state.now())
	d.state.intend(entries)
	defer d.state.intend(nil)
	services := req.Services
	if len(services) == 0 {
		services = servicesOn(s, self)
	}
	result := web.DrainResult{Controller: self.Name, Changed: true, Services: services, Notes: []string{}}
	notes, err := d.may(ctx, s, self, services, req)
	if err != nil {
		return result, err
	}
	result.Notes = append(result.Notes, notes...)
	d.state.put(entries)
	for _, e := range entries {
		d.opt.Event(begun(self.Name, e))
	}
	d.exchanges.changed(d.state.now())
	d.tell(ctx)
	result.Notes = append(result.Notes, d.report()...)
	if len(req.Services) == 0 {
		result.Notes = append(result.Notes, d.stepDown(ctx, req.Reason, req.By)...)
	}
	result.Drains = d.state.inForce()
	return result, nil
}

func newEntries(req web.DrainRequest, now time.Time) []status.Drained {
	now = now.UTC().Truncate(time.Millisecond)
	one := status.Drained{Since: now, Reason: req.Reason, By: req.By}
	if req.For > 0 {
		one.Until = now.Add(req.For)
	}
	if len(req.Services) == 0 {
		return []status.Drained{one}
	}
	var entries []status.Drained
	for _, name := range req.Services {
		one.Service = name
		if find(entries, name) < 0 {
			entries = append(entries, one)
		}
	}
	return entries
}

// undrain puts back what is drained here: the services of req or, where it has none, all.
func (d *Drains) undrain(ctx context.Context, req web.DrainRequest) (web.DrainResult, error) {
	d.commands.Lock()
	defer d.commands.Unlock()
	if len(req.Services) > 0 && d.state.isWhole() {
		return web.DrainResult{}, web.Refused("%s stays drained, as all of %s is; holdfast undrain %[2]s puts all back", status.And(req.Services), d.opt.Controller)
	}
	known := d.state.unknown() == nil
	gone := d.state.end(func(e status.Drained) bool { return len(req.Services) == 0 || slices.Contains(req.Services, e.Service) })
	d.over(gone, req.Reason, req.By)
	d.tell(ctx)
	s := d.opt.Spec()
	self, _ := s.Controller(d.opt.Controller)
	result := web.DrainResult{
		Controller: self.Name, Changed: len(gone) > 0 || !known, Services: []string{}, Drains: d.state.inForce(), Notes: append([]string{}, d.report()...),
	}
	for _, name := range servicesOn(s, self) {
		if covers(gone, name) && !covers(result.Drains, name) {
			result.Services = append(result.Services, name)
		}
	}
	return result, nil
}

// named names what is drained: "ctl1", "keystone and nova on ctl1". A service called
// "" stands for the whole controller.
func named(controller string, services ...string) string {
	if len(services) == 0 || services[0] == "" {
		return controller
	}
	return status.And(services) + " on " + controller
}

func begun(controller string, e status.Drained) status.Event {
	text := named(controller, e.Service) + " is drained: it gets no new requests"
	if !e.Until.IsZero() {
		text += ", until " + e.Until.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	return status.Event{Kind: status.EventDrainBegun, Subject: subject(controller, e), Cause: e.Reason, By: e.By, Text: text}
}

func ended(controller string, e status.Drained, cause, by string, now time.Time) status.Event {
	return status.Event{
		Kind: status.EventDrainEnded, Subject: subject(controller, e), Cause: cause, By: by, Took: max(0, now.Sub(e.Since)),
		Text: named(controller, e.Service) + " is drained no more",
	}
}

func subject(controller string, e status.Drained) string {
	if e.Service == "" {
		return "controller " + controller
	}
	return status.HostSubject(e.Service, controller)
}
