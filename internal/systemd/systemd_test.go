package systemd

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestManager tells a service manager several times through one socket, and
// goes on when it starts anew.
func TestManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	m := Manager{path: path}
	if err := m.tell("READY=1"); err == nil {
		t.Error("nobody was told, want an error")
	}
	for range 2 {
		server, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		var first net.Conn
		for i := range 3 {
			if err := m.tell("WATCHDOG=1"); err != nil {
				t.Fatal(err)
			}
			if i > 0 && m.conn != first {
				t.Error("another socket was opened")
			}
			first = m.conn
			buf := make([]byte, 100)
			if n, err := server.Read(buf); err != nil || string(buf[:n]) != "WATCHDOG=1" {
				t.Errorf("received %q, %v", buf[:n], err)
			}
		}
		if err := errors.Join(server.Close(), os.Remove(path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := (&Manager{}).tell("READY=1"); err != nil {
		t.Errorf("without a manager: %v", err)
	}
}

func TestStandsStill(t *testing.T) {
	now := time.Now()
	if err := StandsStill("HAProxy's supervisor", now.Add(-2*time.Minute), time.Minute); err == nil {
		t.Error("a supervisor that stands still is not noticed")
	}
	if err := StandsStill("HAProxy's supervisor", now, time.Minute); err != nil {
		t.Error(err)
	}
}
