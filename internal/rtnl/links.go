package rtnl

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"holdfast/internal/ether"
)

// A Link is a network device as the kernel describes it.
type Link struct {
	Index  int
	Name   string
	Flags  uint32 // unix.IFF_UP, unix.IFF_LOOPBACK and so on
	Parent int    // index of the device below; 0 for none
	Master int    // index of the bridge, bond or VRF that it is in; 0 for none
	Kind   string // "macvlan", "veth", "vrf"; "" for hardware
	Mode   uint32 // of a macvlan device

	// Hardware is the link-layer address, of whatever length: bytes, not for people.
	Hardware string
}

// MAC gives the Ethernet address of l, zero if it has none.
func (l Link) MAC() ether.MAC {
	if len(l.Hardware) != len(ether.MAC{}) {
		return ether.MAC{}
	}
	return ether.MAC([]byte(l.Hardware))
}

const (
	// KindMacvlan is the Kind of a macvlan device.
	KindMacvlan = "macvlan"
	// Private is the Mode that keeps two of one parent apart (linux/if_link.h).
	Private = 1

	skipStats     = 1 << 3 // RTEXT_FILTER_SKIP_STATS: a smaller reply
	withoutChange = 0
)

// LinkByName gives the device called name; unix.ENODEV if there is none.
func (k *Conn) LinkByName(name string) (Link, error) {
	e := netlink.NewAttributeEncoder()
	e.String(unix.IFLA_IFNAME, name)
	return k.link(0, e)
}

// LinkByIndex gives the device with the index; unix.ENODEV if there is none.
func (k *Conn) LinkByIndex(index int) (Link, error) {
	return k.link(index, netlink.NewAttributeEncoder())
}

func (k *Conn) link(index int, e *netlink.AttributeEncoder) (Link, error) {
	e.Uint32(unix.IFLA_EXT_MASK, skipStats)
	data, err := Request(linkHeader(index, 0, withoutChange), e)
	if err != nil {
		return Link{}, err
	}
	replies, err := k.socket.Do(unix.RTM_GETLINK, 0, data)
	if err != nil {
		return Link{}, err
	}
	if len(replies) != 1 {
		return Link{}, fmt.Errorf("read a device: %d replies", len(replies))
	}
	return parseLink(replies[0].Data)
}

// Links gives all devices.
func (k *Conn) Links() ([]Link, error) {
	e := netlink.NewAttributeEncoder()
	e.Uint32(unix.IFLA_EXT_MASK, skipStats)
	data, err := Request(linkHeader(0, 0, withoutChange), e)
	if err != nil {
		return nil, err
	}
	replies, err := k.socket.Dump(unix.RTM_GETLINK, data)
	if err != nil {
		return nil, err
	}
	var all []Link
	for _, m := range replies {
		l, err := parseLink(m.Data)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// AddMacvlan creates a private macvlan device, down.
func (k *Conn) AddMacvlan(name string, parent int, hw ether.MAC) error {
	e := netlink.NewAttributeEncoder()
	e.String(unix.IFLA_IFNAME, name)
	e.Uint32(unix.IFLA_LINK, uint32(parent))
	e.Bytes(unix.IFLA_ADDRESS, hw[:])
	e.Nested(unix.IFLA_LINKINFO, func(info *netlink.AttributeEncoder) error {
		info.String(unix.IFLA_INFO_KIND, KindMacvlan)
		info.Nested(unix.IFLA_INFO_DATA, func(d *netlink.AttributeEncoder) error {
			d.Uint32(unix.IFLA_MACVLAN_MODE, Private)
			return nil
		})
		return nil
	})
	data, err := Request(linkHeader(0, 0, withoutChange), e)
	if err != nil {
		return err
	}
	_, err = k.socket.Do(unix.RTM_NEWLINK, netlink.Acknowledge|netlink.Create|netlink.Excl, data)
	return err
}

// SetUp brings the device up.
func (k *Conn) SetUp(index int) error {
	_, err := k.socket.Do(unix.RTM_NEWLINK, netlink.Acknowledge, linkHeader(index, unix.IFF_UP, unix.IFF_UP))
	return err
}

// DeleteLink removes the device; unix.ENODEV if there is none.
func (k *Conn) DeleteLink(index int) error {
	_, err := k.socket.Do(unix.RTM_DELLINK, netlink.Acknowledge, linkHeader(index, 0, withoutChange))
	return err
}

// linkHeader is struct ifinfomsg.
func linkHeader(index int, flags, change uint32) []byte {
	b := make([]byte, 4, unix.SizeofIfInfomsg) // family, padding, type
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, change)
}

// parseLink reads one message of the kind RTM_NEWLINK.
func parseLink(b []byte) (Link, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return Link{}, fmt.Errorf("netlink device of %d bytes is too short", len(b))
	}
	l := Link{
		Index: int(binary.NativeEndian.Uint32(b[4:])),
		Flags: binary.NativeEndian.Uint32(b[8:]),
	}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return Link{}, fmt.Errorf("read netlink device: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			l.Name = ad.String()
		case unix.IFLA_ADDRESS:
			l.Hardware = string(ad.Bytes())
		case unix.IFLA_LINK:
			l.Parent = int(ad.Uint32())
		case unix.IFLA_MASTER:
			l.Master = int(ad.Uint32())
		case unix.IFLA_LINKINFO:
			ad.Nested(l.parseInfo)
		}
	}
	if err := ad.Err(); err != nil {
		return Link{}, fmt.Errorf("read netlink device: %w", err)
	}
	return l, nil
}

func (l *Link) parseInfo(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_INFO_KIND:
			l.Kind = ad.String()
		case unix.IFLA_INFO_DATA:
			if l.Kind == KindMacvlan { // the kernel gives the kind first
				ad.Nested(l.parseMacvlan)
			}
		}
	}
	return nil
}

func (l *Link) parseMacvlan(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		if ad.Type() == unix.IFLA_MACVLAN_MODE {
			l.Mode = ad.Uint32()
		}
	}
	return nil
}
