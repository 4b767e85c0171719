package importer

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"holdfast/internal/keystone"
	"holdfast/internal/status"
)

// fronts is what a listing tells of what stands in front of the services today: a balancer
// for each of two kinds of clients, or one port for all services.
type fronts struct {
	// public and inside are the hosts that the public and the other endpoints of nearly
	// all services name, where these are two; else both are empty.
	public, inside string
	adminPublic    bool // admin endpoints are at the public one
	// shared says how the services are told apart that share a web port: "name", "path",
	// or "" where they do not; port is that one.
	shared string
	port   int
	// names are all hosts of URLs that stand for many, and are no controllers.
	names []string
}

// two reports whether there are two VIPs to draft.
func (f fronts) two() bool { return f.inside != "" }

// fewest is how many services must agree for a host to be taken for what stands in front.
const fewest = 2

// findFronts finds what stands in front of the services.
func (d *draft) findFronts() {
	d.findShared()
	d.findTwo()
	for _, s := range d.services {
		for _, h := range s.hostNames() {
			if isKubernetes(h) {
				d.fronts.names = append(d.fronts.names, h)
			}
		}
	}
	d.sayKubernetes()
}

// isKubernetes reports whether host is the name that Kubernetes gives a service, behind
// which there are any hosts.
func isKubernetes(host string) bool {
	return strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".svc.cluster.local")
}

func (d *draft) sayKubernetes() {
	for _, s := range d.services {
		i := slices.IndexFunc(s.rows, func(r row) bool { return isKubernetes(r.at.Host) })
		if i < 0 {
			continue
		}
		d.say(status.Info, s.rows[i].Endpoint, status.CodeSeveralHosts,
			s.rows[i].at.Host+" and others like it are names of Kubernetes, behind which there may be any hosts",
			"their services are taken to be on the controllers; write the addresses at which these serve them")
		return
	}
}

// findShared finds services whose public endpoints share port 443 or 80, by name or by path.
func (d *draft) findShared() {
	for _, web := range []int{443, 80} {
		var at []*service
		hosts, paths := map[string]bool{}, map[string]bool{}
		for _, s := range d.services {
			if r, ok := s.publicAt(web); ok {
				at = append(at, s)
				hosts[r.at.Host], paths[d.prefixOf(s, r)] = true, true
			}
		}
		switch {
		case len(at) < fewest:
			continue
		case len(hosts) == len(at) && all(hosts, isName):
			d.fronts.shared = "name"
		case len(hosts) == 1 && len(paths) == len(at) && all(paths, isPrefix):
			d.fronts.shared = "path"
		default:
			continue
		}
		d.fronts.port = web
		for _, s := range at {
			r, _ := s.publicAt(web)
			s.route = r.at.Host
			if d.fronts.shared == "path" {
				s.route = d.prefixOf(s, r)
				s.kept = !s.insideWithout(web, s.route)
			}
			if d.fronts.shared == "name" || !s.kept {
				d.fronts.names = append(d.fronts.names, r.at.Host)
			}
		}
		d.sayShared(at)
		return
	}
}

func all(set map[string]bool, is func(string) bool) bool {
	for s := range set {
		if !is(s) {
			return false
		}
	}
	return true
}

// isName reports whether a spec takes host for the name of a service.
func isName(host string) bool { return accepted("hostname", host) }

// isPrefix reports whether a spec takes path for one below which a service is.
func isPrefix(path string) bool {
	return len(path) > 1 && len(path) < 100 && !strings.Contains(path, "//") && !strings.HasPrefix(path, "/.") && strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_.-") == ""
}

// publicAt gives the public endpoint of s at a port, if there is one; of a listing without
// interfaces any will do.
func (s *service) publicAt(port int) (row, bool) {
	i := slices.IndexFunc(s.rows, func(r row) bool {
		return (r.Interface == "public" || r.Interface == "") && r.at.Port == port && r.at.Host != ""
	})
	if i < 0 || s.entry.Port == port {
		return row{}, false
	}
	return s.rows[i], true
}

// insideWithout reports whether another endpoint of s has a port of its own, and not the path.
func (s *service) insideWithout(web int, prefix string) bool {
	return slices.ContainsFunc(s.rows, func(r row) bool {
		return r.at.Port != web && r.at.Port != 0 && !strings.HasPrefix(r.at.Path+"/", prefix+"/")
	})
}

// prefixOf gives the part of r's path that is before the service's own: "/compute" of
// "/compute/v2.1"; of an unknown service the first word.
func (d *draft) prefixOf(s *service, r row) string {
	path := strings.TrimRight(r.at.Path, "/")
	words := strings.Split(path, "/")
	own := 0
	for n := len(words); n > 0 && s.known; n-- {
		tail := strings.Join(words[n:], "/")
		if tail != "" && samePath("/"+tail, s.entry.Path) {
			own = len(words) - n
		}
	}
	if own == 0 {
		for n, word := range words {
			if n > 0 && (isAPIVersion(word) || keystone.IsTemplate(word)) {
				own = len(words) - n
				break
			}
		}
	}
	return strings.Join(words[:len(words)-own], "/")
}

// samePath compares paths, with every template like every other.
func samePath(a, b string) bool {
	plain := func(path string) string {
		words := strings.Split(strings.Trim(path, "/"), "/")
		for i, w := range words {
			if keystone.IsTemplate(w) {
				words[i] = w[:strings.IndexAny(w, "$%")] + "*"
			}
		}
		return strings.Join(words, "/")
	}
	return plain(a) == plain(b)
}

// behind gives path, of an endpoint of s, without what is in front of the service's own.
func (d *draft) behind(s *service, path string) string {
	if s.route == "" || d.fronts.shared != "path" {
		return path
	}
	if rest, ok := strings.CutPrefix(path, s.route); ok && (rest == "" || rest[0] == '/') {
		return rest
	}
	return path
}

func (d *draft) sayShared(at []*service) {
	r, _ := at[0].publicAt(d.fronts.port)
	remedy := "the spec has \"public\", which goes on with that"
	if slices.ContainsFunc(at, func(s *service) bool { return s.kept }) {
		remedy += fmt.Sprintf("; their hosts are taken to have the paths themselves, at port %d", d.fronts.port)
	} else if slices.ContainsFunc(at, func(s *service) bool { return !s.hasInside(d.fronts.port) }) {
		remedy += "; their hosts are taken to listen at the usual ports"
	}
	d.say(status.Info, r.Endpoint, status.CodeSharedWebPort,
		fmt.Sprintf("%s share port %d of the public endpoints, by %s", status.Count(len(at), "service"), d.fronts.port, d.fronts.shared), remedy)
}

func (s *service) hasInside(web int) bool {
	return slices.ContainsFunc(s.rows, func(r row) bool { return r.at.Port != web && r.at.Port != 0 })
}

// findTwo finds a host for the public endpoints and another for the others, each the same
// for all services, as balancers have them; of public ones, that share a port by name, any.
func (d *draft) findTwo() {
	if d.oneVIPGiven() {
		return
	}
	outside, inside, admin := map[string]int{}, map[string]int{}, map[string]int{}
	both := 0
	for _, s := range d.services {
		hosts := map[string]string{}
		for _, r := range s.rows {
			if r.at.Host != "" && !r.at.Loopback() {
				hosts[r.Interface] = r.at.Host
			}
		}
		if hosts["public"] == "" || hosts["internal"] == "" || hosts["public"] == hosts["internal"] {
			continue
		}
		both++
		if s.route != "" && d.fronts.shared == "name" {
			hosts["public"] = ""
		}
		outside[hosts["public"]]++
		inside[hosts["internal"]]++
		admin[hosts["admin"]]++
	}
	public, in := most(outside), most(inside)
	if both < fewest || public == in || inside[in]*4 < both*3 || outside[public]*4 < both*3 || d.isGiven(public) || d.isGiven(in) || isKubernetes(in) {
		return
	}
	d.fronts.public, d.fronts.inside = public, in
	d.fronts.adminPublic = public != "" && most(admin) == public
	for _, s := range d.services {
		for _, r := range s.rows {
			if r.at.Host == public || r.at.Host == in || r.Interface == "admin" && s.known && s.name == "keystone" {
				d.fronts.names = append(d.fronts.names, r.at.Host)
			}
		}
	}
	d.sayTwo()
}

// oneVIPGiven reports whether the operator has said of a VIP what the listing has no two of.
func (d *draft) oneVIPGiven() bool {
	return len(d.opt.VIPs) == 1 || d.opt.Hostname != "" && len(d.opt.VIPs) == 0
}

func most(count map[string]int) string {
	best := ""
	for _, host := range slices.Sorted(maps.Keys(count)) {
		if count[host] > count[best] {
			best = host
		}
	}
	return best
}

func (d *draft) sayTwo() {
	for _, s := range d.services {
		i := slices.IndexFunc(s.rows, func(r row) bool { return r.at.Host == d.fronts.inside })
		if i < 0 {
			continue
		}
		what := cmp.Or(d.fronts.public, "names of their own")
		d.say(status.Info, s.rows[i].Endpoint, status.CodeSeveralHosts,
			fmt.Sprintf("the public endpoints are at %s, and the internal ones at %s", what, d.fronts.inside),
			"two VIPs are drafted; to have one only, say --vip")
		return
	}
}

// isFront reports whether host, of a URL, stands for what is in front of the services.
func (d *draft) isFront(host string) bool { return slices.Contains(d.fronts.names, host) }

// vip is a VIP to be drafted.
type vip struct {
	name      string
	addresses []netip.Prefix
	host      string // that its endpoints name today, if that is one; a name or an address
	hostname  string // as the operator has it
	endpoints []string
	public    bool // it has the services' shared port, if they have one
}

// vips gives the VIPs to be drafted.
func (d *draft) vips() []vip {
	if !d.fronts.two() {
		return []vip{{name: "api", addresses: d.opt.VIPs, hostname: d.opt.Hostname, endpoints: d.interfaces(), public: true}}
	}
	outer := vip{name: "public", host: d.fronts.public, hostname: d.opt.Hostname, endpoints: []string{"public"}, public: true}
	inner := vip{name: "internal", host: d.fronts.inside, endpoints: []string{"internal"}}
	if d.fronts.adminPublic {
		outer.endpoints = append(outer.endpoints, "admin")
	} else if d.has("admin") {
		inner.endpoints = append(inner.endpoints, "admin")
	}
	for _, p := range d.opt.VIPs {
		if p.Addr().String() == inner.host {
			inner.addresses = append(inner.addresses, p)
		} else {
			outer.addresses = append(outer.addresses, p)
		}
	}
	return []vip{outer, inner}
}

func (d *draft) has(iface string) bool {
	return slices.ContainsFunc(d.services, func(s *service) bool {
		return slices.ContainsFunc(s.rows, func(r row) bool { return r.Interface == iface })
	})
}

// of reports whether r is an endpoint that v is to serve.
func (v vip) of(r row) bool {
	return len(v.endpoints) == 0 || slices.Contains(v.endpoints, r.Interface)
}

// publicLines gives the lines of "public" of the VIP whose services share a port.
func (d *draft) publicLines(secure bool) []string {
	f := d.fronts
	if f.shared == "" {
		return nil
	}
	usual := 80
	if secure {
		usual = 443
	}
	lines := []string{"      by: " + f.shared}
	if f.port != usual {
		lines = append(lines, fmt.Sprintf("      port: %d", f.port))
	}
	domain := ""
	if f.shared == "name" {
		domain = d.commonDomain()
		if domain != "" {
			lines = append(lines, "      domain: "+scalar(domain))
		}
	}
	var special []string
	for _, s := range d.services {
		key := "        " + scalar(s.name) + ": "
		switch {
		case s.route == "":
			special = append(special, key+"off")
		case f.shared == "name" && s.route == s.name+"."+domain:
		case f.shared == "name" || !s.kept:
			special = append(special, key+scalar(s.route))
		default:
			special = append(special, key+"{path: "+scalar(s.route)+", strip: false}")
		}
	}
	if len(special) > 0 {
		lines = append(append(lines, "      services:"), special...)
	}
	return lines
}

// commonDomain gives the domain of most names that begin with that of their service.
func (d *draft) commonDomain() string {
	count := map[string]int{}
	for _, s := range d.services {
		if label, domain, _ := strings.Cut(s.route, "."); s.route != "" && label == s.name {
			count[domain]++
		}
	}
	return most(count)
}
