package vip

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/ether"
	"holdfast/internal/rtnl"
)

// A tap receives whole frames at the other end of the cable.
type tap struct {
	w  *world
	fd int
}

func (w *world) tap() *tap {
	w.T.Helper()
	c := &tap{w: w}
	w.Over(func() {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(rtnl.NetworkOrder(unix.ETH_P_ALL)))
		if err != nil {
			w.T.Fatal(err)
		}
		c.fd = fd
		timeout := unix.NsecToTimeval(int64(10 * time.Second))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			w.T.Fatal(err)
		}
	})
	w.T.Cleanup(func() {
		if err := unix.Close(c.fd); err != nil {
			w.T.Error(err)
		}
	})
	return c
}

// next gives the next frame that has part in it.
func (c *tap) next(part []byte) []byte {
	c.w.T.Helper()
	b := make([]byte, 2048)
	for {
		n, err := unix.Read(c.fd, b)
		if err != nil {
			c.w.T.Fatalf("wait for a frame with %x: %v", part, err)
		}
		if bytes.Contains(b[:n], part) {
			return b[:n]
		}
	}
}

func (w *world) mac(device string) ether.MAC {
	w.T.Helper()
	var k rtnl.Conn
	l, err := k.LinkByName(device)
	if err == nil {
		err = k.Close()
	}
	if err != nil {
		w.T.Fatal(err)
	}
	return l.MAC()
}

func TestAnnouncementsOnTheWire(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	hw := w.mac("eth0")
	v4, v6 := netip.MustParseAddr("10.0.0.10"), netip.MustParseAddr("fd00::10")
	arpHeader := []byte{0x08, 0x06, 0, 1, 8, 0, 6, 4}
	naHeader := []byte{136, 0} // after the addresses
	na := append(v6.AsSlice(), append([]byte{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, naHeader...)...)

	check := func(what string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("%s\ngot  %s\nwant %s", what, hex.EncodeToString(got), hex.EncodeToString(want))
		}
	}
	wire := w.tap()
	a.Announce()
	check("first round", wire.next(arpHeader), gratuitousARP(hw, v4, arpRequest))
	check("first round", wire.next(na), unsolicitedNA(hw, v6, false))
	w.Run("sysctl -qw net.ipv6.conf.eth0.forwarding=1")
	a.Announce()
	check("second round", wire.next(arpHeader), gratuitousARP(hw, v4, arpReply))
	check("second round", wire.next(na), unsolicitedNA(hw, v6, true))
	a.Announce()
	check("third round", wire.next(arpHeader), gratuitousARP(hw, v4, arpRequest))
}

// A neighbour that knows the VIP by another MAC address learns the new one.
func TestAnnouncementsMoveTheAddress(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	want := w.mac("eth0").String()
	for _, round := range []string{"request", "reply"} {
		w.Over(func() {
			w.Run("ip neigh replace 10.0.0.10 lladdr 02:00:00:00:00:99 nud stale dev peer")
			w.Run("ip neigh replace fd00::10 lladdr 02:00:00:00:00:99 nud stale dev peer")
			// A fresh entry is locked against change for this long.
			w.Run("sysctl -qw net.ipv4.neigh.peer.locktime=0")
		})
		a.Announce()
		w.Over(func() {
			w.Await("the neighbour learns the new place from the "+round, func() bool {
				return bytes.Count([]byte(w.Run("ip neigh show dev peer")), []byte(want)) >= 2
			})
		})
	}
}

func TestAnnounceTroubleIsCountedAndLoggedOnce(t *testing.T) {
	w := newWorld(t).withOwn()
	a, log := w.address(both())
	w.claim(a)
	w.Run("ip link set eth0 down")
	a.Announce()
	a.Announce()
	if s := a.Stats(); s.AnnounceFailed != 2 {
		t.Errorf("%+v, want 2 failed", s)
	}
	if n := strings.Count(log.String(), "neighbours"); n != 1 {
		t.Errorf("logged %d times: %s", n, log)
	}
}
