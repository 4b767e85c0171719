package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
)

// connect opens a connection to address from source, an address of loopback.
func connect(t *testing.T, source, address string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(source), 0))}
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // most are closed by the other end
	return conn
}

// idle asks for /healthz once, as one that means to keep its connection does.
func idle(t *testing.T, source, address string) {
	t.Helper()
	// One that is refused may be gone before it has asked.
	_, _ = io.WriteString(connect(t, source, address), "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
}

// TestIdleConnections proves that a host that opens 256 connections, and asks
// nothing more on them, keeps neither a controller nor anybody else from being
// answered; and that status says who it was.
func TestIdleConnections(t *testing.T) {
	s := demoServer(demoDegraded())
	s.opt.Now = time.Now
	address := strings.TrimPrefix(start(t, s), "http://")
	for range 256 {
		idle(t, "127.0.74.1", address)
	}
	for range 256 {
		connect(t, "127.0.74.2", address) // and never a word
	}
	for _, source := range []string{"127.0.74.3", "127.0.74.4"} {
		got := GatherFrom(t.Context(), netip.MustParseAddr(source), nil, []Target{{"ctl2", address}})
		if got[0].Snapshot == nil {
			t.Fatalf("another controller gets %q", got[0].Error)
		}
		i := findingAt(got[0].Snapshot.Findings, status.CodePageCrowded)
		if i < 0 || !strings.Contains(got[0].Snapshot.Findings[i].Text, "last from 127.0.74.2") {
			t.Errorf("who was refused is not said: %v", got[0].Snapshot.Findings)
		}
	}
	if f := s.crowd.finding("ctl1", time.Now().Add(crowdMemory+time.Minute)); f != nil {
		t.Errorf("said for ever: %v", f)
	}
}

func findingAt(all []status.Finding, code string) int {
	for i, f := range all {
		if f.Code == code {
			return i
		}
	}
	return -1
}

// TestSlotsForControllers proves that strangers, however many hosts they are, leave
// the controllers of the spec what these need.
func TestSlotsForControllers(t *testing.T) {
	s := demoServer(demoDegraded())
	s.opt.Now = time.Now
	s.opt.Controllers = func() []Target { return []Target{{"ctl2", "127.0.75.250:9470"}} }
	address := strings.TrimPrefix(start(t, s), "http://")
	for i := range connectionsOfStrangers/connectionsOfOne + 1 {
		for range connectionsOfOne {
			connect(t, fmt.Sprintf("127.0.75.%d", i+1), address)
		}
	}
	if got := GatherFrom(t.Context(), netip.MustParseAddr("127.0.75.250"), nil, []Target{{"ctl1", address}}); got[0].Snapshot == nil {
		t.Errorf("a controller gets %q", got[0].Error)
	}
	if got := GatherFrom(t.Context(), netip.MustParseAddr("127.0.75.251"), nil, []Target{{"ctl1", address}}); got[0].Snapshot != nil {
		t.Error("a stranger has the slot of a controller")
	}
}

// TestNoKeepAlive proves that a connection ends with its answer.
func TestNoKeepAlive(t *testing.T) {
	conn := connect(t, "127.0.0.1", strings.TrimPrefix(start(t, demoServer(demoDegraded())), "http://"))
	if _, err := io.WriteString(conn, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 || !resp.Close {
		t.Errorf("the connection goes on after the answer: %q, %v", rest, err)
	}
}
