package vip

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"holdfast/internal/ether"
	"holdfast/internal/netnstest"
)

// A macChange is done to iface by commands, in a world that other commands prepared.
type macChange struct {
	name, iface    string
	before, change []string
}

// claim prepares the world, and claims a VIP on the interface.
func (c macChange) claim(w *world) (*Address, *netnstest.Log) {
	w.runAll(c.before)
	o := both()
	o.Interface = c.iface
	a, log := w.address(o)
	w.claim(a)
	return a, log
}

func (w *world) runAll(commands []string) {
	for _, command := range commands {
		w.Run(command)
	}
}

// macChanges are ways in which the MAC address of the device of a VIP changes.
// A bond's with fail_over_mac=active does so as the veth's.
var macChanges = []macChange{
	{name: "veth", iface: "eth0", change: []string{"ip link set eth0 address 02:00:00:00:00:77"}},
	{
		name: "bridge that follows its lowest port", iface: "br0",
		before: []string{
			"ip link add br0 type bridge forward_delay 0 mcast_snooping 0",
			"ip link set eth0 master br0",
			"ip link set br0 up",
			"ip link add vnet0 type veth peer name vnet1",
			"ip link set vnet0 address 02:00:00:00:00:01",
		},
		change: []string{"ip link set vnet0 master br0"},
	},
	{
		name: "macvlan as the host's interface", iface: "public",
		before: []string{"ip link add public link eth0 type macvlan mode private", "ip link set public up"},
		change: []string{"ip link set public address 02:00:00:00:00:78"},
	},
}

// claims gives the frames that say that both addresses are at hw.
func claims(hw ether.MAC, form arpForm) [][]byte {
	return [][]byte{
		gratuitousARP(hw, netip.MustParseAddr("10.0.0.10"), form),
		unsolicitedNA(hw, netip.MustParseAddr("fd00::10"), false),
	}
}

// The announcements say where the address is now, not where it was when it was
// taken: else each of them would take it from those who have asked meanwhile.
func TestAnnouncesTheMACAddressOfTheMoment(t *testing.T) {
	for _, tt := range macChanges {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a, _ := tt.claim(w)
			was := w.mac(tt.iface)
			w.runAll(tt.change)
			is := w.mac(tt.iface)
			if is == was {
				t.Fatalf("the MAC address of %s is still %s", tt.iface, is)
			}
			wire := w.tap()
			a.Announce()
			for i, want := range claims(is, arpRequest) {
				// The place of the address in the frame is the same whoever has it.
				part := []byte{0x08, 0x06, 0, 1, 8, 0, 6, 4}
				if i == 1 {
					part = want[ether.Header+8 : ether.Header+ether.IPv6Header+1]
				}
				if got := wire.next(part); !bytes.HasPrefix(got, want) {
					t.Errorf("got  %x\nwant %x", got, want)
				}
			}
		})
	}
}

// Hold notices it, and announces at once.
func TestHoldAnnouncesAnotherMACAddress(t *testing.T) {
	for _, tt := range macChanges {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a, log := tt.claim(w)
			was := w.mac(tt.iface).String()
			w.Over(func() {
				w.Run("ip neigh replace 10.0.0.10 lladdr " + was + " nud reachable dev peer")
				w.Run("ip neigh replace fd00::10 lladdr " + was + " nud reachable dev peer")
				w.Run("sysctl -qw net.ipv4.neigh.peer.locktime=0")
			})
			w.runAll(tt.change)
			for range 2 { // the second time there is nothing to say
				if err := a.Hold(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if s := a.Stats(); s.Moved != 1 || s.PutBack != 0 || s.Announced != 2 {
				t.Errorf("%+v, want one move, and two addresses announced", s)
			}
			is := w.mac(tt.iface).String()
			if !strings.Contains(log.String(), "is="+is) {
				t.Errorf("the log does not name %s: %s", is, log)
			}
			w.Over(func() {
				w.Await("the neighbour knows both addresses at "+is, func() bool {
					return strings.Count(w.Run("ip neigh show dev peer"), is) >= 2
				})
			})
		})
	}
}

// A VIP on a macvlan device of its own does not care: it has the virtual
// router's MAC address, whatever becomes of that of the interface below.
func TestMacvlanKeepsItsMACAddress(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(macvlan())
	w.claim(a)
	w.Run("ip link set eth0 address 02:00:00:00:00:77")
	if err := a.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := a.Stats(); s.Moved != 0 || s.Announced != 0 {
		t.Errorf("%+v, want nothing announced", s)
	}
	wire := w.tap()
	a.Announce()
	hw := routerMAC(51, false)
	wire.next(append(bytesOf(ether.Broadcast()), append(bytesOf(hw), 8, 6)...))
}

// A daemon that renames the interface and makes another of its name, as when
// a VLAN is made anew on a bond, takes the address with it.
func TestHoldFollowsTheName(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	w.Run("ip link set eth0 down")
	w.Run("ip link set eth0 name old0")
	w.Run("ip link set old0 up")
	w.Run("ip link add eth0 type veth peer name other")
	w.Run("ip link set eth0 up")
	if err := a.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.present(a, true)
	if out := w.Run("ip address show dev old0"); strings.Contains(out, "10.0.0.10/") || strings.Contains(out, "fd00::10/") {
		t.Errorf("the old device has the address still: %s", out)
	}
}
