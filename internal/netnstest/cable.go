package netnstest

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Cable joins two Namespaces: Here, which the test has entered, has the
// controller's end eth0, and There has peer, with 10.0.0.1/24 and fd00::1/64.
type Cable struct {
	T           testing.TB
	Here, There *Namespace
}

// NewCable makes a Cable, and moves the test's goroutine to Here.
func NewCable(t testing.TB) *Cable {
	t.Helper()
	c := &Cable{T: t, Here: New(t), There: New(t)}
	c.Here.Enter()
	c.Run("ip link add eth0 type veth peer name peer")
	c.Run("ip link set peer netns " + c.There.Path())
	c.Run("ip link set eth0 up")
	c.There.Run(`ip link set peer up
		ip address add 10.0.0.1/24 dev peer
		ip address add fd00::1/64 dev peer nodad`)
	return c
}

// Over runs f at the other end of the cable.
func (c *Cable) Over(f func()) {
	c.T.Helper()
	c.There.In(f)
}

// Run runs a command where the test is now.
func (c *Cable) Run(command string) string {
	c.T.Helper()
	return Run(c.T, command)
}

// Await waits until true holds.
func (c *Cable) Await(what string, holds func() bool) {
	c.T.Helper()
	Await(c.T, what, holds)
}

// Transparent marks a socket as HAProxy does with "bind … transparent".
func Transparent(_, _ string, c syscall.RawConn) error {
	var err error
	controlErr := c.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1),
		)
		if errors.Is(err, unix.ENOPROTOOPT) { // an IPv4 socket has no IPv6 option
			err = nil
		}
	})
	return errors.Join(controlErr, err)
}

// Listen opens a listener where the test is now, transparent.
func (c *Cable) Listen(address string) net.Listener {
	c.T.Helper()
	config := net.ListenConfig{Control: Transparent}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		c.T.Fatal(err)
	}
	c.T.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			c.T.Error(err)
		}
	})
	return l
}

// A Pair is the two ends of one connection.
type Pair struct{ Server, Client net.Conn }

// Connect connects to l at address, from the other end of the cable.
func (c *Cable) Connect(l net.Listener, address string) Pair {
	c.T.Helper()
	var p Pair
	var err error
	c.Over(func() {
		d := net.Dialer{Timeout: 10 * time.Second, FallbackDelay: -1}
		p.Client, err = d.DialContext(c.T.Context(), "tcp", address)
	})
	if err != nil {
		c.T.Fatal(err)
	}
	if p.Server, err = l.Accept(); err != nil {
		c.T.Fatal(err)
	}
	return p
}

// End gives the error with which a connection ends, within 10 s.
func End(c net.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

// Alive fails the test unless bytes pass.
func (c *Cable) Alive(p Pair) {
	c.T.Helper()
	if _, err := p.Client.Write([]byte("x")); err != nil {
		c.T.Error(err)
	}
	if err := End(p.Server); err != nil {
		c.T.Errorf("the connection %s is gone: %v", p.Client.RemoteAddr(), err)
	}
}
