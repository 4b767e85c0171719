package peer

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A fakeHAProxy answers a runtime API, one command a connection, as its worker.
type fakeHAProxy struct {
	mu   sync.Mutex // guards following
	pid  int
	said []string
}

func (f *fakeHAProxy) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		line, _ := bufio.NewReader(conn).ReadString('\n')
		fmt.Fprint(conn, f.answer(strings.TrimSpace(line)))
		_ = conn.Close()
	}
}

func (f *fakeHAProxy) answer(command string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, command)
	switch {
	case command == "show info":
		f.pid++ // another worker each time
		return fmt.Sprintf("Name: HAProxy\nPid: %d\n", f.pid)
	case command == "show servers state":
		return "1\n# be_id be_name srv_id srv_name\n3 nova_back 1 ctl1 10.0.0.1 2\n3 nova_back 2 ctl2 10.0.0.2 2\n5 glance_back 1 ctl1 10.0.0.1 2\n"
	case strings.HasPrefix(command, "set server "):
		return "\n"
	}
	return "Unknown command\n"
}

// TestOperate tells programs what an operator would.
func TestOperate(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, SocketFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	fake := &fakeHAProxy{}
	go fake.serve(l)
	tests := []struct {
		verb, what string
		program    string      // that is sent
		signal     unix.Signal // this
	}{
		{"reload", "haproxy", "haproxy", unix.SIGUSR2},
		{"restart", "haproxy", "haproxy", unix.SIGTERM},
		{"restart", "keepalived", "keepalived", unix.SIGTERM},
		{"stop", "keepalived", "keepalived", unix.SIGTERM},
	}
	for _, tt := range tests {
		cmd := exec.CommandContext(t.Context(), "sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Skipf("sleep: %v", err)
		}
		if err := os.WriteFile(filepath.Join(dir, pidFile(tt.program)), fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := Operate(t.Context(), dir, tt.verb, tt.what); err != nil {
			t.Errorf("%s %s: %v", tt.verb, tt.what, err)
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait() // it ends by the signal
		if got := cmd.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal(); got != tt.signal {
			t.Errorf("%s %s sent %v, want %v", tt.verb, tt.what, got, tt.signal)
		}
	}
	held := func() bool {
		_, err := os.Stat(filepath.Join(dir, holdFile("keepalived")))
		return err == nil
	}
	if !held() {
		t.Error("a stopped keepalived is not held back")
	}
	if err := Operate(t.Context(), dir, "start", "keepalived"); err != nil || held() {
		t.Errorf("start keepalived: %v; held back: %v", err, held())
	}
}

// TestDrain sets the state of a host's servers in every backend that has it.
func TestDrain(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, SocketFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	fake := &fakeHAProxy{}
	go fake.serve(l)
	for _, verb := range []string{"drain", "undrain"} {
		if err := Operate(t.Context(), dir, verb, "ctl1"); err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
	want := []string{
		"show servers state", "set server nova_back/ctl1 state drain", "set server glance_back/ctl1 state drain",
		"show servers state", "set server nova_back/ctl1 state ready", "set server glance_back/ctl1 state ready",
	}
	if !slices.Equal(fake.said, want) {
		t.Errorf("said %q, want %q", fake.said, want)
	}
	for _, bad := range [][2]string{{"drain", "ctl9"}, {"dance", "haproxy"}, {"restart", "keepalived"}} {
		if err := Operate(t.Context(), dir, bad[0], bad[1]); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}
