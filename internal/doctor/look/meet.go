package look

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"holdfast/internal/doctor"
	"holdfast/internal/spec"
)

// What two doctors say to each other by IP protocol 112. It is no version of VRRP, so that
// a router that hears it drops it.
const (
	question = "holdfast doctor asks "
	answer   = "holdfast doctor says "
)

const vrrpProtocol = 112

// A Met is a controller that was heard, by one way.
type Met struct {
	Name string
	What string
}

// Listen takes connections at the agent's ports of own, and answers questions by protocol
// 112, until ctx ends; it calls met for each controller and way that is heard, from one
// goroutine at a time. Errors: a port is taken, as by an agent; the rights are missing.
func Listen(ctx context.Context, s *spec.Spec, own spec.Controller, met func(Met)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	names := map[netip.Addr]string{}
	for _, c := range s.Others(own.Name) {
		names[c.Address] = c.Name
	}
	heard := func(from netip.Addr, what string) {
		mu.Lock()
		defer mu.Unlock()
		if name, known := names[from.Unmap().WithZone("")]; known {
			met(Met{name, what})
		}
	}
	raw, err := rawSocket(own.Address)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	closing := []func() error{raw.Close}
	for _, port := range []int{s.Agent.Port, s.Agent.CheckPort} {
		var lc net.ListenConfig
		listener, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(own.Address, uint16(port)).String())
		if err != nil {
			for _, c := range closing {
				err = errors.Join(err, c())
			}
			return fmt.Errorf("listen in the place of the agent: %w; where an agent runs, the others need no doctor that listens", err)
		}
		closing = append(closing, listener.Close)
		all.Go(func() { take(listener, fmt.Sprintf("tcp %d", port), heard) })
	}
	all.Go(func() { reply(raw, heard) })
	<-ctx.Done()
	for _, c := range closing {
		_ = c() //nolint:errcheck // nothing hangs on them any more
	}
	all.Wait()
	return nil
}

// rawSocket opens one of protocol 112.
func rawSocket(own netip.Addr) (*net.IPConn, error) {
	network := fmt.Sprintf("ip4:%d", vrrpProtocol)
	if own.Is6() {
		network = fmt.Sprintf("ip6:%d", vrrpProtocol)
	}
	conn, err := net.ListenIP(network, &net.IPAddr{IP: own.AsSlice(), Zone: own.Zone()})
	if errors.Is(err, syscall.EPERM) {
		return nil, fmt.Errorf("open a socket of IP protocol %d: %w; run it as root", vrrpProtocol, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open a socket of IP protocol %d: %w", vrrpProtocol, err)
	}
	return conn, nil
}

// take takes connections until listener is closed.
func take(listener net.Listener, what string, heard func(netip.Addr, string)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if from, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
			heard(from.Addr(), what)
		}
		_ = conn.Close() //nolint:errcheck // that it came was all
	}
}

// reply answers questions until conn is closed.
func reply(conn *net.IPConn, heard func(netip.Addr, string)) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFromIP(buf)
		if err != nil {
			return
		}
		nonce, is := bytes.CutPrefix(buf[:n], []byte(question))
		if !is {
			continue
		}
		_, err = conn.WriteToIP(append([]byte(answer), nonce...), from)
		if addr, ok := netip.AddrFromSlice(from.IP); ok && err == nil {
			heard(addr.Unmap(), doctor.ProtocolVRRP)
		}
	}
}

// To tries all ways from own to the controller to.
func To(ctx context.Context, s *spec.Spec, own, to spec.Controller) ([]doctor.Way, error) {
	var ways []doctor.Way
	for _, port := range []int{s.Agent.Port, s.Agent.CheckPort} {
		ways = append(ways, doctor.Way{What: fmt.Sprintf("tcp %d", port), Reach: reach(ctx, netip.AddrPortFrom(to.Address, uint16(port)))})
	}
	raw, err := rawSocket(own.Address)
	if err != nil {
		return ways, err
	}
	defer raw.Close() //nolint:errcheck // nothing hangs on it
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	way := doctor.Way{What: doctor.ProtocolVRRP, Reach: doctor.Silent}
	if asked(raw, to.Address) {
		way.Reach = doctor.Open
	}
	return append(ways, way), ctx.Err()
}

// asked asks at an address and reports whether the answer came.
func asked(conn *net.IPConn, at netip.Addr) bool {
	const tries, patience = 5, 400 * time.Millisecond
	nonce := rand.Text()
	to := &net.IPAddr{IP: at.AsSlice(), Zone: at.Zone()}
	buf := make([]byte, 1500)
	for range tries {
		_, _ = conn.WriteToIP([]byte(question+nonce), to) //nolint:errcheck // a filter here says so, and no answer comes
		end := time.Now().Add(patience)
		for {
			if conn.SetReadDeadline(end) != nil {
				return false
			}
			n, _, err := conn.ReadFromIP(buf)
			if isTimeout(err) {
				break
			}
			if err != nil {
				return false
			}
			if string(buf[:n]) == answer+nonce {
				return true
			}
		}
	}
	return false
}
