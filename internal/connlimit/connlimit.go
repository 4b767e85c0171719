// Package connlimit bounds how many connections a listener hands on at once: in
// all, and of one peer. Who comes while his share is taken is refused at once, and
// waits in no queue that others need: a peer that opens connections and says
// nothing takes from nobody but himself.
package connlimit

import (
	"net"
	"net/netip"
	"sync"
)

// A Class is a kind of peers, with slots that no other class can take.
type Class struct {
	Name string
	// Total is how many connections all its peers may have at once; 0: as many
	// as PerPeer allows, where the peers are known and few.
	Total int
	// PerPeer is how many one peer may have at once.
	PerPeer int
	// Network has an IPv6 /64, which one host has for itself, be one peer.
	Network bool
}

// Options says whose connections are handed on.
type Options struct {
	// Classify gives the class of a peer, or false for one who gets nothing.
	Classify func(remote netip.AddrPort) (Class, bool)
	// Refused is told of each connection that its class had no slot for; nil:
	// nobody is. It must not wait.
	Refused func(remote netip.AddrPort, c Class)
}

// Listen gives inner with the bounds of opt. Accept gives only connections that
// have a slot, which Close of the connection gives back.
func Listen(inner net.Listener, opt Options) net.Listener {
	return &listener{Listener: inner, opt: opt, open: map[slot]int{}}
}

type listener struct {
	net.Listener
	opt Options

	mu   sync.Mutex // guards open
	open map[slot]int
}

// A slot is what is counted: connections of a peer of a class, or of all its
// peers, which the zero peer stands for.
type slot struct {
	class string
	peer  netip.Addr
}

// Accept gives the next connection for which there is a slot.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, ok := l.admit(conn); ok {
			return c, nil
		}
		conn.Close() //nolint:errcheck // nothing was said on it
	}
}

// admit gives conn with a slot of its own, or false where there is none.
func (l *listener) admit(conn net.Conn) (net.Conn, bool) {
	remote, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return nil, false
	}
	remote = netip.AddrPortFrom(remote.Addr().Unmap().WithZone(""), remote.Port())
	class, ok := l.opt.Classify(remote)
	if !ok {
		return nil, false
	}
	one, all := slot{class.Name, peerOf(remote.Addr(), class)}, slot{class: class.Name}
	if !l.take(class, one, all) {
		if l.opt.Refused != nil {
			l.opt.Refused(remote, class)
		}
		return nil, false
	}
	return &connection{Conn: conn, release: sync.OnceFunc(func() { l.giveBack(one, all) })}, true
}

// peerOf gives what stands for all addresses of the one peer that has address.
func peerOf(address netip.Addr, c Class) netip.Addr {
	if !c.Network || address.Is4() {
		return address
	}
	network, err := address.Prefix(64)
	if err != nil {
		return address
	}
	return network.Addr()
}

func (l *listener) take(c Class, one, all slot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[one] >= c.PerPeer || c.Total > 0 && l.open[all] >= c.Total {
		return false
	}
	l.open[one]++
	l.open[all]++
	return true
}

func (l *listener) giveBack(slots ...slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range slots {
		if l.open[s]--; l.open[s] == 0 {
			delete(l.open, s)
		}
	}
}

// A connection gives its slot back with its end.
type connection struct {
	net.Conn
	release func()
}

// NetConn gives the connection without its slot, for its socket options.
func (c *connection) NetConn() net.Conn { return c.Conn }

// Close ends the connection.
func (c *connection) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}
