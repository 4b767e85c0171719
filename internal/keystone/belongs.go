package keystone

import (
	"slices"
	"strings"

	"holdfast/internal/catalog"
	"holdfast/internal/spec"
)

// A belonging says which service of a spec an endpoint belongs to, and why not
// when it belongs to none.
type belonging struct {
	service int // index in Spec.Services; -1 for none
	// wrong names the service whose URL the endpoint has instead of that of its
	// own type; empty for nothing of the kind.
	wrong string
	// unlisted names the service of the spec that the endpoint would belong to by
	// its name and port, had it a type that the spec knows for it.
	unlisted string
	// several reports that the type is that of several services of the spec, and
	// neither name nor port tells them apart.
	several bool
}

// matcher finds the services of a spec that endpoints belong to.
type matcher struct {
	spec *spec.Spec
	cat  catalog.Catalog
}

// belongs tells where e belongs: by its type first, as clients look for it.
func (m matcher) belongs(e Record) belonging {
	var found []int
	for i, svc := range m.spec.Services {
		if slices.Contains(svc.Types, strings.ToLower(e.ServiceType)) {
			found = append(found, i)
		}
	}
	at, err := Locate(e.URL)
	if err != nil {
		at = Location{}
	}
	switch len(found) {
	case 0:
		return belonging{service: -1, unlisted: m.byNameAndPort(e, at)}
	case 1:
		return belonging{service: found[0], wrong: m.wrong(found[0], at)}
	}
	if i := m.tellApart(found, e, at); i >= 0 {
		return belonging{service: i, wrong: m.wrong(i, at)}
	}
	return belonging{service: -1, several: true}
}

// tellApart chooses among services of one type, as swift and rgw: by the name
// in Keystone, else by the port. -1 when neither says.
func (m matcher) tellApart(found []int, e Record, at Location) int {
	for _, i := range found {
		if m.named(e.ServiceName, m.spec.Services[i]) {
			return i
		}
	}
	for _, is := range []func(spec.Service) bool{
		func(svc spec.Service) bool { return svc.Port == at.Port },
		func(svc spec.Service) bool { return isPortOf(svc, at.Port) },
	} {
		if i := slices.IndexFunc(found, func(i int) bool { return is(m.spec.Services[i]) }); i >= 0 {
			return found[i]
		}
	}
	return -1
}

// isPortOf reports whether svc has port, on a VIP or on its hosts: to these endpoints lead
// before they are moved.
func isPortOf(svc spec.Service, port int) bool {
	return port == svc.Port || port != 0 && port == svc.HostPort
}

// named reports whether name, of a service in Keystone, means svc.
func (m matcher) named(name string, svc spec.Service) bool {
	if strings.EqualFold(name, svc.Name) || Slug(name) == svc.Name {
		return true
	}
	known, ok := m.cat.Lookup(Slug(name))
	return ok && known.Name == svc.Name
}

// byNameAndPort gives the service that e names and whose port its URL has.
func (m matcher) byNameAndPort(e Record, at Location) string {
	for _, svc := range m.spec.Services {
		if isPortOf(svc, at.Port) && len(svc.Types) > 0 && m.named(e.ServiceName, svc) {
			return svc.Name
		}
	}
	return ""
}

// wrong names the service that at is a URL of, when that is not service i: one
// of the spec has that port, or one that the built-in catalog knows has that
// port and that path. The usual port of a scheme says nothing, written or not: behind it there
// are many, told apart by name or path.
func (m matcher) wrong(i int, at Location) string {
	own := m.spec.Services[i]
	if at.Port == 0 || isPortOf(own, at.Port) || at.Usual() || m.shared(at) {
		return ""
	}
	for j, other := range m.spec.Services {
		if j != i && other.Port == at.Port && other.Mode == spec.HTTP {
			return other.Name
		}
	}
	for _, other := range m.cat.ByPort(at.Port) {
		if other.Name == own.Name || slices.ContainsFunc(other.Types, func(t string) bool { return slices.Contains(own.Types, t) }) {
			continue
		}
		if other.Path != "" && samePath(other.Path, at.Path) && !samePath(own.Path, at.Path) {
			return other.Name
		}
	}
	return ""
}

// shared reports whether at is a port of a VIP that many services share, so that it says
// nothing of which is meant.
func (m matcher) shared(at Location) bool {
	return slices.ContainsFunc(m.spec.VIPs, func(v spec.VIP) bool {
		return v.Public != nil && v.Public.Port == at.Port && slices.ContainsFunc(v.Hostnames(), func(n string) bool { return strings.EqualFold(n, at.Host) })
	})
}

// samePath compares paths, with every template like every other.
func samePath(a, b string) bool { return plainPath(a) == plainPath(b) }

// plainPath gives path with "*" for each segment with a template, and without
// slashes at its end.
func plainPath(path string) string {
	segments := strings.Split(strings.TrimRight(path, "/"), "/")
	for i, s := range segments {
		if IsTemplate(s) {
			segments[i] = "*"
		}
	}
	return strings.Join(segments, "/")
}

// Slug brings a name into the form that the spec wants: lower case letters,
// digits and single hyphens, at most 63 of them.
func Slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '.':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := b.String()
	return strings.Trim(s[:min(len(s), 63)], "-_.")
}
