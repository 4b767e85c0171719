package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// rtnl asks the kernel for routes, neighbours and addresses. The kernel answers
// within the request, so that nothing here waits for another thread.
type rtnl struct{ conn *netlink.Conn }

// A path is how packets to an address leave this host.
type path struct {
	index  int  // of the interface
	onLink bool // not through a router
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (k *rtnl) do(request uint16, flags netlink.HeaderFlags, data []byte) ([]netlink.Message, error) {
	if k.conn == nil {
		conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
		if err != nil {
			return nil, fmt.Errorf("open netlink: %w", err)
		}
		k.conn = conn
	}
	return k.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(request), Flags: netlink.Request | flags},
		Data:   data,
	})
}

func (k *rtnl) close() error {
	if k.conn == nil {
		return nil
	}
	err := k.conn.Close()
	k.conn = nil
	return err
}

// path gives how packets from src to dst leave.
func (k *rtnl) path(src, dst netip.Addr) (path, error) {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.RTA_SRC, src.AsSlice())
	e.Bytes(unix.RTA_DST, dst.AsSlice())
	attributes, err := e.Encode()
	if err != nil {
		return path{}, err
	}
	head := make([]byte, unix.SizeofRtMsg) // struct rtmsg: family, lengths of dst and src
	head[0], head[1], head[2] = family(dst), uint8(dst.BitLen()), uint8(src.BitLen())
	replies, err := k.do(unix.RTM_GETROUTE, 0, append(head, attributes...))
	if err != nil {
		return path{}, err
	}
	p := path{onLink: true}
	for _, m := range replies {
		if len(m.Data) < unix.SizeofRtMsg {
			continue
		}
		d, err := netlink.NewAttributeDecoder(m.Data[unix.SizeofRtMsg:])
		if err != nil {
			return path{}, err
		}
		for d.Next() {
			switch d.Type() {
			case unix.RTA_OIF:
				p.index = int(d.Uint32())
			case unix.RTA_GATEWAY, unix.RTA_VIA:
				p.onLink = false
			}
		}
		if err := d.Err(); err != nil {
			return path{}, err
		}
	}
	return p, nil
}

// A linkState is what there is to know of an interface.
type linkState struct {
	index, master int // master: of a bridge, a bond or a VRF; 0 for none
	name, kind    string
	mac           string // as it is in the message; not for people
}

// link asks for the interface with the name, or else the index.
func (k *rtnl) link(name string, index int) (linkState, error) {
	e := netlink.NewAttributeEncoder()
	if name != "" {
		e.String(unix.IFLA_IFNAME, name)
	}
	e.Uint32(unix.IFLA_EXT_MASK, skipStats)
	attributes, err := e.Encode()
	if err != nil {
		return linkState{}, err
	}
	head := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(head[4:], uint32(index))
	replies, err := k.do(unix.RTM_GETLINK, 0, append(head, attributes...))
	if err != nil {
		return linkState{}, err
	}
	if len(replies) != 1 {
		return linkState{}, fmt.Errorf("ask for interface %s: %d replies", name, len(replies))
	}
	return readLink(replies[0].Data)
}

// skipStats leaves the counters out of a reply (RTEXT_FILTER_SKIP_STATS).
const skipStats = 1 << 3

// readLink reads a struct ifinfomsg and its attributes.
func readLink(b []byte) (linkState, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return linkState{}, fmt.Errorf("netlink device of %d bytes is too short", len(b))
	}
	l := linkState{index: int(binary.NativeEndian.Uint32(b[4:]))}
	d, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return l, err
	}
	for d.Next() {
		switch d.Type() {
		case unix.IFLA_IFNAME:
			l.name = d.String()
		case unix.IFLA_ADDRESS:
			l.mac = string(d.Bytes())
		case unix.IFLA_MASTER:
			l.master = int(d.Uint32())
		case unix.IFLA_LINKINFO:
			d.Nested(func(info *netlink.AttributeDecoder) error {
				for info.Next() {
					if info.Type() == unix.IFLA_INFO_KIND {
						l.kind = info.String()
					}
				}
				return nil
			})
		}
	}
	return l, d.Err()
}

const sizeofNdmsg = 12

// neighbourRequest makes a struct ndmsg with the address.
func neighbourRequest(index int, a netip.Addr) ([]byte, error) {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.NDA_DST, a.AsSlice())
	attributes, err := e.Encode()
	if err != nil {
		return nil, err
	}
	head := make([]byte, sizeofNdmsg)
	head[0] = family(a)
	binary.NativeEndian.PutUint32(head[4:], uint32(index))
	return append(head, attributes...), nil
}

// neighbour gives the kernel's entry of a neighbour; unix.ENOENT if there is none.
func (k *rtnl) neighbour(index int, a netip.Addr) (state uint16, flags uint8, err error) {
	request, err := neighbourRequest(index, a)
	if err != nil {
		return 0, 0, err
	}
	replies, err := k.do(unix.RTM_GETNEIGH, 0, request)
	if err != nil {
		return 0, 0, err
	}
	for _, m := range replies {
		if len(m.Data) >= sizeofNdmsg {
			return binary.NativeEndian.Uint16(m.Data[8:]), m.Data[10], nil
		}
	}
	return 0, 0, errors.New("the kernel does not tell of a neighbour")
}

// resolved reports whether the kernel has the link-layer address of a
// neighbour. When it cannot say, it has.
func (k *rtnl) resolved(index int, a netip.Addr) bool {
	const unresolved = unix.NUD_INCOMPLETE | unix.NUD_FAILED
	state, _, err := k.neighbour(index, a)
	if err != nil {
		return !errors.Is(err, unix.ENOENT)
	}
	return state != unix.NUD_NONE && state&unresolved == 0
}

// forget makes the kernel forget a neighbour, with the packets that wait for
// its link-layer address; but not one that somebody has set, an administrator
// who trusts no ARP, or the daemon of a fabric (EVPN).
func (k *rtnl) forget(index int, a netip.Addr) error {
	const set = unix.NUD_PERMANENT | unix.NUD_NOARP
	if state, flags, err := k.neighbour(index, a); err == nil && (state&set != 0 || flags&unix.NTF_EXT_LEARNED != 0) {
		return nil
	}
	request, err := neighbourRequest(index, a)
	if err != nil {
		return err
	}
	_, err = k.do(unix.RTM_DELNEIGH, netlink.Acknowledge, request)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// linkLocal gives the link-local address of an interface from which it is
// allowed to send: not one that is still being checked for duplicates, nor a
// virtual one, which has a lease.
func (k *rtnl) linkLocal(index int, virtual []netip.Addr) (netip.Addr, error) {
	const (
		unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
		wanted   = unix.IFA_F_PERMANENT
	)
	head := make([]byte, unix.SizeofIfAddrmsg)
	head[0] = unix.AF_INET6
	replies, err := k.do(unix.RTM_GETADDR, netlink.Dump, head)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list the addresses of this host: %w", err)
	}
	for _, m := range replies {
		if len(m.Data) < unix.SizeofIfAddrmsg || int(binary.NativeEndian.Uint32(m.Data[4:])) != index {
			continue
		}
		a, flags, err := readAddress(m.Data)
		if err != nil {
			return netip.Addr{}, err
		}
		if a.IsLinkLocalUnicast() && flags&(unusable|wanted) == wanted && !slices.Contains(virtual, a) {
			return a, nil
		}
	}
	return netip.Addr{}, errNoLinkLocal
}

var errNoLinkLocal = errors.New("no link-local address to send adverts from (yet)")

// readAddress reads a struct ifaddrmsg and its attributes.
func readAddress(b []byte) (a netip.Addr, flags uint32, err error) {
	flags = uint32(b[2])
	d, err := netlink.NewAttributeDecoder(b[unix.SizeofIfAddrmsg:])
	if err != nil {
		return a, 0, err
	}
	for d.Next() {
		switch d.Type() {
		case unix.IFA_ADDRESS:
			a, _ = netip.AddrFromSlice(d.Bytes()) // else it is not valid, and not link-local
		case unix.IFA_FLAGS:
			flags = d.Uint32()
		}
	}
	return a, flags, d.Err()
}
