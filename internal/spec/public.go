package spec

import (
	"cmp"
	"slices"
	"strings"
)

// By says what tells the services apart that share a port of a VIP.
type By string

// The ways to tell services apart.
const (
	ByName By = "name" // each has a host name: nova.example.org
	ByPath By = "path" // each has a path below the hostname of the VIP: /compute
)

// Public is how a VIP leads to its HTTP services through one port.
type Public struct {
	By     By
	Port   int
	Domain string // of the names of services that have no other; with ByName
	// Ports says that services listen at their own ports of the VIP, too, but for one whose
	// own is the one that is shared.
	Ports bool
	// Routes has those services that are reached through Port: longest paths first,
	// else in the order of the file. The others keep their ports.
	Routes []Route
}

// A Route is how clients reach one service through the port that it shares.
type Route struct {
	Service string
	Name    string // the host name, in lower case
	Path    string // "/compute"; empty: all of that name that no other route has
	// Strip says that the host gets the request without Path.
	Strip bool
}

// Route gives how svc is reached through the port of v that services share, and whether it is.
func (v VIP) Route(svc Service) (Route, bool) {
	if v.Public == nil {
		return Route{}, false
	}
	i := slices.IndexFunc(v.Public.Routes, func(r Route) bool { return r.Service == svc.Name })
	if i < 0 {
		return Route{}, false
	}
	return v.Public.Routes[i], true
}

// Listens reports whether svc has a port of its own on v.
func (s Service) Listens(v VIP) bool {
	_, routed := v.Route(s)
	return s.On(v) && (!routed || v.Public.Ports && s.Port != v.Public.Port)
}

// A Place is where clients find a service on a VIP.
type Place struct {
	Name string // host name
	Port int
	// Path comes before that of the service; empty for none. Strip says that the
	// service itself does not see it.
	Path  string
	Strip bool
}

// PlaceOf gives where svc is found by clients of the catalog interface iface on v; for
// those of no certain interface iface is empty. Where services have ports of their own
// beside one that they share, that one is for the public interface.
func (v VIP) PlaceOf(svc Service, iface string) Place {
	r, routed := v.Route(svc)
	if !routed || iface != "public" && svc.Listens(v) {
		return Place{Name: v.Hostname, Port: svc.Port}
	}
	return Place{Name: r.Name, Port: v.Public.Port, Path: r.Path, Strip: r.Strip}
}

// OwnPath gives the path that the host of a service at p sees of the client's path.
func (p Place) OwnPath(path string) string {
	if !p.Strip {
		return path
	}
	return "/" + strings.TrimPrefix(strings.TrimPrefix(path, p.Path), "/")
}

// Reaches reports whether a client reaches what the host of a service at p has at path: where
// the host sees all of the client's path, it has to begin with that of p.
func (p Place) Reaches(path string) bool {
	return p.Path == "" || p.Strip || strings.HasPrefix(path+"/", p.Path+"/")
}

// ClientPath gives the path by which a client reaches what the host of a service at p has
// at path.
func (p Place) ClientPath(path string) string {
	if !p.Strip {
		return path
	}
	return p.Path + path
}

// Hostnames gives all names by which clients come to v: its hostname first, then those of
// its services, each once.
func (v VIP) Hostnames() []string {
	names := []string{v.Hostname}
	if v.Public == nil {
		return names
	}
	var more []string
	for _, r := range v.Public.Routes {
		if !strings.EqualFold(r.Name, v.Hostname) {
			more = append(more, r.Name)
		}
	}
	slices.Sort(more)
	return append(names, slices.Compact(more)...)
}

// Certificates gives the files of certificates of v, the first of which is for clients that
// name nobody; none without TLS.
func (v VIP) Certificates() []CertificateFiles {
	if v.TLS == nil {
		return nil
	}
	return append([]CertificateFiles{{v.TLS.Certificate, v.TLS.Key}}, v.TLS.More...)
}

// CertificateFiles are the files of one certificate, as in TLS.
type CertificateFiles struct {
	Certificate string
	Key         string // empty: it is in Certificate
}

// sortRoutes puts the routes in the order in which a request is held against them.
func sortRoutes(all []Route) {
	slices.SortStableFunc(all, func(a, b Route) int { return cmp.Compare(len(b.Path), len(a.Path)) })
}

// domainOf gives the domain of the names of services where the file has none: that of the
// hostname, which is one of them, or else the hostname itself.
func domainOf(hostname string) string {
	if _, domain, _ := strings.Cut(hostname, "."); strings.Contains(domain, ".") {
		return strings.ToLower(domain)
	}
	return strings.ToLower(hostname)
}

// defaultName gives the name of a service below a domain, as kolla-ansible has them:
// nova.example.org. What a DNS name cannot have becomes "-".
func defaultName(service, domain string) string {
	label := strings.Map(func(r rune) rune {
		if isAlnum(r) {
			return r
		}
		return '-'
	}, strings.ToLower(service))
	return strings.Trim(label[:min(len(label), 63)], "-") + "." + domain
}

// defaultPath gives the path of a service: its type in the catalog, as DevStack has it, or
// its name.
func defaultPath(s Service) string { return "/" + strings.ToLower(cmp.Or(s.Type, s.Name)) }
