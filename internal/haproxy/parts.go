package haproxy

import (
	"fmt"
	"strings"

	"holdfast/internal/spec"
)

// Parts gives, for each service of s by its name, what c, made by Render of
// s, says of it: where it listens, and its backends with their hosts. What is
// the same in two configurations was not changed by the second; of the parts that
// all services have in common the raw lines of the spec are looked at.
func Parts(c *Config, s *spec.Spec) map[string]string {
	service := map[string]string{} // by the line that begins the section
	for _, svc := range s.Services {
		for _, name := range []string{BackendName(svc), OnceName(svc), AcceptsName(svc), EvenName(svc)} {
			service[backendSection+" "+name] = svc.Name
		}
		for _, v := range s.VIPs {
			for i := range v.Addresses {
				service[frontendSection+" "+FrontendName(v, i, svc)] = svc.Name
			}
		}
	}
	parts := map[string]string{}
	common := "" // raw lines for all
	for _, v := range s.VIPs {
		for _, svc := range s.Services {
			if r, routed := v.Route(svc); routed { // the frontend is of many
				parts[svc.Name] += fmt.Sprintf("%s: %d %+v %d\n", v.Name, v.Public.Port, r, len(v.Certificates()))
			}
		}
	}
	for _, x := range c.proper() {
		name, ok := service[x.head()]
		raw := strings.Join(x.raws(), "\n")
		switch {
		case !ok && (x.Kind == globalSection || x.Kind == defaultsSection):
			common += raw + "\n"
		case !ok:
		case x.Bind != nil:
			parts[name] += x.Name + ": " + x.Bind.text() + "\n" + raw + "\n"
		default:
			said := Config{Sections: []Section{{Kind: x.Kind, Name: x.Name, Servers: x.Servers}}}
			parts[name] += strings.Join(x.directives(), "\n") + "\n" + string(said.render())
		}
	}
	for name := range parts {
		parts[name] += common
	}
	return parts
}
