package spec

import (
	"net/netip"
	"slices"
	"strings"
)

// A Retake is a VIP that a controller cannot go on holding when the spec
// changes: what is changed of it makes it another virtual router.
type Retake struct {
	VIP string `json:"vip"`
	// Controllers are those that give it up, and take it anew unless Gone.
	Controllers []string `json:"controllers"`
	// Gone reports whether the VIP is no longer in the spec.
	Gone bool `json:"gone"`
	// Why has what is changed: "its router id", "its addresses".
	Why []string `json:"why,omitempty"`
}

// Retakes gives the VIPs of old that cannot go on as they are under next. All
// connections to such a VIP are lost. What it does not name goes on untouched;
// of controllers, only those that both specs have are looked at.
func Retakes(old, next *Spec) []Retake {
	var all []Retake
	for _, v := range old.VIPs {
		i := slices.IndexFunc(next.VIPs, func(n VIP) bool { return n.Name == v.Name })
		r := Retake{VIP: v.Name, Controllers: []string{}, Gone: i < 0}
		for _, c := range old.Controllers {
			after, both := next.Controller(c.Name)
			if !both {
				continue
			}
			var why []string
			switch {
			case i >= 0 && v.Announce == AnnounceBGP && next.VIPs[i].Announce == AnnounceBGP:
				why = fewerAddresses(v, next.VIPs[i])
			case i >= 0:
				why = otherRouter(identity(old, v, c), identity(next, next.VIPs[i], after))
			}
			if len(why) > 0 || r.Gone {
				r.Controllers = append(r.Controllers, c.Name)
			}
			for _, w := range why {
				if !slices.Contains(r.Why, w) {
					r.Why = append(r.Why, w)
				}
			}
		}
		if r.Gone || len(r.Why) > 0 {
			all = append(all, r)
		}
	}
	return all
}

// fewerAddresses tells whether b lacks an address that a has: all else of a VIP that is announced
// by BGP may change while it goes on.
func fewerAddresses(a, b VIP) []string {
	if slices.ContainsFunc(a.Addresses, func(p netip.Prefix) bool { return !slices.Contains(b.Addresses, p) }) {
		return []string{"its addresses"}
	}
	return nil
}

// A routerIdentity is what makes a virtual router this one and no other.
type routerIdentity struct {
	addresses string
	iface     string
	device    Device
	id        int
	multicast bool
	source    netip.Addr
}

func identity(s *Spec, v VIP, c Controller) routerIdentity {
	words := make([]string, len(v.Addresses))
	for i, a := range v.Addresses {
		words[i] = a.String()
	}
	return routerIdentity{strings.Join(words, " "), s.Interface(v, c), v.Device, v.VRRP.RouterID, v.VRRP.Peers == Multicast, c.Address}
}

// otherRouter tells what of b is another than in a.
func otherRouter(a, b routerIdentity) []string {
	var why []string
	for _, w := range []struct {
		differs bool
		what    string
	}{
		{a.addresses != b.addresses, "its addresses"},
		{a.iface != b.iface, "its interface"},
		{a.device != b.device, "its device"},
		{a.id != b.id, "its router id"},
		{a.multicast != b.multicast, "its peers (unicast or multicast)"},
		{a.source != b.source, "the controller's own address"},
	} {
		if w.differs {
			why = append(why, w.what)
		}
	}
	return why
}
