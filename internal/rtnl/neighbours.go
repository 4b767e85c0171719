package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"holdfast/internal/ether"
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

// A Neighbour is a host on a device's network whose link-layer address the kernel
// has learned, and not forgotten: when a carrier is lost it forgets all of them.
type Neighbour struct {
	Index   int // of the device
	Address netip.Addr
	MAC     ether.MAC
}

// Neighbours gives those of the device that somebody's own word is known of: not what
// an administrator or a fabric's daemon has set, nor who does not answer.
func (k *Conn) Neighbours(index int) ([]Neighbour, error) {
	header := make([]byte, sizeofNdmsg)
	replies, err := k.socket.Dump(unix.RTM_GETNEIGH, header)
	if err != nil {
		return nil, fmt.Errorf("list the neighbours: %w", err)
	}
	var all []Neighbour
	for _, m := range replies {
		n, learned, err := parseNeighbour(m.Data)
		if err != nil {
			return nil, err
		}
		if learned && n.Index == index {
			all = append(all, n)
		}
	}
	return all, nil
}

// parseNeighbour reads one message of the kind RTM_NEWNEIGH, and reports whether it
// has the link-layer address from that host.
func parseNeighbour(b []byte) (Neighbour, bool, error) {
	const learned = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE
	if len(b) < sizeofNdmsg {
		return Neighbour{}, false, fmt.Errorf("netlink neighbour of %d bytes is too short", len(b))
	}
	ad, err := netlink.NewAttributeDecoder(b[sizeofNdmsg:])
	if err != nil {
		return Neighbour{}, false, fmt.Errorf("read netlink neighbour: %w", err)
	}
	n := Neighbour{Index: int(int32(binary.NativeEndian.Uint32(b[4:])))}
	ok := binary.NativeEndian.Uint16(b[8:])&learned != 0 && b[10]&unix.NTF_EXT_LEARNED == 0
	mac := 0
	for ad.Next() {
		switch ad.Type() {
		case unix.NDA_DST:
			n.Address, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.NDA_LLADDR:
			mac = copy(n.MAC[:], ad.Bytes())
		}
	}
	if err := ad.Err(); err != nil {
		return n, false, fmt.Errorf("read netlink neighbour: %w", err)
	}
	return n, ok && n.Address.IsValid() && mac == len(n.MAC), nil
}
