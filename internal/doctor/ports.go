package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"holdfast/internal/spec"
)

type addr = netip.Addr

// A setting is where a service's configuration says on which address it listens.
type setting struct{ file, section, key, restart string }

// bindSettings gives those of services that have one, by name in the catalog.
func bindSettings() map[string]setting {
	return map[string]setting{
		"glance":        {"/etc/glance/glance-api.conf", "DEFAULT", "bind_host", "glance-api"},
		"neutron":       {"/etc/neutron/neutron.conf", "DEFAULT", "bind_host", "neutron-server"},
		"nova":          {"/etc/nova/nova.conf", "DEFAULT", "osapi_compute_listen", "nova-api"},
		"nova-metadata": {"/etc/nova/nova.conf", "DEFAULT", "metadata_listen", "nova-api-metadata"},
		"cinder":        {"/etc/cinder/cinder.conf", "DEFAULT", "osapi_volume_listen", "cinder-api"},
		"heat":          {"/etc/heat/heat.conf", "heat_api", "bind_host", "heat-api"},
		"heat-cfn":      {"/etc/heat/heat.conf", "heat_api_cfn", "bind_host", "heat-api-cfn"},
		"octavia":       {"/etc/octavia/octavia.conf", "api_settings", "bind_host", "octavia-api"},
		"manila":        {"/etc/manila/manila.conf", "DEFAULT", "osapi_share_listen", "manila-api"},
		"magnum":        {"/etc/magnum/magnum.conf", "api", "host", "magnum-api"},
		"barbican":      {"/etc/barbican/barbican.conf", "DEFAULT", "bind_host", "barbican-api"},
		"designate":     {"/etc/designate/designate.conf", "service:api", "listen", "designate-api"},
		"trove":         {"/etc/trove/trove.conf", "DEFAULT", "bind_host", "trove-api"},
		"swift":         {"/etc/swift/proxy-server.conf", "DEFAULT", "bind_ip", "swift-proxy"},
		"ironic":        {"/etc/ironic/ironic.conf", "api", "host_ip", "ironic-api"},
	}
}

// bindCommand gives what makes s listen on the address at alone.
func bindCommand(s spec.Service, l Listener, at addr) string {
	if set, known := bindSettings()[s.Name]; known && !strings.Contains(l.Command, "apache") {
		value := at.String()
		if set.key == "listen" {
			value = netip.AddrPortFrom(at, l.At.Port()).String()
		}
		return fmt.Sprintf("crudini --set %s %s %s %s && systemctl restart %s", set.file, set.section, set.key, value, set.restart)
	}
	if strings.Contains(l.Command, "apache") || strings.Contains(l.Command, "httpd") {
		return fmt.Sprintf("grep -rnE 'Listen +%d' /etc/apache2 /etc/httpd    # each becomes: Listen %s", l.At.Port(), netip.AddrPortFrom(at, l.At.Port()))
	}
	return fmt.Sprintf("ss -Hltnp 'sport = :%d'    # then have it listen on %s", l.At.Port(), netip.AddrPortFrom(at, l.At.Port()))
}

func who(l Listener) string {
	if l.PID == 0 {
		return "a process that cannot be seen from here"
	}
	return fmt.Sprintf("%s (pid %d)", l.Command, l.PID)
}

// mayBeOurs reports whether l is HAProxy's of an agent, or an agent's, or could be: whose a
// socket is only root sees.
func mayBeOurs(f Facts, l Listener) bool { return l.Ours || !f.Root && l.PID == 0 }

func ports(r *report, f Facts) {
	for _, v := range f.Spec.VIPs {
		for _, p := range wanted(f.Spec, v) {
			portOf(r, f, p, v)
		}
	}
	for _, p := range []int{f.Spec.Agent.Port, f.Spec.Agent.CheckPort} {
		for _, l := range f.Listeners {
			if int(l.At.Port()) == p && !mayBeOurs(f, l) && (l.At.Addr().IsUnspecified() || l.At.Addr() == f.Controller.Address) && l.PID != 1 {
				r.error(Finding{
					Code: CodePortOfAgent, Subject: fmt.Sprintf("port %d", p), Text: who(l) + " has a port of the agent's",
					Evidence: fmt.Sprintf("%v listens, %s", l.At, who(l)), Remedy: "stop it, or give the agent other ports (agent.port, agent.check_port in the spec)",
					Command: fmt.Sprintf("ss -Hltnp 'sport = :%d'", p),
				})
			}
		}
	}
}

// A want is a port of a VIP on which HAProxy is to listen, and for whom.
type want struct {
	subject string // of a finding
	service spec.Service
	port    int
}

// wanted gives the ports of v: those of services, the one that services share, and the one
// whose plain HTTP leads to https.
func wanted(s *spec.Spec, v spec.VIP) []want {
	var all []want
	shared := false
	for _, svc := range s.Services {
		_, routed := v.Route(svc)
		shared = shared || routed
		if svc.Listens(v) {
			all = append(all, want{"service " + svc.Name, svc, svc.Port})
		}
	}
	if shared {
		all = append(all, want{"vip " + v.Name, spec.Service{}, v.Public.Port})
	}
	if v.TLS != nil && v.TLS.Redirect != 0 {
		all = append(all, want{"vip " + v.Name, spec.Service{}, v.TLS.Redirect})
	}
	return all
}

// portOf looks who keeps HAProxy from a port of v.
func portOf(r *report, f Facts, p want, v spec.VIP) {
	for _, a := range v.Addrs() {
		i := slices.IndexFunc(f.Listeners, func(l Listener) bool {
			here := l.At.Addr() == a || l.At.Addr().IsUnspecified() && (l.At.Addr().Is6() || a.Is4())
			return int(l.At.Port()) == p.port && here && (!mayBeOurs(f, l) || l.At.Addr().IsUnspecified() && !l.Ours)
		})
		if i < 0 {
			continue
		}
		l := f.Listeners[i]
		subject, evidence := p.subject, fmt.Sprintf("%v listens, %s", l.At, who(l))
		if slices.ContainsFunc(r.findings, func(g Finding) bool { return g.Code == CodePortEverywhere && g.Evidence == evidence }) {
			continue // another VIP, or another address of this one, has it, too
		}
		if !l.At.Addr().IsUnspecified() {
			r.error(Finding{
				Code: CodePortOfVIP, Subject: subject, Text: fmt.Sprintf("%s listens on the VIP itself, port %d, which is HAProxy's", who(l), p.port),
				Evidence: evidence, Remedy: "stop it, or have it listen on the controller's own address", Command: bindCommand(p.service, l, f.Controller.Address),
			})
			continue
		}
		r.error(Finding{
			Code: CodePortEverywhere, Subject: subject, Text: fmt.Sprintf("%s listens on every address, so HAProxy cannot have port %d of the VIP", who(l), p.port),
			Evidence: evidence, Remedy: "have it listen on the controller's own address, " + f.Controller.Address.String(), Command: bindCommand(p.service, l, f.Controller.Address),
		})
	}
}
