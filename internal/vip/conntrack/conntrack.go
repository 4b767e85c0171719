// Package conntrack asks the kernel's table of tracked connections, and removes from
// it: how full it is, whether this host tracks connections at all, and which of those
// to some addresses have ended. It decides nothing.
package conntrack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"holdfast/internal/rtnl"
)

// The wire forms of linux/netfilter/nfnetlink_conntrack.h, as far as they are
// needed here.
const (
	conntrackGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1 // IPCTNL_MSG_CT_GET
	conntrackDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2 // IPCTNL_MSG_CT_DELETE

	ctaTuple  = 1 // CTA_TUPLE_ORIG
	ctaStatus = 3
	ctaID     = 12
	ctaZone   = 18
	ctaFilter = 25

	ctaTupleIP    = 1
	ctaTupleProto = 2
	ctaIPv4Src    = 1
	ctaIPv4Dst    = 2
	ctaIPv6Src    = 3
	ctaIPv6Dst    = 4
	ctaProtoNum   = 1
	ctaProtoSrc   = 2
	ctaProtoDst   = 3

	ctaFilterOrig  = 1 // CTA_FILTER_ORIG_FLAGS
	filterBySource = 1 << 0
	filterByTarget = 1 << 1

	translated = 1 << 5 // IPS_DST_NAT
)

// Ends are those of a TCP connection.
type Ends struct{ Remote, Local netip.AddrPort }

// String gives "REMOTE to LOCAL".
func (e Ends) String() string { return e.Remote.String() + " to " + e.Local.String() }

// A tracked connection is one that conntrack knows.
type tracked struct {
	protocol uint8
	ends     Ends
	status   uint32
	// tuple, id and zone name it in a request, as they came.
	tuple, id, zone []byte
}

// Forget removes the TCP connections to addresses but those that live, which is
// asked after they are listed. It gives their number.
func Forget(ctx context.Context, addresses []netip.Addr, live func() (map[Ends]bool, error)) (n int, err error) {
	k := &rtnl.Socket{Family: unix.NETLINK_NETFILTER}
	defer func() { err = errors.Join(err, k.Close()) }()
	var found []tracked
	for _, a := range addresses {
		some, err := listAt(k, a)
		if err != nil {
			return 0, fmt.Errorf("list tracked connections: %w", explain(err))
		}
		found = append(found, some...)
	}
	if len(found) == 0 {
		return 0, nil
	}
	lives, err := live()
	if err != nil {
		return 0, err
	}
	for _, t := range found {
		if lives[t.ends] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if err := forget(k, t); err != nil {
			return n, fmt.Errorf("forget tracked connection %s: %w", t.ends, explain(err))
		}
		n++
	}
	return n, nil
}

// listAt lists the TCP connections at a that are not translated to another
// address. One that conntrack met in its midst, by what comes from a, has it as
// its source.
func listAt(k *rtnl.Socket, a netip.Addr) (all []tracked, err error) {
	filters := []func(*netlink.AttributeEncoder){
		func(e *netlink.AttributeEncoder) { only(e, ctaIPv4Src, filterBySource, a) },
		func(e *netlink.AttributeEncoder) { only(e, ctaIPv4Dst, filterByTarget, a) },
	}
	if a.Is6() {
		// By an IPv6 address the kernel lists just all others: the comparison in
		// its ctnetlink_filter_match_tuple is the wrong way round.
		filters = []func(*netlink.AttributeEncoder){func(*netlink.AttributeEncoder) {}}
	}
	for _, filter := range filters {
		e := netlink.NewAttributeEncoder()
		filter(e)
		data, err := rtnl.Request(nfHeader(a), e)
		if err != nil {
			return nil, err
		}
		replies, err := k.Dump(conntrackGet, data)
		if err != nil {
			return nil, err
		}
		for _, m := range replies {
			t, err := parseTracked(m.Data)
			if err != nil {
				return nil, err
			}
			if t.protocol == unix.IPPROTO_TCP && t.isAt(a) && t.status&translated == 0 {
				all = append(all, t)
			}
		}
	}
	return all, nil
}

// isAt reports whether one end is at a, which it makes the local one.
func (t *tracked) isAt(a netip.Addr) bool {
	if t.ends.Remote.Addr() == a {
		t.ends = Ends{Remote: t.ends.Local, Local: t.ends.Remote}
	}
	return t.ends.Local.Addr() == a
}

// only has the kernel list only the connections with an IPv4 address at one
// place; one older than 5.8 lists all.
func only(e *netlink.AttributeEncoder, place uint16, filter uint32, a netip.Addr) {
	e.Nested(ctaTuple, func(e *netlink.AttributeEncoder) error {
		e.Nested(ctaTupleIP, func(e *netlink.AttributeEncoder) error {
			e.Bytes(place, a.AsSlice())
			return nil
		})
		return nil
	})
	e.Nested(ctaFilter, func(e *netlink.AttributeEncoder) error {
		e.Uint32(ctaFilterOrig, filter)
		return nil
	})
}

// nfHeader is struct nfgenmsg.
func nfHeader(a netip.Addr) []byte { return []byte{rtnl.FamilyOf(a), unix.NFNETLINK_V0, 0, 0} }

// forget is done also when t is gone.
func forget(k *rtnl.Socket, t tracked) error {
	e := netlink.NewAttributeEncoder()
	e.Bytes(ctaTuple|unix.NLA_F_NESTED, t.tuple)
	e.Bytes(ctaID, t.id)
	if t.zone != nil {
		e.Bytes(ctaZone, t.zone)
	}
	data, err := rtnl.Request(nfHeader(t.ends.Local.Addr()), e)
	if err != nil {
		return err
	}
	_, err = k.Do(conntrackDelete, netlink.Acknowledge, data)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// parseTracked reads one message of the kind IPCTNL_MSG_CT_NEW.
func parseTracked(b []byte) (tracked, error) {
	const header = 4
	if len(b) < header {
		return tracked{}, fmt.Errorf("tracked connection of %d bytes is too short", len(b))
	}
	ad, err := netlink.NewAttributeDecoder(b[header:])
	if err != nil {
		return tracked{}, fmt.Errorf("read tracked connection: %w", err)
	}
	ad.ByteOrder = binary.BigEndian
	var t tracked
	for ad.Next() {
		switch ad.Type() {
		case ctaTuple:
			t.tuple = ad.Bytes()
			ad.Nested(t.parseTuple)
		case ctaStatus:
			t.status = ad.Uint32()
		case ctaID:
			t.id = ad.Bytes()
		case ctaZone:
			t.zone = ad.Bytes()
		}
	}
	if err := ad.Err(); err != nil {
		return tracked{}, fmt.Errorf("read tracked connection: %w", err)
	}
	return t, nil
}

func (t *tracked) parseTuple(ad *netlink.AttributeDecoder) error {
	var source, target netip.Addr
	var from, to uint16
	for ad.Next() {
		switch ad.Type() {
		case ctaTupleIP:
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					switch ad.Type() {
					case ctaIPv4Src, ctaIPv6Src:
						source, _ = netip.AddrFromSlice(ad.Bytes())
					case ctaIPv4Dst, ctaIPv6Dst:
						target, _ = netip.AddrFromSlice(ad.Bytes())
					}
				}
				return nil
			})
		case ctaTupleProto:
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					switch ad.Type() {
					case ctaProtoNum:
						t.protocol = ad.Uint8()
					case ctaProtoSrc:
						from = ad.Uint16()
					case ctaProtoDst:
						to = ad.Uint16()
					}
				}
				return nil
			})
		}
	}
	t.ends = Ends{netip.AddrPortFrom(source, from), netip.AddrPortFrom(target, to)}
	return nil
}

// On reports whether connections are tracked now, whoever wants that: it
// makes one, in either family that there is.
func On() (bool, error) {
	for _, own := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		on, err := tracks(own)
		if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT) {
			continue // a host without IPv6
		}
		if err != nil || on {
			return on, err
		}
	}
	return false, nil
}

func tracks(own netip.Addr) (on bool, err error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(own, 0)))
	if err != nil {
		return false, fmt.Errorf("find out whether connections are tracked: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if _, err := conn.WriteToUDPAddrPort(nil, at); err != nil {
		return false, fmt.Errorf("find out whether connections are tracked: %w", err)
	}
	k := &rtnl.Socket{Family: unix.NETLINK_NETFILTER}
	defer k.Close() //nolint:errcheck // nothing is lost
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.Nested(ctaTuple, func(e *netlink.AttributeEncoder) error {
		from, to := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
		if own.Is6() {
			from, to = ctaIPv6Src, ctaIPv6Dst
		}
		e.Nested(ctaTupleIP, func(e *netlink.AttributeEncoder) error {
			e.Bytes(from, own.AsSlice())
			e.Bytes(to, own.AsSlice())
			return nil
		})
		e.Nested(ctaTupleProto, func(e *netlink.AttributeEncoder) error {
			e.Uint8(ctaProtoNum, unix.IPPROTO_UDP)
			e.Uint16(ctaProtoSrc, at.Port())
			e.Uint16(ctaProtoDst, at.Port())
			return nil
		})
		return nil
	})
	data, err := rtnl.Request(nfHeader(own), e)
	if err != nil {
		return false, err
	}
	_, err = k.Do(conntrackGet, netlink.Acknowledge, data)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find out whether connections are tracked: %w", explain(err))
	}
	return true, nil
}

func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w; run as root or with CAP_NET_ADMIN", err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("%w; this kernel may lack a module: modprobe nf_conntrack_netlink", err)
	}
	return err
}
