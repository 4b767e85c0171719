package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dialWith connects from a port of root, with a TTL of its own: what a host does for a
// container of its own, whose packets it forwards.
func dialWith(t *testing.T, from netip.Addr, to netip.AddrPort, ttl int) net.Conn {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("ports below 1024 are root's")
	}
	for port := firstPrivileged; port < lastPrivileged; port++ {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, uint16(port))), Control: func(network, address string, raw syscall.RawConn) error {
			if err := options(network, address, raw); err != nil {
				return err
			}
			return raw.Control(func(fd uintptr) { setTTL(t, int(fd), from.Is6(), ttl) })
		}}
		conn, err := d.DialContext(t.Context(), "tcp", to.String())
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
			return conn
		}
	}
	t.Fatal("no port is free")
	return nil
}

func setTTL(t *testing.T, fd int, v6 bool, ttl int) {
	t.Helper()
	err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl)
	if v6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestArrived has connections of both families, at sockets of one and of both.
func TestArrived(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		listener, err := listen(at)
		if err != nil {
			t.Logf("%s: %v", at, err)
			continue
		}
		defer listener.Close() //nolint:errcheck // it was only read
		if err := onSocket(listener, sendFar); err != nil {
			t.Error(err)
		}
		port := uint16(listener.Addr().(*net.TCPAddr).Port)
		for _, own := range []string{"127.0.0.1", "::1"} {
			self := netip.MustParseAddr(own)
			if at[0] != '[' && self.Is6() || at == "[::1]:0" && self.Is4() {
				continue
			}
			for _, ttl := range []int{1, 63, 64, 254, 255} {
				dialWith(t, self, netip.AddrPortFrom(self, port), ttl)
				conn, err := listener.Accept()
				if err != nil {
					t.Fatal(err)
				}
				if got := arrived(conn); got != ttl {
					t.Errorf("%s from %s with %d: arrived with %d", at, own, ttl, got)
				}
				conn.Close() //nolint:errcheck // nothing was said
			}
		}
	}
}

// oldServer answers as an agent of an earlier release at 127.0.0.1, which is ctl1's, and
// knows no TTL.
func oldServer(t *testing.T, port uint16) {
	t.Helper()
	listener, err := listen(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go answerAll(listener)
}

// answerAll answers each request, as an agent that knows no TTL.
func answerAll(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
			_, _ = conn.Write([]byte(`{"body":{}}` + "\n"))
		}
		_ = conn.Close()
	}
}

// TestContainer has something ask from farther away in the name of ctl1, whose agent is of this
// release, of an earlier one, or does not run.
func TestContainer(t *testing.T) {
	ctl1, ctl2 := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	for name, test := range map[string]struct {
		agent func(t *testing.T, port uint16)
		ttl   int
		want  bool
	}{
		"from this network":                    {func(*testing.T, uint16) {}, 255, true},
		"while the agent of ctl1 does not run": {func(*testing.T, uint16) {}, 63, false},
		"an agent of an earlier release":       {oldServer, 64, true},
		"while the agent of ctl1 is of this one": {func(t *testing.T, port uint16) {
			listener, err := listen(netip.AddrPortFrom(ctl1, port).String())
			if err != nil {
				t.Fatal(err)
			}
			s := NewServer(Options{Log: slog.New(slog.DiscardHandler)})
			s.Allow(map[netip.Addr]string{ctl2: "ctl2"})
			go s.Serve(t.Context(), listener)
		}, 254, false},
	} {
		t.Run(name, func(t *testing.T) {
			done := 0
			var peers Client
			to, server := serveWith(t, Options{Handlers: count(&done), Peers: &peers})
			of := asker(netip.AddrPortFrom(ctl2, to.Port())).Spec()
			peers.Controller, peers.Spec = "ctl2", asker(netip.AddrPortFrom(ctl2, to.Port())).Spec
			test.agent(t, uint16(of.Agent.CheckPort))
			for range 2 {
				conn := dialWith(t, ctl1, to, test.ttl)
				answer, err := once(conn, json.NewDecoder(conn), controlPrefix, request{Command: "count", Body: json.RawMessage("1")})
				if err != nil {
					t.Fatal(err)
				}
				if (answer.Error == "") != test.want || !test.want && !strings.Contains(answer.Error, "something sends in its name") {
					t.Errorf("answered %+v", answer)
				}
			}
			if (done == 2) != test.want || (server.Refusals().Count == 0) != test.want {
				t.Errorf("done %d times; %+v", done, server.Refusals())
			}
		})
	}
}

// TestNear proves that an agent of this release is asked so that nobody can answer from
// farther away, and one of an earlier release is asked all the same.
func TestNear(t *testing.T) {
	done := 0
	to, _ := serveWith(t, Options{Handlers: count(&done), Peers: &Client{Controller: "ctl2", Spec: asker(netip.AddrPort{}).Spec}})
	c := asker(to)
	if is, known := c.near.look("ctl2"); is || known {
		t.Error("an agent that was not asked is known")
	}
	for range 2 {
		if err := c.Ask(t.Context(), "ctl2", "count", 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	if is, known := c.near.look("ctl2"); !is || !known {
		t.Error("an agent of this release is not known")
	}
	// One that answers in its name from farther away is not heard, until it is known that
	// the agent is of an earlier release again.
	for _, ttl := range []int{254, 255} {
		listener, err := listen("127.0.0.4:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close() //nolint:errcheck // it is only read
		if err := onSocket(listener, func(fd int, _ bool) error { setTTL(t, fd, false, ttl); return nil }); err != nil {
			t.Fatal(err)
		}
		go answerAll(listener)
		c := asker(netip.MustParseAddrPort(listener.Addr().String()))
		c.near.note("ctl2", true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = c.Ask(ctx, "ctl2", "count", 1, nil)
		if (err == nil) != (ttl == farthest) {
			t.Errorf("asked with %d: %v", ttl, err)
		}
		if _, wordless := errors.AsType[WordlessError](err); err != nil && (!wordless || !errors.Is(err, context.DeadlineExceeded)) {
			t.Errorf("%v", err)
		}
		if err := c.Ask(t.Context(), "ctl2", "count", 1, nil); err != nil {
			t.Errorf("it is not asked as one of an earlier release: %v", err)
		}
	}
	// That no agent is there is heard at once.
	nobody := asker(netip.MustParseAddrPort("127.0.0.4:9"))
	nobody.near.note("ctl2", true)
	if err := nobody.Ask(t.Context(), "ctl2", "count", 1, nil); !NoAgent(err) {
		t.Errorf("nobody is there: %v", err)
	}
}

// TestAskedBeforeTheAgentServes has what comes while systemd alone has the port: it is
// answered so that an agent which takes nothing from farther away hears it.
func TestAskedBeforeTheAgentServes(t *testing.T) {
	listener, err := listen("127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	c := asker(netip.MustParseAddrPort(listener.Addr().String()))
	c.near.note("ctl2", true)
	asked := make(chan error)
	done := 0
	go func() { asked <- c.Ask(t.Context(), "ctl2", "count", 1, nil) }()
	raw, err := listener.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// Until its connection waits in the backlog.
	if err := raw.Control(func(fd uintptr) {
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n != 1 {
			t.Errorf("nobody asked: %d, %v", n, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	s := NewServer(Options{Handlers: count(&done), Log: slog.New(slog.DiscardHandler)})
	s.Allow(map[netip.Addr]string{netip.MustParseAddr("127.0.0.1"): "ctl1"})
	go s.Serve(t.Context(), listener) //nolint:errcheck // it has none
	if err := <-asked; err != nil || done != 1 {
		t.Errorf("done %d times: %v", done, err)
	}
}

// TestOldIsAskedAgain proves that what is known of an agent of an earlier release ages, and
// of one of this one does not.
func TestOldIsAskedAgain(t *testing.T) {
	n := nearness{of: map[string]near{
		"new": {true, time.Now().Add(-time.Hour)}, "old": {false, time.Now().Add(-time.Second)}, "older": {false, time.Now().Add(-oldFor)},
	}}
	for name, want := range map[string]bool{"new": true, "old": true, "older": false, "nobody": false} {
		if _, known := n.look(name); known != want {
			t.Errorf("%s is known: %v", name, known)
		}
	}
}
