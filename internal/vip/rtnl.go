package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A kernel is one netlink socket, opened when first used and kept: a request
// takes some tens of microseconds. It is not safe for concurrent use.
type kernel struct {
	family int // NETLINK_ROUTE or NETLINK_SOCK_DIAG
	conn   *netlink.Conn
}

// patience bounds one request. The kernel answers at once or not at all.
const patience = 5 * time.Second

// do sends one request and gives the kernel's replies. The kernel's own error
// is found in err by errors.Is. After any other failure the socket is closed,
// so that a late reply cannot be taken for that of the next request.
func (k *kernel) do(request uint16, flags netlink.HeaderFlags, data []byte) ([]netlink.Message, error) {
	if err := k.open(); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := k.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, k.dropped(err)
	}
	replies, err := k.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(request), Flags: netlink.Request | flags},
		Data:   data,
	})
	if err == nil {
		return replies, nil
	}
	if _, socket := errors.AsType[*os.SyscallError](err); !socket {
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			said, _ := errors.AsType[*netlink.OpError](err)
			return nil, kernelError{errno, said.Message}
		}
	}
	return nil, k.dropped(err)
}

// A kernelError is what the kernel answered.
type kernelError struct {
	errno   syscall.Errno
	message string // more in words; may be empty
}

func (e kernelError) Unwrap() error { return e.errno }

func (e kernelError) Error() string {
	if e.message == "" {
		return e.errno.Error()
	}
	return e.errno.Error() + " (" + e.message + ")"
}

// errInterrupted says that what was listed changed meanwhile.
var errInterrupted = errors.New("the list changed while it was read")

// dump gives all replies of a listing that nothing interrupted.
func (k *kernel) dump(request uint16, data []byte) ([]netlink.Message, error) {
	for range 5 {
		replies, err := k.do(request, netlink.Dump, data)
		if err != nil || !interrupted(replies) {
			return replies, err
		}
	}
	return nil, errInterrupted
}

func interrupted(replies []netlink.Message) bool {
	for _, m := range replies {
		if m.Header.Flags&netlink.DumpInterrupted != 0 {
			return true
		}
	}
	return false
}

func (k *kernel) open() error {
	if k.conn != nil {
		return nil
	}
	conn, err := netlink.Dial(k.family, nil)
	if err != nil {
		return err
	}
	// Both make errors and listings better where the kernel has them, from 4.20 on.
	for _, option := range []netlink.ConnOption{netlink.ExtendedAcknowledge, netlink.GetStrictCheck} {
		if err := conn.SetOption(option, true); err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
			return errors.Join(err, conn.Close())
		}
	}
	k.conn = conn
	return nil
}

func (k *kernel) dropped(err error) error { return errors.Join(err, k.close()) }

func (k *kernel) close() error {
	if k.conn == nil {
		return nil
	}
	err := k.conn.Close()
	k.conn = nil
	return err
}

// hostPrefix gives a as a prefix of its own.
func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// lease gives the device an address for some seconds. It reports whether the
// address was not there before.
func (k *kernel) lease(index int, a netip.Addr, seconds uint32) (added bool, err error) {
	// Only an exclusive request tells the two cases apart.
	err = k.putAddress(index, a, seconds, netlink.Create|netlink.Excl)
	if !errors.Is(err, unix.EEXIST) {
		return err == nil, err
	}
	return false, k.putAddress(index, a, seconds, netlink.Create|netlink.Replace)
}

func (k *kernel) putAddress(index int, a netip.Addr, seconds uint32, flags netlink.HeaderFlags) error {
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
	data, err := withHeader(addressHeader(index, hostPrefix(a)), e)
	if err != nil {
		return err
	}
	_, err = k.do(unix.RTM_NEWADDR, netlink.Acknowledge|flags, data)
	return err
}

// deleteAddress is done also when the address was not there.
func (k *kernel) deleteAddress(index int, p netip.Prefix) error {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.IFA_LOCAL, p.Addr().AsSlice())
	e.Bytes(unix.IFA_ADDRESS, p.Addr().AsSlice())
	data, err := withHeader(addressHeader(index, p), e)
	if err != nil {
		return err
	}
	_, err = k.do(unix.RTM_DELADDR, netlink.Acknowledge, data)
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// addresses gives those of the device.
func (k *kernel) addresses(index int) ([]netip.Prefix, error) {
	replies, err := k.dump(unix.RTM_GETADDR, addressHeader(index, netip.Prefix{}))
	if err != nil {
		return nil, err
	}
	var all []netip.Prefix
	for _, m := range replies {
		on, p, err := parseAddress(m.Data)
		if err != nil {
			return nil, err
		}
		if on == index { // an older kernel lists those of every device
			all = append(all, p)
		}
	}
	return all, nil
}

// ownAddresses gives those of all devices.
func (k *kernel) ownAddresses() (map[netip.Addr]bool, error) {
	replies, err := k.dump(unix.RTM_GETADDR, addressHeader(0, netip.Prefix{}))
	if err != nil {
		return nil, fmt.Errorf("list the addresses of this host: %w", err)
	}
	all := map[netip.Addr]bool{}
	for _, m := range replies {
		_, p, err := parseAddress(m.Data)
		if err != nil {
			return nil, err
		}
		all[p.Addr()] = true
	}
	return all, nil
}

// addressHeader is struct ifaddrmsg. An IPv4 address has the scope "host",
// from which no source is taken; of an IPv6 one the kernel knows the scope.
func addressHeader(index int, p netip.Prefix) []byte {
	family, scope := uint8(unix.AF_UNSPEC), uint8(0)
	if p.IsValid() {
		family = familyOf(p.Addr())
	}
	if family == unix.AF_INET {
		scope = unix.RT_SCOPE_HOST
	}
	b := []byte{family, uint8(max(p.Bits(), 0)), 0, scope}
	return binary.NativeEndian.AppendUint32(b, uint32(index))
}

// parseAddress reads one message of the kind RTM_NEWADDR.
func parseAddress(b []byte) (index int, p netip.Prefix, err error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return 0, p, fmt.Errorf("netlink address of %d bytes is too short", len(b))
	}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfAddrmsg:])
	if err != nil {
		return 0, p, fmt.Errorf("read netlink address: %w", err)
	}
	var local, address netip.Addr
	for ad.Next() {
		switch ad.Type() {
		case unix.IFA_LOCAL: // of a point-to-point device, the own end
			local, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(ad.Bytes())
		}
	}
	if err := ad.Err(); err != nil {
		return 0, p, fmt.Errorf("read netlink address: %w", err)
	}
	if !local.IsValid() {
		local = address
	}
	if p = netip.PrefixFrom(local, int(b[1])); !p.IsValid() {
		return 0, p, fmt.Errorf("netlink address is not valid: %x", b)
	}
	return int(binary.NativeEndian.Uint32(b[4:])), p, nil
}

// withHeader gives the bytes of a request: header and attributes.
func withHeader(header []byte, e *netlink.AttributeEncoder) ([]byte, error) {
	attributes, err := e.Encode()
	if err != nil {
		return nil, fmt.Errorf("write netlink request: %w", err)
	}
	return append(header, attributes...), nil
}
