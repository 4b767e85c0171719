package process

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/haproxy/output"
)

// openTunnel opens a tunnel, as a console's page does, on the VIP, and gives a function
// that says whether it goes on.
func (b *bench) openTunnel() (goesOn func() error) {
	b.t.Helper()
	conn, err := net.Dial("tcp", netip.AddrPortFrom(b.addr(1), uint16(b.port)).String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, "GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	r := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			b.t.Fatal(err)
		}
	}
	return func() error {
		if _, err := fmt.Fprintln(conn, "on"); err != nil {
			return err
		}
		line, err := r.ReadString('\n')
		if err == nil && line != "on\n" {
			err = fmt.Errorf("got %q back", line)
		}
		return err
	}
}

// Reloads that fail, however many, cut nothing of what is under way when one succeeds.
func TestFailedReloadsDoNotCount(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager(b.probe)
	b.apply(m, Started)
	goesOn := b.openTunnel()
	good, err := os.ReadFile(m.configFile())
	if err != nil {
		t.Fatal(err)
	}
	before := m.State()
	if err := os.WriteFile(m.configFile(), []byte("global\n    no such thing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		// By hand: the agent would have seen that it is bad.
		reply, _ := m.MasterSocket.Converse(t.Context(), "reload\n") //nolint:errcheck // the connection ends with it
		if strings.HasPrefix(reply, "Success=0") {
			continue // later versions tell at once, and 3.2 counts no reload whose file is bad
		}
		eventually(t, fmt.Sprintf("reload %d failed", i+1), func() bool {
			p, err := m.Processes(t.Context())
			return err == nil && p.Master.PID == before.PID && p.Master.Reloads > i && p.Master.Failed > 0
		})
	}
	if err := os.WriteFile(m.configFile(), good, 0o600); err != nil {
		t.Fatal(err)
	}
	b.spec.Services[0].Timeout.Server = time.Minute
	b.apply(m, Reloaded)
	if p, err := m.Processes(t.Context()); err != nil || len(p.Old) != 1 {
		t.Errorf("the old worker is to finish what it has: %+v, %v", p, err)
	}
	if err := goesOn(); err != nil {
		t.Errorf("what was under way was cut: %v", err)
	}
	if code, _ := b.get("/"); code != http.StatusOK {
		t.Errorf("GET / = %d", code)
	}
}

// Of too many old workers the oldest are ended, and those only.
func TestTooManyOldWorkers(t *testing.T) {
	var old []output.Process
	for i := range maxOldWorkers {
		old = append(old, output.Process{PID: 100 + i, Uptime: time.Duration(i) * time.Minute})
	}
	if got := surplus(old); len(got) > 0 {
		t.Errorf("%d are as many as may be, and of them are too many: %v", maxOldWorkers, got)
	}
	// Two more, of the same minute: who has seen more reloads is the older.
	old = append(old, output.Process{PID: 1, Uptime: time.Hour, Reloads: 3}, output.Process{PID: 2, Uptime: time.Hour, Reloads: 4}, output.Process{PID: 3, Uptime: time.Second})
	var pids []int
	for _, p := range surplus(old) {
		pids = append(pids, p.PID)
	}
	if !slices.Equal(pids, []int{2, 1, 100 + maxOldWorkers - 1}) {
		t.Errorf("to be ended: %v", pids)
	}
}
