package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/catalog"
	"holdfast/internal/status"

	"go.yaml.in/yaml/v4"
)

// checkPublic finds what of the ports that services share does not go together.
func (c *checker) checkPublic() {
	taken := map[string]takenName{}
	for _, v := range c.raw.vips.all {
		if v.hostname.ok {
			taken[strings.ToLower(v.hostname.v)] = takenName{v, v.hostname.node}
		}
	}
	for i, v := range c.raw.vips.all {
		if v.public.node == nil {
			continue
		}
		c.checkPublicKeys(v)
		c.checkRouteServices(i, v)
		c.checkPublicPort(i, v)
		c.checkRoutes(i, v, taken)
	}
	c.checkPublicShared()
}

// A takenName is a name that clients know, and whose it is.
type takenName struct {
	vip  rawVIP
	node *yaml.Node
}

func (c *checker) checkPublicKeys(v rawVIP) {
	p := v.public
	if p.domain.given() && p.by.ok && By(p.by.v) != ByName {
		c.fail(status.CodePublicRoute, p.domain.node, v.at.path+".public.domain is for names of services, and they are reached by path", `write "by: name", or remove domain`)
	}
	if p.ports.ok && !p.ports.v {
		for _, iface := range []string{"internal", "admin"} {
			if v.serves(iface) && len(c.raw.vips.all) == 1 {
				c.warn(status.CodePublicRoute, p.ports.node, fmt.Sprintf("%s serves the %s endpoints, too, which then go by %s, as services of the cloud itself do", v.at.path, iface, p.by.or("name")), "leave ports out, unless the cloud's own configuration names no port")
				return
			}
		}
	}
}

// checkRouteServices finds services that cannot be where the file has them.
func (c *checker) checkRouteServices(place int, v rawVIP) {
	byName := map[string]rawService{}
	var known []string
	for _, s := range c.raw.services.all {
		byName[s.name.v] = s
		known = append(known, s.name.v)
	}
	for _, r := range v.public.routes.all {
		s, is := byName[r.service]
		switch {
		case !is:
			remedy := "write the name of one that is under services, or remove it"
			if near, ok := catalog.Nearest(r.service, known); ok {
				remedy = fmt.Sprintf("did you mean %q?", near)
			}
			c.fail(status.CodeUnknownService, r.key, fmt.Sprintf("no service of this spec is called %s", quote(r.service)), remedy)
		case r.off:
		case c.modeOf(s) == TCP:
			c.fail(status.CodePublicRoute, r.key, fmt.Sprintf("service %s is mode tcp, and has no host name and no path to tell it by", r.service), "remove it here: it keeps its port")
		case !slices.Contains(c.placesOf(s), place):
			c.fail(status.CodePublicRoute, r.key, fmt.Sprintf("service %s does not listen on VIP %s", r.service, v.name.or("?")), fmt.Sprintf(`add %s to its "vips", or remove it here`, v.name.or("the VIP")))
		}
	}
}

// checkPublicPort finds a port that is to be shared and has another use.
func (c *checker) checkPublicPort(place int, v rawVIP) {
	p := v.public
	port := c.publicPort(v)
	at := cmp.Or(p.port.node, p.node)
	if p.port.given() && !p.port.ok {
		return
	}
	for _, own := range []int{c.raw.agent.port.or(defaultPort), c.raw.agent.checkPort.or(defaultCheckPort)} {
		if port == own {
			c.fail(status.CodePortClash, at, fmt.Sprintf("port %d of %s.public is the agents' own", port, v.at.path), "write another port")
		}
	}
	if v.tls.node != nil && v.tls.redirect.ok && v.tls.redirect.v == port {
		c.fail(status.CodeRedirectPort, v.tls.redirect.node, fmt.Sprintf("%s.tls.redirect wants port %d, which %s.public has", v.at.path, port, v.at.path), "write another port, or remove redirect")
	}
	for _, s := range c.raw.services.all {
		if own, node := c.portOf(s); own == port && slices.Contains(c.placesOf(s), place) && !c.routed(v, s) {
			c.fail(status.CodeDuplicatePort, node, fmt.Sprintf("service %s has port %d, which services of VIP %s share (line %d), and is not one of those", s.name.v, port, v.name.or("?"), p.node.Line), "write another port for one of them, or a name or a path for it there")
		}
	}
}

// publicPort gives the port that the services of v share.
func (c *checker) publicPort(v rawVIP) int {
	usual := plainPort
	if v.tls.node != nil {
		usual = securePort
	}
	return v.public.port.or(usual)
}

// routed reports whether s, which is on v, is reached through the port that services share.
func (c *checker) routed(v rawVIP, s rawService) bool {
	return v.public.node != nil && c.modeOf(s) == HTTP &&
		!slices.ContainsFunc(v.public.routes.all, func(r rawRoute) bool { return r.off && r.service == s.name.v })
}

// routedOn reports whether s is on v, which is in that place, and reached through the port
// that services share there.
func (c *checker) routedOn(place int, v rawVIP, s rawService) bool {
	return s.name.ok && slices.Contains(c.placesOf(s), place) && c.routed(v, s)
}

// checkRoutes finds services that a request would not tell apart, and names that are
// another's.
func (c *checker) checkRoutes(place int, v rawVIP, taken map[string]takenName) {
	if !v.hostname.ok || !v.public.by.ok || v.public.domain.given() && !v.public.domain.ok {
		return
	}
	first := map[[2]string]string{}
	wrong := func(r rawRoute) bool { return r.name.given() && !r.name.ok || r.path.given() && !r.path.ok }
	for _, r := range c.routesOf(place, v) {
		at := c.routeNode(v, r.Service)
		if slices.ContainsFunc(v.public.routes.all, func(raw rawRoute) bool { return raw.service == r.Service && wrong(raw) }) {
			continue // that was said
		}
		if problem, remedy := hostnameProblem(r.Name); problem != "" {
			c.fail(status.CodeBadHostname, at, fmt.Sprintf("the name of service %s, %s, %s", r.Service, quote(cut(r.Name, 80)), problem), remedy)
			continue
		}
		key := [2]string{r.Name, r.Path}
		if other, is := first[key]; is {
			c.fail(status.CodePublicRoute, at, fmt.Sprintf("services %s and %s are both reached at %s%s of VIP %s", other, r.Service, r.Name, r.Path, v.name.or("?")), fmt.Sprintf(`write a name or a path of its own for one, as in "public: {services: {%s: /%s}}"`, r.Service, r.Service))
			continue
		}
		first[key] = r.Service
		for _, h := range c.raw.controllers.all {
			if h.name.ok && strings.EqualFold(h.name.v, r.Name) {
				c.fail(status.CodeBadHostname, at, fmt.Sprintf("%s, the name of service %s, is the name of a controller", r.Name, r.Service), "write a name of its own for the service, that maps to no host's address")
			}
		}
		if other, is := taken[r.Name]; is && other.vip.at.node != v.at.node && !sameName(other.vip, v) {
			c.fail(status.CodeDuplicateHostname, at, fmt.Sprintf("%s, the name of service %s on VIP %s, is one of VIP %s, too (line %d)", r.Name, r.Service, v.name.or("?"), other.vip.name.or("?"), other.node.Line), "write another name, or another domain: a name leads to one VIP")
		} else if !is {
			taken[r.Name] = takenName{v, at}
		}
	}
}

// sameName reports whether a and b have one hostname: whether they share it or DNS tells their
// clients apart, the names of their services may be the same, too.
func sameName(a, b rawVIP) bool {
	return a.hostname.ok && b.hostname.ok && strings.EqualFold(a.hostname.v, b.hostname.v)
}

// routeNode gives where the file says how service is reached, or else that services share
// a port.
func (c *checker) routeNode(v rawVIP, service string) *yaml.Node {
	for _, r := range v.public.routes.all {
		if r.service == service {
			return r.key
		}
	}
	return v.public.node
}

// checkPublicShared finds VIPs that share a hostname and not how services are told apart.
func (c *checker) checkPublicShared() {
	all := c.raw.vips.all
	for i, v := range all {
		for j, o := range all[:i] {
			if !shares(v, o) || publicText(c.public(i, v)) == publicText(c.public(j, o)) {
				continue
			}
			at := cmp.Or(v.public.node, v.at.node)
			c.fail(status.CodePublicRoute, at, fmt.Sprintf("%s and %s (line %d) share the hostname %s, and have another public", v.at.path, o.at.path, o.at.node.Line, v.hostname.v), "give both the same public: an endpoint leads to both")
			return
		}
	}
}

func publicText(p *Public) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("%+v", *p)
}

// public builds what the file says of the port that services of v, in that place, share.
func (c *checker) public(place int, v rawVIP) *Public {
	p := v.public
	if p.node == nil {
		return nil
	}
	own := v.serves("internal") || v.serves("admin")
	out := &Public{By: By(p.by.v), Port: c.publicPort(v), Ports: p.ports.or(own), Routes: c.routesOf(place, v)}
	if out.By == ByName {
		out.Domain = c.domain(v)
	}
	return out
}

func (c *checker) domain(v rawVIP) string {
	return strings.ToLower(v.public.domain.or(domainOf(v.hostname.v)))
}

// routesOf gives how the services of v, in that place of the file, are told apart.
func (c *checker) routesOf(place int, v rawVIP) []Route {
	said := map[string]rawRoute{}
	for _, r := range v.public.routes.all {
		said[r.service] = r
	}
	var all []Route
	for _, s := range c.raw.services.all {
		if c.routedOn(place, v, s) {
			all = append(all, c.route(v, s, said[s.name.v]))
		}
	}
	sortRoutes(all)
	return all
}

// route gives how s is reached on v, where r is what the file says of it.
func (c *checker) route(v rawVIP, s rawService, r rawRoute) Route {
	known, _ := c.known(s)
	typ := s.typ.or("")
	if typ == "" && len(known.Types) > 0 {
		typ = known.Types[0]
	}
	out := Route{Service: s.name.v, Name: strings.ToLower(r.name.v), Path: r.path.v}
	if !r.name.given() && !r.path.given() {
		if By(v.public.by.v) == ByPath {
			out.Path = defaultPath(Service{Name: s.name.v, Type: typ})
		} else {
			out.Name = defaultName(s.name.v, c.domain(v))
		}
	}
	out.Name = cmp.Or(out.Name, strings.ToLower(v.hostname.v))
	if out.Path == "/" {
		out.Path = ""
	}
	out.Strip = out.Path != "" && r.strip.or(true)
	return out
}
