package rtnl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// protocol marks the routes and rules that are made here ("proto 72" in ip route).
const protocol = 72

// Connect makes network reachable on the device while source is an address of
// the host. It is done also when the route was there already. The kernel
// removes it with the address (IPv4), or ends it after the seconds (IPv6).
func (k *Conn) Connect(index int, network netip.Prefix, source netip.Addr, seconds, metric uint32) error {
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
	data, err := Request(routeHeader(network), e)
	if err != nil {
		return err
	}
	_, err = k.socket.Do(unix.RTM_NEWROUTE, netlink.Acknowledge|flags, data)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// Disconnect removes the route that Connect added; done also when there is none.
func (k *Conn) Disconnect(index int, network netip.Prefix, metric uint32) error {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.RTA_DST, network.Addr().AsSlice())
	e.Uint32(unix.RTA_OIF, uint32(index))
	e.Uint32(unix.RTA_PRIORITY, metric)
	data, err := Request(routeHeader(network), e)
	if err != nil {
		return err
	}
	_, err = k.socket.Do(unix.RTM_DELROUTE, netlink.Acknowledge, data)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// routeHeader is struct rtmsg of a unicast route of the main table.
func routeHeader(network netip.Prefix) []byte {
	b := []byte{
		FamilyOf(network.Addr()), uint8(network.Bits()), 0, 0,
		unix.RT_TABLE_MAIN, protocol, unix.RT_SCOPE_LINK, unix.RTN_UNICAST,
	}
	return binary.NativeEndian.AppendUint32(b, 0)
}

// AwaitLocal waits until the host takes packets for a: the kernel adds an IPv6
// address's local route, and listens for questions about it, a moment after it
// has added the address. A connection from this host in that moment would go
// out on the wire, and go on doing so until it times out.
func (k *Conn) AwaitLocal(ctx context.Context, a netip.Addr) error {
	const most = 200 * time.Millisecond // usually far less than one
	for start := time.Now(); time.Since(start) < most; {
		local, err := k.IsLocal(a)
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
	return ErrUnsettled
}

// ErrUnsettled is what AwaitLocal gives in the end: the interface is down.
var ErrUnsettled = errors.New("the kernel has the address, but takes no packets for it")

// IsLocal reports whether the host takes packets for a.
func (k *Conn) IsLocal(a netip.Addr) (bool, error) {
	r, err := k.RouteTo(netip.Addr{}, a, 0)
	if _, unroutable := errors.AsType[Error](err); unroutable {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look up the route to %s: %w", a, err)
	}
	return r.Kind == unix.RTN_LOCAL, nil
}

// A Route is what the kernel tells of one.
type Route struct {
	Kind   uint8 // unix.RTN_LOCAL and so on
	To     netip.Addr
	Device int  // its index; 0 for none
	Behind bool // a gateway
	// Gateway is its address; not valid if there is none, or several.
	Gateway netip.Addr

	bits  uint8 // of To's network
	table uint32
}

// parseRoute reads one message of the kind RTM_NEWROUTE.
func parseRoute(b []byte) (Route, error) {
	if len(b) < unix.SizeofRtMsg {
		return Route{}, fmt.Errorf("netlink route of %d bytes is too short", len(b))
	}
	r := Route{bits: b[1], table: uint32(b[4]), Kind: b[7]}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofRtMsg:])
	if err != nil {
		return r, fmt.Errorf("read netlink route: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.RTA_DST:
			r.To, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.RTA_TABLE:
			r.table = ad.Uint32()
		case unix.RTA_OIF:
			r.Device = int(ad.Uint32())
		case unix.RTA_GATEWAY:
			r.Behind = true
			r.Gateway, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.RTA_VIA:
			r.Behind = true
		}
	}
	if err := ad.Err(); err != nil {
		return r, fmt.Errorf("read netlink route: %w", err)
	}
	return r, nil
}

// RouteTo gives the route that packets of this host take to an address: from the
// address from, unless that is the zero one, and out of the device, unless that is 0.
func (k *Conn) RouteTo(from, to netip.Addr, device int) (Route, error) {
	e := netlink.NewAttributeEncoder()
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[1] = FamilyOf(to), uint8(to.BitLen())
	e.Bytes(unix.RTA_DST, to.AsSlice())
	if from.IsValid() {
		header[2] = uint8(from.BitLen())
		e.Bytes(unix.RTA_SRC, from.AsSlice())
	}
	if device != 0 {
		e.Uint32(unix.RTA_OIF, uint32(device))
	}
	data, err := Request(header, e)
	if err != nil {
		return Route{}, err
	}
	replies, err := k.socket.Do(unix.RTM_GETROUTE, 0, data)
	if err != nil {
		return Route{}, err
	}
	if len(replies) != 1 {
		return Route{}, fmt.Errorf("look up a route: %d replies", len(replies))
	}
	return parseRoute(replies[0].Data)
}

// Connected reports whether there is a route to the network on the device, on the
// link itself.
func (k *Conn) Connected(index int, network netip.Prefix) (bool, error) {
	all, err := k.routes(FamilyOf(network.Addr()), netlink.NewAttributeEncoder())
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(all, func(r Route) bool {
		return r.Device == index && !r.Behind && r.To == network.Addr() && r.bits == uint8(network.Bits())
	}), nil
}

// Gateways gives the routers that routes through the device lead to, once each.
func (k *Conn) Gateways(index int) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		routes, err := k.routes(family, netlink.NewAttributeEncoder())
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if r.Device == index && r.Gateway.IsValid() && !slices.Contains(all, r.Gateway) {
				all = append(all, r.Gateway)
			}
		}
	}
	return all, nil
}

// LocalRoutes gives the addresses of a family that a table has a local route to, each
// with the device of that.
func (k *Conn) LocalRoutes(family uint8, table uint32) (map[netip.Addr]int, error) {
	e := netlink.NewAttributeEncoder()
	e.Uint32(unix.RTA_TABLE, table)
	all, err := k.routes(family, e)
	if errors.Is(err, unix.ENOENT) { // no such table, says a kernel that filters
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	local := map[netip.Addr]int{}
	for _, r := range all {
		if r.table == table && r.Kind == unix.RTN_LOCAL {
			local[r.To] = r.Device
		}
	}
	return local, nil
}

// routes lists those of a family that the attributes name.
func (k *Conn) routes(family uint8, e *netlink.AttributeEncoder) ([]Route, error) {
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = family
	data, err := Request(header, e)
	if err != nil {
		return nil, err
	}
	replies, err := k.socket.Dump(unix.RTM_GETROUTE, data)
	if err != nil {
		return nil, fmt.Errorf("list the routes: %w", err)
	}
	var all []Route
	for _, m := range replies {
		r, err := parseRoute(m.Data)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// AddLocalRoute makes a an address of this host, for what asks the table; done also
// when it is one.
func (k *Conn) AddLocalRoute(device int, a netip.Addr, table uint32) error {
	err := k.localRoute(unix.RTM_NEWROUTE, netlink.Create|netlink.Excl, protocol, device, a, table)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// DeleteLocalRoute removes such a route, whoever has made it; done also when there
// is none.
func (k *Conn) DeleteLocalRoute(device int, a netip.Addr, table uint32) error {
	err := k.localRoute(unix.RTM_DELROUTE, 0, unix.RTPROT_UNSPEC, device, a, table)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

func (k *Conn) localRoute(request uint16, flags netlink.HeaderFlags, by uint8, device int, a netip.Addr, table uint32) error {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.RTA_DST, a.AsSlice())
	e.Uint32(unix.RTA_OIF, uint32(device))
	e.Uint32(unix.RTA_TABLE, table)
	header := []byte{FamilyOf(a), uint8(a.BitLen()), 0, 0, unix.RT_TABLE_UNSPEC, by, unix.RT_SCOPE_HOST, unix.RTN_LOCAL}
	data, err := Request(binary.NativeEndian.AppendUint32(header, 0), e)
	if err != nil {
		return err
	}
	_, err = k.socket.Do(request, netlink.Acknowledge|flags, data)
	return err
}
