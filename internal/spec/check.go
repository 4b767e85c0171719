package spec

import (
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/catalog"
	"holdfast/internal/status"
)

// The default ports of the agents.
const (
	defaultPort      = 9470
	defaultCheckPort = 9471

	defaultHandoverLimit = time.Hour
)

// checker finds what is wrong with several values together, and makes the Spec
// when nothing is. Values that were wrong by themselves it passes over: one
// mistake, one finding.
type checker struct {
	*source
	catalog catalog.Catalog
	raw     *rawSpec
	twins   map[*yaml.Node]bool // names of hosts that were there before
}

func (c *checker) check() {
	if c.raw == nil {
		return
	}
	c.checkRelease()
	c.checkControllers()
	c.checkVIPs()
	c.checkServices()
	c.checkPorts()
	c.checkPlaces()
	c.checkTLS()
	c.checkLimits()
	c.checkSharedLimits()
	c.checkRawACLs()
	c.checkStats()
	c.checkPublic()
	c.checkNames()
	c.checkNotify()
	c.checkBGP()
}

func (c *checker) checkRelease() {
	r := c.raw.release
	if !r.ok {
		return
	}
	if _, known := c.catalog.Release(r.v); known {
		return
	}
	known := c.catalog.Releases()
	remedy := fmt.Sprintf("write one from %s to %s, or leave it out for the newest", known[0], known[len(known)-1])
	if near, ok := catalog.Nearest(strings.ToLower(r.v), known); ok {
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	c.fail(status.CodeUnknownRelease, r.node, quote(r.v)+" is no known release of OpenStack", remedy)
}

func (c *checker) checkControllers() {
	l := c.raw.controllers
	switch {
	case !l.ok:
		return
	case len(l.all) == 0:
		c.fail(status.CodeNoController, l.node, "there is no controller", "write at least one, better three: {name: ctl1, address: 10.64.20.13}")
	case len(l.all) == 1 && l.all[0].address.ok:
		c.warn(status.CodeOneController, l.node, "there is one controller only, so nothing takes over when it fails", "write two or more")
	}
	c.twice("controller", l.all)
}

// twice reports the hosts of a list that share a name or an address.
func (c *checker) twice(what string, hosts []rawHost) {
	names, addrs := uses[string]{}, uses[netip.Addr]{}
	for _, h := range hosts {
		if first := names.take(h.name); first != nil {
			c.twins[h.name.node] = true
			c.fail(status.CodeDuplicateName, h.name.node, fmt.Sprintf("a second %s is called %s, the first is in line %d", what, quote(h.name.v), first.Line), "write another name")
		}
		if first := addrs.take(h.address); first != nil {
			c.fail(status.CodeDuplicateAddress, h.address.node, fmt.Sprintf("a second %s has the address %s, the first is in line %d", what, h.address.v, first.Line), "write the address that it has")
		}
	}
}

// uses remembers where each value was used first.
type uses[K comparable] map[K]*yaml.Node

// take gives the node where i's value was used before, or nil and remembers it.
func (u uses[K]) take(i item[K]) *yaml.Node {
	if !i.ok {
		return nil
	}
	if first, used := u[i.v]; used {
		return first
	}
	u[i.v] = i.node
	return nil
}

// checkPorts finds the ports that the agents and the services both want.
func (c *checker) checkPorts() {
	port := c.raw.agent.port
	checkPort := c.raw.agent.checkPort
	if port.or(defaultPort) == checkPort.or(defaultCheckPort) {
		at := port
		if checkPort.given() {
			at = checkPort
		}
		if at.ok {
			c.fail(status.CodePortClash, at.node, fmt.Sprintf("agent.port and agent.check_port are both %d", at.v), "write another port for one of them")
		}
	}
	for _, s := range c.raw.services.all {
		p, at := c.portOf(s)
		c.checkOwnPort(s, p, at)
		others := []item[int]{s.hostPort, s.check.port}
		for _, h := range s.hosts.all {
			others = append(others, h.port)
		}
		for _, other := range others {
			if other.ok {
				c.checkOwnPort(s, other.v, other.node)
			}
		}
	}
}

// checkOwnPort finds a port of s that is the agents' own.
func (c *checker) checkOwnPort(s rawService, port int, at *yaml.Node) {
	for _, own := range []struct {
		name string
		port int
	}{{"agent.port", c.raw.agent.port.or(defaultPort)}, {"agent.check_port", c.raw.agent.checkPort.or(defaultCheckPort)}} {
		if port == own.port {
			c.fail(status.CodePortClash, at, fmt.Sprintf("port %d of service %s is the agents' own (%s)", port, s.name.v, own.name), fmt.Sprintf("write another %s", own.name))
		}
	}
}

// checkNames warns of one name that stands for two addresses: a command that
// names the host could mean either.
func (c *checker) checkNames() {
	addrs := map[string]*rawHost{}
	for h := range c.hosts() {
		if !h.name.ok || !h.address.ok || c.twins[h.name.node] {
			continue
		}
		first, used := addrs[h.name.v]
		if !used {
			addrs[h.name.v] = h
		} else if first.address.v != h.address.v {
			c.warn(status.CodeTwoAddresses, h.address.node, fmt.Sprintf("host %s has the address %s here and %s in line %d", h.name.v, h.address.v, first.address.v, first.address.node.Line), "write the same, unless it has both")
		}
	}
}

// hosts gives the controllers and all hosts of services.
func (c *checker) hosts() iter.Seq[*rawHost] {
	return func(yield func(*rawHost) bool) {
		lists := [][]rawHost{c.raw.controllers.all}
		for _, s := range c.raw.services.all {
			lists = append(lists, s.hosts.all)
		}
		for _, l := range lists {
			for i := range l {
				if !yield(&l[i]) {
					return
				}
			}
		}
	}
}

func (c *checker) build() *Spec {
	r := c.raw
	release, _ := c.catalog.Release(r.release.or(""))
	s := &Spec{
		Region:  r.region.or("RegionOne"),
		Release: release, HeaderLimit: r.headerLimit.v,
		Agent: Agent{
			Port: r.agent.port.or(defaultPort), CheckPort: r.agent.checkPort.or(defaultCheckPort),
			HandoverLimit:  r.agent.handoverLimit.or(defaultHandoverLimit),
			Authentication: Authentication(r.agent.authentication.or(string(ReceiveOnly))),
		},
		Log: Log{Target: r.log.target.v, Level: r.log.level.v, Off: r.log.off.v}, Notify: r.notify.build(), HAProxy: r.haproxy, ErrorPages: r.errorPages, Stats: r.stats.build(),
	}
	s.Cloud = r.cloud.or(s.Region)
	for _, h := range r.controllers.all {
		s.Controllers = append(s.Controllers, Controller{Name: h.name.v, Address: h.address.v, Interface: h.iface.v})
	}
	s.BGP = r.bgp.build(s.Controllers)
	for i, v := range r.vips.all {
		vip := v.build(s.ControllerNames(), i)
		vip.Public = c.public(i, v)
		s.VIPs = append(s.VIPs, vip)
	}
	for _, raw := range r.services.all {
		s.Services = append(s.Services, c.buildService(raw, s))
	}
	return s
}
