package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/internal/netnstest"
)

func TestReleaseResetsConnections(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	l := w.Listen("[::]:5000") // takes IPv4 too
	// Claimed before, so that nobody resolves a neighbour while the test waits.
	onVIP := []netnstest.Pair{w.Connect(l, "10.0.0.10:5000"), w.Connect(l, "[fd00::10]:5000")}
	strict := w.Listen("10.0.0.10:5001")
	onVIP = append(onVIP, w.Connect(strict, "10.0.0.10:5001"))
	onOwn := []netnstest.Pair{w.Connect(l, "10.0.0.13:5000"), w.Connect(l, "[fd00::13]:5000")}

	if err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range onVIP {
		if err := netnstest.End(p.Server); !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("server of %s: %v, want ECONNABORTED", p.Server.LocalAddr(), err)
		}
		if err := netnstest.End(p.Client); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("client of %s: %v, want ECONNRESET", p.Client.RemoteAddr(), err)
		}
	}
	for _, p := range onOwn {
		w.Alive(p)
	}
	// The listeners have survived.
	w.claim(a)
	w.Alive(w.Connect(l, "10.0.0.10:5000"))
	w.Alive(w.Connect(strict, "10.0.0.10:5001"))
}

// A client on this host has the VIP at both ends; without the address it would
// wait for minutes.
func TestReleaseEndsLocalConnections(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	for _, address := range []string{"10.0.0.10:5000", "[fd00::10]:5000"} {
		l := w.Listen(address)
		client, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := a.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := netnstest.End(client); !errors.Is(err, unix.ECONNABORTED) && !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%s: %v, want an end at once", address, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		w.claim(a)
	}
}

func TestWithdrawKeepsConnections(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	p := w.Connect(w.Listen("10.0.0.10:5000"), "10.0.0.10:5000")
	if err := a.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.present(a, false)
	w.claim(a)
	w.Alive(p)
}

// The agent ends the connections that HAProxy has to a server that was marked
// down: by remote address and port.
func TestDestroySocketsByRemote(t *testing.T) {
	w := newWorld(t).withOwn()
	l := w.Listen("[::]:5000")
	connect := func(address string) netnstest.Pair { return w.Connect(l, address) }
	first, second := connect("10.0.0.13:5000"), connect("10.0.0.13:5000")
	six := connect("[fd00::13]:5000")
	remote := func(p netnstest.Pair) netip.AddrPort { return netip.MustParseAddrPort(p.Server.RemoteAddr().String()) }

	destroy := func(m Match, want int) {
		t.Helper()
		if n, err := DestroySockets(t.Context(), m); err != nil || n != want {
			t.Errorf("DestroySockets(%v) = %d, %v; want %d", m, n, err, want)
		}
	}
	destroy(Match{Remote: remote(first)}, 1)
	if err := netnstest.End(first.Server); !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("%v, want ECONNABORTED", err)
	}
	w.Alive(second)
	w.Alive(six)
	destroy(Match{Remote: netip.AddrPortFrom(remote(second).Addr(), 9), Local: netip.MustParseAddrPort("10.0.0.13:5000")}, 0)
	destroy(Match{Remote: remote(second), Local: netip.MustParseAddrPort("10.0.0.14:5000")}, 0)
	destroy(Match{Remote: remote(second), Local: netip.MustParseAddrPort("10.0.0.13:5000")}, 1)
	w.Alive(six)
	destroy(Match{Local: netip.AddrPortFrom(netip.Addr{}, 5000)}, 1) // any address
	if err := netnstest.End(six.Server); !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("%v, want ECONNABORTED", err)
	}
	w.Alive(connect("10.0.0.13:5000")) // the listener is left alone
}

func TestDestroySocketsWaitingForAnAnswer(t *testing.T) {
	w := newWorld(t).withOwn()
	w.Over(func() { w.Run("ip link set peer down") }) // nobody answers the SYN
	failed := make(chan error, 1)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	w.Run("ip neigh add 10.0.0.99 lladdr 02:00:00:00:00:99 dev eth0")
	go func() { failed <- unix.Connect(fd, &unix.SockaddrInet4{Port: 80, Addr: [4]byte{10, 0, 0, 99}}) }()
	w.Await("the SYN is destroyed", func() bool {
		n, err := DestroySockets(t.Context(), Match{Remote: netip.MustParseAddrPort("10.0.0.99:80")})
		if err != nil {
			t.Fatal(err)
		}
		return n == 1
	})
	if err := <-failed; !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("connect: %v, want ECONNABORTED", err)
	}
}

func TestDestroySocketsNeedsAnEnd(t *testing.T) {
	if n, err := DestroySockets(t.Context(), Match{}); err == nil || n != 0 {
		t.Errorf("destroyed %d, %v; want an error", n, err)
	}
}

func TestReleaseResetsManyConnections(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	l := w.Listen("10.0.0.10:5000")
	var pairs []netnstest.Pair
	for range 300 {
		pairs = append(pairs, w.Connect(l, "10.0.0.10:5000"))
	}
	n, err := DestroySockets(t.Context(), Match{Local: netip.MustParseAddrPort("10.0.0.10:0")})
	if err != nil || n != len(pairs) {
		t.Fatalf("destroyed %d, %v; want %d", n, err, len(pairs))
	}
	for i, p := range pairs {
		if err := netnstest.End(p.Client); !errors.Is(err, unix.ECONNRESET) {
			t.Fatal(fmt.Errorf("client %d: %w, want ECONNRESET", i, err))
		}
	}
}
