package jitter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// protocol is VRRP's number (RFC 9568 section 5.1.1.4).
const protocol = 112

// Listen gives when the VRRP adverts of a router arrive for so long, by the kernel's
// clock, from the first one on. It needs CAP_NET_RAW, and takes the calling
// process's network namespace.
func Listen(ctx context.Context, from netip.Addr, length time.Duration) (times []time.Duration, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open a socket for VRRP: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	for _, set := range []struct{ option, value int }{{unix.SO_TIMESTAMPNS, 1}, {unix.SO_RCVBUFFORCE, 4 << 20}} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, set.option, set.value); err != nil {
			return nil, fmt.Errorf("set up the socket for VRRP: %w", err)
		}
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		return nil, fmt.Errorf("set up the socket for VRRP: %w", err)
	}
	var first time.Duration
	buf, control := make([]byte, 1500), make([]byte, 128)
	for end := time.Now().Add(length); time.Now().Before(end) && ctx.Err() == nil; {
		n, oob, _, sender, err := unix.Recvmsg(fd, buf, control, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("receive adverts: %w", err)
		}
		at, ok := sender.(*unix.SockaddrInet4)
		if !ok || netip.AddrFrom4(at.Addr) != from || !isAdvert(buf[:n]) {
			continue
		}
		t, err := stamp(control[:oob])
		if err != nil {
			return nil, err
		}
		if len(times) == 0 {
			first = t
		}
		times = append(times, t-first)
	}
	return times, ctx.Err()
}

// isAdvert reports whether an IPv4 packet is an advert of version 3.
func isAdvert(packet []byte) bool {
	if len(packet) < 20 {
		return false
	}
	header := int(packet[0]&0x0f) * 4
	return len(packet) > header && packet[header] == 3<<4|1
}

// stamp gives the kernel's time of a packet.
func stamp(control []byte) (time.Duration, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, fmt.Errorf("read the time of a packet: %w", err)
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			seconds, ns := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
			return time.Duration(seconds)*time.Second + time.Duration(ns), nil
		}
	}
	return 0, errors.New("a packet came without a time")
}
