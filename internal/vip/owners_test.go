package vip

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
)

func TestDestroySocketsOfLeavesOtherProcessesAlone(t *testing.T) {
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
	to := netip.MustParseAddrPort(listener.Addr().String())

	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()         //nolint:errcheck // it was killed
	defer other.Process.Kill() //nolint:errcheck // Wait says it
	if n, err := DestroySocketsOf(t.Context(), []int{other.Process.Pid, 1 << 30}, to); n[to] != 0 || err != nil {
		t.Errorf("of another process: destroyed %v, %v; want none", n, err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Errorf("the connection of this process: %v", err)
	}
	if n, err := DestroySocketsOf(t.Context(), []int{os.Getpid()}, to); n[to] != 1 || len(n) != 1 || err != nil {
		t.Errorf("of this process: destroyed %v, %v; want 1", n, err)
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("the connection goes on")
	}
}
