package link

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"holdfast/internal/netnstest"
	"holdfast/internal/vrrp"
)

// A lan is a bridge in a network namespace of its own, to which machines are plugged.
type lan struct {
	t      testing.TB
	bridge netnstest.Bridge
	len    int
}

// A machine is a network namespace with one interface, eth0, on a lan. Machine
// i has 10.77.0.i and fd77::i.
type machine struct {
	t    testing.TB
	lan  *lan
	ns   *netnstest.Namespace
	n    int
	four netip.Addr
	six  netip.Addr
}

func newLAN(t testing.TB) *lan {
	t.Helper()
	return &lan{t: t, bridge: netnstest.NewBridge(t)}
}

func (l *lan) run(command string) {
	l.t.Helper()
	l.bridge.Run(command)
}

func (l *lan) plug() *machine {
	l.t.Helper()
	l.len++
	m := &machine{t: l.t, lan: l, ns: netnstest.New(l.t), n: l.len}
	m.four = netip.AddrFrom4([4]byte{10, 77, 0, byte(m.n)})
	m.six = netip.MustParseAddr(fmt.Sprintf("fd77::%d", m.n))
	// Without duplicate address detection, which takes a second or two.
	m.write("/proc/sys/net/ipv6/conf/default/accept_dad", "0")
	m.connect()
	return m
}

// write writes a setting of the machine's kernel.
func (m *machine) write(path, value string) {
	m.t.Helper()
	m.ns.Write(path, value)
}

// connect makes eth0, with its addresses, and plugs it into the bridge.
func (m *machine) connect() {
	m.t.Helper()
	m.lan.bridge.Plug(fmt.Sprintf("p%d", m.n), m.ns)
	m.run(fmt.Sprintf("ip address add %v/24 dev eth0", m.four))
	m.run(fmt.Sprintf("ip address add %v/64 dev eth0", m.six))
}

func (m *machine) run(command string) {
	m.t.Helper()
	m.ns.Run(command)
}

// has reports whether the kernel has the address on the machine's eth0.
func (m *machine) has(a netip.Addr) bool {
	m.t.Helper()
	found := false
	err := m.ns.Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		all, err := netlink.AddrList(eth0, netlink.FAMILY_ALL)
		for _, on := range all {
			if b, ok := netip.AddrFromSlice(on.IP); ok && b.Unmap() == a {
				found = true
			}
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return found
}

// A realHolder puts the addresses on eth0 of the namespace of the loop.
type realHolder struct {
	addrs []netip.Addr

	claimed  chan time.Time
	released chan time.Time
}

func (h *realHolder) each(do func(netlink.Link, *netlink.Addr) error) error {
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	for _, a := range h.addrs {
		parsed, err := netlink.ParseAddr(netip.PrefixFrom(a, a.BitLen()).String())
		if err != nil {
			return err
		}
		if err := do(eth0, parsed); err != nil {
			return err
		}
	}
	return nil
}

func (h *realHolder) Claim(context.Context) error {
	err := h.each(netlink.AddrReplace)
	select {
	case h.claimed <- time.Now():
	default:
	}
	return err
}

func (h *realHolder) Hold(context.Context) error { return h.each(netlink.AddrReplace) }
func (h *realHolder) Announce()                  {}

func (h *realHolder) Release(context.Context) error {
	err := h.each(netlink.AddrDel)
	select {
	case h.released <- time.Now():
	default:
	}
	if err != nil && strings.Contains(err.Error(), "cannot assign requested address") {
		return nil // it was not there
	}
	return err
}

func (h *realHolder) Withdraw(ctx context.Context) error { return h.Release(ctx) }

// A mode is a way to send adverts.
type mode struct {
	name      string
	six       bool
	multicast bool
}

var modes = []mode{
	{"IPv4 unicast", false, false},
	{"IPv4 multicast", false, true},
	{"IPv6 unicast", true, false},
	{"IPv6 multicast", true, true},
}

// eachMode runs f for each of some modes, at the same time.
func eachMode(t *testing.T, some []mode, f func(*testing.T, mode)) {
	for _, m := range some {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			f(t, m)
		})
	}
}

func (m mode) addr(x *machine) netip.Addr {
	if m.six {
		return x.six
	}
	return x.four
}

func (m mode) virtual() netip.Addr {
	if m.six {
		return netip.MustParseAddr("fd77::100")
	}
	return netip.MustParseAddr("10.77.0.100")
}

// options gives the options of a loop on x, among all.
func (m mode) options(x *machine, all ...*machine) Options {
	peers := map[netip.Addr]string{}
	for _, p := range all {
		if p != x {
			peers[m.addr(p)] = fmt.Sprintf("ctl%d", p.n)
		}
	}
	return Options{
		Name: "api", Controller: fmt.Sprintf("ctl%d", x.n),
		VRID: 51, Priority: uint8(254 - 24*(x.n-1)), Interval: 100 * time.Millisecond,
		Interface: "eth0", Source: m.addr(x), Peers: peers, Multicast: m.multicast,
		Addresses: []netip.Addr{m.virtual()},
		Holder: &realHolder{
			addrs:   []netip.Addr{m.virtual()},
			claimed: make(chan time.Time, 100), released: make(chan time.Time, 100),
		},
	}
}

// A running is a loop that runs on a machine.
type running struct {
	*Loop
	t    testing.TB
	o    Options
	stop func()
}

// loop runs a loop on m, eligible.
func (m *machine) loop(o Options) *running {
	m.t.Helper()
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	l, err := New(o)
	if err != nil {
		m.t.Fatal(err)
	}
	r := &running{Loop: l, t: m.t, o: o}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.ns.Do(func() error { return l.Run(ctx) }) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("%s: %v", o.Controller, err)
		}
		if m.t.Failed() || testing.Verbose() {
			m.t.Logf("log of %s:\n%s", o.Controller, log.String())
		}
	})
	m.t.Cleanup(r.stop)
	l.SetEligible(true, "haproxy is ready")
	return r
}

func (r *running) holder() *realHolder { return r.o.Holder.(*realHolder) }

func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	netnstest.Await(t, what, holds)
}

func (r *running) await(s vrrp.State) {
	r.t.Helper()
	await(r.t, fmt.Sprintf("%s to be %v", r.o.Controller, s), func() bool { return r.Stats().State == s })
}

// hears waits until r has accepted n more adverts.
func (r *running) hears(n uint64) {
	r.t.Helper()
	want := r.Stats().AdvertsSeen + n
	await(r.t, r.o.Controller+" to hear adverts", func() bool { return r.Stats().AdvertsSeen >= want })
}
