package link

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/rtnl"
	"holdfast/internal/vrrp"
	"holdfast/internal/vrrp/link/nic"
	"holdfast/internal/vrrp/link/thread"
)

// TestFailover lets two loops on two machines take the address from each other,
// in each way of sending.
func TestFailover(t *testing.T) {
	eachMode(t, modes, func(t *testing.T, m mode) {
		l := newLAN(t)
		one, two := l.plug(), l.plug()
		a, b := m.activeAndBackup(one, two, 10)
		b.await(vrrp.Backup)
		if !one.has(m.virtual()) || two.has(m.virtual()) {
			t.Error("the address is not on the first machine alone")
		}
		a.SetEligible(false, "haproxy died")
		b.await(vrrp.Active)
		await(t, "the address to move", func() bool { return two.has(m.virtual()) && !one.has(m.virtual()) })

		a.SetEligible(true, "haproxy is ready")
		a.await(vrrp.Backup)
		a.hears(10)
		b.stop()
		a.await(vrrp.Active)
		await(t, "the address to move back", func() bool { return one.has(m.virtual()) && !two.has(m.virtual()) })
		for _, r := range []*running{a, b} {
			if s := r.Stats(); len(s.Rejected) != 0 || s.OtherAddresses != 0 || s.SendErrors != 0 {
				t.Errorf("%s: %+v", r.o.Controller, s)
			}
		}
	})
}

// TestTwoRouters runs two VIPs on the same two machines, each Active on another.
func TestTwoRouters(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	one, two := l.plug(), l.plug()
	m := modes[1]
	other := func(x *machine) Options {
		o := m.options(x, one, two)
		o.Name, o.VRID, o.Priority = "public", 52, 255-o.Priority
		o.Addresses = []netip.Addr{netip.MustParseAddr("10.77.0.200")}
		o.Holder = &realHolder{addrs: o.Addresses, claimed: make(chan time.Time, 9), released: make(chan time.Time, 9)}
		return o
	}
	all := []*running{one.loop(m.options(one, one, two)), nil, nil, two.loop(other(two))}
	all[0].await(vrrp.Active)
	all[3].await(vrrp.Active)
	all[1], all[2] = two.loop(m.options(two, one, two)), one.loop(other(one))
	all[1].hears(10)
	all[2].hears(10)
	for _, r := range all {
		if s := r.Stats(); len(s.Rejected) != 0 || s.OtherAddresses != 0 {
			t.Errorf("%s of %s: %+v", r.o.Name, r.o.Controller, s)
		}
	}
	all[1].await(vrrp.Backup)
	all[2].await(vrrp.Backup)
}

// sendRaw sends an advert from a machine as somebody without our rules would.
func (x *machine) sendRaw(t *testing.T, a vrrp.Advert, to netip.Addr, ttl int) {
	t.Helper()
	err := x.ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, vrrp.Protocol)
		if err != nil {
			return err
		}
		b, err := a.Append(nil, vrrp.MessageOnly, x.four, to)
		return errors.Join(err,
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl),
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, ttl),
			unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Address: x.four.As4()}),
			unix.Sendto(fd, b, 0, nic.Sockaddr(to)), unix.Close(fd))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestStrangers lets a machine that is no controller, and a controller that
// breaks the rules, try to take the address: it is dropped, counted, and named.
func TestStrangers(t *testing.T) {
	eachMode(t, modes[:2], func(t *testing.T, m mode) {
		l := newLAN(t)
		one, two, stranger := l.plug(), l.plug(), l.plug()
		a := one.loop(m.options(one, one, two))
		a.await(vrrp.Active)
		to := one.four
		if m.multicast {
			to = vrrp.Group4()
		}
		hostile := vrrp.Advert{VRID: 51, Priority: 255, Interval: time.Second, Addresses: []netip.Addr{m.virtual()}}
		for range 3 {
			stranger.sendRaw(t, hostile, to, 255)
		}
		two.sendRaw(t, hostile, to, 64)
		await(t, "the adverts to be dropped", func() bool {
			s := a.Stats()
			return s.Rejected["source"] == 3 && s.Rejected["ttl"] == 1
		})
		hostile.VRID = 77
		stranger.sendRaw(t, hostile, to, 255) // filtered by the kernel
		hostile.VRID = 51
		stranger.sendRaw(t, hostile, to, 255)
		await(t, "one more", func() bool { return a.Stats().Rejected["source"] == 4 })
		s := a.Stats()
		if s.State != vrrp.Active || len(s.Rejected) != 2 || s.LastRejected.Source != stranger.four {
			t.Errorf("stats %+v", s)
		}
	})
}

// activeAndBackup has one take the address, and two join and hear so many adverts of it.
func (m mode) activeAndBackup(one, two *machine, adverts uint64) (a, b *running) {
	a = one.loop(m.options(one, one, two))
	a.await(vrrp.Active)
	b = two.loop(m.options(two, one, two))
	b.hears(adverts)
	return a, b
}

// TestCable pulls the cable of the Active machine, plugs it in again, deletes
// its interface and makes it anew.
func TestCable(t *testing.T) {
	eachMode(t, modes, func(t *testing.T, m mode) {
		l := newLAN(t)
		one, two := l.plug(), l.plug()
		a, b := m.activeAndBackup(one, two, 3)
		l.run("ip link set p1 down")
		a.await(vrrp.Initialize)
		if got, want := a.Stats().Reason, "interface eth0 has no carrier"; got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
		b.await(vrrp.Active)
		l.run("ip link set p1 up")
		a.await(vrrp.Backup)
		a.hears(10)
		b.hears(0)
		if got := b.Stats().State; got != vrrp.Active {
			t.Errorf("ctl2 is %v, want it to stay active", got)
		}

		l.run("ip link delete p1")
		a.await(vrrp.Initialize)
		if got, want := a.Stats().Reason, "there is no interface eth0"; got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
		one.connect()
		a.await(vrrp.Backup)
		a.hears(10)
		b.stop()
		a.await(vrrp.Active)
	})
}

// TestOwnAddressGoes checks that a controller without its own address, from
// which it sends, is not eligible: nobody would hear it.
func TestOwnAddressGoes(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	one, two := l.plug(), l.plug()
	m := modes[0]
	a, b := m.activeAndBackup(one, two, 3)
	one.run("ip address del 10.77.0.1/24 dev eth0")
	a.await(vrrp.Initialize)
	if got, want := a.Stats().Reason, "this host does not have the controller's address 10.77.0.1"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	b.await(vrrp.Active)
	one.run("ip address add 10.77.0.1/24 dev eth0")
	a.await(vrrp.Backup)
	a.hears(5)
}

// TestSourceOnAnotherInterface checks that a controller whose adverts leave
// through another interface than the VIP's minds the carrier of both.
func TestSourceOnAnotherInterface(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	one, two := l.plug(), l.plug()
	m := modes[0]
	for _, x := range []*machine{one, two} {
		x.run("ip link add vip0 type veth peer name vip1")
		x.run("ip link set vip0 up")
		x.run("ip link set vip1 up")
	}
	option := func(x *machine) Options {
		o := m.options(x, one, two)
		o.Interface = "vip0"
		return o
	}
	a := one.loop(option(one))
	a.await(vrrp.Active)
	b := two.loop(option(two))
	b.hears(5)
	b.await(vrrp.Backup)
	l.run("ip link set p2 down")
	b.await(vrrp.Initialize)
	if got, want := b.Stats().Reason, "interface eth0 has no carrier"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	one.run("ip link set vip1 down")
	a.await(vrrp.Initialize)
	if got, want := a.Stats().Reason, "interface vip0 has no carrier"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
}

// TestPartition cuts two machines from each other on the bridge, with their
// carriers up, and joins them again.
func TestPartition(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	one, two := l.plug(), l.plug()
	m := modes[0]
	a, b := m.activeAndBackup(one, two, 3)
	b.hears(3)
	l.run("bridge link set dev p1 isolated on")
	l.run("bridge link set dev p2 isolated on")
	b.await(vrrp.Active)
	before := a.Stats()
	l.run("bridge link set dev p1 isolated off")
	b.await(vrrp.Backup)
	await(t, "the last word of the loser", func() bool { return a.Stats().AdvertsSeen > before.AdvertsSeen })
	b.hears(10)
	if s := a.Stats(); s.State != vrrp.Active || s.Transitions != before.Transitions {
		t.Errorf("ctl1: %+v", s)
	}
	if two.has(m.virtual()) || !one.has(m.virtual()) {
		t.Error("the address is not on the first machine alone")
	}
}

// TestPartitionWithoutNeighbours lets a partition last until the kernel has
// forgotten the link-layer addresses of the others, and would look for them
// again too late for this test: the loops greet each other.
func TestPartitionWithoutNeighbours(t *testing.T) {
	eachMode(t, []mode{modes[0], modes[2]}, func(t *testing.T, m mode) {
		l := newLAN(t)
		one, two := l.plug(), l.plug()
		for _, x := range []*machine{one, two} {
			x.write("/proc/sys/net/ipv4/neigh/eth0/retrans_time_ms", "60000")
			x.write("/proc/sys/net/ipv6/neigh/eth0/retrans_time_ms", "60000")
		}
		a, b := m.activeAndBackup(one, two, 3)
		l.run("bridge link set dev p1 isolated on")
		l.run("bridge link set dev p2 isolated on")
		one.run(fmt.Sprintf("ip neigh del %v dev eth0", m.addr(two)))
		two.run(fmt.Sprintf("ip neigh flush dev eth0 to %v", m.addr(one)))
		b.await(vrrp.Active)
		sent := a.Stats().AdvertsSent
		await(t, "adverts that find no neighbour", func() bool { return a.Stats().AdvertsSent > sent+5 })
		l.run("bridge link set dev p1 isolated off")
		b.await(vrrp.Backup)
		if s := a.Stats(); s.State != vrrp.Active {
			t.Errorf("ctl1: %+v", s)
		}
	})
}

// TestThreadIsGivenBack checks that the loop's thread has real-time priority
// while it runs, and not after.
func TestThreadIsGivenBack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	policy := func() uint32 {
		a, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return a.Policy
	}
	before := policy()
	var th thread.Priority
	said := th.Raise(false)
	if said != "real-time" {
		t.Skipf("real-time priority is not allowed here: %s", said)
	}
	if got := policy(); got != unix.SCHED_FIFO {
		t.Errorf("policy %d, want SCHED_FIFO", got)
	}
	if err := th.Restore(); err != nil {
		t.Fatal(err)
	}
	if got := policy(); got != before {
		t.Errorf("policy %d afterwards, want %d", got, before)
	}
}

// TestMACAddressChanges changes the MAC address of the controller that is not
// Active: adverts that still went to the old one would make it take over.
func TestMACAddressChanges(t *testing.T) {
	unicast := []mode{modes[0], modes[2]}
	eachMode(t, unicast, func(t *testing.T, m mode) {
		l := newLAN(t)
		one, two := l.plug(), l.plug()
		_, b := m.activeAndBackup(one, two, 10)
		b.await(vrrp.Backup)
		was := b.Stats().Transitions
		two.run("ip link set eth0 address 02:00:00:00:00:77")
		b.hears(30)
		// One that takes over says so before it has the address.
		if s := b.Stats(); s.State != vrrp.Backup || s.Transitions != was || s.AdvertsSent != 0 {
			t.Errorf("%+v, want that it never took over", s)
		}
	})
}

// TestMadeAnewAtOnce deletes the interface of a controller and makes it anew
// with all its addresses, faster than anybody looks.
func TestMadeAnewAtOnce(t *testing.T) {
	eachMode(t, modes, func(t *testing.T, m mode) {
		l := newLAN(t)
		one, two := l.plug(), l.plug()
		a, b := m.activeAndBackup(one, two, 3)
		b.await(vrrp.Backup)
		l.run("ip link delete p2")
		two.connect()
		b.hears(10)
		b.await(vrrp.Backup)
		a.await(vrrp.Active)
	})
}

// TestNeighboursThatAreSet checks that an entry which somebody has set is not
// taken away, as by an administrator who trusts no ARP.
func TestNeighboursThatAreSet(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{"nud permanent", "nud reachable extern_learn"} {
		l := newLAN(t)
		one := l.plug()
		o := modes[0].options(one, one)
		peer := netip.MustParseAddr("10.77.0.9")
		one.run("ip neigh replace 10.77.0.9 lladdr 02:00:00:00:00:99 dev eth0 " + entry)
		err := one.ns.Do(func() error {
			h := newLinux()
			if err := h.greet(&o, peer); err != nil {
				return err
			}
			if !h.resolved(&o, peer) {
				t.Errorf("%s: it is not known any more", entry)
			}
			return h.errands.Close()
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestLinkLocalFirst reads adverts over IPv6 off the wire: they begin with the
// link-local address of the sender, but not where keepalived takes part.
func TestLinkLocalFirst(t *testing.T) {
	eachMode(t, modes[2:], func(t *testing.T, m mode) {
		for _, checksum := range []vrrp.Checksum{vrrp.MessageOnly, vrrp.PseudoHeader} {
			l := newLAN(t)
			one, two := l.plug(), l.plug()
			option := func(x *machine) Options {
				o := m.options(x, one, two)
				o.Checksum = checksum
				o.Addresses = append(o.Addresses, netip.MustParseAddr("fd77::101"))
				return o
			}
			a := one.loop(option(one))
			a.await(vrrp.Active)
			own := linkLocalOf(t, one)
			want := option(one).Addresses
			if checksum == vrrp.MessageOnly {
				want = append([]netip.Addr{own}, want...)
			}
			await(t, fmt.Sprintf("an advert with %v", want), func() bool {
				return slices.Equal(nextAdvert(t, two, option(two)).Addresses, want)
			})
			b := two.loop(option(two))
			b.hears(10)
			if s := b.Stats(); s.OtherAddresses != 0 || len(s.Rejected) != 0 {
				t.Errorf("the other one says: %+v", s)
			}
		}
	})
}

func linkLocalOf(t *testing.T, x *machine) (own netip.Addr) {
	t.Helper()
	err := x.ns.Do(func() error {
		var k rtnl.Conn
		l, err := k.LinkByName("eth0")
		if err == nil {
			own, err = linkLocal(&k, l.Index, nil)
		}
		return errors.Join(err, k.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// nextAdvert gives the next advert that comes to x.
func nextAdvert(t *testing.T, x *machine, o Options) (a vrrp.Advert) {
	t.Helper()
	err := x.ns.Do(func() error {
		h := newLinux()
		o.NoPriority = true
		if _, err := h.enter(&o); err != nil {
			return err
		}
		c, err := h.open(&o)
		if err != nil {
			return errors.Join(err, h.leave())
		}
		d, err := c.receive()
		for errors.Is(err, errNothing) {
			time.Sleep(time.Millisecond)
			d, err = c.receive()
		}
		if err == nil {
			_, err = a.Unmarshal(d.payload, d.src, d.dst)
		}
		return errors.Join(err, h.leave())
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}
