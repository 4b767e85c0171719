package load

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A client sends requests and keeps idle connections, the last used first.
type client struct {
	config  Config
	targets []*url.URL
	prefix  string // of the keys of this run

	mu   sync.Mutex // guards following
	idle map[pool][]*conn
}

// A pool is the idle connections that a request may use.
type pool struct {
	scheme, host string
	from         netip.Addr
}

// A conn is one connection to a target.
type conn struct {
	net.Conn
	raw    net.Conn // without TLS
	reader *bufio.Reader
	opened time.Time
	used   bool
}

// A shot is one request that is due.
type shot struct {
	Record
	url  *url.URL
	from netip.Addr
	keep bool
}

func newClient(c Config) (*client, error) {
	if len(c.Methods) == 0 {
		c.Methods = []string{http.MethodGet}
	}
	cl := &client{config: c, prefix: rand.Text()[:10] + "-", idle: map[pool][]*conn{}}
	for _, t := range c.Targets {
		u, err := url.Parse(t.URL)
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", t.Name, err)
		}
		cl.targets = append(cl.targets, u)
	}
	return cl, nil
}

func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conns := range c.idle {
		for _, conn := range conns {
			_ = conn.Close() //nolint:errcheck // idle
		}
	}
	clear(c.idle)
}

// shot builds the i-th request of st: each combination of target, way to connect,
// client and method has its turn.
func (c *client) shot(st stream, i int, due time.Time) shot {
	n := len(c.targets)
	round := i / n
	s := shot{url: c.targets[i%n]}
	s.Record = Record{
		Due: due, Target: c.config.Targets[i%n].Name,
		Method: c.config.Methods[round%len(c.config.Methods)],
		Key:    c.prefix + st.prefix + strconv.Itoa(i),
	}
	switch st.connections {
	case New:
	case KeepAlive:
		s.keep = true
	case Mixed:
		s.keep = round%2 == 0
	}
	c.comeFrom(&s, round)
	return s
}

// comeFrom gives s the address of a client, by turns.
func (c *client) comeFrom(s *shot, turn int) {
	if len(c.config.Clients) > 0 {
		s.from = c.config.Clients[turn%len(c.config.Clients)]
		s.Client = s.from.String()
	}
}

// failed gives the record of s that failed at now with err.
func (s shot) failed(now time.Time, err error) Record {
	r := s.Record
	r.Took = now.Sub(r.Due)
	r.Failure, r.Error = Classify(err), err.Error()
	return r
}

// fire sends s and waits for its answer or its deadline.
func (c *client) fire(ctx context.Context, s shot) Record {
	s.Late = time.Since(s.Due)
	ctx, cancel := context.WithDeadline(ctx, s.Due.Add(c.config.Timeout))
	defer cancel()
	conn, err := c.connection(ctx, &s)
	if err != nil {
		return s.failed(time.Now(), err)
	}
	s.Reused, s.Opened = conn.used, conn.opened
	if !conn.used {
		s.Certificate = conn.certificate()
	}
	stop := context.AfterFunc(ctx, func() { conn.raw.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it wakes the reader
	got, err := s.exchange(conn, c.config.Body)
	done := time.Now()
	clean := stop() && err == nil
	if clean && s.keep && !got.last {
		c.put(s, conn)
	} else {
		_ = conn.Close() //nolint:errcheck // the answer is here, or never will be
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return s.failed(done, err)
	}
	r := s.Record
	r.Took = done.Sub(s.Due)
	r.Status, r.Host = got.status, got.host
	if r.Status >= 500 {
		r.Failure, r.Error = ServerError, fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status))
	}
	return r
}

// An answer is what is kept of one.
type answer struct {
	status int
	host   string
	last   bool // the connection is not to be used again
}

// exchange sends the request over conn and reads the whole answer.
func (s shot) exchange(conn *conn, body int64) (answer, error) {
	resp, err := s.ask(conn, body)
	if err != nil {
		return answer{}, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return answer{resp.StatusCode, resp.Header.Get("X-Served-By"), resp.Close}, errors.Join(err, resp.Body.Close())
}

// ask sends the request over conn and gives the head of its answer.
func (s shot) ask(conn *conn, body int64) (*http.Response, error) {
	req := s.request()
	if body > 0 && s.Method != http.MethodGet && s.Method != http.MethodHead {
		req.Body, req.ContentLength = io.NopCloser(io.LimitReader(zeros{}, body)), body
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	return http.ReadResponse(conn.reader, req)
}

// request is that of s, without a body.
func (s shot) request() *http.Request {
	return &http.Request{
		Method: s.Method, URL: s.url, Host: s.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"X-Lab-Key": {s.Key}, "User-Agent": {"holdfast-lab"}},
		Close:  !s.keep,
	}
}

// zeros is an endless reader of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// connection gives an idle connection for s, or a new one.
func (c *client) connection(ctx context.Context, s *shot) (*conn, error) {
	if s.keep {
		if conn := c.get(s); conn != nil {
			return conn, nil
		}
	}
	return dial(ctx, s.url, s.from)
}

// dial opens a connection to u, from an address of this host's if one is named.
func dial(ctx context.Context, u *url.URL, from netip.Addr) (*conn, error) {
	dialer := net.Dialer{FallbackDelay: -1}
	if from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	raw, err := dialer.DialContext(ctx, "tcp", hostPort(u))
	if err != nil {
		return nil, err
	}
	conn := &conn{Conn: raw, raw: raw, opened: time.Now()}
	if u.Scheme == "https" {
		secure := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) // what is measured is the answer, not the name
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = raw.Close() //nolint:errcheck // it has failed
			return nil, err
		}
		conn.Conn = secure
	}
	conn.reader = bufio.NewReader(conn)
	return conn, nil
}

// certificate gives the serial number of what the other side has shown.
func (c *conn) certificate() string {
	secure, ok := c.Conn.(*tls.Conn)
	if !ok {
		return ""
	}
	for _, cert := range secure.ConnectionState().PeerCertificates {
		return cert.SerialNumber.Text(16)
	}
	return ""
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	port := "80"
	if u.Scheme == "https" {
		port = "443"
	}
	return net.JoinHostPort(strings.Trim(u.Host, "[]"), port)
}

func (s shot) pool() pool { return pool{s.url.Scheme, s.url.Host, s.from} }

// get takes an idle connection that the other side has not closed, as every
// HTTP client checks before it sends.
func (c *client) get(s *shot) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		conns := c.idle[s.pool()]
		if len(conns) == 0 {
			return nil
		}
		conn := conns[len(conns)-1]
		c.idle[s.pool()] = conns[:len(conns)-1]
		err := stirred(conn.raw)
		if err == nil {
			conn.used = true
			return conn
		}
		if Classify(err) == Reset {
			s.IdleResets++
		}
		_ = conn.Close() //nolint:errcheck // the other side closed it
	}
}

func (c *client) put(s shot, conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle[s.pool()] = append(c.idle[s.pool()], conn)
}

// stirred gives what has arrived on an idle connection: nothing, its end, a
// reset, or data that nobody has asked for.
func stirred(raw net.Conn) error {
	tcp, ok := raw.(*net.TCPConn)
	if !ok {
		return errors.ErrUnsupported
	}
	control, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var got error
	err = control.Read(func(fd uintptr) bool {
		_, _, got = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return true
	})
	switch {
	case err != nil:
		return err
	case got == unix.EAGAIN:
		return nil
	case got == nil:
		return io.EOF // or data, after which no answer can be told from it
	}
	return got
}
