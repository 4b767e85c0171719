package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"holdfast/internal/status"
)

const (
	// defaultTimeout is that of one try; a server has tries of them.
	defaultTimeout = 2 * time.Second
	tries          = 2
	// fudge is by how many seconds the clocks of both sides may differ (RFC 8945
	// section 10).
	fudge = 300
)

// An asker sends messages to DNS servers.
type asker struct {
	timeout time.Duration
	now     func() time.Time
}

// ask sends what build makes to the server at addr, by UDP, and by TCP where
// the reply does not fit into a datagram. With a key, question and reply are signed.
func (a asker) ask(ctx context.Context, addr netip.AddrPort, key *Key, build func(edns bool) *dns.Msg) (*dns.Msg, error) {
	edns := true
	var last error
	for range tries {
		r, err := a.once(ctx, "udp", addr, key, build(edns))
		if err == nil && r.Truncated {
			r, err = a.once(ctx, "tcp", addr, key, build(edns))
		}
		if err == nil && edns && badEDNS(r.Rcode) { // some old servers (RFC 6891 section 7)
			edns = false
			r, err = a.once(ctx, "udp", addr, key, build(edns))
		}
		if err == nil {
			return r, nil
		}
		last = err
		if ctx.Err() != nil || isFinal(err) {
			break
		}
	}
	return nil, last
}

func badEDNS(rcode int) bool {
	return rcode == dns.RcodeFormatError || rcode == dns.RcodeNotImplemented || rcode == dns.RcodeBadVers
}

// once sends m and waits for its reply.
func (a asker) once(ctx context.Context, network string, addr netip.AddrPort, key *Key, m *dns.Msg) (*dns.Msg, error) {
	timeout := cmp.Or(a.timeout, defaultTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client := &dns.Client{Net: network, Timeout: timeout, UDPSize: udpSize}
	question := m.Copy()
	if key != nil {
		client.TsigSecret = map[string]string{dns.Fqdn(key.Name): key.secret}
		m.SetTsig(dns.Fqdn(key.Name), dns.Fqdn(key.Algorithm), fudge, a.now().Unix())
	}
	r, _, err := client.ExchangeContext(ctx, m, addr.String())
	if key != nil {
		if err := signed(r, err, *key); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, a.explain(err, timeout)
	}
	return r, checkReply(question, r)
}

// A keyError says that server and key do not go together; trying again is of no use.
type keyError struct{ text string }

func (e *keyError) Error() string { return e.text }

// signed says why the reply r to a message signed with key is not to be
// believed. A failure to get any is not said here.
func signed(r *dns.Msg, err error, key Key) error {
	switch {
	case r == nil, err != nil && r.IsTsig() == nil:
		return nil
	case r.IsTsig() == nil && r.Rcode != dns.RcodeSuccess:
		return nil // servers that know no TSIG refuse so; nobody gains by forging it
	case r.IsTsig() == nil:
		return &keyError{fmt.Sprintf("its reply is not signed with the key %s", key)}
	}
	switch r.IsTsig().Error {
	case dns.RcodeBadKey:
		return &keyError{fmt.Sprintf("it does not know the key %s, by this name and algorithm (BADKEY)", key)}
	case dns.RcodeBadSig:
		return &keyError{fmt.Sprintf("it has another secret for the key %s (BADSIG)", key)}
	case dns.RcodeBadTime:
		return &keyError{"its clock and this machine's differ by more than 5 minutes (BADTIME)"}
	}
	if errors.Is(err, dns.ErrSig) || errors.Is(err, dns.ErrTime) || errors.Is(err, dns.ErrKeyAlg) || errors.Is(err, dns.ErrSecret) {
		return &keyError{fmt.Sprintf("the signature of its reply is not that of the key %s", key)}
	}
	return nil
}

// A routeError says that there is no way to a server from here.
type routeError struct{ text string }

func (e *routeError) Error() string { return e.text }

// isFinal reports whether another try would end the same.
func isFinal(err error) bool {
	_, key := errors.AsType[*keyError](err)
	_, route := errors.AsType[*routeError](err)
	return key || route
}

// explain says in words why there is no reply.
func (a asker) explain(err error, timeout time.Duration) error {
	switch timedOut, isNet := errors.AsType[net.Error](err); {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EADDRNOTAVAIL):
		return &routeError{"there is no route to it"}
	case errors.Is(err, unix.ECONNREFUSED):
		return errors.New("connection refused, no DNS server listens there")
	case errors.Is(err, unix.EHOSTUNREACH):
		return errors.New("the host cannot be reached")
	case isNet && timedOut.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("nothing came within %s, tried %d times", status.Brief(timeout), tries)
	case errors.Is(err, dns.ErrAuth):
		return errors.New("it answers NOTAUTH")
	}
	return fmt.Errorf("its reply cannot be read: %w", err)
}
