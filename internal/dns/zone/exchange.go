package zone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	mdns "github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"holdfast/internal/dns"
	"holdfast/internal/dns/wire"
	"holdfast/internal/status"
)

const (
	// defaultTimeout is that of one try; a server has tries of them.
	defaultTimeout = 2 * time.Second
	tries          = 2
)

// An asker sends messages to DNS servers.
type asker struct {
	timeout time.Duration
	now     func() time.Time
}

// ask sends what build makes to the server at addr, by UDP, and by TCP where
// the reply does not fit into a datagram. With a key, question and reply are signed.
func (a asker) ask(ctx context.Context, addr netip.AddrPort, key *dns.Key, build func(edns bool) *mdns.Msg) (*mdns.Msg, error) {
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
	return rcode == mdns.RcodeFormatError || rcode == mdns.RcodeNotImplemented || rcode == mdns.RcodeBadVers
}

// once sends m and waits for its reply. With a key, a reply that has a signature
// has the right one; one without is an error of the server.
func (a asker) once(ctx context.Context, network string, addr netip.AddrPort, key *dns.Key, m *mdns.Msg) (*mdns.Msg, error) {
	timeout := cmp.Or(a.timeout, defaultTimeout)
	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	question := m.Copy()
	r, err := a.exchange(limit, network, addr, key, m)
	refused, isKey := errors.AsType[*wire.KeyError](err)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case isKey:
		refused.Make = a.makeOf(ctx, addr)
		return nil, err
	case err != nil:
		return nil, explain(err, timeout)
	}
	return r, wire.CheckReply(question, r)
}

// exchange sends m, signed with key if there is one, and reads the reply to it.
func (a asker) exchange(ctx context.Context, network string, addr netip.AddrPort, key *dns.Key, m *mdns.Msg) (*mdns.Msg, error) {
	packed, mac, err := wire.Packed(m, key, a.now())
	if err != nil {
		return nil, fmt.Errorf("pack the question: %w", err)
	}
	conn, err := (&mdns.Client{Net: network}).DialContext(ctx, addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // all that matters has come
	conn.UDPSize = wire.UDPSize
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) }) // ends the wait below
	defer stop()
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	for {
		data, err := conn.ReadMsgHeader(nil)
		if err != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		r := new(mdns.Msg)
		err = r.Unpack(data)
		if network == "udp" && r.Id != m.Id {
			continue // to a question of before, or forged
		}
		if err != nil {
			return nil, err
		}
		if key != nil {
			err = wire.CheckSigned(data, r, *key, mac, m.Opcode)
		}
		return r, err
	}
}

// makeOf gives the make of the server at addr, as far as it says. It asks by TCP:
// BIND answers three such questions a second by UDP, and no more.
func (a asker) makeOf(ctx context.Context, addr netip.AddrPort) wire.ServerMake {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.timeout, defaultTimeout))
	defer cancel()
	r, err := a.exchange(ctx, "tcp", addr, nil, wire.VersionQuery())
	if err != nil {
		return wire.UnknownMake
	}
	return wire.ReadMake(r)
}

// A routeError says that there is no way to a server from here.
type routeError struct{ text string }

func (e *routeError) Error() string { return e.text }

// A timeoutError says that nothing came.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string { return "nothing came within " + status.Brief(e.after) }

// isFinal reports whether another try would end the same.
func isFinal(err error) bool {
	_, key := errors.AsType[*wire.KeyError](err)
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
