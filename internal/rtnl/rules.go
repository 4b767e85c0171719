package rtnl

import (
	"errors"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The attributes of linux/fib_rules.h.
const (
	fraDst      = 1
	fraSrc      = 2
	fraIfname   = 3
	fraPriority = 6
	fraTable    = 15
	fraProtocol = 21

	ruleToTable = 1 // FR_ACT_TO_TBL
)

// Loopback is the name of the loopback device of every network namespace.
const Loopback = "lo"

// A Rule sends a packet to an address to a routing table.
type Rule struct {
	To       netip.Addr
	FromTo   bool // only what is also from that address
	FromHere bool // only what a process of this host sends
	Table    uint32
	Priority uint32
}

// AddRule is done also when the rule is there.
func (k *Conn) AddRule(r Rule) error {
	err := k.rule(unix.RTM_NEWRULE, netlink.Create|netlink.Excl, r)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// DeleteRule is done also when there is none.
func (k *Conn) DeleteRule(r Rule) error {
	err := k.rule(unix.RTM_DELRULE, 0, r)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func (k *Conn) rule(request uint16, flags netlink.HeaderFlags, r Rule) error {
	e := netlink.NewAttributeEncoder()
	bits, from := uint8(r.To.BitLen()), uint8(0)
	e.Bytes(fraDst, r.To.AsSlice())
	if r.FromTo {
		from = bits
		e.Bytes(fraSrc, r.To.AsSlice())
	}
	if r.FromHere {
		e.String(fraIfname, Loopback)
	}
	e.Uint32(fraPriority, r.Priority)
	e.Uint32(fraTable, r.Table)
	e.Uint8(fraProtocol, protocol)
	// struct fib_rule_hdr
	header := []byte{FamilyOf(r.To), bits, from, 0, 0, 0, 0, ruleToTable, 0, 0, 0, 0}
	data, err := Request(header, e)
	if err != nil {
		return err
	}
	_, err = k.socket.Do(request, netlink.Acknowledge|flags, data)
	return err
}
