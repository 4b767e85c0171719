package vip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// steerTable is the routing table of the Copies that end, a number that nobody
// else has; it says "hfst".
const steerTable = 0x68667374

// The attributes of linux/fib_rules.h.
const (
	fraDst      = 1
	fraSrc      = 2
	fraIfname   = 3
	fraPriority = 6
	fraTable    = 15
	fraProtocol = 21

	ruleToTable = 1 // FR_ACT_TO_TBL
)

// A rule sends a packet to an address to a routing table.
type rule struct {
	to       netip.Addr
	fromTo   bool // only what is also from that address
	fromHere bool // only what a process of this host sends
	table    uint32
	priority uint32
}

// steering is the rules with which this host goes on to take what comes for a,
// while its processes' new connections to it go where the route says. One that
// is there already has a at both ends.
func steering(a netip.Addr) []rule {
	return []rule{
		{to: a, fromTo: true, table: steerTable, priority: 1},
		{to: a, fromHere: true, table: unix.RT_TABLE_MAIN, priority: 2},
		{to: a, table: steerTable, priority: 3},
	}
}

// steer makes a no address of this host for new connections from it, but for
// all else. It is undone by unsteer, which also undoes half of it.
func (k *kernel) steer(lo int, a netip.Addr) error {
	if err := k.localRoute(unix.RTM_NEWROUTE, lo, a, steerTable); err != nil {
		return fmt.Errorf("add a local route: %w", err)
	}
	for _, r := range steering(a) {
		if err := k.rule(unix.RTM_NEWRULE, r); err != nil {
			return fmt.Errorf("add a routing rule: %w", err)
		}
	}
	// What made it local for all.
	if a.Is4() {
		return k.localRoute(unix.RTM_DELROUTE, lo, a, unix.RT_TABLE_LOCAL)
	}
	// IPv6 connects from the address that it connects to, if it has it at all.
	return k.deleteAddress(lo, hostPrefix(a))
}

// unsteer is done also when there is nothing to undo. It goes backwards: without
// the rule for what this host sends, the one after it would take that in here,
// where nobody has the address any more, and reset what the new holder serves.
func (k *kernel) unsteer(lo int, a netip.Addr) error {
	var errs []error
	for _, r := range slices.Backward(steering(a)) {
		errs = append(errs, k.rule(unix.RTM_DELRULE, r))
	}
	return errors.Join(append(errs, k.localRoute(unix.RTM_DELROUTE, lo, a, steerTable))...)
}

// rule adds or removes r; done also when it is there, or not.
func (k *kernel) rule(request uint16, r rule) error {
	e := netlink.NewAttributeEncoder()
	bits, from := uint8(r.to.BitLen()), uint8(0)
	e.Bytes(fraDst, r.to.AsSlice())
	if r.fromTo {
		from = bits
		e.Bytes(fraSrc, r.to.AsSlice())
	}
	if r.fromHere {
		e.String(fraIfname, loopback)
	}
	e.Uint32(fraPriority, r.priority)
	e.Uint32(fraTable, r.table)
	e.Uint8(fraProtocol, routeProtocol)
	// struct fib_rule_hdr
	header := []byte{familyOf(r.to), bits, from, 0, 0, 0, 0, ruleToTable, 0, 0, 0, 0}
	data, err := withHeader(header, e)
	if err != nil {
		return err
	}
	flags := netlink.Acknowledge
	if request == unix.RTM_NEWRULE {
		flags |= netlink.Create | netlink.Excl
	}
	_, err = k.do(request, flags, data)
	if errors.Is(err, unix.EEXIST) || request == unix.RTM_DELRULE && errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// localRoute adds or removes the route that makes a an address of this host;
// done also when it is there, or not.
func (k *kernel) localRoute(request uint16, lo int, a netip.Addr, table uint32) error {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.RTA_DST, a.AsSlice())
	e.Uint32(unix.RTA_OIF, uint32(lo))
	e.Uint32(unix.RTA_TABLE, table)
	header := []byte{
		familyOf(a), uint8(a.BitLen()), 0, 0,
		unix.RT_TABLE_UNSPEC, unix.RTPROT_UNSPEC, unix.RT_SCOPE_HOST, unix.RTN_LOCAL,
	}
	flags := netlink.Acknowledge
	if request == unix.RTM_NEWROUTE {
		header[5] = routeProtocol
		flags |= netlink.Create | netlink.Excl
	}
	data, err := withHeader(binary.NativeEndian.AppendUint32(header, 0), e)
	if err != nil {
		return err
	}
	_, err = k.do(request, flags, data)
	if errors.Is(err, unix.EEXIST) || request == unix.RTM_DELROUTE && errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// endSteered ends what an End that was cut short has left.
func endSteered(ctx context.Context, log *slog.Logger) (err error) {
	k := &kernel{family: unix.NETLINK_ROUTE}
	defer func() { err = errors.Join(err, k.close()) }()
	var errs []error
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		steered, err := k.steered(family)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // a kernel without IPv6
		}
		errs = append(errs, err)
		for a, lo := range steered {
			log.Info("end what is left of a vip that was handed over", "address", a)
			errs = append(errs, k.deleteAddress(lo, hostPrefix(a)), k.unsteer(lo, a))
			if own, err := k.ownAddresses(); err != nil || own[a] {
				errs = append(errs, err)
				continue
			}
			_, err := DestroySockets(ctx, Match{Local: netip.AddrPortFrom(a, 0)})
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// steered gives the addresses in the table, each with the device of its route.
func (k *kernel) steered(family uint8) (map[netip.Addr]int, error) {
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = family
	e := netlink.NewAttributeEncoder()
	e.Uint32(unix.RTA_TABLE, steerTable)
	data, err := withHeader(header, e)
	if err != nil {
		return nil, err
	}
	replies, err := k.dump(unix.RTM_GETROUTE, data)
	if errors.Is(err, unix.ENOENT) { // no such table, says a kernel that filters
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the routes: %w", err)
	}
	all := map[netip.Addr]int{}
	for _, m := range replies {
		r, err := parseRoute(m.Data)
		if err != nil {
			return nil, err
		}
		if r.table == steerTable && r.kind == unix.RTN_LOCAL {
			all[r.to] = r.device
		}
	}
	return all, nil
}
