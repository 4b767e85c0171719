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
	d.sayBehind()
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
	if s.route != "" && d.chooseBehindShared(s) {
		return
	}
	for _, r := range s.rows {
		if r.at.Port == 0 || s.route != "" && r.at.Port == d.fronts.port {
			continue
		}
		if s.port == 0 {
			s.port = r.at.Port
			d.sayPath(s)
			continue
		}
		if r.at.Port != s.port && r.at.Port != s.hostPort {
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

// chooseBehindShared chooses the port of s, which shares one with others, where no endpoint
// tells another, and reports whether it did.
func (d *draft) chooseBehindShared(s *service) bool {
	s.hostPort = 0
	if s.hasInside(d.fronts.port) {
		return false
	}
	s.port = s.entry.Port // 0 when the service is not known: to be filled in
	if s.kept {
		s.hostPort = d.fronts.port
	}
	return true
}

// sayBehind tells once of all services whose public endpoints have ports that no host
// listens on.
func (d *draft) sayBehind() {
	var behind []*service
	for _, s := range d.services {
		if s.hostPort != 0 && s.route == "" {
			behind = append(behind, s)
		}
	}
	if len(behind) == 0 {
		return
	}
	words := make([]string, len(behind))
	for i, s := range behind {
		words[i] = fmt.Sprintf("%s %d", s.name, s.port)
	}
	d.say(status.Warning, behind[0].main().Endpoint, status.CodeOtherPort,
		"the public endpoints have other ports than the internal ones: "+strings.Join(words, ", "),
		"a service has one port, here that; its hosts are taken to listen at the usual one (host_port), and clients of the other interfaces come to need the new one")
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
	if main < 0 || s.route != "" || s.rows[main].at.Port == usual || !inside {
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
		path := func(r row) string { return strings.TrimRight(d.behind(s, r.at.Path), "/") }
		if path(r) != path(s.main()) && r.ServiceType == s.main().ServiceType {
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
			if s.port == web && s.route == "" {
				at++
			}
		}
		if at < 2 {
			continue
		}
		for _, s := range d.services {
			if s.port == web && s.route == "" && s.entry.Port != web {
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
