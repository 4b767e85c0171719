package vip

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A netlinkLink is a network device as the kernel describes it.
type netlinkLink struct {
	index  int
	name   string
	flags  uint32 // IFF_UP, IFF_LOOPBACK and so on
	hw     mac    // zero if it has no Ethernet address
	parent int    // index of the device below; 0 for none
	kind   string // "macvlan", "veth", "" for hardware
	mode   uint32 // of a macvlan
}

const (
	// private keeps two macvlan devices of one parent apart (linux/if_link.h).
	private       = 1
	kindMacvlan   = "macvlan"
	skipStats     = 1 << 3 // RTEXT_FILTER_SKIP_STATS: a smaller reply
	withoutChange = 0
)

// linkByName gives the device called name; unix.ENODEV if there is none.
func (k *kernel) linkByName(name string) (netlinkLink, error) {
	e := netlink.NewAttributeEncoder()
	e.String(unix.IFLA_IFNAME, name)
	e.Uint32(unix.IFLA_EXT_MASK, skipStats)
	data, err := withHeader(linkHeader(0, 0, withoutChange), e)
	if err != nil {
		return netlinkLink{}, err
	}
	replies, err := k.do(unix.RTM_GETLINK, 0, data)
	if err != nil {
		return netlinkLink{}, err
	}
	if len(replies) != 1 {
		return netlinkLink{}, fmt.Errorf("read device %s: %d replies", name, len(replies))
	}
	return parseLink(replies[0].Data)
}

// links gives all devices.
func (k *kernel) links() ([]netlinkLink, error) {
	e := netlink.NewAttributeEncoder()
	e.Uint32(unix.IFLA_EXT_MASK, skipStats)
	data, err := withHeader(linkHeader(0, 0, withoutChange), e)
	if err != nil {
		return nil, err
	}
	replies, err := k.dump(unix.RTM_GETLINK, data)
	if err != nil {
		return nil, err
	}
	var all []netlinkLink
	for _, m := range replies {
		l, err := parseLink(m.Data)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// addMacvlan creates a private macvlan device, down.
func (k *kernel) addMacvlan(name string, parent int, hw mac) error {
	e := netlink.NewAttributeEncoder()
	e.String(unix.IFLA_IFNAME, name)
	e.Uint32(unix.IFLA_LINK, uint32(parent))
	e.Bytes(unix.IFLA_ADDRESS, hw[:])
	e.Nested(unix.IFLA_LINKINFO, func(info *netlink.AttributeEncoder) error {
		info.String(unix.IFLA_INFO_KIND, kindMacvlan)
		info.Nested(unix.IFLA_INFO_DATA, func(d *netlink.AttributeEncoder) error {
			d.Uint32(unix.IFLA_MACVLAN_MODE, private)
			return nil
		})
		return nil
	})
	data, err := withHeader(linkHeader(0, 0, withoutChange), e)
	if err != nil {
		return err
	}
	_, err = k.do(unix.RTM_NEWLINK, netlink.Acknowledge|netlink.Create|netlink.Excl, data)
	return err
}

func (k *kernel) setUp(index int) error {
	_, err := k.do(unix.RTM_NEWLINK, netlink.Acknowledge, linkHeader(index, unix.IFF_UP, unix.IFF_UP))
	return err
}

func (k *kernel) deleteLink(index int) error {
	_, err := k.do(unix.RTM_DELLINK, netlink.Acknowledge, linkHeader(index, 0, withoutChange))
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
func parseLink(b []byte) (netlinkLink, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return netlinkLink{}, fmt.Errorf("netlink device of %d bytes is too short", len(b))
	}
	l := netlinkLink{
		index: int(binary.NativeEndian.Uint32(b[4:])),
		flags: binary.NativeEndian.Uint32(b[8:]),
	}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return netlinkLink{}, fmt.Errorf("read netlink device: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			l.name = ad.String()
		case unix.IFLA_ADDRESS:
			if hw := ad.Bytes(); len(hw) == len(l.hw) {
				l.hw = mac(hw)
			}
		case unix.IFLA_LINK:
			l.parent = int(ad.Uint32())
		case unix.IFLA_LINKINFO:
			ad.Nested(l.parseInfo)
		}
	}
	if err := ad.Err(); err != nil {
		return netlinkLink{}, fmt.Errorf("read netlink device: %w", err)
	}
	return l, nil
}

func (l *netlinkLink) parseInfo(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_INFO_KIND:
			l.kind = ad.String()
		case unix.IFLA_INFO_DATA:
			if l.kind == kindMacvlan { // the kernel gives the kind first
				ad.Nested(l.parseMacvlan)
			}
		}
	}
	return nil
}

func (l *netlinkLink) parseMacvlan(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		if ad.Type() == unix.IFLA_MACVLAN_MODE {
			l.mode = ad.Uint32()
		}
	}
	return nil
}
