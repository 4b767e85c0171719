package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Conn speaks rtnetlink. It is not safe for concurrent use; the zero Conn is one
// that is not open.
type Conn struct{ socket Socket }

// Close closes the socket, if it is open. The Conn can be used again.
func (k *Conn) Close() error { return k.socket.Close() }

// Lease gives the device an address for some seconds, as one from which this host
// takes no source. It reports whether the address was not there before.
func (k *Conn) Lease(index int, a netip.Addr, seconds uint32) (added bool, err error) {
	// Only an exclusive request tells the two cases apart.
	err = k.putAddress(index, a, seconds, netlink.Create|netlink.Excl)
	if !errors.Is(err, unix.EEXIST) {
		return err == nil, err
	}
	return false, k.putAddress(index, a, seconds, netlink.Create|netlink.Replace)
}

func (k *Conn) putAddress(index int, a netip.Addr, seconds uint32, flags netlink.HeaderFlags) error {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.IFA_LOCAL, a.AsSlice())
	e.Bytes(unix.IFA_ADDRESS, a.AsSlice())
	if a.Is6() {
		e.Uint32(unix.IFA_FLAGS, unix.IFA_F_NODAD|unix.IFA_F_NOPREFIXROUTE)
	}
	lifetimes := make([]byte, 0, unix.SizeofIfaCacheinfo)
	lifetimes = binary.NativeEndian.AppendUint32(lifetimes, 0) // preferred
	lifetimes = binary.NativeEndian.AppendUint32(lifetimes, seconds)
	e.Bytes(unix.IFA_CACHEINFO, lifetimes[:unix.SizeofIfaCacheinfo])
	data, err := Request(addressHeader(index, HostPrefix(a)), e)
	if err != nil {
		return err
	}
	_, err = k.socket.Do(unix.RTM_NEWADDR, netlink.Acknowledge|flags, data)
	return err
}

// DeleteAddress is done also when the address was not there.
func (k *Conn) DeleteAddress(index int, p netip.Prefix) error {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.IFA_LOCAL, p.Addr().AsSlice())
	e.Bytes(unix.IFA_ADDRESS, p.Addr().AsSlice())
	data, err := Request(addressHeader(index, p), e)
	if err != nil {
		return err
	}
	_, err = k.socket.Do(unix.RTM_DELADDR, netlink.Acknowledge, data)
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// Addresses gives those of the device.
func (k *Conn) Addresses(index int) ([]netip.Prefix, error) {
	all, err := k.addresses(addressHeader(index, netip.Prefix{}))
	var on []netip.Prefix
	for _, a := range all {
		if a.index == index { // an older kernel lists those of every device
			on = append(on, a.prefix)
		}
	}
	return on, err
}

// Fixed gives the device, other than lo, on which somebody has put an address for good; 0
// for none. A Lease is not that.
func (k *Conn) Fixed(a netip.Addr) (index int, err error) {
	const lo = 1
	all, err := k.addresses(addressHeader(0, netip.Prefix{}))
	if err != nil {
		return 0, fmt.Errorf("list the addresses of this host: %w", err)
	}
	for _, on := range all {
		if on.prefix.Addr() == a && on.index != lo && on.flags&unix.IFA_F_PERMANENT != 0 {
			return on.index, nil
		}
	}
	return 0, nil
}

// OwnAddresses gives those of all devices.
func (k *Conn) OwnAddresses() (map[netip.Addr]bool, error) {
	all, err := k.addresses(addressHeader(0, netip.Prefix{}))
	if err != nil {
		return nil, fmt.Errorf("list the addresses of this host: %w", err)
	}
	own := map[netip.Addr]bool{}
	for _, a := range all {
		own[a.prefix.Addr()] = true
	}
	return own, nil
}

// LinkLocals gives the link-local IPv6 addresses of the device from which it is
// allowed to send: not those that are still being checked for duplicates, nor leases.
func (k *Conn) LinkLocals(index int) ([]netip.Addr, error) {
	const (
		unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
		wanted   = unix.IFA_F_PERMANENT
	)
	header := addressHeader(index, netip.Prefix{})
	header[0] = unix.AF_INET6
	all, err := k.addresses(header)
	if err != nil {
		return nil, fmt.Errorf("list the addresses of this host: %w", err)
	}
	var usable []netip.Addr
	for _, a := range all {
		if a.index == index && a.prefix.Addr().IsLinkLocalUnicast() && a.flags&(unusable|wanted) == wanted {
			usable = append(usable, a.prefix.Addr())
		}
	}
	return usable, nil
}

// An address is one of a device.
type address struct {
	index  int // of the device
	prefix netip.Prefix
	flags  uint32 // unix.IFA_F_PERMANENT and so on
	// made is when it was put on the device, after the host's start; less than 0 if the
	// kernel does not say.
	made time.Duration
}

// AddressAge gives how long ago somebody put an address on the device, and whether it
// is there.
func (k *Conn) AddressAge(index int, a netip.Addr) (time.Duration, bool, error) {
	all, err := k.addresses(addressHeader(index, netip.Prefix{}))
	if err != nil {
		return 0, false, fmt.Errorf("list the addresses of this host: %w", err)
	}
	for _, on := range all {
		if on.index != index || on.prefix.Addr() != a || on.made < 0 {
			continue
		}
		var up unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &up); err != nil {
			return 0, false, fmt.Errorf("ask how long this host is up: %w", err)
		}
		return max(0, time.Duration(up.Nano())-on.made), true, nil
	}
	return 0, false, nil
}

func (k *Conn) addresses(header []byte) ([]address, error) {
	replies, err := k.socket.Dump(unix.RTM_GETADDR, header)
	if err != nil {
		return nil, err
	}
	var all []address
	for _, m := range replies {
		a, err := parseAddress(m.Data)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// addressHeader is struct ifaddrmsg. An IPv4 address has the scope "host",
// from which no source is taken; of an IPv6 one the kernel knows the scope.
func addressHeader(index int, p netip.Prefix) []byte {
	family, scope := uint8(unix.AF_UNSPEC), uint8(0)
	if p.IsValid() {
		family = FamilyOf(p.Addr())
	}
	if family == unix.AF_INET {
		scope = unix.RT_SCOPE_HOST
	}
	b := []byte{family, uint8(max(p.Bits(), 0)), 0, scope}
	return binary.NativeEndian.AppendUint32(b, uint32(index))
}

// parseAddress reads one message of the kind RTM_NEWADDR.
func parseAddress(b []byte) (address, error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return address{}, fmt.Errorf("netlink address of %d bytes is too short", len(b))
	}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfAddrmsg:])
	if err != nil {
		return address{}, fmt.Errorf("read netlink address: %w", err)
	}
	a := address{index: int(binary.NativeEndian.Uint32(b[4:])), flags: uint32(b[2]), made: -1}
	var local, peer netip.Addr
	for ad.Next() {
		switch ad.Type() {
		case unix.IFA_LOCAL: // of a point-to-point device, the own end
			local, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.IFA_ADDRESS:
			peer, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.IFA_FLAGS:
			a.flags = ad.Uint32()
		case unix.IFA_CACHEINFO: // two lifetimes, then the hundredths of a second when it was made
			if info := ad.Bytes(); len(info) == unix.SizeofIfaCacheinfo {
				a.made = time.Duration(binary.NativeEndian.Uint32(info[8:])) * 10 * time.Millisecond
			}
		}
	}
	if err := ad.Err(); err != nil {
		return address{}, fmt.Errorf("read netlink address: %w", err)
	}
	if !local.IsValid() {
		local = peer
	}
	if a.prefix = netip.PrefixFrom(local, int(b[1])); !a.prefix.IsValid() {
		return address{}, fmt.Errorf("netlink address is not valid: %x", b)
	}
	return a, nil
}
