package move

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"holdfast/internal/ether"
	"holdfast/internal/rtnl"
	"holdfast/internal/sockdiag"
	"holdfast/internal/vip"
)

// What a Detour sends on has the taker's MAC address and a client's IP address.
// Many networks drop such frames: source guards of switches, hypervisors that
// filter forged transmissions, port security of a cloud below. Then connections
// would stand still, and nobody would notice. So the taker sends probes, the way
// that the rules send segments on, and the giver looks whether they arrive.

const (
	// probePort is both ports of a probe: discard (RFC 863), at which nobody is.
	probePort = 9
	// probeTimes and probeEvery are how many probes go out for each client, and
	// the time between two: not all of them are lost where some frames are.
	probeTimes = 5
	probeEvery = 8 * time.Millisecond
	// MaxProbed bounds the clients of one proof.
	MaxProbed = 16
)

// probeMark begins what a probe carries; a nonce follows.
const probeMark = "holdfast probe 1"

const (
	tcpHeader  = 20
	tcpRST     = 0x04
	probeBytes = len(probeMark) + 8
)

// Probe sends probes as if they came from each of clients, addresses that are not
// the VIP's, for the connections that they have to the giver. Each is a TCP segment
// with RST, which no kernel answers, and goes through this host's own filters as
// what the rules send on does. It needs no Install. It returns when all are sent;
// an error of one client's does not keep the others' from being sent.
func (d *Detour) Probe(ctx context.Context, nonce uint64, clients []netip.Addr) error {
	if len(clients) > MaxProbed {
		return fmt.Errorf("prove the detour of vip %s: %d clients are more than %d", d.options.Name, len(clients), MaxProbed)
	}
	var errs []error
	var all []probe
	for _, addresses := range byFamily(d.options.Addresses) {
		of := slices.DeleteFunc(slices.Clone(clients), func(c netip.Addr) bool { return rtnl.FamilyOf(c) != rtnl.FamilyOf(addresses[0]) })
		if len(of) == 0 {
			continue
		}
		w, err := d.way(addresses)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, c := range of {
			all = append(all, probe{w, c, addresses[0]})
		}
	}
	errs = append(errs, sendProbes(ctx, nonce, all))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("prove the detour of vip %s: %w", d.options.Name, err)
	}
	return nil
}

// A probe is one from a client to the VIP by a way.
type probe struct {
	way    way
	client netip.Addr
	vip    netip.Addr
}

func sendProbes(ctx context.Context, nonce uint64, all []probe) error {
	sockets := map[int]int{} // by family and device
	defer func() {
		for _, fd := range sockets {
			unix.Close(fd) //nolint:errcheck // all was sent, or failed before
		}
	}()
	failed := map[netip.Addr]error{}
	for i := range probeTimes {
		if i > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(probeEvery):
			}
		}
		for _, p := range all {
			key := p.way.device<<8 | int(rtnl.FamilyOf(p.vip))
			fd, open := sockets[key]
			if !open {
				var err error
				if fd, err = probeSocket(p.way); err != nil {
					return err
				}
				sockets[key] = fd
			}
			err := unix.Sendto(fd, p.packet(nonce), unix.MSG_DONTWAIT, p.way.sockaddr())
			if err != nil && !errors.Is(err, unix.EPERM) { // a filter of this host's drops it: it will be missing
				failed[p.client] = fmt.Errorf("send a probe from %s by %s: %w", p.client, p.way.giver, err)
			}
		}
	}
	var errs []error
	for _, err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// probeSocket gives one that takes packets with their IP header.
func probeSocket(w way) (int, error) {
	fd, err := unix.Socket(int(rtnl.FamilyOf(w.giver)), unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return -1, fmt.Errorf("open a raw socket, which needs CAP_NET_RAW: %w", err)
	}
	if err := unix.BindToDevice(fd, w.name); err != nil {
		return -1, errors.Join(fmt.Errorf("bind to %s: %w", w.name, err), unix.Close(fd))
	}
	return fd, nil
}

// sockaddr is where what goes the way is sent: to the giver, whatever the packet
// says, as nftables' dup does.
func (w way) sockaddr() unix.Sockaddr {
	if w.giver.Is4() {
		return &unix.SockaddrInet4{Addr: w.giver.As4()}
	}
	to := &unix.SockaddrInet6{Addr: w.giver.As16()}
	if w.giver.IsLinkLocalUnicast() {
		to.ZoneId = uint32(w.device)
	}
	return to
}

// packet gives the probe with its IP header (RFC 791 section 3.1, RFC 8200
// section 3), whose checksum and identification the kernel fills in.
func (p probe) packet(nonce uint64) []byte {
	const hops = 64
	segment := p.segment(nonce)
	var b []byte
	if p.vip.Is4() {
		const header = 20
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(header+len(segment)))
		b = append(b, 0, 0, 0, 0, hops, unix.IPPROTO_TCP, 0, 0)
	} else {
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(segment)))
		b = append(b, unix.IPPROTO_TCP, hops)
	}
	b = append(b, p.client.AsSlice()...)
	b = append(b, p.vip.AsSlice()...)
	return append(b, segment...)
}

// segment gives the TCP segment (RFC 9293 section 3.1).
func (p probe) segment(nonce uint64) []byte {
	b := make([]byte, tcpHeader, tcpHeader+probeBytes)
	binary.BigEndian.PutUint16(b, probePort)
	binary.BigEndian.PutUint16(b[2:], probePort)
	b[12], b[13] = tcpHeader/4<<4, tcpRST
	b = append(b, probeMark...)
	b = binary.BigEndian.AppendUint64(b, nonce)
	pseudo := uint32(len(b)) + unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(b[16:], ether.Checksum(pseudo, p.client.AsSlice(), p.vip.AsSlice(), b))
	return b
}

// A Witness sees, on the giver, which probes arrive: before any filter of this
// host's own, which may well take segments of connections that it knows.
type Witness struct {
	fd    int
	nonce uint64
	vip   []netip.Addr
	seen  map[netip.Addr]bool
}

// NewWitness begins to look for probes with the nonce to addresses of a VIP. It
// must be closed.
func NewWitness(nonce uint64, vip []netip.Addr) (*Witness, error) {
	// Protocol 0: nothing comes before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("look for probes: open a packet socket, which needs CAP_NET_RAW: %w", err)
	}
	err = filterProbes(fd)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: rtnl.NetworkOrder(unix.ETH_P_ALL)})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("look for probes: %w", err), unix.Close(fd))
	}
	return &Witness{fd: fd, nonce: nonce, vip: slices.Clone(vip), seen: map[netip.Addr]bool{}}, nil
}

// filterProbes lets the kernel drop all but TCP segments from and to probePort,
// for a socket that gets packets from their IP header on.
func filterProbes(fd int) error {
	const (
		header4, protocol4 = 20, 9
		header6, protocol6 = 40, 6
		ports              = probePort<<16 | probePort
	)
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 4, SkipFalse: 4},
		bpf.LoadAbsolute{Off: protocol4, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipFalse: 8},
		bpf.LoadAbsolute{Off: header4, Size: 4}, // a probe has no options
		bpf.Jump{Skip: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 6, SkipFalse: 5},
		bpf.LoadAbsolute{Off: protocol6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipFalse: 3},
		bpf.LoadAbsolute{Off: header6, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: ports, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return fmt.Errorf("make a filter: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return fmt.Errorf("set a filter: %w", err)
	}
	return nil
}

// Missing waits until a probe from each of clients has arrived, or ctx ends, and
// gives those from which none has.
func (w *Witness) Missing(ctx context.Context, clients []netip.Addr) ([]netip.Addr, error) {
	const pause = 5 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if err := w.read(); err != nil {
			return nil, err
		}
		missing := slices.DeleteFunc(slices.Clone(clients), func(c netip.Addr) bool { return w.seen[c] })
		if len(missing) == 0 || ctx.Err() != nil {
			return missing, nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// read takes in what has arrived.
func (w *Witness) read() error {
	b := make([]byte, 256)
	for {
		n, from, err := unix.Recvfrom(w.fd, b, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN): // of one interface
			continue
		case err != nil:
			return fmt.Errorf("look for probes: %w", err)
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if client, ok := w.client(b[:n]); ok {
			w.seen[client] = true
		}
	}
}

// client gives whose probe b is, if it is one.
func (w *Witness) client(b []byte) (netip.Addr, bool) {
	at, size, header := 12, 4, 20
	if len(b) > 0 && b[0]>>4 == 6 {
		at, size, header = 8, 16, 40
	}
	payload := header + tcpHeader
	if len(b) < payload+probeBytes || string(b[payload:payload+len(probeMark)]) != probeMark {
		return netip.Addr{}, false
	}
	client, _ := netip.AddrFromSlice(b[at : at+size])
	to, _ := netip.AddrFromSlice(b[at+size : at+2*size])
	nonce := binary.BigEndian.Uint64(b[payload+len(probeMark):])
	return client, nonce == w.nonce && slices.Contains(w.vip, to)
}

// Close ends the looking.
func (w *Witness) Close() error {
	if err := unix.Close(w.fd); err != nil {
		return fmt.Errorf("look no more for probes: %w", err)
	}
	return nil
}

// Clients gives addresses that have connections to the VIP's, each once and in no
// order, without those of this host: up to MaxProbed.
func (c *Copy) Clients(context.Context) (clients []netip.Addr, err error) {
	var found []sockdiag.Socket
	var own map[netip.Addr]bool
	err = c.onKernel(func(k *rtnl.Conn) error {
		if found, err = c.sockets(); err != nil {
			return err
		}
		own, err = k.OwnAddresses()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the clients of vip %s: %w", c.options.Name, err)
	}
	all := map[netip.Addr]bool{}
	for _, s := range found {
		if a := s.Remote.Addr(); !s.Connecting() && !own[a] && !c.has(a) && vip.IsOfHost(a) {
			all[a] = true
		}
	}
	for a := range all { // in another order each time, so that each has its turn
		if clients = append(clients, a); len(clients) == MaxProbed {
			break
		}
	}
	return clients, nil
}
