package handshake_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/netnstest"
	"holdfast/internal/reach/handshake"
)

// twoHosts gives two that are joined by a wire: here with .1 and there with .2.
func twoHosts(t *testing.T) (here, there *netnstest.Namespace) {
	t.Helper()
	here, there = netnstest.New(t), netnstest.New(t)
	here.Run("ip link add eth0 type veth peer name eth0 netns " + there.Path() + `
		ip link set eth0 up
		ip address add 10.77.0.1/24 dev eth0
		ip address add fd77::1/64 dev eth0 nodad`)
	there.Run(`ip link set eth0 up
		ip address add 10.77.0.2/24 dev eth0
		ip address add fd77::2/64 dev eth0 nodad`)
	return here, there
}

// listen listens in ns with room for so many connections that nobody has accepted.
func listen(t *testing.T, ns *netnstest.Namespace, at string, backlog int) *net.TCPListener {
	t.Helper()
	var l net.Listener
	err := ns.Do(func() (err error) {
		if l, err = net.Listen("tcp", at); err != nil {
			return err
		}
		raw, err := l.(*net.TCPListener).SyscallConn()
		if err != nil {
			return err
		}
		return errors.Join(err, raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), backlog) }), err)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// TestAll meets each thing that may come of a handshake, on a real network.
func TestAll(t *testing.T) {
	here, there := twoHosts(t)
	open := listen(t, there, "10.77.0.2:80", 16)
	open6 := listen(t, there, "[fd77::2]:80", 16)
	listen(t, here, "10.77.0.1:80", 16)
	// A hung service, with as many connections as its kernel takes for it.
	listen(t, there, "10.77.0.2:81", 0)
	err := here.Do(func() error {
		conn, err := net.DialTimeout("tcp", "10.77.0.2:81", time.Second)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		at   string
		want handshake.Outcome
		rtt  bool
	}{
		{"10.77.0.2:80", handshake.Answered, true},
		{"[fd77::2]:80", handshake.Answered, true},
		{"10.77.0.2:1", handshake.Answered, false}, // refused
		{"[fd77::2]:1", handshake.Answered, false},
		{"10.77.0.2:81", handshake.Lost, false},
		{"10.77.0.9:80", handshake.Lost, false}, // nobody
		{"10.88.0.9:80", handshake.Lost, false}, // no route
		{"10.77.0.1:80", handshake.Local, false},
		{"10.77.0.1:1", handshake.Local, false},
	} {
		var got []handshake.Result
		err := here.Do(func() error {
			// A link that has just come up, or a busy machine, may lose the first.
			for range 10 {
				got = handshake.All(t.Context(), []netip.AddrPort{netip.MustParseAddrPort(tt.at)}, 300*time.Millisecond)
				if got[0].Outcome == tt.want {
					break
				}
			}
			return nil
		})
		if err != nil || got[0].Outcome != tt.want || got[0].RTT > 0 != tt.rtt || got[0].Refused != (tt.want == handshake.Answered && !tt.rtt) {
			t.Errorf("%s: %+v, %v; want outcome %v, with a time %v", tt.at, got, err, tt.want, tt.rtt)
		}
	}
	// The services there learned nothing of it.
	for _, l := range []*net.TCPListener{open, open6} {
		if err := l.SetDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if conn, err := l.Accept(); err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a service has accepted %v, %v; want a handshake that does not reach it", conn, err)
		}
	}
}

// TestUntold has no descriptors and no time: neither says anything of the way.
func TestUntold(t *testing.T) {
	here, _ := twoHosts(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	to := []netip.AddrPort{netip.MustParseAddrPort("10.77.0.9:80")}
	err := here.Do(func() error {
		if got := handshake.All(ended, to, time.Minute); got[0].Outcome != handshake.Untold {
			return fmt.Errorf("with an ended context: %+v", got)
		}
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
		none := limit
		none.Cur = 0
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
			return err
		}
		got := handshake.All(t.Context(), to, time.Millisecond)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
		if got[0].Outcome != handshake.Untold {
			return fmt.Errorf("without descriptors: %+v", got)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
