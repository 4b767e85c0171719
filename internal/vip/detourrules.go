package vip

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	// seenSize bounds the set of connections that began here, and seenTime the
	// time that one is in it. It is only a second opinion; conntrack's is first.
	seenSize = 1 << 17
	seenTime = 5 * time.Minute
	// someElements are that many of a set that one netlink message has room for.
	someElements = 400
	// elementBytes is about what one needs in it.
	elementBytes = 64
)

// The registers of linux/netfilter/nf_tables.h: the first of 16 bytes, and the
// ones of 4 bytes that have the same places.
const (
	register1 = unix.NFT_REG_1
	register2 = unix.NFT_REG_2
	words     = unix.NFT_REG32_00
)

// The names in a table.
const (
	entryName   = "prerouting"
	unknownName = "unknown"
	hadName     = "had"
	seenName    = "seen"
)

// tableOf is the table of the given name for the family of a.
func tableOf(name string, a netip.Addr) *nftables.Table {
	family := nftables.TableFamilyIPv4
	if a.Is6() {
		family = nftables.TableFamilyIPv6
	}
	return &nftables.Table{Name: name, Family: family}
}

func unknownChain(t *nftables.Table) *nftables.Chain {
	return &nftables.Chain{Name: unknownName, Table: t}
}

// replaceTables puts one table for each way in the place of all that have the
// name, in one step.
func replaceTables(name string, ways []way, had []ends) error {
	c, err := openNFT(elementBytes * len(had))
	if err != nil {
		return err
	}
	for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		t := tableOf(name, any)
		c.AddTable(t) // or there may be nothing to delete
		c.DelTable(t)
	}
	for _, w := range ways {
		if err := addTable(c, tableOf(name, w.giver), w, had); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("make the nftables: %w", explainNFT(err))
	}
	return nil
}

// addTable adds the rules of one family:
//
//	ip daddr VIP meta l4proto tcp jump unknown
//
// and in the chain unknown, of which each accepts, drops or says nothing:
//
//	tcp flags & (syn|ack) == syn update @seen { ip saddr . ip daddr . tcp sport . tcp dport }
//	tcp flags & (syn|ack) == syn accept
//	ct state established,related accept
//	ip saddr . ip daddr . tcp sport . tcp dport @had accept
//	ip saddr . ip daddr . tcp sport . tcp dport @seen accept
//	ip ttl < 2 drop
//	counter dup to GIVER device DEVICE drop
func addTable(c *nftables.Conn, t *nftables.Table, w way, had []ends) error {
	c.AddTable(t)
	policy := nftables.ChainPolicyAccept
	entry := c.AddChain(&nftables.Chain{
		Name: entryName, Table: t, Type: nftables.ChainTypeFilter, Policy: &policy,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle,
	})
	unknown := c.AddChain(unknownChain(t))
	l := layoutOf(w.giver)
	seen := &nftables.Set{
		Table: t, ID: 1, Name: seenName, KeyType: l.key, Concatenation: true,
		Dynamic: true, HasTimeout: true, Timeout: seenTime, Size: seenSize,
	}
	known := &nftables.Set{Table: t, ID: 2, Name: hadName, KeyType: l.key, Concatenation: true}
	for _, s := range []*nftables.Set{seen, known} {
		if err := c.AddSet(s, nil); err != nil {
			return fmt.Errorf("describe set %s: %w", s.Name, err)
		}
	}
	if err := addElements(c, known, l.elements(had)); err != nil {
		return err
	}
	for _, a := range w.addresses {
		c.AddRule(&nftables.Rule{Table: t, Chain: entry, Exprs: join(l.isTo(a), isTCP(), verdict(expr.VerdictJump, unknownName))})
	}
	accept, drop := verdict(expr.VerdictAccept, ""), verdict(expr.VerdictDrop, "")
	for _, e := range [][]expr.Any{
		join(isSYN(), l.loadKey(), update(seen)),
		join(isSYN(), accept),
		join(isEstablished(), accept),
		join(l.loadKey(), isIn(known), accept),
		join(l.loadKey(), isIn(seen), accept),
		join(l.isLastHop(), drop),
		join(dupTo(w), drop),
	} {
		c.AddRule(&nftables.Rule{Table: t, Chain: unknown, Exprs: e})
	}
	return nil
}

// A layout is where things are in the IP header of a family, and in the sets'
// keys: remote address, local address, remote port, local port.
type layout struct {
	source, size, hops uint32 // offset of the addresses, their size, offset of TTL or hop limit
	key                nftables.SetDatatype
}

func layoutOf(a netip.Addr) layout {
	l, address := layout{source: 12, size: 4, hops: 8}, nftables.TypeIPAddr
	if a.Is6() {
		l, address = layout{source: 8, size: 16, hops: 7}, nftables.TypeIP6Addr
	}
	l.key = nftables.MustConcatSetType(address, address, nftables.TypeInetService, nftables.TypeInetService)
	return l
}

// elements gives those of the layout's family as elements of a set.
func (l layout) elements(all []ends) []nftables.SetElement {
	var elements []nftables.SetElement
	for _, e := range all {
		if e.local.Addr().BitLen() != int(8*l.size) {
			continue
		}
		key := append(e.remote.Addr().AsSlice(), e.local.Addr().AsSlice()...)
		key = append(binary.BigEndian.AppendUint16(key, e.remote.Port()), 0, 0)
		key = append(binary.BigEndian.AppendUint16(key, e.local.Port()), 0, 0)
		elements = append(elements, nftables.SetElement{Key: key})
	}
	return elements
}

func addElements(c *nftables.Conn, s *nftables.Set, all []nftables.SetElement) error {
	for len(all) > 0 {
		n := min(len(all), someElements)
		if err := c.SetAddElements(s, all[:n]); err != nil {
			return fmt.Errorf("describe elements of set %s: %w", s.Name, err)
		}
		all = all[n:]
	}
	return nil
}

// loadKey loads the key into the registers from words on.
func (l layout) loadKey() []expr.Any {
	const portOffset, portSize = 0, 2
	ports := uint32(words + 2*l.size/4)
	return []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: l.source, Len: l.size, DestRegister: words},
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: l.source + l.size, Len: l.size, DestRegister: words + l.size/4},
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: portSize, DestRegister: ports},
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: portOffset + portSize, Len: portSize, DestRegister: ports + 1},
	}
}

func (l layout) isTo(a netip.Addr) []expr.Any {
	return []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: l.source + l.size, Len: l.size, DestRegister: register1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register1, Data: a.AsSlice()},
	}
}

// isLastHop matches a packet that must not go further. The copy that dup makes
// has one hop less left.
func (l layout) isLastHop() []expr.Any {
	return []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: l.hops, Len: 1, DestRegister: register1},
		&expr.Cmp{Op: expr.CmpOpLt, Register: register1, Data: []byte{2}},
	}
}

func isTCP() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register1, Data: []byte{unix.IPPROTO_TCP}},
	}
}

// isSYN matches the first segment of a connection.
func isSYN() []expr.Any {
	const offset, syn, ack = 13, 0x02, 0x10 // RFC 9293, section 3.1
	return []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 1, DestRegister: register1},
		&expr.Bitwise{SourceRegister: register1, DestRegister: register1, Len: 1, Mask: []byte{syn | ack}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register1, Data: []byte{syn}},
	}
}

// isEstablished matches what belongs to a connection of which conntrack has
// seen both directions. One that it meets in its midst is none, whatever
// nf_conntrack_tcp_loose says: it is new, and stays so, as it is dropped here.
func isEstablished() []expr.Any {
	states := binary.NativeEndian.AppendUint32(nil, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: register1},
		&expr.Bitwise{SourceRegister: register1, DestRegister: register1, Len: 4, Mask: states, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register1, Data: make([]byte, 4)},
	}
}

// isIn matches the key in the registers.
func isIn(s *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: words, SetID: s.ID, SetName: s.Name}}
}

// update adds the key in the registers to the set, if it has room.
func update(s *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Dynset{
		SrcRegKey: words, SetID: s.ID, SetName: s.Name, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: s.Timeout,
	}}
}

func dupTo(w way) []expr.Any {
	return []expr.Any{
		&expr.Counter{},
		&expr.Immediate{Register: register1, Data: w.giver.AsSlice()},
		&expr.Immediate{Register: register2, Data: binary.NativeEndian.AppendUint32(nil, uint32(w.device))},
		&expr.Dup{RegAddr: register1, RegDev: register2, IsRegDevSet: true},
	}
}

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}
}

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
