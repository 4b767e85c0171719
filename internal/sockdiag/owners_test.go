package sockdiag

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestDestroySilentLeavesOtherProcessesAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // the test ends
	to := netip.MustParseAddrPort(listener.Addr().String())

	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()         //nolint:errcheck // it was killed
	defer other.Process.Kill() //nolint:errcheck // Wait says it
	if n, err := DestroySilent(t.Context(), []int{other.Process.Pid, 1 << 30}, map[netip.AddrPort]time.Duration{to: 0}); n[to] != 0 || err != nil {
		t.Errorf("of another process: destroyed %v, %v; want none", n, err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Errorf("the connection of this process: %v", err)
	}
	if n, err := DestroySilent(t.Context(), []int{os.Getpid()}, map[netip.AddrPort]time.Duration{to: 0}); n[to] != 1 || len(n) != 1 || err != nil {
		t.Errorf("of this process: destroyed %v, %v; want 1", n, err)
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("the connection goes on")
	}
}

// What a connection says of who waits for whom, by the kernel's own count.
func TestTalks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // the test ends
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the test ends
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close() //nolint:errcheck // the test ends
	to := netip.MustParseAddrPort(listener.Addr().String())
	talk := func() Talk {
		t.Helper()
		talks, err := Talks(t.Context(), to, netip.MustParseAddrPort("127.0.0.1:1"))
		if err != nil || len(talks) != 1 {
			t.Fatalf("%v, %v", talks, err)
		}
		return talks[to]
	}
	destroyed := func(silence time.Duration) int {
		t.Helper()
		n, err := DestroySilent(t.Context(), []int{os.Getpid()}, map[netip.AddrPort]time.Duration{to: silence})
		if err != nil {
			t.Fatal(err)
		}
		return n[to]
	}
	pause := func() { time.Sleep(60 * time.Millisecond) } // several of the kernel's ticks
	pause()
	if got := talk(); got.Heard >= 0 {
		t.Errorf("nothing was said yet: %+v", got)
	}
	write := func(c net.Conn) {
		t.Helper()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		pause()
	}
	write(conn)
	if got := talk(); got.Waiting != 1 || got.Longest < 40*time.Millisecond || got.Heard >= 0 {
		t.Errorf("a question waits: %+v", got)
	}
	if n := destroyed(time.Minute); n != 0 {
		t.Errorf("destroyed %d that was silent for less than asked", n)
	}
	write(server)
	if got := talk(); got.Waiting != 0 || got.Heard < 40*time.Millisecond || got.Heard > time.Minute {
		t.Errorf("it was answered: %+v", got)
	}
	if n := destroyed(20 * time.Millisecond); n != 1 {
		t.Errorf("destroyed %d, want the one", n)
	}
}
