package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/catalog"
	"holdfast/internal/status"
)

func (c *checker) checkServices() {
	l := c.raw.services
	if !l.ok {
		return
	}
	if len(l.all) == 0 {
		c.fail(status.CodeNoService, l.node, "there is no service", `write at least one, as in "keystone: {}"`)
	}
	ports := map[int]rawService{}
	for _, s := range l.all {
		c.checkKnown(s)
		c.checkHosts(s)
		c.checkMode(s)
		c.checkLayer(s)
		port, at := c.portOf(s)
		if port == 0 {
			continue
		}
		if first, taken := ports[port]; taken {
			c.fail(status.CodeDuplicatePort, at, fmt.Sprintf("service %s has port %d, and service %s in line %d has it, too", s.name.v, port, first.name.v, first.key.Line), "write another port for one of them, on its hosts and here")
			continue
		}
		ports[port] = s
	}
}

// known gives what the catalog knows of s.
func (c *checker) known(s rawService) (catalog.Service, bool) {
	if !s.name.ok {
		return catalog.Service{}, false
	}
	return c.catalog.Lookup(s.name.v)
}

// portOf gives the port of s and where it comes from: its own line, or the
// service's name if the catalog has it. 0 if it has none.
func (c *checker) portOf(s rawService) (int, *yaml.Node) {
	if s.port.given() {
		return s.port.v, s.port.node
	}
	known, _ := c.known(s)
	return known.Port, s.key
}

// checkKnown finds a service of which neither the catalog nor the file says enough.
func (c *checker) checkKnown(s rawService) {
	if _, ok := c.known(s); ok || !s.name.ok || !isNull(s.at.node) && s.at.node.Kind != yaml.MappingNode {
		return
	}
	var missing, example []string
	// What is not HTTP has no endpoint in Keystone.
	if !s.typ.given() && s.mode.or(string(HTTP)) == string(HTTP) {
		missing, example = append(missing, "type"), append(example, "type: "+s.name.v)
	}
	if !s.port.given() {
		missing, example = append(missing, "port"), append(example, "port: 5668")
	}
	if len(missing) == 0 {
		return
	}
	remedy := fmt.Sprintf(`write its %s, as in "%s: {%s}"`, list(missing, "and"), s.name.v, strings.Join(example, ", "))
	if near, ok := c.catalog.Nearest(s.name.v); ok {
		remedy = fmt.Sprintf("did you mean %q? If not, %s", near, remedy)
	}
	c.fail(status.CodeUnknownService, s.key, fmt.Sprintf("service %s is not a known one, so it needs a %s", quote(s.name.v), list(missing, "and a")), remedy)
}

func (c *checker) checkHosts(s rawService) {
	switch {
	case s.hosts.ok && len(s.hosts.all) == 0:
		c.fail(status.CodeNoHost, s.hosts.node, s.at.path+".hosts is empty", "write at least one, or leave it out for the controllers")
	case s.hosts.ok && len(s.hosts.all) == 1:
		c.warn(status.CodeOneHost, s.hosts.node, fmt.Sprintf("service %s runs on one host only, so nothing answers for it when that fails", s.name.v), "write two or more")
	}
	c.twice("host of service "+s.name.v, s.hosts.all)
}

// checkMode finds an affinity that needs HTTP.
func (c *checker) checkMode(s rawService) {
	affinity := Affinity(s.affinity.or(""))
	if c.modeOf(s) == TCP && (affinity == AffinityCookie || affinity == AffinityToken) {
		c.fail(status.CodeAffinityMode, s.affinity.node, fmt.Sprintf("affinity %s needs HTTP, and service %s is mode tcp", affinity, s.name.v), "write source or none, or mode: http")
	}
}

// checkLayer finds checks that contradict themselves, and such that see less
// than they should.
func (c *checker) checkLayer(s rawService) {
	k := s.check
	if k.layer.or(0) != 4 {
		return
	}
	for _, n := range []*yaml.Node{k.method.node, k.path.node, k.expect.node} {
		if n != nil {
			c.fail(status.CodeCheckLayer, k.layer.node, fmt.Sprintf("%s.check is a mere connect (layer 4), and says what to ask for", s.at.path), "remove layer, or method, path and expect")
			return
		}
	}
	if c.modeOf(s) == HTTP {
		c.warn(status.CodeCheckLayer, k.layer.node, fmt.Sprintf("a connect is the whole check of service %s: one that hangs, or answers 503, counts as healthy", s.name.v), `write a path to ask for, as in "check: {path: /healthcheck}"`)
	}
}

func (c *checker) modeOf(s rawService) Mode {
	known, _ := c.known(s)
	return Mode(s.mode.or(cmp.Or(known.Mode, string(HTTP))))
}

func (c *checker) buildService(raw rawService, s *Spec) Service {
	known, _ := c.known(raw)
	svc := Service{
		Name:          raw.name.v,
		Path:          raw.path.or(known.Path),
		Mode:          c.modeOf(raw),
		Timeout:       raw.timeout.build(known.Timeout),
		Check:         c.buildCheck(raw),
		Affinity:      c.affinityOf(raw),
		Limit:         raw.limit.hosts.or(0),
		Access:        raw.access.build(),
		Clients:       raw.limit.build(),
		HAProxy:       raw.haproxy,
		ErrorPages:    raw.errorPages,
		Maintenance:   raw.maintenance.build(),
		VIPs:          c.vipNames(raw),
		KeepForwarded: known.KeepForwarded,
		TLS:           HostTLS{Mode: Reencryption(raw.tls.v), CA: raw.ca.v, ServerName: raw.serverName.v},
	}
	svc.Port, _ = c.portOf(raw)
	svc.HostPort = raw.hostPort.or(0)
	svc.Types = slices.Clone(known.Types)
	if raw.typ.ok {
		svc.Types = []string{raw.typ.v}
	}
	if len(svc.Types) > 0 {
		svc.Type = svc.Types[0]
	}
	for _, r := range known.SafePosts {
		svc.SafePosts = append(svc.SafePosts, r.Path)
	}
	for _, h := range raw.hosts.all {
		svc.Hosts = append(svc.Hosts, Host{Name: h.name.v, Address: h.address.v, Weight: h.weight.or(DefaultWeight), Port: h.port.or(0)})
	}
	if len(svc.Hosts) == 0 {
		for _, h := range s.Controllers {
			svc.Hosts = append(svc.Hosts, Host{Name: h.Name, Address: h.Address, Weight: DefaultWeight})
		}
	}
	return svc
}

// affinityOf gives the affinity of the file, else the catalog's, else source; of
// a service that the file makes TCP, a catalog's cookie is of no use.
func (c *checker) affinityOf(raw rawService) Affinity {
	if raw.affinity.ok {
		return Affinity(raw.affinity.v)
	}
	known, ok := c.known(raw)
	if !ok || c.modeOf(raw) != Mode(known.Mode) {
		return AffinitySource
	}
	return Affinity(known.Affinity)
}

// buildCheck lays the file's check over the one that s has without. Codes
// belong to a method and a path: with another of these, the usual ones are taken.
func (c *checker) buildCheck(s rawService) Check {
	k := s.check
	base := c.usualCheck(s)
	asks := k.method.given() || k.path.given() || k.expect.given()
	layer := k.layer.or(base.Layer)
	if asks {
		layer = 7
	}
	if layer == 4 {
		return Check{Layer: 4, Port: k.port.or(0)}
	}
	if base.Layer == 4 {
		base = usualRequest()
	}
	built := Check{Layer: 7, Method: k.method.or(base.Method), Path: k.path.or(base.Path), Expect: base.Expect, Port: k.port.or(0)}
	if built.Method != base.Method || built.Path != base.Path {
		built.Expect = usualRequest().Expect
	} else {
		built.Others = base.Others
	}
	built.Expect = k.expect.or(built.Expect)
	return built
}

// usualCheck gives the check that s has when the file says nothing of it.
func (c *checker) usualCheck(s rawService) Check {
	mode := c.modeOf(s)
	known, ok := c.known(s)
	switch {
	case ok && Mode(known.Mode) == mode:
		return ownCheck(c.catalog.CheckFor(known, c.raw.release.or("")))
	case mode == TCP:
		return Check{Layer: 4}
	}
	return usualRequest()
}

func usualRequest() Check {
	return Check{Layer: 7, Method: "GET", Path: "/", Expect: []CodeRange{{200, 399}}}
}

func ownCheck(k catalog.Check) Check {
	own := Check{Layer: k.Layer, Method: k.Method, Path: k.Path, Others: k.Others}
	for _, r := range k.Expect {
		own.Expect = append(own.Expect, CodeRange(r))
	}
	return own
}

// build lays the file's timeouts over the catalog's.
func (t rawTimeout) build(known catalog.Timeout) Timeout {
	return Timeout{
		Client:  t.client.or(known.Client),
		Server:  t.server.or(known.Server),
		Connect: t.connect.or(known.Connect),
		Tunnel:  t.tunnel.or(known.Tunnel),
		Check:   t.check.or(known.Check),
		Queue:   t.queue.or(known.Queue),
		Request: t.request.or(0),
	}
}
