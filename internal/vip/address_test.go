package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/netnstest"
	"holdfast/internal/rtnl"
)

// both is a VIP of both families in the network of the world.
func both() Options { return Options{Addresses: prefixes("10.0.0.10/24", "fd00::10/64")} }

func TestLeaseEndsByItself(t *testing.T) {
	w := newWorld(t).withOwn()
	o := both()
	o.Lease = time.Second
	a, _ := w.address(o)
	w.claim(a)
	w.present(a, true)
	// Renewed for longer than a lease, it stays.
	for start := time.Now(); time.Since(start) < 1500*time.Millisecond; time.Sleep(50 * time.Millisecond) {
		if err := a.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.present(a, true)
	if n := a.Stats().PutBack; n != 0 {
		t.Errorf("put back %d addresses that nobody removed", n)
	}
	// From here on nobody renews it.
	w.Await("the kernel removes both addresses", func() bool {
		out := w.Run("ip -o address show dev eth0")
		return !strings.Contains(out, "10.0.0.10/") && !strings.Contains(out, "fd00::10/")
	})
	if out := w.Run("ip -o address show dev eth0"); !strings.Contains(out, "10.0.0.13/24") || !strings.Contains(out, "fd00::13/64") {
		t.Errorf("the host's own addresses went, too: %s", out)
	}
	w.present(a, false)
	if err := a.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := a.Stats(); s.Lapsed != 2 || s.PutBack != 0 {
		t.Errorf("%+v, want two addresses lapsed, and none removed by others", s)
	}
}

func TestClaimIsIdempotent(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	w.claim(a)
	w.present(a, true)
	if out := w.Run("ip -o address show dev eth0"); strings.Count(out, "10.0.0.10/") != 1 || strings.Count(out, "fd00::10/") != 1 {
		t.Errorf("not each address once: %s", out)
	}
	for range 2 {
		if err := a.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.present(a, false)
	}
}

// An agent that was restarted finds the lease of the one before.
func TestAdoptsWhatAnEarlierAgentLeft(t *testing.T) {
	w := newWorld(t).withOwn()
	before, _ := w.address(both())
	w.claim(before)
	after, _ := w.address(both())
	w.present(after, true)
	w.claim(after)
	if err := after.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.present(after, false)
}

func TestHoldPutsBack(t *testing.T) {
	w := newWorld(t).withOwn()
	a, log := w.address(both())
	w.claim(a)
	w.Run("ip address del 10.0.0.10/32 dev eth0")
	if err := a.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.present(a, true)
	if s := a.Stats(); s.PutBack != 1 || s.Announced == 0 {
		t.Errorf("%+v, want one address put back, and announced", s)
	}
	if !strings.Contains(log.String(), "10.0.0.10") {
		t.Errorf("the log does not name the address: %q", log)
	}
	// Setting an interface down takes the IPv6 address away.
	w.Run("ip link set eth0 down")
	w.Run("ip link set eth0 up")
	if err := a.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.present(a, true)
}

// A Hold whose caller gave it up while the kernel did not answer puts the address
// back, since it cannot know that before, and tells nobody.
func TestHoldGivenUpIsNotAnnounced(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	before := a.Stats().Announced
	w.Run("ip address del 10.0.0.10/32 dev eth0")
	if err := a.Hold(&givenUpLater{Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
	if s := a.Stats(); s.PutBack != 1 || s.Announced != before {
		t.Errorf("%+v, want one address put back, and none announced", s)
	}
}

// givenUpLater is a context that ends after it was asked once.
type givenUpLater struct {
	context.Context
	asked int
}

func (c *givenUpLater) Err() error {
	if c.asked++; c.asked > 1 {
		return context.Canceled
	}
	return nil
}

// A network daemon may even make the whole device anew.
func TestHoldFollowsTheDevice(t *testing.T) {
	w := newWorld(t)
	a, _ := w.address(both())
	w.claim(a)
	w.Run("ip link del eth0")
	err := a.Hold(t.Context())
	if !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "only lo") {
		t.Fatalf("Hold without the interface: %v", err)
	}
	w.Run("ip link add eth0 type veth peer name other")
	w.Run("ip link set eth0 up")
	if err := a.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.present(a, true)
	if n := a.Stats().PutBack; n != 2 {
		t.Errorf("put back %d addresses, want 2", n)
	}
}

func TestNoTentativeIPv6Address(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	out := w.Run("ip -6 -o address show dev eth0 to fd00::10")
	if strings.Contains(out, "tentative") || !strings.Contains(out, "deprecated") || !strings.Contains(out, "nodad") {
		t.Errorf("want nodad, deprecated, not tentative: %s", out)
	}
	w.Over(func() { w.Run("ping -6 -c 1 -W 5 fd00::10") })
}

// The kernel makes an IPv6 address work only some time after adding it. A
// connection from this host to the VIP must not fall into that gap: it would
// hang until it times out.
func TestClaimedMeansLocal(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	var k rtnl.Conn
	defer k.Close()
	vip := netip.MustParseAddr("fd00::10")
	for range 200 {
		w.claim(a)
		if local, err := k.IsLocal(vip); err != nil || !local {
			t.Fatalf("%s is claimed but not local: %v", vip, err)
		}
		if err := a.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInterfaceThatIsDown(t *testing.T) {
	w := newWorld(t).withOwn()
	w.Run("ip link set eth0 down")
	a, log := w.address(both())
	w.claim(a)
	w.present(a, true)
	if !strings.Contains(log.String(), "interface is down") {
		t.Errorf("the log does not say so: %s", log)
	}
	w.Run("ip link set eth0 up")
	if err := a.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.present(a, true)
}

// The host must not use the VIP for its own connections, whichever address was
// first and whatever the route.
func TestNeverTheSource(t *testing.T) {
	for _, ownFirst := range []bool{true, false} {
		t.Run(fmt.Sprintf("own first %v", ownFirst), func(t *testing.T) {
			w := newWorld(t)
			if ownFirst {
				w.withOwn()
			}
			a, _ := w.address(both())
			w.claim(a)
			if !ownFirst {
				w.withOwn()
			}
			w.Run("ip route add default via 10.0.0.1")
			w.Run("ip route add 192.0.2.0/24 dev eth0")
			w.Run("ip -6 route add default via fd00::1")
			for _, to := range []string{"10.0.0.1", "198.51.100.1", "192.0.2.1"} {
				if out := w.Run("ip route get " + to); !strings.Contains(out, "src 10.0.0.13") {
					t.Errorf("to %s: %s", to, out)
				}
			}
			for _, to := range []string{"fd00::1", "2001:db8::1"} {
				if out := w.Run("ip -6 route get " + to); !strings.Contains(out, "src fd00::13") {
					t.Errorf("to %s: %s", to, out)
				}
			}
		})
	}
}

// With the network's own prefix length, the kernel would make the host's own
// address, added later, a secondary of the VIP, and remove both at once.
func TestOwnAddressOutlivesTheVIP(t *testing.T) {
	w := newWorld(t)
	w.Run("sysctl -qw net.ipv4.conf.all.promote_secondaries=0 net.ipv4.conf.eth0.promote_secondaries=0")
	a, _ := w.address(both())
	w.claim(a)
	w.withOwn()
	if err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := w.Run("ip -o address show dev eth0")
	if !strings.Contains(out, "10.0.0.13/24") || !strings.Contains(out, "fd00::13/64") || strings.Contains(out, "0.10/") {
		t.Errorf("after the VIP has gone: %s", out)
	}
	w.Over(func() {
		w.Run("ping -c 1 -W 5 10.0.0.13")
		w.Run("ping -6 -c 1 -W 5 fd00::13")
	})
}

// Without any other address of the network, the neighbours must be reachable
// all the same, and nothing may be left when the lease ends.
func TestInterfaceWithoutAddresses(t *testing.T) {
	w := newWorld(t)
	o := both()
	o.Lease = time.Second
	a, _ := w.address(o)
	w.claim(a)
	w.Over(func() {
		w.Run("ping -c 1 -W 5 10.0.0.10")
		w.Run("ping -6 -c 1 -W 5 fd00::10")
	})
	routes := func() string {
		return w.Run("ip route show 10.0.0.0/24") + w.Run("ip -6 route show fd00::/64")
	}
	if out := routes(); strings.Count(out, "metric 1024") != 2 {
		t.Errorf("want two routes of ours: %q", out)
	}
	w.Await("the kernel removes the address and its IPv4 route", func() bool {
		return w.Run("ip route show 10.0.0.0/24") == "" && !strings.Contains(w.Run("ip -o address show dev eth0"), "fd00::10/")
	})
	// The IPv6 route is collected later, but no longer used.
	w.Await("the kernel uses the IPv6 route no more", func() bool {
		_, err := netnstest.Try(w.T, "ip -6 route get fd00::1")
		return err != nil
	})
	if err := a.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := routes(); strings.Count(out, "metric 1024") != 2 {
		t.Errorf("not put back: %q", out)
	}
	if err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := routes(); out != "" {
		t.Errorf("left after the release: %q", out)
	}
}

// The connected route of the host's own address is enough.
func TestNoRouteWhereThereIsOne(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	if out := w.Run("ip route show") + w.Run("ip -6 route show"); strings.Contains(out, "metric 1024") {
		t.Errorf("a route that nobody needs: %s", out)
	}
	w.Over(func() {
		w.Run("ping -c 1 -W 5 10.0.0.10")
		w.Run("ping -6 -c 1 -W 5 fd00::10")
	})
}

// An address that the network configuration has as well ends no lease; it must
// not stay behind when the VIP moves.
func TestReleaseRemovesForeignCopies(t *testing.T) {
	w := newWorld(t).withOwn()
	w.Run("ip address add 10.0.0.10/24 dev eth0")
	w.Run("ip address add fd00::10/64 dev eth0 nodad")
	a, log := w.address(both())
	w.claim(a)
	if !strings.Contains(log.String(), "10.0.0.10/24") {
		t.Errorf("the log does not name the copy: %q", log)
	}
	if err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := w.Run("ip -o address show dev eth0"); strings.Contains(out, "0.10/") || strings.Contains(out, "::10/") {
		t.Errorf("still there: %s", out)
	}
}

func TestManyAddresses(t *testing.T) {
	w := newWorld(t).withOwn()
	var o Options
	for i := range 40 {
		o.Addresses = append(o.Addresses, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(100 + i)}), 24),
			netip.MustParsePrefix(fmt.Sprintf("fd00::%x/64", 0x100+i)))
	}
	a, _ := w.address(o)
	w.claim(a)
	w.present(a, true)
	if err := a.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Announce()
	if s := a.Stats(); s != (Stats{Announced: 80}) {
		t.Errorf("%+v, want 80 announced", s)
	}
	if err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.present(a, false)
}

// A planned move keeps the address, unannounced, on the rtnl.Loopback device.
func TestOnLoopback(t *testing.T) {
	w := newWorld(t).withOwn()
	o := both()
	o.Interface = "lo"
	a, _ := w.address(o)
	w.claim(a)
	w.present(a, true)
	a.Announce()
	if s := a.Stats(); s != (Stats{}) {
		t.Errorf("announced on the rtnl.Loopback device: %+v", s)
	}
	if err := a.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.present(a, false)
}

func TestFailedClaimLeavesNothing(t *testing.T) {
	w := newWorld(t).withOwn()
	w.Run("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1")
	a, _ := w.address(both())
	err := a.Claim(t.Context())
	if !errors.Is(err, unix.EACCES) {
		t.Fatalf("Claim with IPv6 off: %v", err)
	}
	for _, want := range []string{"fd00::10", "eth0", "disable_ipv6"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %s", err, want)
		}
	}
	if out := w.Run("ip -o address show dev eth0"); strings.Contains(out, "10.0.0.10") {
		t.Errorf("half a VIP is left: %s", out)
	}
	a.Announce()
	if s := a.Stats(); s != (Stats{}) {
		t.Errorf("announced an address that is not there: %+v", s)
	}
}

func TestNoSuchInterface(t *testing.T) {
	w := newWorld(t)
	o := both()
	o.Interface = "eno1"
	a, _ := w.address(o)
	for name, err := range map[string]error{
		"Claim":   a.Claim(t.Context()),
		"Release": a.Release(t.Context()),
	} {
		if err == nil || !strings.Contains(err.Error(), "eno1") || !strings.Contains(err.Error(), "only eth0, lo") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.Present(); err == nil {
		t.Error("Present gives no error")
	}
}
