package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/internal/netnstest"
	"holdfast/internal/sockdiag"
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

func TestReleaseResetsManyConnections(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	l := w.Listen("10.0.0.10:5000")
	var pairs []netnstest.Pair
	for range 300 {
		pairs = append(pairs, w.Connect(l, "10.0.0.10:5000"))
	}
	n, err := sockdiag.Destroy(t.Context(), sockdiag.Match{Local: netip.MustParseAddrPort("10.0.0.10:0")})
	if err != nil || n != len(pairs) {
		t.Fatalf("destroyed %d, %v; want %d", n, err, len(pairs))
	}
	for i, p := range pairs {
		if err := netnstest.End(p.Client); !errors.Is(err, unix.ECONNRESET) {
			t.Fatal(fmt.Errorf("client %d: %w, want ECONNRESET", i, err))
		}
	}
}
