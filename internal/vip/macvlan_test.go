package vip

import (
	"log/slog"
	"strings"
	"testing"

	"holdfast/internal/ether"
)

func macvlan() Options {
	o := both()
	o.Device, o.RouterID = Macvlan, 51
	return o
}

func (w *world) devices() string { return w.Run("ip -o -d link show type macvlan") }

func TestMacvlan(t *testing.T) {
	w := newWorld(t).withOwn()
	w.Run("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1")
	a, _ := w.address(macvlan())
	w.present(a, false)
	w.claim(a)
	w.present(a, true)
	out := w.devices()
	for _, want := range []string{"hf-51@", "00:00:5e:00:01:33", "hf-51v6@", "00:00:5e:00:02:33", "mode private"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
	if out := w.Run("ip -6 -o address show scope link"); strings.Contains(out, "hf-51") {
		t.Errorf("the virtual MAC address has a link-local address: %s", out)
	}
	w.Over(func() {
		w.Run("ip neigh flush all")
		w.Run("ping -c 1 -W 5 10.0.0.10")
		w.Run("ping -6 -c 1 -W 5 fd00::10")
		w.Run("ping -c 1 -W 5 10.0.0.13")
		neighbours := w.Run("ip neigh show dev peer")
		for ip, hw := range map[string]string{
			"10.0.0.10 ": "00:00:5e:00:01:33", "fd00::10 ": "00:00:5e:00:02:33",
			"10.0.0.13 ": w.hereMAC("eth0"),
		} {
			if !strings.Contains(neighbours, ip+"lladdr "+hw) {
				t.Errorf("%s is not at %s: %s", ip, hw, neighbours)
			}
		}
	})
	if err := a.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := w.devices(); out != "" {
		t.Errorf("left after the release: %s", out)
	}
	w.present(a, false)
}

// hereMAC gives the MAC address of a device here, from over there.
func (w *world) hereMAC(device string) (hw string) {
	w.Here.In(func() { hw = w.mac(device).String() })
	return hw
}

// The replies of the VIP's connections leave by the interface below, which
// asks for the neighbour: it must not do so in the name of the VIP.
func TestMacvlanKeepsItsAddressInARP(t *testing.T) {
	w := newWorld(t).withOwn()
	o := macvlan()
	o.Addresses = o.Addresses[:1]
	a, _ := w.address(o)
	w.claim(a)
	w.Over(func() {
		w.Run("ping -c 1 -W 5 10.0.0.10")
	})
	w.Run("ip neigh flush all") // the host has to ask for 10.0.0.1 to reply
	w.Over(func() {
		w.Run("ping -c 1 -W 5 10.0.0.10")
		if out := w.Run("ip neigh show to 10.0.0.10"); !strings.Contains(out, "00:00:5e:00:01:33") {
			t.Errorf("the neighbour has been told another place: %s", out)
		}
	})
}

func TestMacvlanAnnounces(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(macvlan())
	w.claim(a)
	wire := w.tap()
	a.Announce()
	hw := routerMAC(51, false)
	wire.next(append(bytesOf(ether.Broadcast()), append(bytesOf(hw), 8, 6)...))
	hw = routerMAC(51, true)
	wire.next(append([]byte{0x33, 0x33, 0, 0, 0, 1}, append(bytesOf(hw), 0x86, 0xdd)...))
}

func TestMacvlanIsMadeAgain(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(macvlan())
	w.claim(a)
	w.Run("ip link del hf-51")
	if err := a.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.present(a, true)
	if n := a.Stats().PutBack; n != 1 {
		t.Errorf("put back %d, want 1", n)
	}
	w.Over(func() { w.Run("ping -c 1 -W 5 10.0.0.10") })
}

// What a macvlan device needs of the interface below is put back when no VIP has one
// there any more: not before, by a later agent too, and not what somebody else has set.
func TestMacvlanSettingsArePutBack(t *testing.T) {
	w := newWorld(t).withOwn()
	w.Run("ip link add eth1 type veth peer name other")
	w.Run("sysctl -qw net.ipv4.conf.eth0.arp_announce=1")
	one, _ := w.address(macvlan())
	direct, _ := w.address(both())
	other := macvlan()
	other.Interface, other.RouterID = "eth1", 52
	two, _ := w.address(other)
	are := func(want string) {
		t.Helper()
		names := "net.ipv4.conf.eth0.arp_ignore net.ipv4.conf.eth0.arp_announce net.ipv4.conf.eth1.arp_ignore net.ipv4.conf.eth1.arp_announce"
		if now := strings.Join(strings.Fields(w.Run("sysctl -n "+names)), " "); now != want {
			t.Errorf("arp_ignore and arp_announce of eth0 and eth1 are %s, want %s", now, want)
		}
	}
	s := NewSettings(nil, nil)
	note := func(changed bool, all ...*Address) {
		t.Helper()
		if got, err := s.Note(all...); got != changed || err != nil {
			t.Errorf("Note() = %v, %v; want %v", got, err, changed)
		}
	}
	note(false, direct)
	note(true, one, two)
	are("0 1 0 0")
	w.claim(one)
	w.claim(two)
	are("1 2 1 2")
	note(false, one, two)
	s = NewSettings(s.Changed(), nil) // the next agent
	note(true, direct, one)
	are("1 2 0 0")
	w.Run("sysctl -qw net.ipv4.conf.eth0.arp_ignore=8")
	note(true)
	are("8 1 0 0")
	if left := s.Changed(); len(left) > 0 {
		t.Errorf("left to be put back: %v", left)
	}
}

func TestCleanupRemovesLeftDevices(t *testing.T) {
	w := newWorld(t).withOwn()
	w.Run("ip link add eth1 type veth peer name other")
	crashed, _ := w.address(macvlan())
	w.claim(crashed)
	w.Run("ip link add hf-9 link eth1 address 00:00:5e:00:01:09 type macvlan mode private")
	w.Run("ip link add hf-mine link eth1 type macvlan mode private") // somebody else's

	log := slog.New(slog.DiscardHandler)
	now, _ := w.address(macvlan())
	if err := Cleanup(t.Context(), log, now); err != nil {
		t.Fatal(err)
	}
	out := w.devices()
	if !strings.Contains(out, "hf-51@") || !strings.Contains(out, "hf-51v6@") || strings.Contains(out, "hf-9@") {
		t.Errorf("after the cleanup: %s", out)
	}
	w.claim(now) // adopts
	w.present(now, true)

	// The VIP is elsewhere now: the same name, but not the same device.
	moved := macvlan()
	moved.Interface = "eth1"
	elsewhere, _ := w.address(moved)
	if err := elsewhere.Claim(t.Context()); err == nil || !strings.Contains(err.Error(), "ip link delete hf-51") {
		t.Errorf("claimed a device of another VIP: %v", err)
	}
	if err := Cleanup(t.Context(), log, elsewhere); err != nil {
		t.Fatal(err)
	}
	if out := w.devices(); strings.Contains(out, "hf-51") || !strings.Contains(out, "hf-mine@") {
		t.Errorf("after the second cleanup: %s", out)
	}
	w.claim(elsewhere)
}

// Nothing but the VIP is on the interface: the macvlan device has the route.
func TestMacvlanOnAnInterfaceWithoutAddresses(t *testing.T) {
	w := newWorld(t)
	a, _ := w.address(macvlan())
	w.claim(a)
	w.Over(func() {
		w.Run("ping -c 1 -W 5 10.0.0.10")
		w.Run("ping -6 -c 1 -W 5 fd00::10")
	})
	if out := w.Run("ip route show 10.0.0.0/24"); !strings.Contains(out, "dev hf-51 ") {
		t.Errorf("the route is %q", out)
	}
}

func bytesOf(m ether.MAC) []byte { return m[:] }
