package vip

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Device says on which kind of device an address is activated.
type Device string

// The devices.
const (
	Direct  Device = "direct"  // the interface itself
	Macvlan Device = "macvlan" // one of its own above it, with the virtual router's MAC address
)

// DefaultLease is how long an address stays without being renewed. Claim and
// Hold are to be called several times in that time.
const DefaultLease = 2 * time.Second

// Options says what an Address is.
type Options struct {
	// Name is that of the VIP, for messages.
	Name string
	// Addresses have the prefix length of their network; at least one.
	Addresses []netip.Prefix
	Interface string
	Device    Device // default Direct
	// RouterID is the VRRP virtual router id, 1 to 255; only Macvlan uses it.
	RouterID int
	// Lease is whole seconds, at least one; 0 means DefaultLease.
	Lease time.Duration
	// Log may be nil. Hold logs what someone else did to the addresses, so its
	// handler should not wait.
	Log *slog.Logger
}

// withDefaults gives o with its defaults filled in.
func (o Options) withDefaults() Options {
	if o.Device == "" {
		o.Device = Direct
	}
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Addresses = slices.Clone(o.Addresses)
	return o
}

// IsOfHost reports whether a can be the address of a host on a network, in its own form.
func IsOfHost(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

// validate gives all that is wrong with o.
func (o Options) validate() error {
	var errs []error
	add := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("vip %s: "+format, append([]any{o.Name}, args...)...))
	}
	if len(o.Addresses) == 0 {
		add("has no address")
	}
	for i, p := range o.Addresses {
		switch a := p.Addr(); {
		case !p.IsValid():
			add("address %d is not valid", i+1)
		case !IsOfHost(a):
			add("%s cannot be a virtual address", p)
		case slices.ContainsFunc(o.Addresses[:i], func(q netip.Prefix) bool { return q.Addr() == a }):
			add("address %s is there twice", a)
		}
	}
	if o.Interface == "" || len(o.Interface) >= unix.IFNAMSIZ || strings.ContainsAny(o.Interface, "/ \t\n") {
		add("interface %q is not a name of 1 to %d characters", o.Interface, unix.IFNAMSIZ-1)
	}
	if o.Device != Direct && o.Device != Macvlan {
		add("device %q is neither %s nor %s", o.Device, Direct, Macvlan)
	}
	if o.Device == Macvlan && (o.RouterID < 1 || o.RouterID > 255) {
		add("router id %d is not in 1 to 255", o.RouterID)
	}
	if o.Lease < time.Second || o.Lease%time.Second != 0 || o.Lease > time.Hour {
		add("lease %s is not a whole number of seconds from 1s to 1h", o.Lease)
	}
	return errors.Join(errs...)
}
