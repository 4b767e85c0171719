// Package client asks HAProxy as a client does, through its own listeners: whether it
// lives, and whether a service answers behind it. It draws no conclusion from one answer.
package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/spec"
)

// pingTimeout bounds one ping. HAProxy answers in well under a millisecond, so
// what takes longer counts as no answer.
const pingTimeout = 250 * time.Millisecond

// A Pinger asks HAProxy for a sign of life through the VIP's own listener: the
// way of a client, as far as HAProxy itself goes.
type Pinger struct {
	At  netip.AddrPort // none: the VIP has no listener that speaks HTTP
	TLS bool
}

// NewPinger makes the Pinger of v.
func NewPinger(v spec.VIP, services []spec.Service) Pinger {
	for _, s := range services {
		if s.Mode == spec.HTTP && s.On(v) {
			return Pinger{netip.AddrPortFrom(v.Addresses[0].Addr(), uint16(v.PlaceOf(s, "").Port)), v.TLS != nil}
		}
	}
	return Pinger{}
}

// Pings asks through the listeners of VIPs again and again: on connections that it
// keeps, and every renewEvery on a new one, since a HAProxy that still serves old
// connections, but accepts no more, is hung. What a kept one does not answer counts
// for nothing: then a new one is tried at once. Its methods may be called by any
// goroutine, and wait for each other.
type Pings struct {
	mu   sync.Mutex // held while one asks
	kept map[netip.AddrPort]*line
}

// renewEvery is how often a ping is a connection of its own. That costs ten times what
// one on a kept connection does, and with TLS a hundred times.
const renewEvery = time.Second

// A line is a kept connection to a HAProxy.
type line struct {
	conn  net.Conn // in TLS, if it is
	read  *bufio.Reader
	tls   bool
	since time.Time
}

// Keep ends the connections to all but these.
func (p *Pings) Keep(only []Pinger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, l := range p.kept {
		if !slices.ContainsFunc(only, func(o Pinger) bool { return o.At == at && o.TLS == l.tls }) {
			p.forget(at)
		}
	}
}

func (p *Pings) forget(at netip.AddrPort) {
	if l := p.kept[at]; l != nil {
		_ = l.conn.Close()
	}
	delete(p.kept, at)
}

// Ping gives what came of asking one, and the error says why HAProxy has not answered.
func (p *Pings) Ping(ctx context.Context, at Pinger) (process.Sign, error) {
	if !at.At.IsValid() {
		return process.NoSign, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if l := p.kept[at.At]; l != nil {
		if time.Since(l.since) < renewEvery && l.tls == at.TLS && l.again(ctx, at) {
			return process.Answered, nil
		}
		p.forget(at.At)
	}
	l, sign, err := at.first(ctx)
	if l != nil {
		if p.kept == nil {
			p.kept = map[netip.AddrPort]*line{}
		}
		p.kept[at.At] = l
	}
	return sign, err
}

// again asks once more, for half of the time that there is at the most, and reports
// whether the connection is good for more.
func (l *line) again(ctx context.Context, at Pinger) bool {
	until := time.Now().Add(pingTimeout / 2)
	if end, ok := ctx.Deadline(); ok {
		until = time.Now().Add(time.Until(end) / 2)
	}
	if err := l.conn.SetDeadline(until); err != nil {
		return false
	}
	stay, err := at.ask(l.conn, l.read)
	return stay && err == nil
}

// first asks on a new connection, and gives it where that can be gone on with.
//
// Whatever comes back is an answer. During a reload that switches TLS on or off
// the old worker speaks the one protocol and the new one the other, and a HAProxy
// that says "I do not understand you" is alive.
func (p Pinger) first(ctx context.Context) (*line, process.Sign, error) {
	conn, stop, err := dialUntil(ctx, p.At)
	if err != nil {
		return nil, process.SignOfDial(err), fmt.Errorf("ping HAProxy: %w", err)
	}
	w := &witness{Conn: conn}
	l := &line{conn: w, tls: p.TLS, since: time.Now()}
	if p.TLS {
		l.conn = tlsToOurselves(w, "")
	}
	l.read = bufio.NewReader(l.conn)
	stay, err := p.ask(l.conn, l.read)
	if stop() && stay && err == nil {
		return l, process.Answered, nil
	}
	err = errors.Join(err, conn.Close())
	if w.heard {
		return nil, process.Answered, nil
	}
	return nil, process.SignOfDial(err), fmt.Errorf("ping HAProxy at %v: %w", p.At, err)
}

// ask does the ping on conn, and reports whether the answer leaves the connection for more.
func (p Pinger) ask(conn net.Conn, answers *bufio.Reader) (stay bool, err error) {
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %v\r\nUser-Agent: holdfast\r\n\r\n", haproxy.PingPath, p.At); err != nil {
		return false, err
	}
	response, err := http.ReadResponse(answers, nil)
	if err != nil {
		return false, err
	}
	n, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
	return !response.Close && n < maxAnswer, errors.Join(err, response.Body.Close())
}

// maxAnswer is more than HAProxy says to a ping, in bytes.
const maxAnswer = 4096

// dialUntil connects to HAProxy at an address of a VIP. What is read and written
// ends with ctx, unless stop is called before.
func dialUntil(ctx context.Context, at netip.AddrPort) (conn net.Conn, stop func() bool, err error) {
	var d net.Dialer
	if conn, err = d.DialContext(ctx, "tcp", at.String()); err != nil {
		return nil, nil, err
	}
	return conn, context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }), nil
}

// tlsToOurselves speaks TLS on conn, and asks for the name host, "" for none. It
// is our own process on our own address, and nothing secret is sent: whether
// the certificate is good is judged elsewhere.
func tlsToOurselves(conn net.Conn, host string) net.Conn {
	return tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: host}) //nolint:gosec // see above
}

// A witness is a connection that remembers whether anything came from its other
// end: an octet, or its end in good order.
type witness struct {
	net.Conn
	heard bool
}

func (w *witness) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.heard = w.heard || n > 0 || errors.Is(err, io.EOF)
	return n, err
}
