package vip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// transparent marks a socket as HAProxy does with "bind … transparent".
func transparent(_, _ string, c syscall.RawConn) error {
	var err error
	controlErr := c.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1),
		)
		if errors.Is(err, unix.ENOPROTOOPT) { // an IPv4 socket has no IPv6 option
			err = nil
		}
	})
	return errors.Join(controlErr, err)
}

// A pair is the two ends of one connection.
type pair struct{ server, client net.Conn }

// listen opens a listener here, transparent.
func (w *world) listen(address string) net.Listener {
	w.t.Helper()
	config := net.ListenConfig{Control: transparent}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			w.t.Error(err)
		}
	})
	return l
}

// connect connects to l at address, from the other end of the cable.
func (w *world) connect(l net.Listener, address string) pair {
	w.t.Helper()
	var p pair
	var err error
	w.over(func() {
		d := net.Dialer{Timeout: 10 * time.Second, FallbackDelay: -1}
		p.client, err = d.DialContext(w.t.Context(), "tcp", address)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if p.server, err = l.Accept(); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// end gives the error with which a connection ends, within 10 s.
func end(c net.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

// alive fails the test unless bytes pass.
func (w *world) alive(p pair) {
	w.t.Helper()
	if _, err := p.client.Write([]byte("x")); err != nil {
		w.t.Error(err)
	}
	if err := end(p.server); err != nil {
		w.t.Errorf("the connection %s is gone: %v", p.client.RemoteAddr(), err)
	}
}

func TestReleaseResetsConnections(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	l := w.listen("[::]:5000") // takes IPv4 too
	// Claimed before, so that nobody resolves a neighbour while the test waits.
	onVIP := []pair{w.connect(l, "10.0.0.10:5000"), w.connect(l, "[fd00::10]:5000")}
	strict := w.listen("10.0.0.10:5001")
	onVIP = append(onVIP, w.connect(strict, "10.0.0.10:5001"))
	onOwn := []pair{w.connect(l, "10.0.0.13:5000"), w.connect(l, "[fd00::13]:5000")}

	if err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range onVIP {
		if err := end(p.server); !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("server of %s: %v, want ECONNABORTED", p.server.LocalAddr(), err)
		}
		if err := end(p.client); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("client of %s: %v, want ECONNRESET", p.client.RemoteAddr(), err)
		}
	}
	for _, p := range onOwn {
		w.alive(p)
	}
	// The listeners have survived.
	w.claim(a)
	w.alive(w.connect(l, "10.0.0.10:5000"))
	w.alive(w.connect(strict, "10.0.0.10:5001"))
}

// A client on this host has the VIP at both ends; without the address it would
// wait for minutes.
func TestReleaseEndsLocalConnections(t *testing.T) {
	w := newWorld(t).withOwn()
	a, _ := w.address(both())
	w.claim(a)
	for _, address := range []string{"10.0.0.10:5000", "[fd00::10]:5000"} {
		l := w.listen(address)
		client, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := a.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := end(client); !errors.Is(err, unix.ECONNABORTED) && !errors.Is(err, unix.ECONNRESET) {
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
	p := w.connect(w.listen("10.0.0.10:5000"), "10.0.0.10:5000")
	if err := a.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.present(a, false)
	w.claim(a)
	w.alive(p)
}

// The agent ends the connections that HAProxy has to a server that was marked
// down: by remote address and port.
func TestDestroySocketsByRemote(t *testing.T) {
	w := newWorld(t).withOwn()
	l := w.listen("[::]:5000")
	connect := func(address string) pair { return w.connect(l, address) }
	first, second := connect("10.0.0.13:5000"), connect("10.0.0.13:5000")
	six := connect("[fd00::13]:5000")
	remote := func(p pair) netip.AddrPort { return netip.MustParseAddrPort(p.server.RemoteAddr().String()) }

	destroy := func(m Match, want int) {
		t.Helper()
		if n, err := DestroySockets(t.Context(), m); err != nil || n != want {
			t.Errorf("DestroySockets(%v) = %d, %v; want %d", m, n, err, want)
		}
	}
	destroy(Match{Remote: remote(first)}, 1)
	if err := end(first.server); !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("%v, want ECONNABORTED", err)
	}
	w.alive(second)
	w.alive(six)
	destroy(Match{Remote: netip.AddrPortFrom(remote(second).Addr(), 9), Local: netip.MustParseAddrPort("10.0.0.13:5000")}, 0)
	destroy(Match{Remote: remote(second), Local: netip.MustParseAddrPort("10.0.0.14:5000")}, 0)
	destroy(Match{Remote: remote(second), Local: netip.MustParseAddrPort("10.0.0.13:5000")}, 1)
	w.alive(six)
	destroy(Match{Local: netip.AddrPortFrom(netip.Addr{}, 5000)}, 1) // any address
	if err := end(six.server); !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("%v, want ECONNABORTED", err)
	}
	w.alive(connect("10.0.0.13:5000")) // the listener is left alone
}

func TestDestroySocketsWaitingForAnAnswer(t *testing.T) {
	w := newWorld(t).withOwn()
	w.over(func() { w.run("ip link set peer down") }) // nobody answers the SYN
	failed := make(chan error, 1)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	w.run("ip neigh add 10.0.0.99 lladdr 02:00:00:00:00:99 dev eth0")
	go func() { failed <- unix.Connect(fd, &unix.SockaddrInet4{Port: 80, Addr: [4]byte{10, 0, 0, 99}}) }()
	w.await("the SYN is destroyed", func() bool {
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
	l := w.listen("10.0.0.10:5000")
	var pairs []pair
	for range 300 {
		pairs = append(pairs, w.connect(l, "10.0.0.10:5000"))
	}
	n, err := DestroySockets(t.Context(), Match{Local: netip.MustParseAddrPort("10.0.0.10:0")})
	if err != nil || n != len(pairs) {
		t.Fatalf("destroyed %d, %v; want %d", n, err, len(pairs))
	}
	for i, p := range pairs {
		if err := end(p.client); !errors.Is(err, unix.ECONNRESET) {
			t.Fatal(fmt.Errorf("client %d: %w, want ECONNRESET", i, err))
		}
	}
}
