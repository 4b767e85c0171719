package importer

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/status"
)

// settlePorts gives each service its port, and no two the same one: all are on
// one address.
func (d *draft) settlePorts() {
	for _, s := range d.services {
		d.choosePort(s)
	}
	d.untangleWebPorts()
	type holder struct {
		*service
		hosts []string
	}
	byPort := map[int]holder{}
	d.services = slices.DeleteFunc(d.services, func(s *service) bool {
		first, taken := byPort[s.port]
		if s.port == 0 || !taken {
			byPort[s.port] = holder{s, s.hostNames()}
			return false
		}
		d.collide(s, first.service, first.hosts)
		return true
	})
}

// choosePort takes the first port that the rows of s name, and says which other
// ones there are.
func (d *draft) choosePort(s *service) {
	s.hostPort = d.usualBehind(s)
	for _, r := range s.rows {
		if r.at.Port == 0 {
			continue
		}
		if s.port == 0 {
			s.port = r.at.Port
			d.sayPath(s)
			continue
		}
		if r.at.Port != s.port {
			d.say(status.Warning, r.Endpoint, status.CodeOtherPort,
				fmt.Sprintf("the %s has port %d, but %d elsewhere", r.Label(), r.at.Port, s.port),
				fmt.Sprintf("a service has one port; the spec has %d%s", s.port, s.hostPortWords()))
		}
	}
	if s.port != 0 {
		return
	}
	remedy := "write the port into the spec"
	if s.known {
		s.port = s.entry.Port
		remedy = fmt.Sprintf("the usual one is taken, %d", s.port)
	}
	d.say(status.Warning, s.main().Endpoint, status.CodeTemplatePort, "the port of the "+s.main().Label()+" is a template", remedy)
}

// usualBehind gives the usual port of s where its internal endpoint has it and the main one
// has another: TripleO's public endpoints, and those of others with TLS in front, have a
// port that no host listens on. 0 where that is not so.
func (d *draft) usualBehind(s *service) int {
	usual := s.entry.Port
	if !s.known || usual == 0 {
		return 0
	}
	main := slices.IndexFunc(s.rows, func(r row) bool { return r.at.Port != 0 })
	inside := slices.ContainsFunc(s.rows, func(r row) bool { return r.Interface == "internal" && r.at.Port == usual })
	if main < 0 || s.rows[main].at.Port == usual || !inside {
		return 0
	}
	return usual
}

// hostPortWords adds where hosts are asked, if that is another port.
func (s *service) hostPortWords() string {
	if s.hostPort == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d for its hosts (host_port)", s.hostPort)
}

// sayPath says which endpoints of s, of the main one's type, have another path.
func (d *draft) sayPath(s *service) {
	for _, r := range s.rows[1:] {
		if r.at.Path != s.main().at.Path && r.ServiceType == s.main().ServiceType {
			d.say(status.Info, r.Endpoint, status.CodeOtherPath,
				fmt.Sprintf("the %s has the path %q, not %q", r.Label(), r.at.Path, s.main().at.Path), "each endpoint keeps its path")
		}
	}
}

// untangleWebPorts handles catalogs whose services are all behind one web
// server on port 80 or 443, told apart by host name or path. Behind holdfast
// each has a port of its own: the usual one, where that is known.
func (d *draft) untangleWebPorts() {
	for _, web := range []int{80, 443} {
		at := 0
		for _, s := range d.services {
			if s.port == web {
				at++
			}
		}
		if at < 2 {
			continue
		}
		for _, s := range d.services {
			if s.port == web && s.entry.Port != web {
				d.standardPort(s)
			}
		}
	}
}

func (d *draft) standardPort(s *service) {
	web := s.port
	s.hostPort = 0
	s.port = s.entry.Port // 0 when the service is not known: to be filled in
	remedy := fmt.Sprintf("its usual port %d is taken; say \"port:\" if its hosts serve it elsewhere, and see whether its path is the same there", s.port)
	if s.port == 0 {
		remedy = "write the port that its hosts serve it at"
	}
	d.say(status.Warning, s.main().Endpoint, status.CodeSharedWebPort,
		fmt.Sprintf("%s shares port %d with other services", s.name, web), remedy)
}

// collide handles s, whose port other has already, on hosts. On the same host
// they are one and the same listener.
func (d *draft) collide(s, other *service, hosts []string) {
	if slices.ContainsFunc(s.hostNames(), func(h string) bool { return slices.Contains(hosts, h) }) {
		other.rows = append(other.rows, s.rows...)
		other.carries = append(other.carries, strings.TrimSpace(s.name+" "+s.main().at.Path))
		d.say(status.Warning, s.main().Endpoint, status.CodeSamePort,
			fmt.Sprintf("%s has port %d of the same host as %s", s.name, s.port, other.name), other.name+" carries both")
		return
	}
	d.say(status.Warning, s.main().Endpoint, status.CodePortTaken,
		fmt.Sprintf("%s has port %d, which %s has too, on another host; one address serves only one of them", s.name, s.port, other.name),
		s.name+" is left out; give it another port on its hosts, and write it by hand")
	d.dropped = append(d.dropped, s)
}
