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
			return nil, last
		}
	}
	if _, timedOut := errors.AsType[*timeoutError](last); timedOut {
		last = fmt.Errorf("%w, tried %d times", last, tries)
	}
	return nil, last
}

func badEDNS(rcode int) bool {
	return rcode == dns.RcodeFormatError || rcode == dns.RcodeNotImplemented || rcode == dns.RcodeBadVers
}

// once sends m and waits for its reply. With a key, a reply that has a signature
// has the right one; one without is an error of the server.
func (a asker) once(ctx context.Context, network string, addr netip.AddrPort, key *Key, m *dns.Msg) (*dns.Msg, error) {
	timeout := cmp.Or(a.timeout, defaultTimeout)
	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	question := m.Copy()
	r, err := a.exchange(limit, network, addr, key, m)
	refused, isKey := errors.AsType[*keyError](err)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case isKey:
		refused.make = a.makeOf(ctx, addr)
		return nil, err
	case err != nil:
		return nil, explain(err, timeout)
	}
	return r, checkReply(question, r)
}

// exchange sends m, signed with key if there is one, and reads the reply to it.
func (a asker) exchange(ctx context.Context, network string, addr netip.AddrPort, key *Key, m *dns.Msg) (*dns.Msg, error) {
	wire, mac, err := packed(m, key, a.now())
	if err != nil {
		return nil, fmt.Errorf("pack the question: %w", err)
	}
	conn, err := (&dns.Client{Net: network}).DialContext(ctx, addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // all that matters has come
	conn.UDPSize = udpSize
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) }) // ends the wait below
	defer stop()
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	for {
		data, err := conn.ReadMsgHeader(nil)
		if err != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		r := new(dns.Msg)
		err = r.Unpack(data)
		if network == "udp" && r.Id != m.Id {
			continue // to a question of before, or forged
		}
		if err != nil {
			return nil, err
		}
		if key != nil {
			err = checkSigned(data, r, *key, mac, m.Opcode)
		}
		return r, err
	}
}

// makeOf gives the make of the server at addr, as far as it says. It asks by TCP:
// BIND answers three such questions a second by UDP, and no more.
func (a asker) makeOf(ctx context.Context, addr netip.AddrPort) serverMake {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.timeout, defaultTimeout))
	defer cancel()
	r, err := a.exchange(ctx, "tcp", addr, nil, versionQuery())
	if err != nil {
		return unknownMake
	}
	return readMake(r)
}

// A routeError says that there is no way to a server from here.
type routeError struct{ text string }

func (e *routeError) Error() string { return e.text }

// A timeoutError says that nothing came.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string { return "nothing came within " + status.Brief(e.after) }

// isFinal reports whether another try would end the same.
func isFinal(err error) bool {
	_, key := errors.AsType[*keyError](err)
	_, route := errors.AsType[*routeError](err)
	return key || route
}

// explain says in words why there is no reply.
func explain(err error, timeout time.Duration) error {
	switch timedOut, isNet := errors.AsType[net.Error](err); {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EADDRNOTAVAIL):
		return &routeError{"there is no route to it"}
	case errors.Is(err, unix.ECONNREFUSED):
		return errors.New("connection refused, no DNS server listens there")
	case errors.Is(err, unix.EHOSTUNREACH):
		return errors.New("the host cannot be reached")
	case isNet && timedOut.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return &timeoutError{timeout}
	}
	return fmt.Errorf("its reply cannot be read: %w", err)
}
