package move

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"holdfast/internal/vip/conntrack"
)

const (
	// seenSize bounds the set of connections that began here, and seenTime the
	// time that one is in it. It is only a second opinion; conntrack's is first.
	seenSize = 1 << 17
	seenTime = 5 * time.Minute
	// awaySize bounds the set of connections that another host has.
	awaySize = 1 << 17
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
	exitName    = "output"
	forwardName = "forward"
	unknownName = "unknown"
	hadName     = "had"
	awayName    = "away"
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
// name, in one step; and with narrow has the ways' addresses alone tracked.
func replaceTables(name string, ways []way, all known, narrow bool) error {
	c, err := openNFT(all.room())
	if err != nil {
		return err
	}
	for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		t := tableOf(name, any)
		c.AddTable(t) // or there may be nothing to delete
		c.DelTable(t)
	}
	for _, w := range ways {
		if err := addTable(c, tableOf(name, w.giver), w, all); err != nil {
			return err
		}
		if !narrow {
			continue
		}
		if err := addNarrow(c, w.addresses); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("make the nftables: %w", explainNFT(err))
	}
	return nil
}

// addKnown adds connections to the tables.
func addKnown(name string, ways []way, all known) error {
	c, err := openNFT(all.room())
	if err != nil {
		return err
	}
	for _, w := range ways {
		if err := setsOf(tableOf(name, w.giver), layoutOf(w.giver)).fill(c, layoutOf(w.giver), all); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("add to the nftables: %w", explainNFT(err))
	}
	return nil
}

func (k known) room() int { return elementBytes * (len(k.had) + len(k.away)) }

// sets are those of a table. Their elements are remote address, local address,
// remote port and local port of a connection.
type sets struct {
	seen *nftables.Set // it began here after the rules were made
	had  *nftables.Set // it began here before
	away *nftables.Set // another host has it, whatever conntrack says when it sees the replies
}

func setsOf(t *nftables.Table, l layout) sets {
	return sets{
		seen: &nftables.Set{
			Table: t, ID: 1, Name: seenName, KeyType: l.key, Concatenation: true,
			Dynamic: true, HasTimeout: true, Timeout: seenTime, Size: seenSize,
		},
		had: &nftables.Set{Table: t, ID: 2, Name: hadName, KeyType: l.key, Concatenation: true},
		away: &nftables.Set{
			Table: t, ID: 3, Name: awayName, KeyType: l.key, Concatenation: true, Dynamic: true, Size: awaySize,
		},
	}
}

func (s sets) fill(c *nftables.Conn, l layout, all known) error {
	return errors.Join(addElements(c, s.had, l.elements(all.had)), addElements(c, s.away, l.elements(all.away)))
}

// addTable adds the rules of one family. In the chain prerouting:
//
//	ip daddr VIP meta l4proto tcp jump unknown
//
// In the chain unknown, with KEY for what the sets have:
//
//	tcp flags & (syn|ack) == syn delete @away { KEY }
//	tcp flags & (syn|ack) == syn update @seen { KEY }
//	tcp flags & (syn|ack) == syn accept
//	KEY @away ip ttl > 1 counter dup to GIVER device DEVICE drop
//	ct state established,related accept
//	KEY @had accept
//	KEY @seen accept
//	add @away { KEY }
//	ip ttl > 1 counter dup to GIVER device DEVICE
//	drop
//
// For what this host's own clients begin while another host has the VIP still,
// and for what goes through this host, in the chains output and forward:
//
//	ip daddr VIP meta l4proto tcp oif != lo tcp flags & (syn|ack) == syn add @away { KEY }
//	ip daddr VIP meta l4proto tcp add @away { KEY }
func addTable(c *nftables.Conn, t *nftables.Table, w way, all known) error {
	c.AddTable(t)
	entry := addHook(c, t, entryName, nftables.ChainHookPrerouting)
	exit := addHook(c, t, exitName, nftables.ChainHookOutput)
	forward := addHook(c, t, forwardName, nftables.ChainHookForward)
	unknown := c.AddChain(unknownChain(t))
	l := layoutOf(w.giver)
	s := setsOf(t, l)
	for _, set := range []*nftables.Set{s.seen, s.had, s.away} {
		if err := c.AddSet(set, nil); err != nil {
			return fmt.Errorf("describe set %s: %w", set.Name, err)
		}
	}
	if err := s.fill(c, l, all); err != nil {
		return err
	}
	for _, a := range w.addresses {
		to := join(l.isTo(a), isTCP())
		c.AddRule(&nftables.Rule{Table: t, Chain: entry, Exprs: join(to, verdict(expr.VerdictJump, unknownName))})
		c.AddRule(&nftables.Rule{Table: t, Chain: exit, Exprs: join(to, isLeaving(), isSYN(), l.loadKey(), add(s.away))})
		c.AddRule(&nftables.Rule{Table: t, Chain: forward, Exprs: join(to, l.loadKey(), add(s.away))})
	}
	for _, e := range l.unknownRules(s, w) {
		c.AddRule(&nftables.Rule{Table: t, Chain: unknown, Exprs: e})
	}
	return nil
}

func addHook(c *nftables.Conn, t *nftables.Table, name string, hook *nftables.ChainHook) *nftables.Chain {
	policy := nftables.ChainPolicyAccept
	return c.AddChain(&nftables.Chain{
		Name: name, Table: t, Type: nftables.ChainTypeFilter, Policy: &policy,
		Hooknum: hook, Priority: nftables.ChainPriorityMangle, // after conntrack
	})
}

func (l layout) unknownRules(s sets, w way) [][]expr.Any {
	accept, drop := verdict(expr.VerdictAccept, ""), verdict(expr.VerdictDrop, "")
	return [][]expr.Any{
		join(isSYN(), l.loadKey(), remove(s.away)),
		join(isSYN(), l.loadKey(), update(s.seen)),
		join(isSYN(), accept),
		join(l.loadKey(), isIn(s.away), l.goesFurther(), dupTo(w), drop),
		join(isEstablished(), accept),
		join(l.loadKey(), isIn(s.had), accept),
		join(l.loadKey(), isIn(s.seen), accept),
		join(l.loadKey(), add(s.away)),
		join(l.goesFurther(), dupTo(w)),
		drop,
	}
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
func (l layout) elements(all []conntrack.Ends) []nftables.SetElement {
	var elements []nftables.SetElement
	for _, e := range all {
		if e.Local.Addr().BitLen() != int(8*l.size) {
			continue
		}
		key := append(e.Remote.Addr().AsSlice(), e.Local.Addr().AsSlice()...)
		key = append(binary.BigEndian.AppendUint16(key, e.Remote.Port()), 0, 0)
		key = append(binary.BigEndian.AppendUint16(key, e.Local.Port()), 0, 0)
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
	return append(l.target(), &expr.Cmp{Op: expr.CmpOpEq, Register: register1, Data: a.AsSlice()})
}

// goesFurther matches a packet that has hops left: the copy that dup makes has
// one less, so two hosts that send on to each other come to an end.
func (l layout) goesFurther() []expr.Any {
	return []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: l.hops, Len: 1, DestRegister: register1},
		&expr.Cmp{Op: expr.CmpOpGt, Register: register1, Data: []byte{1}},
	}
}

func isTCP() []expr.Any {
	return append(protocol(), &expr.Cmp{Op: expr.CmpOpEq, Register: register1, Data: []byte{unix.IPPROTO_TCP}})
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

// add adds the key in the registers to the set, if it has room.
func add(s *nftables.Set) []expr.Any { return change(s, unix.NFT_DYNSET_OP_ADD) }

// update does it too, and starts its time in the set anew.
func update(s *nftables.Set) []expr.Any { return change(s, unix.NFT_DYNSET_OP_UPDATE) }

// remove takes the key in the registers out of the set.
func remove(s *nftables.Set) []expr.Any {
	const operation = 2 // NFT_DYNSET_OP_DELETE, from Linux 5.4 on
	return change(s, operation)
}

func change(s *nftables.Set, operation uint32) []expr.Any {
	return []expr.Any{&expr.Dynset{SrcRegKey: words, SetID: s.ID, SetName: s.Name, Operation: operation, Timeout: s.Timeout}}
}

// isLeaving matches a packet that goes to another host.
func isLeaving() []expr.Any {
	const lo = 1 // in every network namespace
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIF, Register: register1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register1, Data: binary.NativeEndian.AppendUint32(nil, lo)},
	}
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
