package importer

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"holdfast/internal/catalog"
	"holdfast/internal/keystone"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// place tells the services that run on the controllers from those that run
// elsewhere. The controllers are the hosts that the operator named, the host
// that the VIP's name stands for, and those that keystone's endpoints point at;
// without keystone, the host that most services are on.
func (d *draft) place() {
	d.controllerHosts = d.guessControllers()
	for _, s := range d.services {
		names := s.hostNames()
		on := slices.ContainsFunc(names, d.isController)
		s.elsewhere = len(names) > 0 && !on
		d.sayHosts(s, d.hostsOf(s))
	}
	d.sayStrangers()
}

func (d *draft) guessControllers() []string {
	count := map[string]int{}
	var order []string
	for _, s := range d.services {
		if s.known && s.name == "keystone" && len(d.hostsOf(s)) > 0 {
			return d.hostsOf(s)
		}
		for _, h := range d.hostsOf(s) {
			if count[h] == 0 {
				order = append(order, h)
			}
			count[h]++
		}
	}
	if len(order) == 0 {
		return nil
	}
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(count[b], count[a]) })
	return order[:1]
}

// isController reports whether host, of a URL, is one of the controllers or
// stands for all of them. What is on a loopback address is on each.
func (d *draft) isController(host string) bool {
	return keystone.Location{Host: host}.Loopback() || host == strings.ToLower(d.opt.Hostname) || slices.Contains(d.controllerHosts, host) || d.isGiven(host) || d.isFront(host)
}

// hostsOf gives the hosts that the endpoints of s name, but for what stands in front of all.
func (d *draft) hostsOf(s *service) []string { return slices.DeleteFunc(s.hostNames(), d.isFront) }

// isGiven reports whether host is one of the controllers that the operator named.
func (d *draft) isGiven(host string) bool {
	return slices.ContainsFunc(d.opt.Controllers, func(c spec.Host) bool { return sameHost(c, host) })
}

// sameHost reports whether the host of a URL is h, by address or by name,
// with or without its domain.
func sameHost(h spec.Host, host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr == h.Address
	}
	name := strings.ToLower(h.Name)
	return host == name || strings.HasPrefix(host, name+".") || strings.HasPrefix(name, host+".")
}

// sayHosts says when the endpoints of one service are on several hosts.
func (d *draft) sayHosts(s *service, names []string) {
	if len(names) < 2 {
		return
	}
	i := slices.IndexFunc(s.rows, func(r row) bool { return r.at.Host == names[1] })
	severity, remedy := status.Warning, "the spec sends all of its endpoints to the same hosts"
	if !slices.ContainsFunc(names, func(h string) bool { return !d.isController(h) }) {
		severity, remedy = status.Info, "all of them are taken for controllers"
	}
	d.say(severity, s.rows[i].Endpoint, status.CodeSeveralHosts,
		fmt.Sprintf("%s is listed with %d hosts: %s", s.name, len(names), strings.Join(names, ", ")), remedy)
}

// sayStrangers says when services are taken to be on the controllers because
// keystone is where they are, but the operator named other controllers.
func (d *draft) sayStrangers() {
	if len(d.opt.Controllers) == 0 {
		return
	}
	for _, h := range d.controllerHosts {
		if d.isGiven(h) || h == strings.ToLower(d.opt.Hostname) {
			continue
		}
		for _, s := range d.services {
			i := slices.IndexFunc(s.rows, func(r row) bool { return r.at.Host == h })
			if i < 0 || s.elsewhere {
				continue
			}
			d.say(status.Warning, s.rows[i].Endpoint, status.CodeNoController,
				fmt.Sprintf("%s is none of the controllers given", h), "what is there is taken to run on the controllers; if it does not, say --host "+s.name+":NAME=ADDRESS")
			break
		}
	}
}

// assignHosts gives the services the hosts that the operator named for them.
func (d *draft) assignHosts() error {
	for _, name := range slices.Sorted(maps.Keys(d.opt.Hosts)) {
		s := d.find(name)
		if s == nil {
			return d.noService(name)
		}
		s.hosts = append(s.hosts, d.opt.Hosts[name]...)
	}
	return nil
}

// find gives the service that the operator calls name: as the draft does, or
// by a name, alias or type that the listing or the built-in catalog has for it.
func (d *draft) find(name string) *service {
	for _, s := range d.services {
		if s.name == strings.ToLower(name) {
			return s
		}
	}
	entry, builtin := d.cat.Lookup(name)
	for _, s := range d.services {
		if builtin && s.known && s.entry.Name == entry.Name {
			return s
		}
		for _, r := range s.rows {
			if strings.EqualFold(r.ServiceName, name) || strings.EqualFold(r.ServiceType, name) {
				return s
			}
		}
	}
	return nil
}

func (d *draft) noService(name string) error {
	names := make([]string, len(d.services))
	for i, s := range d.services {
		names[i] = s.name
	}
	text := fmt.Sprintf("the listing has no service %q; it has %s", name, strings.Join(names, ", "))
	if near, ok := catalog.Nearest(strings.ToLower(name), names); ok {
		text = fmt.Sprintf("the listing has no service %q; did you mean %q?", name, near)
	}
	return &OptionError{"host", text}
}

// listedHosts makes hosts of what the URLs say: names where they are names,
// addresses where they are addresses.
func listedHosts(names []string) []spec.Host {
	var hosts []spec.Host
	for _, name := range names {
		at := keystone.Location{Host: name}
		if at.Loopback() {
			continue
		}
		h := spec.Host{Name: at.ShortHost()}
		if slices.ContainsFunc(hosts, func(o spec.Host) bool { return o.Name == h.Name && h.Name != "" }) {
			h.Name = name // the same host name in two domains
		}
		if keystone.Slug(h.Name) != h.Name || strings.Contains(strings.ToUpper(h.Name), Mark) {
			h.Name = ""
		}
		if addr, ok := at.Addr(); ok && addr.IsGlobalUnicast() && !addr.Is4In6() && addr.Zone() == "" {
			h.Address = addr
		}
		hosts = append(hosts, h)
	}
	return hosts
}
