// Package probe asks a host of a service for a sign of life, as HAProxy's health
// check does, over a connection of its own. It judges nothing: package health does.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"holdfast/internal/health"
)

// limit is how long a probe waits at most. A host that answers later is as good
// as silent for it, and is asked again.
const limit = time.Minute

// A Target is whom to ask, and how.
type Target struct {
	Address netip.AddrPort
	// Request is what is sent, in full; nothing for a host of which it is only
	// asked whether it accepts.
	Request []byte
	TLS     bool // the host speaks it; its certificate is not looked at
	Name    string
}

// A Prober asks hosts, one question to each at a time.
type Prober struct {
	mu    sync.Mutex // guards following
	asked map[health.Key]*health.Probe
	stop  map[health.Key]context.CancelFunc
	going sync.WaitGroup
}

// New makes a Prober.
func New() *Prober {
	return &Prober{asked: map[health.Key]*health.Probe{}, stop: map[health.Key]context.CancelFunc{}}
}

// Ask begins to ask a host at t, unless that is under way.
func (p *Prober) Ask(ctx context.Context, key health.Key, t Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := p.asked[key]; last != nil && !last.Ended {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	now := &health.Probe{Begun: time.Now()}
	p.asked[key], p.stop[key] = now, cancel
	p.going.Go(func() {
		defer cancel()
		err := t.ask(ctx, func() { p.mu.Lock(); now.Connected = true; p.mu.Unlock() })
		p.mu.Lock()
		defer p.mu.Unlock()
		now.Ended, now.Answered, now.Took = true, err == nil, time.Since(now.Begun)
		now.Refused = refused(err)
	})
}

// Last gives the newest probe of a host, finished or not; nil for none.
func (p *Prober) Last(key health.Key) *health.Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := p.asked[key]; last != nil {
		told := *last
		return &told
	}
	return nil
}

// Forget ends what is asked of hosts that are not among keep.
func (p *Prober) Forget(keep func(health.Key) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.asked {
		if !keep(key) {
			p.stop[key]()
			delete(p.asked, key)
			delete(p.stop, key)
		}
	}
}

// Wait waits until all questions have ended, as they do with their context.
func (p *Prober) Wait() { p.going.Wait() }

// refused reports whether err is the host's word that nobody listens, or that
// listens no more: a reset in place of an answer.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
}

// ask asks t, and gives no error once a byte came back, of the TLS handshake too.
func (t Target) ask(ctx context.Context, connected func()) error {
	conn, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", t.Address.String())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	connected()
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // it ends the wait
	defer func() { stop(); conn.Close() }()                 //nolint:errcheck // nothing more is wanted of it
	if t.TLS {
		secure := tls.Client(conn, &tls.Config{ServerName: t.Name, InsecureSkipVerify: true}) //nolint:gosec // it is asked whether it lives
		if err := secure.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		conn = secure
	}
	if len(t.Request) == 0 {
		return nil
	}
	if _, err := conn.Write(t.Request); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if _, err := conn.Read(make([]byte, 512)); err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	return nil
}
