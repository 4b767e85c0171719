package spec

import (
	"fmt"
	"slices"

	"holdfast/internal/status"

	"go.yaml.in/yaml/v4"
)

// checkPlaces finds what is wrong with where services listen: VIPs that there are
// not, VIPs on which nothing does, and, as a warning, what only the cloud itself
// asks on an address that is there for everybody.
func (c *checker) checkPlaces() {
	used := map[int]bool{}
	for _, s := range c.raw.services.all {
		c.checkVIPNames(s)
		c.checkShared(s)
		for _, i := range c.placesOf(s) {
			used[i] = true
			c.checkPublicAddress(s, c.raw.vips.all[i])
		}
	}
	if len(used) == 0 {
		return // that is another finding
	}
	for i, v := range c.raw.vips.all {
		if !used[i] && v.at.node.Kind == yaml.MappingNode {
			c.warn(status.CodeNoService, v.at.node, fmt.Sprintf("no service listens on %s, VIP %s", v.at.path, v.name.or("?")), `name it under "vips" of a service, or remove it`)
		}
	}
}

func (c *checker) checkVIPNames(s rawService) {
	l := s.vips
	if l.ok && len(l.all) == 0 {
		c.fail(status.CodeNoVIP, l.node, s.at.path+".vips is empty", "write the name of at least one VIP, or leave it out for the usual ones")
	}
	var known []string
	for _, v := range c.raw.vips.all {
		known = append(known, v.name.v)
	}
	c.checkNamed(l.all, "VIP", status.CodeUnknownVIP, known)
}

// checkNamed finds in a list of names those that are none of the known ones, or there twice;
// unknown is the code of the first.
func (c *checker) checkNamed(names []item[string], what, unknown string, known []string) {
	own := uses[string]{}
	for _, name := range names {
		switch {
		case !name.ok:
		case !slices.Contains(known, name.v):
			c.fail(unknown, name.node, fmt.Sprintf("no %s is called %s", what, quote(name.v)), "write "+list(known, "or"))
		case own.take(name) != nil:
			c.fail(status.CodeDuplicateName, name.node, fmt.Sprintf("%s is here a second time", quote(name.v)), "remove one of the two")
		}
	}
}

// checkShared finds a service that listens on some of the VIPs that share a hostname: the
// name leads its clients to all of them.
func (c *checker) checkShared(s rawService) {
	if s.vips.node == nil {
		return
	}
	places := c.placesOf(s)
	for i, v := range c.raw.vips.all {
		if slices.Contains(places, i) {
			continue
		}
		for _, p := range places {
			if on := c.raw.vips.all[p]; shares(on, v) {
				c.fail(status.CodeUnknownVIP, s.vips.node, fmt.Sprintf("service %s is on VIP %s, and not on %s, to which its hostname %s leads, too", s.name.v, on.name.v, v.name.v, v.hostname.v), fmt.Sprintf("add %s", v.name.v))
				return
			}
		}
	}
}

// checkPublicAddress warns of a service that only the cloud itself asks on v, where v is
// for everybody.
func (c *checker) checkPublicAddress(s rawService, v rawVIP) {
	port, _ := c.portOf(s)
	if port == 0 || !c.internal(s) || !v.serves("public") {
		return
	}
	at := s.key
	if s.vips.node != nil {
		at = s.vips.node
	}
	remedy := "close that port to all but the cloud's own hosts, or give it a VIP of its own"
	if others := c.without("public"); len(others) > 0 {
		remedy = fmt.Sprintf(`write "vips: [%s]"`, c.raw.vips.all[others[0]].name.v)
	}
	c.warn(status.CodePublicAddress, at, fmt.Sprintf("service %s is for the cloud itself, and port %d of VIP %s, which serves the public endpoints, leads everybody to it", s.name.v, port, v.name.or(v.at.path)), remedy)
}

// internal reports whether only the cloud itself asks s, and none of its users: the
// catalog knows, and a service that is not HTTP and has no type has no endpoint.
func (c *checker) internal(s rawService) bool {
	if s.typ.given() {
		return false
	}
	known, ok := c.known(s)
	return known.Internal || !ok && c.modeOf(s) == TCP
}

// placesOf gives the VIPs, by their places in the file, that s listens on: those of
// the file, or all. One that only the cloud itself asks is on the VIP that serves
// the internal endpoints; where there is none, on those without the public ones.
func (c *checker) placesOf(s rawService) []int {
	named := func(v rawVIP) bool {
		return slices.ContainsFunc(s.vips.all, func(n item[string]) bool { return n.ok && n.v == v.name.v })
	}
	all := c.where(func(rawVIP) bool { return true })
	if s.vips.node != nil {
		return c.where(named)
	}
	if !c.internal(s) {
		return all
	}
	if inside := c.where(func(v rawVIP) bool { return v.serves("internal") }); len(inside) > 0 {
		return inside
	}
	if inside := c.without("public"); len(inside) > 0 {
		return inside
	}
	return all
}

func (c *checker) without(iface string) []int {
	return c.where(func(v rawVIP) bool { return !v.serves(iface) })
}

func (c *checker) where(is func(rawVIP) bool) []int {
	var all []int
	for i, v := range c.raw.vips.all {
		if is(v) {
			all = append(all, i)
		}
	}
	return all
}

// serves reports whether v serves the endpoints of a catalog interface.
func (v rawVIP) serves(iface string) bool {
	return slices.ContainsFunc(v.served(), func(e item[string]) bool { return e.v == iface })
}

// vipNames gives the names of the VIPs that s listens on; nil for all.
func (c *checker) vipNames(s rawService) []string {
	places := c.placesOf(s)
	if len(places) == len(c.raw.vips.all) {
		return nil
	}
	var names []string
	for _, i := range places {
		names = append(names, c.raw.vips.all[i].name.v)
	}
	return names
}
