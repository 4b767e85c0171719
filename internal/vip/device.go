package vip

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"holdfast/internal/ether"
	"holdfast/internal/rtnl"
)

// A device carries addresses of one VIP: all of them on the interface itself,
// or those of one family on a macvlan device. Only index, announced
// and networks change.
type device struct {
	name     string
	parent   string    // of a macvlan device, the interface below; else empty
	hw       ether.MAC // of a macvlan device
	prefixes []netip.Prefix

	index int // 0: not found or made yet
	// announced is the MAC address that the neighbours were told last.
	announced ether.MAC
	// networks are those that nothing but our own route connects.
	networks []netip.Prefix
}

// macvlanPrefix begins the name of every macvlan device of this package.
const macvlanPrefix = "hf-"

// devicesOf gives the devices that o needs.
func devicesOf(o Options) []*device {
	if o.Device != Macvlan {
		return []*device{{name: o.Interface, prefixes: o.Addresses}}
	}
	var v4, v6 []netip.Prefix
	for _, p := range o.Addresses {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	name := macvlanPrefix + strconv.Itoa(o.RouterID)
	var devices []*device
	if v4 != nil {
		devices = append(devices, &device{name: name, parent: o.Interface, hw: routerMAC(o.RouterID, false), prefixes: v4})
	}
	if v6 != nil {
		devices = append(devices, &device{name: name + "v6", parent: o.Interface, hw: routerMAC(o.RouterID, true), prefixes: v6})
	}
	return devices
}

// find finds the device, or gives a zero link when it is a macvlan device that
// is not there.
func (d *device) find(k *rtnl.Conn) (rtnl.Link, error) {
	l, err := k.LinkByName(d.name)
	if d.parent != "" && errors.Is(err, unix.ENODEV) {
		return rtnl.Link{}, nil
	}
	if err != nil {
		return rtnl.Link{}, k.Explain("find", d.name, err)
	}
	return l, nil
}

// ready finds the device or makes it, and brings it up when it is ours.
func (d *device) ready(k *rtnl.Conn, log *slog.Logger) (rtnl.Link, error) {
	d.index = 0
	l, err := d.find(k)
	if err == nil && d.parent != "" {
		l, err = d.readyMacvlan(k, log, l)
	}
	if err != nil {
		return l, err
	}
	d.index = l.Index
	return l, nil
}

// readyMacvlan makes the macvlan device, or adopts the one that an earlier
// agent left.
func (d *device) readyMacvlan(k *rtnl.Conn, log *slog.Logger, found rtnl.Link) (rtnl.Link, error) {
	parent, err := k.LinkByName(d.parent)
	if err != nil {
		return parent, k.Explain("find", d.parent, err)
	}
	if found.Index != 0 && !d.is(found, parent) {
		return found, fmt.Errorf("device %s is not the macvlan device with %s on %s that this router id needs; "+
			"give each VIP its own router id, or remove it: ip link delete %s", d.name, d.hw, d.parent, d.name)
	}
	if found.Index == 0 {
		if err := k.AddMacvlan(d.name, parent.Index, d.hw); err != nil {
			return found, k.Explain("add macvlan device "+d.name+" on", d.parent, err)
		}
		if found, err = k.LinkByName(d.name); err != nil {
			return found, k.Explain("find", d.name, err)
		}
	}
	if err := prepareMacvlan(d.name, d.parent, d.prefixes[0].Addr().Is6()); err != nil {
		log.Warn("the macvlan device may not answer as it should", "device", d.name, "error", err)
	}
	if found.Flags&unix.IFF_UP == 0 {
		if err := k.SetUp(found.Index); err != nil {
			return found, k.Explain("bring up", d.name, err)
		}
	}
	return found, nil
}

// is reports whether l is the macvlan device that d wants.
func (d *device) is(l, parent rtnl.Link) bool {
	return l.Kind == rtnl.KindMacvlan && l.Mode == rtnl.Private && l.MAC() == d.hw && l.Parent == parent.Index
}

// survey gives the networks that no address but the VIP's own connects, and
// the other copies of VIP addresses: same address, another prefix length.
func (d *device) survey(k *rtnl.Conn) (networks, copies []netip.Prefix, err error) {
	on, err := k.Addresses(d.index)
	if err != nil {
		return nil, nil, fmt.Errorf("list the addresses of %s: %w", d.name, err)
	}
	below := on
	if d.parent != "" {
		parent, err := k.LinkByName(d.parent)
		if err == nil {
			below, err = k.Addresses(parent.Index)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("list the addresses of %s: %w", d.parent, err)
		}
	}
	networks = Unconnected(d.prefixes, below)
	for _, p := range on {
		if d.has(p.Addr()) && !p.IsSingleIP() {
			copies = append(copies, p)
		}
	}
	return networks, copies, nil
}

func (d *device) has(a netip.Addr) bool {
	return slices.ContainsFunc(d.prefixes, func(p netip.Prefix) bool { return p.Addr() == a })
}

// Unconnected gives the networks of the VIP's prefixes in which the interface
// has none of the addresses present, those of the VIP itself aside.
func Unconnected(vip, present []netip.Prefix) []netip.Prefix {
	var networks []netip.Prefix
	for _, v := range vip {
		network := v.Masked()
		connected := slices.ContainsFunc(present, func(p netip.Prefix) bool {
			return !p.IsSingleIP() && p.Contains(v.Addr()) &&
				!slices.ContainsFunc(vip, func(q netip.Prefix) bool { return q.Addr() == p.Addr() })
		})
		if !connected && !v.IsSingleIP() && !slices.Contains(networks, network) {
			networks = append(networks, network)
		}
	}
	return networks
}

// SourceIn gives the first of the VIP's addresses in network, which is that of one.
func SourceIn(vip []netip.Prefix, network netip.Prefix) netip.Addr {
	i := slices.IndexFunc(vip, func(p netip.Prefix) bool { return p.Masked() == network })
	return vip[i].Addr()
}
