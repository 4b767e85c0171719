package watch

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"holdfast/internal/ether"
)

const (
	protocol      = 112 // VRRP
	advertisement = 136
	group4        = 224<<24 | 18 // 224.0.0.18
	whole         = 1 << 16

	// Offsets in an Ethernet frame.
	atType    = 12
	atSender  = 28 // of ARP
	atProto4  = 23
	atHeader4 = 14
	atSource4 = 26
	atTarget4 = 30
	atNext6   = 20
	atSource6 = 22
	atICMPv6  = 54
	atTarget6 = 62 // of a neighbour advertisement
	// Offsets in a VRRP message.
	toRouterID = 1
	toAddress  = 8
)

// A sieve says which frames are of interest: those that say that one of the addresses is
// somebody's, and adverts of the virtual router, or for one of the addresses, that are not
// those of the controllers among each other. What it keeps is looked at again, and is seldom:
// the adverts of a holder would wake the agent a hundred times a second.
type sieve struct {
	addresses []netip.Addr
	routerID  uint8
	peers     []netip.Addr
	multicast bool // the controllers' adverts are
	everybody bool // instead of all that: whoever says that an address is his, and every advert
}

// program gives the sieve as a kernel filter.
func (s sieve) program() ([]unix.SockFilter, error) {
	drop := bpf.RetConstant{}
	var code []bpf.Instruction
	code = append(code, bpf.LoadAbsolute{Off: atType, Size: 2})
	for _, section := range []struct {
		kind uint32
		code []bpf.Instruction
	}{{ether.ARP, s.arp()}, {ether.IPv4, s.ip4()}, {ether.IPv6, s.ip6()}} {
		if s.everybody {
			section.code = ofEverybody(section.kind)
		}
		code = append(code, when(section.kind, append(section.code, drop))...)
	}
	raw, err := bpf.Assemble(append(code, drop))
	if err != nil {
		return nil, fmt.Errorf("make a filter: %w", err)
	}
	program := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return program, nil
}

// when runs code, which is to end with a verdict where it must not go on behind itself,
// if what was loaded is value.
func when(value uint32, code []bpf.Instruction) []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(code))},
	}, code...)
}

// keepIf keeps the frame if what was loaded is value.
func keepIf(value uint32) []bpf.Instruction {
	return when(value, []bpf.Instruction{bpf.RetConstant{Val: whole}})
}

// ofEverybody keeps, of one kind of frame, what a sieve for everybody does.
func ofEverybody(kind uint32) []bpf.Instruction {
	switch kind {
	case ether.IPv4:
		return append([]bpf.Instruction{bpf.LoadAbsolute{Off: atProto4, Size: 1}}, keepIf(protocol)...)
	case ether.IPv6:
		code := append([]bpf.Instruction{bpf.LoadAbsolute{Off: atNext6, Size: 1}}, keepIf(protocol)...)
		of := append([]bpf.Instruction{bpf.LoadAbsolute{Off: atICMPv6, Size: 1}}, keepIf(advertisement)...)
		return append(code, when(ether.ICMPv6, append(of, bpf.RetConstant{}))...)
	}
	return []bpf.Instruction{bpf.RetConstant{Val: whole}}
}

func (s sieve) arp() []bpf.Instruction {
	code := []bpf.Instruction{bpf.LoadAbsolute{Off: atSender, Size: 4}}
	for _, a := range s.of4(s.addresses) {
		code = append(code, keepIf(a)...)
	}
	return code
}

// ip4 keeps adverts. Between the controllers only what they do not send each other.
func (s sieve) ip4() []bpf.Instruction {
	other := []bpf.Instruction{bpf.RetConstant{Val: whole}}
	foreign := append([]bpf.Instruction{bpf.LoadAbsolute{Off: atSource4, Size: 4}}, s.fromPeers4()...)
	foreign = append(foreign, other...)
	of := []bpf.Instruction{
		bpf.LoadMemShift{Off: atHeader4},
		bpf.LoadIndirect{Off: atHeader4 + toRouterID, Size: 1},
	}
	of = append(of, when(uint32(s.routerID), foreign)...)
	of = append(of, bpf.LoadIndirect{Off: atHeader4 + toAddress, Size: 4})
	for _, a := range s.of4(s.addresses) {
		of = append(of, when(a, foreign)...)
	}
	of = append(of, bpf.RetConstant{})
	return append([]bpf.Instruction{bpf.LoadAbsolute{Off: atProto4, Size: 1}}, when(protocol, of)...)
}

// fromPeers4 judges adverts of controllers: those that are not as they send them.
func (s sieve) fromPeers4() []bpf.Instruction {
	judge := append([]bpf.Instruction{bpf.LoadAbsolute{Off: atTarget4, Size: 4}}, keepIf(group4)...)
	if s.multicast {
		judge = notVersion3(bpf.LoadIndirect{Off: atHeader4, Size: 1})
	}
	judge = append(judge, bpf.RetConstant{})
	var code []bpf.Instruction
	for _, a := range s.of4(s.peers) {
		code = append(code, when(a, judge)...)
	}
	return code
}

// notVersion3 keeps what is of another version of VRRP.
func notVersion3(load bpf.Instruction) []bpf.Instruction {
	return []bpf.Instruction{
		load,
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 3, SkipTrue: 1},
		bpf.RetConstant{Val: whole},
	}
}

func (s sieve) ip6() []bpf.Instruction {
	code := []bpf.Instruction{bpf.LoadAbsolute{Off: atNext6, Size: 1}}
	var na []bpf.Instruction
	for _, a := range s.of6(s.addresses) {
		na = append(na, s.equal6(atTarget6, a, []bpf.Instruction{bpf.RetConstant{Val: whole}})...)
	}
	na = append([]bpf.Instruction{bpf.LoadAbsolute{Off: atICMPv6, Size: 1}}, when(advertisement, append(na, bpf.RetConstant{}))...)
	code = append(code, when(ether.ICMPv6, append(na, bpf.RetConstant{}))...)
	var foreign []bpf.Instruction
	if s.multicast { // from addresses that the spec does not have
		foreign = append(notVersion3(bpf.LoadAbsolute{Off: atICMPv6, Size: 1}), bpf.RetConstant{})
	} else {
		for _, a := range s.of6(s.peers) {
			foreign = append(foreign, s.equal6(atSource6, a, []bpf.Instruction{bpf.RetConstant{}})...)
		}
		foreign = append(foreign, bpf.RetConstant{Val: whole})
	}
	vrrp := append([]bpf.Instruction{bpf.LoadAbsolute{Off: atICMPv6 + toRouterID, Size: 1}}, when(uint32(s.routerID), foreign)...)
	return append(code, when(protocol, append(vrrp, bpf.RetConstant{}))...)
}

// equal6 runs code if the address at the offset is a.
func (s sieve) equal6(offset uint32, a netip.Addr, code []bpf.Instruction) []bpf.Instruction {
	octets := a.As16()
	for i := 12; i >= 0; i -= 4 {
		word := binary.BigEndian.Uint32(octets[i:])
		code = append([]bpf.Instruction{bpf.LoadAbsolute{Off: offset + uint32(i), Size: 4}}, when(word, code)...)
	}
	return code
}

// of4 gives the IPv4 addresses of some, in a fixed order.
func (s sieve) of4(some []netip.Addr) []uint32 {
	var all []uint32
	for _, a := range some {
		if a.Is4() {
			octets := a.As4()
			all = append(all, binary.BigEndian.Uint32(octets[:]))
		}
	}
	slices.Sort(all)
	return all
}

// of6 gives the IPv6 addresses of some.
func (s sieve) of6(some []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(some), netip.Addr.Is4)
}
