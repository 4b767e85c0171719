// Package handshake asks the kernel how long TCP's handshake with a host takes,
// and whether it is answered at all.
//
// No program on the host learns of it: the third segment of the handshake is
// held back, as HAProxy does it in its own checks of connections, and a reset
// comes in its place. What is measured is measured by the kernel, so that an agent
// that waits for the processor is not taken for a network that is slow.
package handshake

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// look is after which time in a wait the context is looked at.
const look = 100 * time.Millisecond

// An Outcome is what came of a handshake.
type Outcome int

// The outcomes.
const (
	// Untold says that this process could not try, as for want of descriptors.
	Untold Outcome = iota
	// Local is of an address that this host has itself.
	Local
	Answered // accepted, or refused
	Lost     // no answer in time, or only to a repeated question; or no way there
)

// A Result is of one handshake.
type Result struct {
	Outcome Outcome
	RTT     time.Duration // of one that was accepted; else 0
	Refused bool          // of one that was answered: by a refusal
}

// All does one handshake with each of the addresses, all at once, and waits for
// answers no longer than wait, which is to be less than the second after which the
// kernel asks again. The results are in the order of to; when ctx ends before, those
// without an answer are Untold.
func All(ctx context.Context, to []netip.AddrPort, wait time.Duration) []Result {
	results := make([]Result, len(to))
	local := locals()
	var open []attempt
	for i, at := range to {
		if local[at.Addr().Unmap().WithZone("")] {
			results[i].Outcome = Local
			continue
		}
		fd, outcome := begin(at)
		if fd < 0 {
			results[i] = Result{Outcome: outcome, Refused: outcome == Answered}
			continue
		}
		open = append(open, attempt{fd, i})
	}
	for end := time.Now().Add(wait); len(open) > 0 && ctx.Err() == nil; {
		left := time.Until(end)
		ready := poll(open, min(max(left, 0), look))
		var still []attempt
		for j, a := range open {
			if ready[j] || left <= 0 {
				results[a.index] = a.end(ready[j])
			} else {
				still = append(still, a)
			}
		}
		open = still
	}
	for _, a := range open {
		_ = unix.Close(a.fd) // there is nothing in it
	}
	return results
}

// An attempt is one that waits for its answer.
type attempt struct {
	fd    int
	index int
}

// locals gives the addresses of this host, at this moment.
func locals() map[netip.Addr]bool {
	local := map[netip.Addr]bool{}
	all, err := net.InterfaceAddrs()
	if err != nil { // then they are measured like others
		return local
	}
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			local[prefix.Addr().Unmap().WithZone("")] = true
		}
	}
	return local
}

// begin sends the first segment. It gives no descriptor but what came of it when
// that is known at once.
func begin(to netip.AddrPort) (fd int, outcome Outcome) {
	family, address := sockaddr(to)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, Untold
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0),
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return -1, Untold
	}
	err = unix.Connect(fd, address)
	if err == nil || errors.Is(err, unix.EINPROGRESS) {
		return fd, Untold
	}
	_ = unix.Close(fd)
	return -1, meaning(err)
}

func sockaddr(to netip.AddrPort) (family int, address unix.Sockaddr) {
	if ip := to.Addr().Unmap(); ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: ip.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
}

// meaning tells what an error of a connection says of the way.
func meaning(err error) Outcome {
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ECONNRESET):
		return Answered
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETDOWN),
		errors.Is(err, unix.EHOSTDOWN), errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return Lost
	}
	return Untold
}

// poll waits until any of the attempts is over, and tells which are.
func poll(open []attempt, wait time.Duration) []bool {
	ready := make([]bool, len(open))
	fds := make([]unix.PollFd, len(open))
	for i, a := range open {
		fds[i] = unix.PollFd{Fd: int32(a.fd), Events: unix.POLLOUT}
	}
	_, err := unix.Poll(fds, int(wait.Milliseconds()))
	for errors.Is(err, unix.EINTR) {
		_, err = unix.Poll(fds, int(wait.Milliseconds()))
	}
	for i, f := range fds {
		ready[i] = f.Revents != 0
	}
	return ready
}

// end closes a and tells what came of it. One that was answered while nobody
// looked is answered.
func (a attempt) end(ready bool) Result {
	defer unix.Close(a.fd) //nolint:errcheck // it only resets the connection
	if !ready {
		return Result{Outcome: Lost}
	}
	code, err := unix.GetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return Result{}
	}
	if code != 0 {
		outcome := meaning(unix.Errno(code))
		return Result{Outcome: outcome, Refused: outcome == Answered}
	}
	info, err := unix.GetsockoptTCPInfo(a.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	switch {
	case err != nil:
		return Result{}
	case info.Total_retrans > 0:
		return Result{Outcome: Lost}
	}
	return Result{Outcome: Answered, RTT: time.Duration(info.Rtt) * time.Microsecond}
}
