package throughput

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A loop is a closed loop: each connection's next request leaves when the
// answer to its last one is complete.
type loop struct {
	to      netip.AddrPort
	point   Point
	sources []netip.Addr // one for each connection
	request []byte
	why     atomic.Pointer[string] // the first failure
}

func (l *loop) firstFailure() string {
	if text := l.why.Load(); text != nil {
		return *text
	}
	return ""
}

func newLoop(to netip.AddrPort, p Point, sources []netip.Addr) *loop {
	path, length := fmt.Sprintf("/bytes/%d", p.Bytes), 0
	if p.Method != "GET" {
		path, length = "/body", p.Bytes
	}
	head := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: holdfast-lab\r\nX-Auth-Token: gAAAAAB\r\nAccept: */*\r\n", p.Method, path, to)
	if length > 0 {
		head = fmt.Appendf(head, "Content-Length: %d\r\n", length)
	}
	if !p.KeepAlive {
		head = append(head, "Connection: close\r\n"...)
	}
	head = append(head, "\r\n"...)
	return &loop{to: to, point: p, sources: sources, request: append(head, make([]byte, length)...)}
}

// run loops for so long and gives how many requests were answered and how
// many failed.
func (l *loop) run(ctx context.Context, d time.Duration) (answered, failed int) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var good, bad atomic.Int64
	var running sync.WaitGroup
	for _, from := range l.sources {
		running.Go(func() { l.client(ctx, from, &good, &bad) })
	}
	running.Wait()
	return int(good.Load()), int(bad.Load())
}

func (l *loop) client(ctx context.Context, from netip.Addr, good, bad *atomic.Int64) {
	dialer := net.Dialer{FallbackDelay: -1, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Control: portLate}
	in := bufio.NewReaderSize(nil, 64<<10)
	var conn net.Conn
	for ctx.Err() == nil {
		var err error
		if conn == nil {
			if conn, err = dialer.DialContext(ctx, "tcp", l.to.String()); err == nil {
				in.Reset(conn)
			} else {
				conn = nil
			}
		}
		stays := false
		if err == nil {
			stays, err = l.exchange(ctx, conn, in)
		}
		switch {
		case err == nil:
			good.Add(1)
		case ctx.Err() == nil && !atEnd(err):
			bad.Add(1)
			text := err.Error()
			l.why.CompareAndSwap(nil, &text)
		}
		if conn != nil && (!stays || err != nil || ctx.Err() != nil) {
			_ = conn.Close() //nolint:errcheck // the answer is here, or never will be
			conn = nil
		}
	}
	if conn != nil {
		_ = conn.Close() //nolint:errcheck // idle
	}
}

// atEnd reports whether err is the end of the turn, which a dialer or a reader
// may tell before the context does, and no failure.
func atEnd(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// portLate leaves the choice of the source port to connect, which knows the
// other end: bind alone would soon have used up all (ip(7), IP_BIND_ADDRESS_NO_PORT).
func portLate(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return errors.Join(err, set)
}

var errStatus = errors.New("not answered with 200")

// exchange sends the request and takes the whole answer. It reports whether
// the connection can be used again.
func (l *loop) exchange(ctx context.Context, conn net.Conn, in *bufio.Reader) (stays bool, err error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it wakes the reader
	defer stop()
	if _, err := conn.Write(l.request); err != nil {
		return false, err
	}
	answer, err := readHead(in)
	if err != nil {
		return false, err
	}
	if !bytes.HasPrefix(answer.first, []byte("HTTP/1.1 200")) {
		return false, fmt.Errorf("%w: %s", errStatus, answer.first)
	}
	_, err = in.Discard(answer.length)
	return l.point.KeepAlive && !answer.close, err
}
