package drain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// A seen is what one controller says of itself, and its HAProxy of the services.
type seen struct {
	controller string
	// services is nil when its HAProxy does not run: then it says nothing.
	services []status.Service
	drains   []status.Drained
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
