package importer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/catalog"
	"holdfast/internal/keystone"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// service is one service of a draft.
type service struct {
	name  string
	entry catalog.Service // what the built-in catalog knows, when known
	known bool
	// rows are all endpoints that it carries; port and path are the first one's.
	rows []row
	port int // 0: to be filled in
	// hostPort is where its hosts listen; 0: at port.
	hostPort int
	// route is the name, or the path, by which it is told from others on a port that they
	// share; kept says that its hosts have that path themselves.
	route string
	kept  bool
	// carries says which other services share its port on the same host.
	carries   []string
	elsewhere bool        // it does not run on the controllers
	hosts     []spec.Host // as the operator gave them
}

// main gives the endpoint that s is made of.
func (s *service) main() row { return s.rows[0] }

// hostNames gives the hosts that the endpoints of s name, without repetition.
func (s *service) hostNames() []string {
	var names []string
	for _, r := range s.rows {
		if r.at.Host != "" && !slices.Contains(names, r.at.Host) {
			names = append(names, r.at.Host)
		}
	}
	return names
}

// origins gives where the endpoints of s point, without repetition.
func (s *service) origins() []string {
	var origins []string
	for _, r := range s.rows {
		if r.at.Host == "" || r.at.Port == 0 {
			continue
		}
		if o := r.at.Origin(); !slices.Contains(origins, o) {
			origins = append(origins, o)
		}
	}
	return origins
}

// group makes services of rows: keystone first, then those that the built-in
// catalog knows, then the others, by name.
func (d *draft) group(rows []row) {
	type key struct{ entry, name, typ string }
	var order []key
	groups := map[key]*service{}
	for _, r := range rows {
		entry, known := d.identify(r)
		k := key{entry.Name, strings.ToLower(r.ServiceName), ""}
		if !known {
			k.typ = r.ServiceType
		}
		s := groups[k]
		if s == nil {
			s = &service{name: entry.Name, entry: entry, known: known}
			if !known {
				s.name = serviceName(r.Endpoint)
			}
			groups[k] = s
			order = append(order, k)
		}
		s.rows = append(s.rows, r)
	}
	for _, k := range order {
		s := groups[k]
		s.sortRows()
		d.services = append(d.services, s)
	}
	d.joinAliases()
	d.sortServices()
	d.uniqueNames()
}

// identify finds what the built-in catalog knows of r: by its type, where
// that is one service's alone, by its name among several, or when the type says nothing.
func (d *draft) identify(r row) (catalog.Service, bool) {
	named, isNamed := d.lookupName(r)
	typed := d.cat.ByType(strings.ToLower(r.ServiceType))
	if len(typed) == 0 {
		return named, isNamed
	}
	hasPort := func(s catalog.Service) bool { return s.Port == r.at.Port }
	isType := func(s catalog.Service) bool { return s.Name == named.Name }
	switch {
	case isNamed && slices.ContainsFunc(typed, isType):
		return named, true
	case isNamed && hasPort(named) && !slices.ContainsFunc(typed, hasPort):
		d.say(status.Warning, r.Endpoint, status.CodeWrongType,
			fmt.Sprintf("the type %s is that of %s, but name and port are those of %s", r.ServiceType, typed[0].Name, named.Name),
			"it is taken for "+named.Name)
		return named, true
	}
	if i := slices.IndexFunc(typed, hasPort); i >= 0 {
		return typed[i], true
	}
	return typed[0], true
}

// lookupName finds the built-in service that r's name means: the whole of it,
// or its first word when the port agrees ("Keystone Identity Service").
func (d *draft) lookupName(r row) (catalog.Service, bool) {
	name := keystone.Slug(r.ServiceName)
	if s, ok := d.cat.Lookup(name); ok {
		return s, true
	}
	first, _, _ := strings.Cut(name, "-")
	if s, ok := d.cat.Lookup(first); ok && s.Port == r.at.Port {
		return s, true
	}
	return catalog.Service{}, false
}

// sortRows brings the endpoint that says most about s to the front: of the
// usual type, or else the newest; public before internal before admin.
func (s *service) sortRows() {
	slices.SortStableFunc(s.rows, func(a, b row) int {
		return cmp.Or(
			cmp.Compare(s.typeRank(a.ServiceType), s.typeRank(b.ServiceType)),
			cmp.Compare(keystone.InterfaceRank(a.Interface), keystone.InterfaceRank(b.Interface)),
			cmp.Compare(a.Row, b.Row))
	})
}

// typeRank orders the types of one service as the built-in catalog does, in
// which the usual one is first and newer ones stand before older ones.
func (s *service) typeRank(typ string) int {
	if i := slices.Index(s.entry.Types, strings.ToLower(typ)); i >= 0 {
		return i
	}
	return len(s.entry.Types)
}

// joinAliases joins what is listed under several names and is one service: on
// the port of the first. What has another port becomes a service of its own.
func (d *draft) joinAliases() {
	slices.SortStableFunc(d.services, func(a, b *service) int {
		return cmp.Or(cmp.Compare(a.offPort(), b.offPort()),
			cmp.Compare(a.typeRank(a.main().ServiceType), b.typeRank(b.main().ServiceType)))
	})
	first := map[string]*service{}
	var out []*service
	for _, s := range d.services {
		f := first[s.name]
		switch {
		case !s.known || f == nil:
			if s.known {
				first[s.name] = s
			}
			out = append(out, s)
		case s.main().at.Port == f.main().at.Port:
			f.rows = append(f.rows, s.rows...)
			f.sortRows()
		default:
			d.say(status.Warning, s.main().Endpoint, status.CodeSecondService,
				fmt.Sprintf("it is %s too, with another port than line %d has", s.name, f.main().Row), "it becomes a service of its own")
			s.name, s.known, s.entry = serviceName(s.main().Endpoint), false, catalog.Service{}
			out = append(out, s)
		}
	}
	d.services = out
	for _, s := range d.services {
		d.sayCarried(s)
	}
}

// offPort is 0 for a service on its usual port, so that it sorts first.
func (s *service) offPort() int {
	if s.known && s.main().at.Port != s.entry.Port {
		return 1
	}
	return 0
}

// sayCarried says once for each other type that s carries it too.
func (d *draft) sayCarried(s *service) {
	said := []string{strings.ToLower(s.main().ServiceType)}
	for _, r := range s.rows {
		typ := strings.ToLower(r.ServiceType)
		if slices.Contains(said, typ) || r.at.Port != s.main().at.Port {
			continue
		}
		said = append(said, typ)
		s.carries = append(s.carries, strings.TrimSpace(r.ServiceType+" "+r.at.Path))
		d.say(status.Info, r.Endpoint, status.CodeSameService,
			fmt.Sprintf("%s is %s on the same port as %s", r.ServiceType, s.name, s.main().ServiceType),
			"one service carries both; each endpoint keeps its path")
	}
}

// sortServices puts keystone first, then the known ones, then the others.
func (d *draft) sortServices() {
	rank := func(s *service) int {
		switch {
		case s.known && s.name == "keystone":
			return 0
		case s.known:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(d.services, func(a, b *service) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.name, b.name),
			strings.Compare(a.main().ServiceType, b.main().ServiceType), cmp.Compare(a.main().Row, b.main().Row))
	})
}

// uniqueNames renames services of the same name: by their type, then by a number.
func (d *draft) uniqueNames() {
	taken := map[string]bool{}
	for _, s := range d.services {
		name := s.name
		if _, builtin := d.cat.Lookup(name); builtin && !s.known {
			taken[name] = true // else the spec would take it for the built-in one
		}
		if taken[name] {
			name = keystone.Slug(s.name + "-" + s.main().ServiceType)
		}
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%s-%d", s.name, n)
		}
		taken[name] = true
		s.name = name
	}
}

// serviceName makes a name for a service that the built-in catalog does not know.
func serviceName(e keystone.Endpoint) string {
	if name := keystone.Slug(e.ServiceName); name != "" {
		return name
	}
	if name := keystone.Slug(e.ServiceType); name != "" {
		return name
	}
	return "service"
}
