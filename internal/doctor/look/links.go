package look

import (
	"context"
	"net"
	"net/netip"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"holdfast/internal/doctor"
)

func (l *looker) links(context.Context) {
	all, err := netlink.LinkList()
	if err != nil {
		return
	}
	byIndex := map[int]netlink.Link{}
	for _, k := range all {
		byIndex[k.Attrs().Index] = k
	}
	for _, k := range all {
		a := k.Attrs()
		link := doctor.Link{Name: a.Name, Kind: k.Type(), Up: a.Flags&net.FlagUp != 0, Carrier: hasCarrier(k), MTU: a.MTU, LRO: largeReceive(a.Name)}
		if m, there := byIndex[a.MasterIndex]; there && a.MasterIndex != 0 {
			link.Master, link.MasterKind = m.Attrs().Name, m.Type()
		}
		if p, there := byIndex[a.ParentIndex]; there && a.ParentIndex != 0 && k.Type() == "vlan" {
			link.Parent, link.ParentMTU = p.Attrs().Name, p.Attrs().MTU
		}
		if b, is := k.(*netlink.Bond); is {
			bond(&link, b, all)
		}
		addresses, err := netlink.AddrList(k, unix.AF_UNSPEC)
		if err != nil {
			continue // it is gone
		}
		for _, x := range addresses {
			if ip, ok := netip.AddrFromSlice(x.IP); ok {
				link.Addresses = append(link.Addresses, ip.Unmap())
			}
		}
		l.facts.Links = append(l.facts.Links, link)
	}
}

func hasCarrier(k netlink.Link) bool { return k.Attrs().RawFlags&unix.IFF_LOWER_UP != 0 }

func bond(link *doctor.Link, b *netlink.Bond, all []netlink.Link) {
	link.BondMode, link.BondMII = b.Mode.String(), max(b.Miimon, b.ArpInterval)
	for _, port := range all {
		if port.Attrs().MasterIndex != b.Index {
			continue
		}
		link.BondPorts = append(link.BondPorts, port.Attrs().Name)
		if hasCarrier(port) {
			link.BondUp = append(link.BondUp, port.Attrs().Name)
		}
	}
}

// largeReceive asks whether the device joins packets in hardware (ethtool's GFLAGS).
func largeReceive(name string) doctor.Known {
	const (
		getFlags = 0x25    // ETHTOOL_GFLAGS
		lro      = 1 << 15 // ETH_FLAG_LRO
	)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd) //nolint:errcheck // it was only asked
	value := struct{ command, data uint32 }{command: getFlags}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the kernel's union is larger
	}{data: unsafe.Pointer(&value)}
	if copy(request.name[:unix.IFNAMSIZ-1], name) < len(name) {
		return ""
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return ""
	}
	if value.data&lro != 0 {
		return doctor.Yes
	}
	return doctor.No
}
