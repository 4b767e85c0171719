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
			return Pinger{netip.AddrPortFrom(v.Addresses[0].Addr(), uint16(s.Port)), v.TLS != nil}
		}
	}
	return Pinger{}
}

// Ping gives what came of asking, and the error says why HAProxy has not
// answered. Each ping is a connection of its own: a HAProxy that still serves old
// connections, but accepts no more, is hung.
//
// Whatever comes back is an answer. During a reload that switches TLS on or off
// the old worker speaks the one protocol and the new one the other, and a HAProxy
// that says "I do not understand you" is alive.
func (p Pinger) Ping(ctx context.Context) (process.Sign, error) {
	if !p.At.IsValid() {
		return process.NoSign, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	conn, stop, err := dialUntil(ctx, p.At)
	if err != nil {
		return process.SignOfDial(err), fmt.Errorf("ping HAProxy: %w", err)
	}
	defer stop()
	w := &witness{Conn: conn}
	err = errors.Join(p.ask(ctx, w), conn.Close())
	if w.heard {
		return process.Answered, nil
	}
	return process.SignOfDial(err), fmt.Errorf("ping HAProxy at %v: %w", p.At, err)
}

// ask does the ping on conn.
func (p Pinger) ask(ctx context.Context, conn net.Conn) error {
	if p.TLS {
		conn = tlsToOurselves(conn, "")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.At.String()+haproxy.PingPath, nil)
	if err != nil {
		return err
	}
	request.Close = true
	if err := request.Write(conn); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 4096))
	return errors.Join(err, response.Body.Close())
}

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
