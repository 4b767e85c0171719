package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"holdfast/internal/spec"
)

// A Want is what a hostname's addresses should be.
type Want struct {
	Hostname string
	VIPs     []string // by name
	// Addresses are those of all VIPs, sorted.
	Addresses []netip.Addr
	// Apart says that the VIPs serve different endpoints, which is a fault of the spec: the
	// name leads all clients to all of them.
	Apart bool
}

// Wants gives what the spec wants of DNS, in the order of its VIPs; of those
// called only, if any are, and of those that share hostname and endpoints with them. An
// error names a VIP that is not in the spec.
func Wants(s *spec.Spec, only []string) ([]Want, error) {
	var wants []Want
	names := []string{}
	for _, v := range s.VIPs {
		names = append(names, v.Name)
		if len(only) > 0 && !slices.ContainsFunc(only, func(name string) bool { return name == v.Name || shares(s, name, v) }) {
			continue
		}
		for _, name := range v.Hostnames() {
			wants = wanted(wants, s, v, Canonical(name))
		}
	}
	for _, name := range only {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("there is no VIP %q in the spec; it has %s", name, strings.Join(names, ", "))
		}
	}
	return wants, nil
}

// wanted adds to wants that host leads to v, too.
func wanted(wants []Want, s *spec.Spec, v spec.VIP, host string) []Want {
	i := slices.IndexFunc(wants, func(w Want) bool { return w.Hostname == host })
	if i < 0 {
		i = len(wants)
		wants = append(wants, Want{Hostname: host})
	}
	w := &wants[i]
	w.Apart = w.Apart || len(w.VIPs) > 0 && !shares(s, w.VIPs[0], v)
	w.VIPs = append(w.VIPs, v.Name)
	for _, a := range v.Addresses {
		w.Addresses = append(w.Addresses, a.Addr().Unmap())
	}
	w.Addresses = SortedAddrs(w.Addresses)
	return wants
}

// shares reports whether the VIP called name and v are reached by one hostname for the
// same endpoints.
func shares(s *spec.Spec, name string, v spec.VIP) bool {
	return slices.ContainsFunc(s.VIPs, func(o spec.VIP) bool { return o.Name == name && o.SharesName(v) })
}

// owner says whose an address is, as far as the spec knows: "controller ctl1",
// "" for nobody's.
func owner(s *spec.Spec, a netip.Addr) string {
	if s == nil {
		return ""
	}
	for _, v := range s.VIPs {
		if slices.ContainsFunc(v.Addresses, func(p netip.Prefix) bool { return p.Addr() == a }) {
			return "VIP " + v.Name
		}
	}
	for _, c := range s.Controllers {
		if c.Address == a {
			return "controller " + c.Name
		}
	}
	for _, svc := range s.Services {
		for _, h := range svc.Hosts {
			if h.Address == a {
				return fmt.Sprintf("host %s of %s", h.Name, svc.Name)
			}
		}
	}
	return ""
}

// described gives addresses for a person, with whose they are; at most a few.
func described(s *spec.Spec, addresses []netip.Addr) string {
	const shown = 8
	var all []string
	for _, a := range addresses {
		if len(all) == shown {
			all = append(all, fmt.Sprintf("and %d more", len(addresses)-shown))
			break
		}
		text := a.String()
		if who := owner(s, a); who != "" {
			text += " (" + who + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}
