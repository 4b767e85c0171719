package drain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"context"
	"holdfast/internal/catalog"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/web"
	"unicode/utf8"
)

// A seen is what one controller says of itself, and its HAProxy of the services.
type seen struct {
	controller string
	// services is nil when its HAProxy does not run: then it says nothing.
	services []status.Service
	drains   []status.Drained
	vips     []status.VIP
}

// A look finds services that a drain would leave without a host. It
// decides by what it is given, and asks nobody.
type look struct {
	spec *spec.Spec
	self spec.Controller
	all  []seen // by every controller that answers, this one too
}

// without gives, for each of services that the drain of self would leave
// without a host, why the others are none. Each HAProxy must have another host
// that is up for it and that no agent drains, since any of them may get the
// requests next. One that finds the service down on self has nothing to lose.
func (c look) without(services []string) []string {
	if !slices.ContainsFunc(c.all, func(s seen) bool { return s.services != nil }) {
		return []string{"no HAProxy tells how the services are"}
	}
	var whys []string
	names := map[string][]string{}
	for _, svc := range c.spec.Services {
		if !slices.Contains(services, svc.Name) {
			continue
		}
		why := c.leftWithout(svc)
		if why == "" {
			continue
		}
		if names[why] == nil {
			whys = append(whys, why)
		}
		names[why] = append(names[why], svc.Name)
	}
	for i, why := range whys {
		whys[i] = fmt.Sprintf("%s would be left without a host: %s", status.And(names[why]), why)
	}
	return whys
}

// leftWithout says why svc has no other host, "" when it has.
func (c look) leftWithout(svc spec.Service) string {
	for _, s := range c.all {
		states := map[string]status.ServiceState{}
		for _, told := range s.services {
			if told.Name == svc.Name {
				for _, h := range told.Hosts {
					states[h.Name] = h.State
				}
			}
		}
		why, other := c.judge(svc, states)
		if s.services == nil || other || why == "" {
			continue
		}
		if s.controller != c.self.Name {
			why += ", as " + s.controller + " sees it"
		}
		return why
	}
	return ""
}

// judge says what keeps the other hosts of svc from taking over, and whether
// one can, by the states that one HAProxy has. It says nothing when the host
// that is to be drained is down as it is.
func (c look) judge(svc spec.Service, states map[string]status.ServiceState) (why string, other bool) {
	var parts []string
	for _, h := range svc.Hosts {
		state := states[h.Name]
		switch {
		case h.Address == c.self.Address && state == status.Down:
			return "", false
		case h.Address == c.self.Address:
		case c.drained(h.Address, svc.Name):
			parts = append(parts, h.Name+" is drained")
		case state == status.Up:
			other = true
		case state == status.Drain:
			parts = append(parts, h.Name+" is drained")
		case state == status.Down:
			parts = append(parts, h.Name+" is down")
		default:
			parts = append(parts, h.Name+" is not checked yet")
		}
	}
	if len(parts) == 0 {
		return "it has no other", other
	}
	return strings.Join(parts, ", "), other
}

// drained reports whether the agent at address says that it drains service.
func (c look) drained(address netip.Addr, service string) bool {
	for _, controller := range c.spec.Controllers {
		if controller.Address != address {
			continue
		}
		for _, s := range c.all {
			if s.controller == controller.Name && covers(s.drains, service) {
				return true
			}
		}
	}
	return false
}

// servicesOn gives the names of the services with a host at the address of c.
func servicesOn(s *spec.Spec, c spec.Controller) []string {
	names := []string{}
	for _, svc := range s.Services {
		if slices.ContainsFunc(svc.Hosts, func(h spec.Host) bool { return h.Address == c.Address }) {
			names = append(names, svc.Name)
		}
	}
	return names
}

// check refuses names that the spec does not have, and values out of range.
func check(s *spec.Spec, req web.DrainRequest) error {
	c, ok := s.Controller(req.Controller)
	switch {
	case !ok:
		return unknownController(s, req.Controller)
	case req.For < 0:
		return web.Wrong("a drain of %s is none", req.For)
	case len(req.Reason) > maxReason || !utf8.ValidString(req.Reason):
		return web.Wrong("the reason has %d bytes; write a text of at most %d", len(req.Reason), maxReason)
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
				return web.Wrong("%s is a host of %s, not a controller: it has no agent, and so cannot be drained by name; stop the service there, "+
					"and each HAProxy sends its requests elsewhere once a check has failed", name, svc.Name)
			}
		}
	}
	names := s.ControllerNames()
	if near, ok := catalog.Nearest(name, names); ok {
		return web.Wrong("no controller is called %q; did you mean %q? There are %s", name, near, strings.Join(names, ", "))
	}
	return web.Wrong("no controller is called %q; there are %s", name, strings.Join(names, ", "))
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
		return web.Wrong("service %s does not run on %s, but on %s", name, c.Name, strings.Join(hosts, ", "))
	}
	if near, ok := catalog.Nearest(name, here); ok {
		return web.Wrong("no service is called %q; did you mean %q?", name, near)
	}
	return web.Wrong("no service is called %q; on %s there are %s", name, c.Name, strings.Join(here, ", "))
}

// may says why services cannot be drained here, or, by force, gives what speaks
// against it.
func (d *Drains) may(ctx context.Context, s *spec.Spec, self spec.Controller, services []string, req web.DrainRequest) (notes []string, err error) {
	whys, unseen := d.leftWithout(ctx, s, self, services, len(req.Services) == 0)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("nothing was drained: %w", err)
	}
	all := slices.Concat(whys, unseen)
	if len(all) > 0 && !req.Force {
		remedy := "mend or undrain another host first"
		if len(whys) == 0 {
			remedy = "ask again when it does"
		}
		are := "is"
		if len(req.Services) > 1 {
			are = "are"
		}
		return nil, web.Refused("%s %s not drained: %s; %s, or insist with --force", named(self.Name, req.Services...), are, strings.Join(all, "; "), remedy)
	}
	for _, why := range all {
		notes = append(notes, "by force: "+why)
	}
	return notes, nil
}

// leftWithout gives why services cannot be drained, those that are not yet, and the whole
// controller where it is to be; and which controllers may be draining the same, for all that is known.
func (d *Drains) leftWithout(ctx context.Context, s *spec.Spec, self spec.Controller, services []string, whole bool) (whys, unseen []string) {
	have := d.state.inForce()
	fresh := slices.DeleteFunc(slices.Clone(services), func(name string) bool { return covers(have, name) })
	leaves := whole && !status.DrainedWhole(have) && len(s.Announced()) > 0
	if len(fresh) == 0 && !leaves {
		return nil, nil
	}
	all, unseen := d.lookAround(ctx, s)
	l := look{s, self, all}
	if len(fresh) > 0 {
		whys = l.without(fresh)
	}
	if leaves {
		whys = append(whys, l.unannounced()...)
	}
	return whys, unseen
}

// unannounced gives, for each VIP that self announces by BGP and nobody else would, why: unlike one
// of VRRP it is withdrawn all the same.
func (c look) unannounced() []string {
	announces := func(s seen, v spec.VIP) bool {
		return slices.ContainsFunc(s.vips, func(is status.VIP) bool { return is.Name == v.Name && is.Announced == status.Announced })
	}
	var whys []string
	for _, v := range c.spec.Announced() {
		here, other := false, false
		for _, s := range c.all {
			if s.controller == c.self.Name {
				here = announces(s, v)
			} else {
				other = other || announces(s, v) && !status.DrainedWhole(s.drains)
			}
		}
		if here && !other {
			whys = append(whys, "vip "+v.Name+" would be announced by nobody: every other controller is drained, or does not announce it")
		}
	}
	return whys
}
