package lab

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// wireTable is the nftables table, of the bridge family, that loses frames.
const wireTable = "holdfast_lab_wire"

// A lossyWire is what the switch loses: some of the frames of a node, all from
// one node to another, those from a node to services on others, those of a node with
// addresses that it does not have. It is the server's, guarded by its lock of faults.
type lossyWire struct {
	loss   map[*node]float64 // percent, of the frames from the node and of those to it
	oneWay [][2]*node        // nothing passes from the first to the second
	blind  map[*node][]netip.AddrPort
	// guarded has the addresses from which a node may send.
	guarded map[*node][]netip.Addr
}

func newLossyWire() lossyWire {
	return lossyWire{loss: map[*node]float64{}, blind: map[*node][]netip.AddrPort{}, guarded: map[*node][]netip.Addr{}}
}

// setBlind loses what n sends to services at the addresses; 0 of them end it.
func (w *lossyWire) setBlind(n *node, to []netip.AddrPort) error {
	w.blind[n] = to
	return w.apply()
}

// setLoss loses percent of the frames from n and of those to n; 0 ends it.
func (w *lossyWire) setLoss(n *node, percent float64) error {
	w.loss[n] = percent
	if percent == 0 {
		delete(w.loss, n)
	}
	return w.apply()
}

func (w *lossyWire) addOneWay(from, to *node) error {
	if pair := [2]*node{from, to}; !slices.Contains(w.oneWay, pair) {
		w.oneWay = append(w.oneWay, pair)
	}
	return w.apply()
}

// mend ends all that is lost of n; of everyone when n is nil.
func (w *lossyWire) mend(n *node) error {
	if len(w.loss) == 0 && len(w.oneWay) == 0 && len(w.blind) == 0 && len(w.guarded) == 0 {
		return nil
	}
	maps.DeleteFunc(w.blind, func(of *node, _ []netip.AddrPort) bool { return n == nil || of == n })
	maps.DeleteFunc(w.loss, func(of *node, _ float64) bool { return n == nil || of == n })
	maps.DeleteFunc(w.guarded, func(of *node, _ []netip.Addr) bool { return n == nil || of == n })
	w.oneWay = slices.DeleteFunc(w.oneWay, func(p [2]*node) bool { return n == nil || p[0] == n || p[1] == n })
	return w.apply()
}

// apply replaces the switch's filter.
func (w *lossyWire) apply() error {
	return changeNFT("what the wire loses", func(conn *nftables.Conn) {
		table := &nftables.Table{Family: nftables.TableFamilyBridge, Name: wireTable}
		removeTable(conn, table)
		addFilter(conn, table, "forward", nftables.ChainHookForward, w.rules()...)
		addFilter(conn, table, "guard", nftables.ChainHookForward, w.guardRules()...)
	})
}

func (w *lossyWire) rules() [][]expr.Any {
	var rules [][]expr.Any
	for _, p := range w.oneWay {
		for _, pair := range pairs([][]string{p[0].ports(), p[1].ports()}) {
			if slices.Contains(p[0].ports(), pair[0]) {
				rules = append(rules, dropBetween(pair[0], pair[1]))
			}
		}
	}
	for n, to := range w.blind {
		for _, port := range n.ports() {
			for _, at := range to {
				rules = append(rules, slices.Concat(match(expr.MetaKeyIIFNAME, port), dropTo(at)))
			}
		}
	}
	for n, percent := range w.loss {
		for _, port := range n.ports() {
			for _, side := range []expr.MetaKey{expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME} {
				rules = append(rules, slices.Concat(match(side, port), dropSome(percent)))
			}
		}
	}
	return rules
}

// dropSome drops a frame by chance, as "numgen random mod 10000 < N drop" does.
func dropSome(percent float64) []expr.Any {
	const of = 10000
	return []expr.Any{
		&expr.Numgen{Register: 1, Type: unix.NFT_NG_RANDOM, Modulus: of},
		// It has the host's order, and the comparison is of octets.
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binary.BigEndian.AppendUint32(nil, uint32(percent*of/100))},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

// dropTo drops what goes to one TCP port of one address.
func dropTo(to netip.AddrPort) []expr.Any {
	offset := uint32(16) // of the destination, in the IP header
	if to.Addr().Is6() {
		offset = 24
	}
	return slices.Concat(isIP(to.Addr().Is6()),
		has(expr.PayloadBaseNetworkHeader, offset, to.Addr().AsSlice()),
		isProtocol(unix.IPPROTO_TCP),
		has(expr.PayloadBaseTransportHeader, 2, binary.BigEndian.AppendUint16(nil, to.Port())),
		[]expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}})
}

// isIP matches packets of IPv6, or else of IPv4.
func isIP(six bool) []expr.Any {
	etherType := uint16(unix.ETH_P_IP)
	if six {
		etherType = unix.ETH_P_IPV6
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, etherType)},
	}
}

// isProtocol matches packets of a protocol of IP.
func isProtocol(number byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{number}},
	}
}

// has matches packets that have data at an offset of a header.
func has(base expr.PayloadBase, offset uint32, data []byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{Base: base, Offset: offset, Len: uint32(len(data)), DestRegister: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data},
	}
}

// ports gives the ports of the bridge behind which the node may be.
func (n *node) ports() []string {
	var all []string
	for i := range n.plan.links {
		all = append(all, portName(n.index, i), delayedPortName(n.index, i))
	}
	return all
}
