package rtnl

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const sizeofNdmsg = 12

// neighbourRequest makes a struct ndmsg with the address.
func neighbourRequest(index int, a netip.Addr) ([]byte, error) {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.NDA_DST, a.AsSlice())
	header := make([]byte, sizeofNdmsg)
	header[0] = FamilyOf(a)
	binary.NativeEndian.PutUint32(header[4:], uint32(index))
	return Request(header, e)
}

// neighbour gives the kernel's entry of a neighbour; unix.ENOENT if there is none.
func (k *Conn) neighbour(index int, a netip.Addr) (state uint16, flags uint8, err error) {
	request, err := neighbourRequest(index, a)
	if err != nil {
		return 0, 0, err
	}
	replies, err := k.socket.Do(unix.RTM_GETNEIGH, 0, request)
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

// Resolved reports whether the kernel has the link-layer address of a
// neighbour on the device. When it cannot say, it has.
func (k *Conn) Resolved(index int, a netip.Addr) bool {
	const unresolved = unix.NUD_INCOMPLETE | unix.NUD_FAILED
	state, _, err := k.neighbour(index, a)
	if err != nil {
		return !errors.Is(err, unix.ENOENT)
	}
	return state != unix.NUD_NONE && state&unresolved == 0
}

// Forget makes the kernel forget a neighbour on the device, with the packets that
// wait for its link-layer address; but not one that somebody has set, an
// administrator who trusts no ARP, or the daemon of a fabric (EVPN).
func (k *Conn) Forget(index int, a netip.Addr) error {
	const set = unix.NUD_PERMANENT | unix.NUD_NOARP
	if state, flags, err := k.neighbour(index, a); err == nil && (state&set != 0 || flags&unix.NTF_EXT_LEARNED != 0) {
		return nil
	}
	request, err := neighbourRequest(index, a)
	if err != nil {
		return err
	}
	_, err = k.socket.Do(unix.RTM_DELNEIGH, netlink.Acknowledge, request)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
