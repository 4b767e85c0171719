package connlimit

import (
	"io"
	"net"
	"net/netip"
	"testing"
)

// A pretender is a connection from an address of the test's choice.
type pretender struct {
	net.Conn
	remote net.Addr
	closed chan struct{}
}

func (p *pretender) RemoteAddr() net.Addr { return p.remote }
func (p *pretender) Close() error         { close(p.closed); return nil }

// A queue is a listener whose connections the test makes.
type queue chan net.Conn

func (q queue) Accept() (net.Conn, error) {
	c, ok := <-q
	if !ok {
		return nil, io.EOF
	}
	return c, nil
}
func (q queue) Close() error   { return nil }
func (q queue) Addr() net.Addr { return nil }

func from(address string) *pretender {
	return &pretender{remote: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)), closed: make(chan struct{})}
}

// TestShares proves that each peer has its share and no more, that no class takes
// from another one, and that a slot comes back with the end of its connection.
func TestShares(t *testing.T) {
	friend := netip.MustParseAddr("10.0.0.1")
	in := queue(make(chan net.Conn, 1))
	refused := 0
	l := Listen(in, Options{
		Classify: func(remote netip.AddrPort) (Class, bool) {
			switch remote.Addr() {
			case friend:
				return Class{Name: "friends", PerPeer: 2}, true
			case netip.MustParseAddr("10.9.9.9"):
				return Class{}, false
			}
			return Class{Name: "strangers", Total: 5, PerPeer: 2, Network: true}, true
		},
		Refused: func(netip.AddrPort, Class) { refused++ },
	})
	var open []net.Conn
	try := func(address string, want bool) {
		t.Helper()
		p := from(address)
		in <- p
		got, done := make(chan net.Conn, 1), make(chan struct{})
		go func() {
			defer close(done)
			if c, err := l.Accept(); err == nil {
				got <- c
			}
		}()
		select {
		case <-p.closed:
			if want {
				t.Errorf("%s is refused", address)
			}
			in <- from("10.0.0.1:1") // a friend ends the wait of Accept
			c := <-got
			<-done
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		case c := <-got:
			<-done
			if !want {
				t.Errorf("%s has a slot", address)
			}
			open = append(open, c)
		}
	}
	try("10.0.0.7:1", true)
	try("10.0.0.7:2", true)
	try("10.0.0.7:3", false) // its share
	try("[2001:db8:0:1::7]:1", true)
	try("[2001:db8:0:1:ffff::8]:1", true)
	try("[2001:db8:0:1::9]:1", false) // one host has a /64
	try("[2001:db8:0:2::9]:1", true)
	try("10.0.0.8:1", false) // all of the strangers
	try("10.9.9.9:1", false) // nothing at all
	try("[::ffff:10.0.0.1]:1", true)
	if refused != 3 {
		t.Errorf("told of %d that were refused, want 3", refused)
	}
	for range 2 { // again is no harm
		open[0].(*connection).release()
	}
	try("10.0.0.8:2", true)
	try("10.0.0.8:3", false)
}
