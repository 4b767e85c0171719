package sockdiag

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// TestDestroySilentOneWay has a network that drops what goes out and lets in what
// comes, just when a request follows an answer on one connection: the other end
// sends its answer again and again, as it does not hear that it has arrived.
func TestDestroySilentOneWay(t *testing.T) {
	w := newCable(t)
	p := w.Connect(w.Listen("10.0.0.13:8774"), "10.0.0.13:8774")
	send := func(c net.Conn) {
		t.Helper()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(c net.Conn) {
		t.Helper()
		if _, err := c.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	send(p.Server)
	hear(p.Client)
	w.Over(func() {
		w.Run("nft add table ip lossy")
		w.Run("nft add chain ip lossy in { type filter hook prerouting priority 0 ; policy accept ; }")
		w.Run("nft add rule ip lossy in tcp sport 8774 drop")
	})
	send(p.Client)
	hear(p.Server)
	send(p.Server)

	time.Sleep(800 * time.Millisecond) // the answer was sent again after 0.2 and 0.6 s
	to := netip.MustParseAddrPort(p.Server.RemoteAddr().String())
	n, err := DestroySilent(t.Context(), []int{os.Getpid()}, map[netip.AddrPort]time.Duration{to: 500 * time.Millisecond})
	if err != nil || n[to] != 1 {
		t.Errorf("destroyed %v, %v; want the one", n, err)
	}
}
