package importer

import (
	"cmp"
	"fmt"
	"strings"
)

// UsualServices are those that nearly every cloud has, by their names in the catalog.
func UsualServices() []string {
	return []string{"keystone", "glance", "nova", "placement", "neutron", "cinder"}
}

// Fresh gives a spec that is not made of a listing: of what opt says, with the named services
// of the catalog on all controllers. Whoever calls it parses it, and has findings told: opt is
// not looked at here.
func Fresh(opt Options, services []string) []byte {
	w := &writer{}
	w.line("# The same file on every controller. docs/spec.md has every key; after a change:")
	w.line("# holdfast validate, and systemctl reload holdfast on each.")
	if opt.Cloud != "" {
		w.line("cloud: " + scalar(opt.Cloud))
	}
	w.line("region: " + scalar(cmp.Or(opt.Region, "RegionOne")))
	w.line("")
	w.line("vips:")
	w.line("  - name: api")
	var addresses []string
	for _, p := range opt.VIPs {
		addresses = append(addresses, scalar(p.String()))
	}
	w.line("    addresses: [" + strings.Join(addresses, ", ") + "]")
	w.line("    hostname: " + scalar(opt.Hostname))
	w.line("    interface: "+scalar(opt.Interface), "a controller may have another one: interface, in its entry below")
	w.line(fmt.Sprintf("    vrrp: {router_id: %d}", cmp.Or(opt.RouterID, defaultRouterID)), "no other router of this network may have it; holdfast doctor listens for one")
	w.line("")
	w.line("controllers:", "in order of preference")
	for _, c := range opt.Controllers {
		w.line(fmt.Sprintf("  - {name: %s, address: %s}", scalar(c.Name), scalar(c.Address.String())))
	}
	w.line("")
	w.line("services:", "a known one needs nothing; its hosts are the controllers, unless it has hosts")
	for _, name := range services {
		w.line("  " + scalar(name) + ": {}")
	}
	return []byte(w.text())
}
