package sockdiag

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/internal/netnstest"
)

// newCable gives a Cable whose end here has addresses.
func newCable(t testing.TB) *netnstest.Cable {
	t.Helper()
	c := netnstest.NewCable(t)
	c.Run("ip address add 10.0.0.13/24 dev eth0")
	c.Run("ip address add fd00::13/64 dev eth0 nodad")
	return c
}

// The agent ends the connections that HAProxy has to a server that was marked
// down: by remote address and port.
func TestDestroySocketsByRemote(t *testing.T) {
	w := newCable(t)
	l := w.Listen("[::]:5000")
	connect := func(address string) netnstest.Pair { return w.Connect(l, address) }
	first, second := connect("10.0.0.13:5000"), connect("10.0.0.13:5000")
	six := connect("[fd00::13]:5000")
	remote := func(p netnstest.Pair) netip.AddrPort { return netip.MustParseAddrPort(p.Server.RemoteAddr().String()) }

	destroy := func(m Match, want int) {
		t.Helper()
		if n, err := Destroy(t.Context(), m); err != nil || n != want {
			t.Errorf("Destroy(%v) = %d, %v; want %d", m, n, err, want)
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
	w := newCable(t)
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
		n, err := Destroy(t.Context(), Match{Remote: netip.MustParseAddrPort("10.0.0.99:80")})
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
	if n, err := Destroy(t.Context(), Match{}); err == nil || n != 0 {
		t.Errorf("destroyed %d, %v; want an error", n, err)
	}
}

func BenchmarkDestroy(b *testing.B) {
	const connections = 2000
	w := newCable(b)
	l := w.Listen("10.0.0.13:5000")
	for b.Loop() {
		b.StopTimer()
		var pairs []netnstest.Pair
		for range connections {
			pairs = append(pairs, w.Connect(l, "10.0.0.13:5000"))
		}
		b.StartTimer()
		n, err := Destroy(b.Context(), Match{Local: netip.MustParseAddrPort("10.0.0.13:0")})
		if err != nil || n != connections {
			b.Fatal(n, err)
		}
		b.StopTimer()
		for _, p := range pairs {
			_, _ = p.Client.Close(), p.Server.Close()
		}
		b.StartTimer()
	}
}
