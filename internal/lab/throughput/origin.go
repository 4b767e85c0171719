package throughput

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

// maxBody is the longest body that is asked for.
const maxBody = 1 << 20

// An origin is a service that costs next to nothing, so that what is measured
// is the way to it. It answers GET /bytes/N with N bytes and everything else,
// health checks included, with two.
type origin struct {
	listener net.Listener
	serving  sync.WaitGroup
	body     []byte // maxBody long

	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
}

func newOrigin(ctx context.Context, at netip.AddrPort) (*origin, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("service: %w", err)
	}
	o := &origin{listener: l, body: make([]byte, maxBody), conns: map[net.Conn]bool{}}
	o.serving.Go(o.accept)
	return o, nil
}

func (o *origin) close() error {
	err := o.listener.Close()
	o.mu.Lock()
	for c := range o.conns {
		_ = c.Close() //nolint:errcheck // its reader ends
	}
	o.mu.Unlock()
	o.serving.Wait()
	return err
}

func (o *origin) accept() {
	for {
		conn, err := o.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		o.mu.Lock()
		o.conns[conn] = true
		o.mu.Unlock()
		o.serving.Go(func() { o.serve(conn) })
	}
}

func (o *origin) serve(conn net.Conn) {
	defer func() {
		o.mu.Lock()
		delete(o.conns, conn)
		o.mu.Unlock()
		_ = conn.Close() //nolint:errcheck // all is answered
	}()
	in := bufio.NewReaderSize(conn, 64<<10)
	for {
		req, err := readHead(in)
		if err != nil {
			return
		}
		if _, err := in.Discard(req.length); err != nil {
			return
		}
		if err := o.answer(conn, req); err != nil || req.close {
			return
		}
	}
}

func (o *origin) answer(conn net.Conn, req head) error {
	n := 2
	if text, ok := bytes.CutPrefix(req.first, []byte("GET /bytes/")); ok {
		text, _, _ = bytes.Cut(text, []byte(" "))
		if asked, err := strconv.Atoi(string(text)); err == nil {
			n = min(max(asked, 0), len(o.body))
		}
	}
	keep := ""
	if req.close {
		keep = "Connection: close\r\n"
	}
	header := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n", n, keep)
	parts := net.Buffers{header, o.body[:n]}
	_, err := parts.WriteTo(conn)
	return err
}

// A head is what matters of the lines before a body, of a request or an answer.
type head struct {
	first  []byte // line
	length int    // of the body
	close  bool
}

var errHead = errors.New("not the head of an HTTP message")

// readHead reads the head of a message of one of our own kind: with a
// Content-Length, and no other way to tell the end.
func readHead(in *bufio.Reader) (head, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return head{}, err
	}
	h := head{first: bytes.Clone(bytes.TrimSpace(line))}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return h, errors.Join(err, io.ErrUnexpectedEOF)
		}
		name, value, found := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		switch {
		case len(name) == 0:
			return h, nil
		case !found:
			return h, errHead
		case bytes.EqualFold(name, []byte("Content-Length")):
			if h.length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || h.length < 0 {
				return h, errHead
			}
		case bytes.EqualFold(name, []byte("Connection")):
			h.close = bytes.EqualFold(bytes.TrimSpace(value), []byte("close"))
		}
	}
}
