package vip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// routeProtocol marks the routes of this package ("proto 72" in ip route).
	routeProtocol = 72
	// routeMetric is above that of the kernel's own connected routes, 0 for
	// IPv4 and 256 for IPv6, so that those are preferred where they exist.
	routeMetric = 1024
)

// connect makes network reachable on the device while source is an address of
// the host. It is done also when the route was there already. The kernel
// removes it with the address (IPv4), or ends it with the lease (IPv6).
func (k *kernel) connect(index int, network netip.Prefix, source netip.Addr, seconds, metric uint32) error {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.RTA_DST, network.Addr().AsSlice())
	e.Uint32(unix.RTA_OIF, uint32(index))
	e.Uint32(unix.RTA_PRIORITY, metric)
	flags := netlink.Create | netlink.Excl
	if source.Is4() {
		e.Bytes(unix.RTA_PREFSRC, source.AsSlice())
	} else {
		e.Uint32(unix.RTA_EXPIRES, seconds)
		flags = netlink.Create | netlink.Replace
	}
	data, err := withHeader(routeHeader(network), e)
	if err != nil {
		return err
	}
	_, err = k.do(unix.RTM_NEWROUTE, netlink.Acknowledge|flags, data)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// disconnect removes the route that connect added; done also when there is none.
func (k *kernel) disconnect(index int, network netip.Prefix, metric uint32) error {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.RTA_DST, network.Addr().AsSlice())
	e.Uint32(unix.RTA_OIF, uint32(index))
	e.Uint32(unix.RTA_PRIORITY, metric)
	data, err := withHeader(routeHeader(network), e)
	if err != nil {
		return err
	}
	_, err = k.do(unix.RTM_DELROUTE, netlink.Acknowledge, data)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// reroute has the connections of this host's own clients look again where a is,
// which is an address of this host now. An IPv6 one would go on with the route
// that it has until its segments are lost for some seconds, as the new route is
// in another table; a route in the same table, for a moment, changes that.
func (k *kernel) reroute(index int, a netip.Addr) error {
	if a.Is4() {
		return nil // the kernel does so itself
	}
	err := k.connect(index, hostPrefix(a), a, 1, copyMetric)
	if errors.Is(err, unix.ENETDOWN) {
		return nil
	}
	if err == nil {
		err = k.disconnect(index, hostPrefix(a), copyMetric)
	}
	if err != nil {
		return fmt.Errorf("refresh the routes to %s: %w", a, err)
	}
	return nil
}

// routeHeader is struct rtmsg of a unicast route of the main table.
func routeHeader(network netip.Prefix) []byte {
	b := []byte{
		familyOf(network.Addr()), uint8(network.Bits()), 0, 0,
		unix.RT_TABLE_MAIN, routeProtocol, unix.RT_SCOPE_LINK, unix.RTN_UNICAST,
	}
	return binary.NativeEndian.AppendUint32(b, 0)
}

// settled waits until the host takes packets for a: the kernel adds an IPv6
// address's local route, and listens for questions about it, a moment after it
// has added the address. A connection from this host in that moment would go
// out on the wire, and go on doing so until it times out.
func (k *kernel) settled(ctx context.Context, a netip.Addr) error {
	const most = 200 * time.Millisecond // usually far less than one
	for start := time.Now(); time.Since(start) < most; {
		local, err := k.isLocal(a)
		if err != nil || local {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		// Not a timer of Go's: on a busy host that comes late, and the caller
		// may be a thread with real-time priority.
		pause := unix.NsecToTimespec(int64(50 * time.Microsecond))
		if err := unix.Nanosleep(&pause, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("sleep: %w", err)
		}
	}
	return errUnsettled
}

// errUnsettled is what settled gives in the end: the interface is down.
var errUnsettled = errors.New("the kernel has the address, but takes no packets for it")

// isLocal reports whether the host takes packets for a.
func (k *kernel) isLocal(a netip.Addr) (bool, error) {
	r, err := k.routeTo(a, 0)
	if _, unroutable := errors.AsType[kernelError](err); unroutable {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look up the route to %s: %w", a, err)
	}
	return r.kind == unix.RTN_LOCAL, nil
}

// A route is what the kernel tells of one.
type route struct {
	kind   uint8 // unix.RTN_LOCAL and so on
	to     netip.Addr
	table  uint32
	device int  // its index; 0 for none
	behind bool // a gateway
}

// parseRoute reads one message of the kind RTM_NEWROUTE.
func parseRoute(b []byte) (route, error) {
	if len(b) < unix.SizeofRtMsg {
		return route{}, fmt.Errorf("netlink route of %d bytes is too short", len(b))
	}
	r := route{table: uint32(b[4]), kind: b[7]}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofRtMsg:])
	if err != nil {
		return r, fmt.Errorf("read netlink route: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.RTA_DST:
			r.to, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.RTA_TABLE:
			r.table = ad.Uint32()
		case unix.RTA_OIF:
			r.device = int(ad.Uint32())
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			r.behind = true
		}
	}
	if err := ad.Err(); err != nil {
		return r, fmt.Errorf("read netlink route: %w", err)
	}
	return r, nil
}

// routeTo gives the route that this host takes to a, out of the device unless
// that is 0.
func (k *kernel) routeTo(a netip.Addr, device int) (route, error) {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.RTA_DST, a.AsSlice())
	if device != 0 {
		e.Uint32(unix.RTA_OIF, uint32(device))
	}
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[1] = familyOf(a), uint8(a.BitLen())
	data, err := withHeader(header, e)
	if err != nil {
		return route{}, err
	}
	replies, err := k.do(unix.RTM_GETROUTE, 0, data)
	if err != nil {
		return route{}, err
	}
	if len(replies) != 1 {
		return route{}, fmt.Errorf("%d replies", len(replies))
	}
	return parseRoute(replies[0].Data)
}

// connected reports whether there is a route to the network on the device, on the
// link itself.
func (k *kernel) connected(index int, network netip.Prefix) (bool, error) {
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = familyOf(network.Addr())
	replies, err := k.dump(unix.RTM_GETROUTE, header)
	if err != nil {
		return false, fmt.Errorf("list the routes: %w", err)
	}
	for _, m := range replies {
		r, err := parseRoute(m.Data)
		if err != nil {
			return false, err
		}
		if r.device == index && !r.behind && r.to == network.Addr() && m.Data[1] == uint8(network.Bits()) {
			return true, nil
		}
	}
	return false, nil
}
