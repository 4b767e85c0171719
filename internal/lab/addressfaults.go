package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	nl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addressFaultKinds gives the faults of what carries an address: its interface,
// and what the kernel knows of connections to it.
func addressFaultKinds() []FaultKind {
	const ofNode = "NODE"
	return []FaultKind{
		{Name: "mac-change", Args: ofNode, Text: "give the interface another MAC address, as a bond does whose port fails; back gives the first one", onNode: macChange},
		{Name: "device-remade", Args: ofNode, Text: "delete the interface and make it anew with its addresses and routes, as a network daemon does; nothing is left to undo", onNode: deviceRemade},
		{Name: "address-stolen", Args: ofNode, Text: "the node has the VIP's addresses too, for good, and says so once by ARP; back ends it", onNode: addressStolen},
		{Name: "conntrack-full", Args: ofNode, Text: "track connections, as a stateful firewall does, and fill the table; back ends both", onNode: conntrackFull},
	}
}

// addressStolen gives the node the VIP's addresses, as a machine has them that
// somebody has configured so.
func addressStolen(_ context.Context, n *node, _ Fault) (string, error) {
	b, err := n.boxOn()
	if err != nil {
		return "", err
	}
	if err := n.endSlow("address-stolen"); err != nil {
		return "", err
	}
	link, err := b.nl.LinkByName(n.plan.links[0].name)
	if err != nil {
		return "", fmt.Errorf("look for the interface of %s: %w", n.plan.name, err)
	}
	each := func(do func(*netlink.Addr) error) error {
		var errs []error
		for _, a := range n.holder.vips {
			address := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}
			if a.Is6() {
				address.Flags = unix.IFA_F_NODAD
			}
			errs = append(errs, do(address))
		}
		return errors.Join(errs...)
	}
	end := func() error {
		if n.needOn() != nil {
			return nil // its kernel has forgotten all
		}
		return each(func(a *netlink.Addr) error { return b.nl.AddrDel(link, a) })
	}
	err = each(func(a *netlink.Addr) error { return b.nl.AddrReplace(link, a) })
	if err == nil {
		err = n.inNetwork(func() error { return claimByARP(link.Attrs(), n.holder.vips) })
	}
	if err != nil {
		return "", fmt.Errorf("give %s the VIP: %w", n.plan.name, errors.Join(err, end()))
	}
	n.setSlow("address-stolen", end)
	return fmt.Sprintf("%s has the VIP's addresses too", n.plan.name), nil
}

// claimByARP says once that the IPv4 addresses are at the interface, as a host does that
// is given one (RFC 5227 section 2.3). The kernel does not do it by itself.
func claimByARP(at *netlink.LinkAttrs, addresses []netip.Addr) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	to := unix.SockaddrLinklayer{Ifindex: at.Index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
	var errs []error
	for _, a := range addresses {
		if a.Is4() {
			frame := append(append([]byte{255, 255, 255, 255, 255, 255}, at.HardwareAddr...), 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
			frame = append(append(frame, at.HardwareAddr...), a.AsSlice()...)
			errs = append(errs, unix.Sendto(fd, append(append(frame, 0, 0, 0, 0, 0, 0), a.AsSlice()...), 0, &to))
		}
	}
	return errors.Join(append(errs, unix.Close(fd))...)
}

// macChange changes the MAC address of the node's first link.
func macChange(_ context.Context, n *node, _ Fault) (string, error) {
	if err := n.needOn(); err != nil {
		return "", err
	}
	const changed = 0x80 // in the octet that is the node's, which is small
	other := hardwareAddr(n.index, 0)
	other[4] |= changed
	if err := n.setMAC(other); err != nil {
		return "", err
	}
	n.setSlow("mac-change", func() error { return n.setMAC(hardwareAddr(n.index, 0)) })
	return fmt.Sprintf("the MAC address of %s is %s now", n.plan.name, other), nil
}

func (n *node) setMAC(mac net.HardwareAddr) error {
	b, err := n.boxOn()
	if err != nil {
		return err
	}
	link, err := b.nl.LinkByName(n.plan.links[0].name)
	if err == nil {
		err = b.nl.LinkSetHardwareAddr(link, mac)
	}
	if err != nil {
		return fmt.Errorf("change the MAC address of %s: %w", n.plan.name, err)
	}
	return nil
}

// boxOn gives the namespaces of a node that is on.
func (n *node) boxOn() (*box, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box == nil {
		return nil, n.offError()
	}
	return n.box, nil
}

func (n *node) isUnplugged() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.unplugged
}

// deviceRemade deletes the node's links, and makes them as when it came up.
func deviceRemade(_ context.Context, n *node, _ Fault) (string, error) {
	b, err := n.boxOn()
	if err != nil {
		return "", err
	}
	if err := n.endAllSlow("delay", "flap", "mac-change"); err != nil {
		return "", err
	}
	if err := removePorts(n.index, len(n.plan.links)); err != nil {
		return "", fmt.Errorf("delete the interface of %s: %w", n.plan.name, err)
	}
	if err := b.plug(n.index, &n.plan); err != nil {
		return "", fmt.Errorf("make the interface of %s anew: %w", n.plan.name, err)
	}
	if err := n.plug(!n.isUnplugged()); err != nil {
		return "", err
	}
	return "the interface of " + n.plan.name + " was made anew", nil
}

// trackTable gives the nftables table that has the kernel of a node track
// connections.
func trackTable() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: "holdfast_lab_track"}
}

// conntrackFull tracks connections on a node and fills the table: the limit is
// one for the whole machine, the table the node's own.
func conntrackFull(_ context.Context, n *node, _ Fault) (string, error) {
	b, err := n.boxOn()
	if err != nil {
		return "", err
	}
	end := func() error {
		if n.needOn() != nil {
			return nil // its kernel has forgotten all
		}
		return errors.Join(n.withNFT(untrack), n.inNetwork(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }))
	}
	filled := 0
	if err = n.withNFT(track); err == nil { // without the node's lock: it takes a while
		err = enter(b.pidfd, unix.CLONE_NEWNET, func() error { filled, err = fillTracked(); return err })
	}
	if err != nil {
		return "", errors.Join(err, end())
	}
	n.setSlow("conntrack-full", end)
	return fmt.Sprintf("%s tracks connections, and its table is full of %d that are nobody's", n.plan.name, filled), nil
}

// track has the kernel track all connections that come and go.
func track(conn *nftables.Conn) {
	addFilter(conn, trackTable(), "input", nftables.ChainHookInput, []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Counter{},
	})
}

func untrack(conn *nftables.Conn) { removeTable(conn, trackTable()) }

// fillTracked adds connections of nobody until no more fits, and gives their number.
func fillTracked() (n int, err error) {
	conn, err := nl.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, fmt.Errorf("open netlink: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	const most = 1 << 24 // all ports of a /24
	for ; n < most; n++ {
		data, err := trackedFlow(n)
		if err != nil {
			return n, err
		}
		_, err = conn.Execute(nl.Message{
			Header: nl.Header{Type: unix.NFNL_SUBSYS_CTNETLINK << 8, Flags: nl.Request | nl.Acknowledge | nl.Create | nl.Excl},
			Data:   data,
		})
		switch {
		case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOSPC):
			return n, nil
		case err != nil && !errors.Is(err, unix.EEXIST):
			return n, fmt.Errorf("add a tracked connection: %w", err)
		}
	}
	return n, fmt.Errorf("the table has room for more than %d connections", most)
}

// The wire forms of linux/netfilter/nfnetlink_conntrack.h, as far as needed.
const (
	ctaTupleOrig, ctaTupleReply, ctaStatus, ctaTimeout = 1, 2, 3, 7
	ctaTupleIP, ctaTupleProto                          = 1, 2
	ctaSource, ctaTarget                               = 1, 2
	ctaProtocol, ctaFrom, ctaTo                        = 1, 2, 3
	// seenReply|assured|confirmed: the kernel does not drop it to make room.
	ctaAlive = 1<<1 | 1<<2 | 1<<3
)

// trackedFlow gives the n-th UDP connection between addresses for benchmarks
// (RFC 2544), which lasts for an hour.
func trackedFlow(n int) ([]byte, error) {
	source, target := []byte{198, 18, 0, byte(n >> 16)}, []byte{198, 19, 0, 1}
	from, to := uint16(n), uint16(9)
	e := nl.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	tuple := func(kind uint16, source, target []byte, from, to uint16) {
		e.Nested(kind, func(e *nl.AttributeEncoder) error {
			e.Nested(ctaTupleIP, func(e *nl.AttributeEncoder) error {
				e.Bytes(ctaSource, source)
				e.Bytes(ctaTarget, target)
				return nil
			})
			e.Nested(ctaTupleProto, func(e *nl.AttributeEncoder) error {
				e.Uint8(ctaProtocol, unix.IPPROTO_UDP)
				e.Uint16(ctaFrom, from)
				e.Uint16(ctaTo, to)
				return nil
			})
			return nil
		})
	}
	tuple(ctaTupleOrig, source, target, from, to)
	tuple(ctaTupleReply, target, source, to, from)
	e.Uint32(ctaStatus, ctaAlive)
	e.Uint32(ctaTimeout, uint32(time.Hour/time.Second))
	attributes, err := e.Encode()
	if err != nil {
		return nil, fmt.Errorf("write a tracked connection: %w", err)
	}
	header := []byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0}
	return append(header, attributes...), nil
}
