// Package systemd_test has systemd itself check the units, and hand sockets over.
package systemd_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/spec"
	"holdfast/internal/systemd"
)

func TestUnitsAreUnderstood(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze: ", err)
	}
	dir := t.TempDir()
	var paths []string
	for _, name := range []string{"holdfast.service", "holdfast.socket"} {
		unit, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// The program and its page are not installed where this is tested.
		text := strings.ReplaceAll(string(unit), "/usr/local/bin/holdfast", "/bin/true")
		text = strings.Replace(text, "man:holdfast(8)", "man:true(1)", 1)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	// It looks at the units of this machine, too, and says what is wrong with those.
	out, _ := exec.CommandContext(t.Context(), "systemd-analyze", append([]string{"verify", "--man=no"}, paths...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "holdfast.so") || strings.Contains(line, "holdfast.service") {
			t.Error(strings.TrimSpace(line))
		}
	}
}

// TestPortsAreHeld holds the units to the agent: the ports are those of a spec that names
// none, and systemd keeps what the agent gives it.
func TestPortsAreHeld(t *testing.T) {
	socket, err := os.ReadFile("holdfast.socket")
	if err != nil {
		t.Fatal(err)
	}
	s, findings := spec.Parse("default", []byte(`
controllers: [{name: a, address: 10.0.0.1}, {name: b, address: 10.0.0.2}]
vips: [{name: api, addresses: [10.0.0.10/24], interface: eth0, hostname: api.example.org, vrrp: {router_id: 1}}]
services: {keystone: {}}
`))
	if s == nil {
		t.Fatal(findings)
	}
	for _, port := range []int{s.Agent.Port, s.Agent.CheckPort} {
		if !strings.Contains(string(socket), fmt.Sprintf("\nListenStream=%d\n", port)) {
			t.Errorf("holdfast.socket does not listen at port %d", port)
		}
	}
	service, err := os.ReadFile("holdfast.service")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(service), "\nFileDescriptorStoreMax=8\n") {
		t.Error("systemd keeps no socket of the agent's")
	}
}

// TestActivated has systemd's own tool hand sockets over to a holdfast that is started by
// who connects.
func TestActivated(t *testing.T) {
	tool, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("needs systemd-socket-activate: ", err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), tool, "-l", at, "-E", "HOLDFAST_TEST_ACTIVATED="+at, os.Args[0])
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var conn net.Conn
	for conn == nil {
		if conn, err = net.Dial("tcp", at); err != nil {
			time.Sleep(10 * time.Millisecond)
			if t.Context().Err() != nil {
				t.Fatal(err)
			}
		}
	}
	answer, err := io.ReadAll(conn)
	if err != nil || string(answer) != "at "+at {
		t.Errorf("answered %q, %v; the tool says %s", answer, err, said.String())
	}
}

// TestMain lets the test be what the tool starts.
func TestMain(m *testing.M) {
	at := os.Getenv("HOLDFAST_TEST_ACTIVATED")
	if at == "" {
		os.Exit(m.Run())
	}
	sockets := systemd.NewSockets(systemd.New(slog.Default()))
	sockets.Take()
	listener, err := sockets.Listener(netip.MustParseAddrPort(at))
	if err != nil || listener == nil {
		log.Fatalf("no socket was handed over: %v", err)
	}
	conn, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(conn, "at ", listener.Addr())
	_ = conn.Close()
}
