package drain

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/web"
)

// drainSpec is of three controllers, with a service that runs elsewhere and one
// that runs on two of them.
const drainSpec = `cloud: test
vips: [{name: api, addresses: [192.0.2.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 7}}]
controllers: [{name: ctl1, address: 192.0.2.1}, {name: ctl2, address: 192.0.2.2}, {name: ctl3, address: 192.0.2.3}]
services:
  keystone: {}
  nova: {}
  glance: {hosts: [{name: ctl1, address: 192.0.2.1}, {name: images2, address: 192.0.2.2}]}
  designate: {hosts: [{name: dns1, address: 192.0.2.21}]}
`

func mustParse(t *testing.T, text string) *spec.Spec {
	t.Helper()
	s, findings := spec.Parse("test.yaml", []byte(text))
	if s == nil {
		t.Fatal(findings)
	}
	return s
}

// views gives what HAProxys see: all is up but for "HAPROXY SERVICE HOST STATE".
func views(s *spec.Spec, but ...string) []seen {
	var all []seen
	for _, c := range s.Controllers {
		one := seen{controller: c.Name, services: []status.Service{}}
		for _, svc := range s.Services {
			told := status.Service{Name: svc.Name}
			for _, h := range svc.Hosts {
				state := status.Up
				for _, b := range but {
					w := strings.Fields(b)
					if (w[0] == c.Name || w[0] == "*") && (w[1] == svc.Name || w[1] == "*") && w[2] == h.Name {
						state = status.ServiceState(w[3])
					}
				}
				told.Hosts = append(told.Hosts, status.Host{Name: h.Name, State: state})
			}
			one.services = append(one.services, told)
		}
		all = append(all, one)
	}
	return all
}

// TestLeftWithout drains ctl1 in clouds of many conditions.
func TestLeftWithout(t *testing.T) {
	s := mustParse(t, drainSpec)
	self, _ := s.Controller("ctl1")
	drained := func(all []seen, controller, service string) []seen {
		for i := range all {
			if all[i].controller == controller {
				all[i].drains = []status.Drained{{Service: service}}
			}
		}
		return all
	}
	blind := func(all []seen, controllers ...string) []seen {
		for i := range all {
			if slices.Contains(controllers, all[i].controller) {
				all[i].services = nil
			}
		}
		return all
	}
	for _, tt := range []struct {
		name     string
		services string
		all      []seen
		want     []string
	}{
		{"all is well", "", views(s), nil},
		{"one of two others is down", "keystone", views(s, "* keystone ctl2 down"), nil},
		{
			"both others are down", "keystone nova", views(s, "* * ctl2 down", "* * ctl3 down"),
			[]string{"keystone and nova would be left without a host: ctl2 is down, ctl3 is down"},
		},
		{
			"one is down, the other drained by its agent", "keystone", drained(views(s, "* * ctl2 down"), "ctl3", ""),
			[]string{"keystone would be left without a host: ctl2 is down, ctl3 is drained"},
		},
		{
			"the other drains that service", "keystone nova", drained(views(s, "* * ctl2 down"), "ctl3", "nova"),
			[]string{"nova would be left without a host: ctl2 is down, ctl3 is drained"},
		},
		{
			"drained for HAProxy, whatever its agent says", "keystone", views(s, "* * ctl2 drain", "* * ctl3 drain"),
			[]string{"keystone would be left without a host: ctl2 is drained, ctl3 is drained"},
		},
		{
			"not checked yet", "keystone", views(s, "* * ctl2 unknown", "* * ctl3 unknown"),
			[]string{"keystone would be left without a host: ctl2 is not checked yet, ctl3 is not checked yet"},
		},
		{
			"a service on two", "", drained(views(s), "ctl2", ""),
			[]string{"glance would be left without a host: images2 is drained"},
		},
		{
			"only another HAProxy finds the others down", "keystone", views(s, "ctl3 keystone ctl2 down", "ctl3 keystone ctl3 down"),
			[]string{"keystone would be left without a host: ctl2 is down, ctl3 is down, as ctl3 sees it"},
		},
		{"an HAProxy that does not run says nothing", "keystone", blind(views(s, "ctl3 * ctl2 down", "ctl3 * ctl3 down"), "ctl3"), nil},
		{"none runs", "keystone", blind(views(s), "ctl1", "ctl2", "ctl3"), []string{"no HAProxy tells how the services are"}},
		{"it is down here anyway", "keystone", views(s, "* keystone ctl1 down", "* * ctl2 down", "* * ctl3 down"), nil},
		{"only others do not answer", "keystone", views(s)[:1], nil},
	} {
		services := strings.Fields(tt.services)
		if len(services) == 0 {
			services = servicesOn(s, self)
		}
		if got := (look{s, self, tt.all}).without(services); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	alone := mustParse(t, strings.Replace(drainSpec, ", {name: ctl2, address: 192.0.2.2}, {name: ctl3, address: 192.0.2.3}", "", 1))
	if got := (look{alone, self, views(alone)}).without([]string{"keystone"}); len(got) != 1 || !strings.HasSuffix(got[0], "it has no other") {
		t.Errorf("a controller that is alone: %q", got)
	}
}

// TestDrainNames refuses what the spec does not have, in words that help.
func TestDrainNames(t *testing.T) {
	b := newBench(t)
	b.spec = nil
	if _, err := b.Drain(t.Context(), web.DrainRequest{Controller: "ctl1"}); err == nil {
		t.Error("drained before there is a spec")
	}
	b.spec = mustParse(t, drainSpec)
	for _, tt := range []struct {
		req  web.DrainRequest
		want string
	}{
		{web.DrainRequest{Controller: "ctl9"}, `no controller is called "ctl9"; did you mean "ctl1"? There are ctl1, ctl2, ctl3`},
		{web.DrainRequest{Controller: "venus"}, `no controller is called "venus"; there are ctl1, ctl2, ctl3`},
		{web.DrainRequest{}, `no controller is called ""; there are ctl1, ctl2, ctl3`},
		{web.DrainRequest{Controller: "dns1"}, "dns1 is a host of designate, not a controller: it has no agent"},
		{web.DrainRequest{Controller: "ctl1", Services: []string{"keystone", "novva"}}, `no service is called "novva"; did you mean "nova"?`},
		{web.DrainRequest{Controller: "ctl1", Services: []string{"venus"}}, `no service is called "venus"; on ctl1 there are keystone, nova, glance`},
		{web.DrainRequest{Controller: "ctl3", Services: []string{"glance"}}, "service glance does not run on ctl3, but on ctl1, images2"},
		{web.DrainRequest{Controller: "ctl1", For: -1}, "a drain of -1ns is none"},
		{web.DrainRequest{Controller: "ctl1", Reason: strings.Repeat("x", 501)}, "the reason has 501 bytes"},
	} {
		_, err := b.Drain(t.Context(), tt.req)
		e, ok := errors.AsType[*web.ControlError](err)
		if !ok || e.Status != http.StatusBadRequest || !strings.Contains(e.Message, tt.want) {
			t.Errorf("%+v: %v, want %s", tt.req, err, tt.want)
		}
	}
	for backend, want := range map[string]string{"keystone": "up ready", "no-such": "up ready"} {
		if got := b.Answer(backend); got != want {
			t.Errorf("%s: %q", backend, got)
		}
	}
}
