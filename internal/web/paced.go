package web

import (
	"net"
	"sync"
	"time"
)

// A paced listener gives the connections of all but controllers one after the other: what
// each begins with takes a moment, and hundreds at once would leave no room for adverts.
// Those of controllers wait for none of these.
type paced struct {
	net.Listener
	isController func(remote string) bool
	out          chan accepted
	queue        chan net.Conn // of all but controllers
	done         chan struct{} // closed by Close
	close        func() error
}

type accepted struct {
	conn net.Conn
	err  error
}

// paceConnections starts to accept from inner. Its goroutines end with Close.
func paceConnections(inner net.Listener, isController func(remote string) bool) *paced {
	p := &paced{
		Listener: inner, isController: isController, out: make(chan accepted), queue: make(chan net.Conn, connectionsOfStrangers), done: make(chan struct{}),
	}
	p.close = sync.OnceValue(func() error { close(p.done); return inner.Close() })
	go p.acceptAll()
	go p.handOn()
	return p
}

// Accept gives the next connection.
func (p *paced) Accept() (net.Conn, error) {
	select {
	case a := <-p.out:
		return a.conn, a.err
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close ends the listener, and the connections that it has not given yet.
func (p *paced) Close() error { return p.close() }

func (p *paced) acceptAll() {
	defer close(p.queue)
	for {
		conn, err := p.Listener.Accept()
		if err == nil && !p.isController(conn.RemoteAddr().String()) {
			select {
			case p.queue <- conn:
			default: // there are no more slots than it holds
				conn.Close() //nolint:errcheck // nothing was said on it
			}
			continue
		}
		if !p.give(accepted{conn, err}) {
			return
		}
	}
}

// give has a be the next that Accept gives, and reports false when nobody accepts any more.
func (p *paced) give(a accepted) bool {
	select {
	case p.out <- a:
		return true
	case <-p.done:
		if a.conn != nil {
			a.conn.Close() //nolint:errcheck // nothing was said on it
		}
		return false
	}
}

func (p *paced) handOn() {
	for conn := range p.queue {
		if p.give(accepted{conn: conn}) {
			time.Sleep(pace)
		}
	}
}
