package move

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/netnstest"
	"holdfast/internal/vip"
)

// A lan is hosts on one bridge, each in a network namespace of its own, with
// the addresses 10.0.0.N/24 and fd00::N/64 on eth0: the client is 1, the giver
// 13 and the taker 14.
type lan struct {
	t      testing.TB
	bridge netnstest.Bridge
	hosts  map[string]*netnstest.Namespace
}

// newLAN makes a lan. The test's goroutine is in the namespace that was made last
// from then on.
func newLAN(t testing.TB) *lan {
	t.Helper()
	l := &lan{t: t, bridge: netnstest.NewBridge(t)}
	l.hosts = map[string]*netnstest.Namespace{"switch": l.bridge.Namespace}
	l.host("client", 1)
	l.host("giver", 13)
	l.host("taker", 14)
	return l
}

// namespace adds a host without a network.
func (l *lan) namespace(name string) {
	l.t.Helper()
	l.hosts[name] = netnstest.New(l.t)
	l.hosts[name].Enter()
	// Else a new link-local address asks no neighbour for two seconds.
	l.run("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0")
}

// host adds a host on the bridge.
func (l *lan) host(name string, number int) {
	l.t.Helper()
	l.namespace(name)
	l.bridge.Plug(name, l.hosts[name])
	l.in(name, func() {
		l.run(fmt.Sprintf("ip address add 10.0.0.%d/24 dev eth0", number))
		l.run(fmt.Sprintf("ip address add fd00::%d/64 dev eth0 nodad", number))
	})
}

// in runs f on a host.
func (l *lan) in(name string, f func()) {
	l.t.Helper()
	l.hosts[name].In(f)
}

// run runs a command on the present host.
func (l *lan) run(command string) string {
	l.t.Helper()
	return netnstest.Run(l.t, command)
}

// await waits until true holds.
func (l *lan) await(what string, holds func() bool) {
	l.t.Helper()
	netnstest.Await(l.t, what, holds)
}

// serve has the host answer each line with its name and the line, on
// transparent listeners at port 5000 of all addresses. After its answer to
// "send N" it sends N bytes, before that to "take N" it takes as many, and after
// that to "bye" it closes the connection.
func (l *lan) serve(name string) {
	l.t.Helper()
	l.serveAt(name, ":5000", net.ListenConfig{Control: netnstest.Transparent})
}

// serveAt does it with other listeners.
func (l *lan) serveAt(name, address string, config net.ListenConfig) {
	l.t.Helper()
	l.in(name, func() {
		for _, network := range []string{"tcp4", "tcp6"} {
			listener, err := config.Listen(context.Background(), network, address)
			if err != nil {
				l.t.Fatal(err)
			}
			l.t.Cleanup(func() {
				if err := listener.Close(); err != nil {
					l.t.Error(err)
				}
			})
			go accept(listener, name)
		}
	})
}

func accept(listener net.Listener, name string) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		go answer(c, name)
	}
}

func answer(c net.Conn, name string) {
	defer c.Close() //nolint:errcheck // the client finds out
	lines := bufio.NewReader(c)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		var n int64
		if _, err := fmt.Sscanf(line, "take %d", &n); err == nil {
			if _, err := io.CopyN(io.Discard, lines, n); err != nil {
				return
			}
		}
		if _, err := fmt.Fprintf(c, "%s %s", name, line); err != nil || line == "bye\n" {
			return
		}
		if _, err := fmt.Sscanf(line, "send %d", &n); err == nil {
			if _, err := io.CopyN(c, zeros{}, n); err != nil {
				return
			}
		}
	}
}

// zeros is endless.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A session is a client's connection to a server of serve.
type session struct {
	net.Conn
	lines *bufio.Reader
}

// dial connects from a host to an address at port 5000.
func (l *lan) dial(from, address string) *session {
	l.t.Helper()
	return l.dialFrom(from, 0, address, "5000")
}

// dialFrom connects from the port of a host, of its choice if that is 0.
func (l *lan) dialFrom(from string, port int, address, toPort string) (s *session) {
	l.t.Helper()
	l.in(from, func() {
		d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{Port: port}}
		c, err := d.DialContext(l.t.Context(), "tcp", net.JoinHostPort(address, toPort))
		if err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { c.Close() }) //nolint:errcheck // it may be closed
		s = &session{c, bufio.NewReader(c)}
	})
	return s
}

// ask gives who answers; the error is that of the connection.
func (s *session) ask() (string, error) { return s.say("ping") }

// say sends a line and the bytes that belong to it, and gives who answers.
func (s *session) say(line string) (string, error) {
	if err := s.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(s, line); err != nil {
		return "", err
	}
	var n int64
	if _, err := fmt.Sscanf(line, "take %d", &n); err == nil {
		if _, err := io.CopyN(s, zeros{}, n); err != nil {
			return "", err
		}
	}
	answer, err := s.lines.ReadString('\n')
	name, rest, _ := strings.Cut(answer, " ")
	if err == nil && rest != line+"\n" {
		err = errors.New("the answer is " + answer)
	}
	return name, err
}

// answered fails the test unless the server called want answers.
func (l *lan) answered(s *session, want string) {
	l.t.Helper()
	if who, err := s.ask(); who != want || err != nil {
		l.t.Errorf("%s from %s: answered by %q, %v; want %q", s.RemoteAddr(), s.LocalAddr(), who, err, want)
	}
}

// address gives the VIP of a host.
func (l *lan) address(name string, o vip.Options) *vip.Address {
	l.t.Helper()
	o.Name, o.Interface = "api", "eth0"
	o.Lease = time.Minute
	a, err := vip.New(o)
	if err != nil {
		l.t.Fatal(err)
	}
	l.in(name, func() { // its sockets are opened there
		if _, err := a.Present(); err != nil {
			l.t.Fatal(err)
		}
	})
	l.t.Cleanup(func() {
		if err := a.Close(); err != nil {
			l.t.Error(err)
		}
	})
	return a
}

// claim claims a on the host and tells everybody.
func (l *lan) claim(name string, a *vip.Address) {
	l.t.Helper()
	l.in(name, func() {
		if err := a.Claim(context.Background()); err != nil {
			l.t.Fatal(err)
		}
		a.Announce()
		a.Announce()
	})
}

// withdraw takes a from the host and leaves its connections alone.
func (l *lan) withdraw(name string, a *vip.Address) {
	l.t.Helper()
	l.in(name, func() {
		if err := a.Withdraw(context.Background()); err != nil {
			l.t.Fatal(err)
		}
	})
}

func (l *lan) copyOf(o vip.Options) (*Copy, *netnstest.Log) {
	l.t.Helper()
	var log netnstest.Log
	c, err := NewCopy(CopyOptions{
		Name: "api", Addresses: o.Addresses, Interface: "eth0", Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return c, &log
}

func (l *lan) keep(c *Copy, limit time.Duration) {
	l.t.Helper()
	l.in("giver", func() {
		if err := c.Keep(context.Background(), limit); err != nil {
			l.t.Fatal(err)
		}
	})
}

// connections fails the test unless c counts as many.
func (l *lan) connections(c *Copy, remote, local int) {
	l.t.Helper()
	l.in("giver", func() {
		if r, h, err := c.Connections(l.t.Context()); r != remote || h != local || err != nil {
			l.t.Errorf("%d remote and %d local connections, %v; want %d and %d", r, h, err, remote, local)
		}
	})
}

func (l *lan) end(c *Copy) (cut int) {
	l.t.Helper()
	l.in("giver", func() {
		var err error
		if cut, err = c.End(context.Background()); err != nil {
			l.t.Fatal(err)
		}
	})
	return cut
}

var vips = []string{"10.0.0.10", "fd00::10"}

// giverOfBoth is a lan in which the giver holds a VIP of both families.
func giverOfBoth(t *testing.T, o vip.Options) (*lan, *vip.Address) {
	t.Helper()
	l := newLAN(t)
	for _, name := range []string{"giver", "taker"} {
		l.serve(name)
	}
	a := l.address("giver", o)
	l.claim("giver", a)
	return l, a
}

func addressesOf(o vip.Options) []netip.Addr {
	var all []netip.Addr
	for _, p := range o.Addresses {
		all = append(all, p.Addr())
	}
	return all
}

// file gives a file with the text.
func (l *lan) file(text string) string {
	l.t.Helper()
	name := filepath.Join(l.t.TempDir(), "text")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return name
}

// both is a VIP of both families in the network of the lan, macvlan one on a device
// of its own.
func both() vip.Options {
	return vip.Options{Addresses: prefixes("10.0.0.10/24", "fd00::10/64")}
}

func macvlan() vip.Options {
	o := both()
	o.Device, o.RouterID = vip.Macvlan, 51
	return o
}

func prefixes(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}
