package tokens

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"holdfast/internal/lab/load"
	"holdfast/internal/lab/openstack"
)

// A Session is what one client did to have a token, as "openstack token issue"
// does: it asks what there is (GET /v3), and for a token (POST /v3/auth/tokens),
// on one connection. It repeats nothing. Every fourth one has its token looked
// at as well, as a service does that was shown it (GET /v3/auth/tokens).
type Session struct {
	Due  time.Time     `json:"due"`
	Late time.Duration `json:"late_ns"` // the generator's own lateness
	// Took is the time from Due until the token was there, or the failure.
	Took   time.Duration `json:"took_ns"`
	Client string        `json:"client"` // its address
	Sent   int           `json:"sent"`   // requests
	// Failure, Status and Error tell of the request that failed, and At which
	// one that was; no more were sent.
	Failure Failure `json:"failure,omitempty"`
	Status  int     `json:"status,omitempty"`
	Error   string  `json:"error,omitempty"`
	At      string  `json:"at,omitempty"`
}

// A Failure is the kind of a failed request.
type Failure string

// The kinds of failures.
const (
	NoHost   Failure = "503"        // the proxy's own: it has no host
	Bad      Failure = "502"        // the proxy's own: the host went away, or was cut off
	Slow     Failure = "504"        // the proxy's own: the host did not answer in time
	Host     Failure = "host's 5xx" // Keystone's
	Cut      Failure = "cut"        // the connection, before the answer was complete
	Refused  Failure = "refused"
	Timeout  Failure = "timeout" // the client's patience
	Stopped  Failure = "stopped" // with the load
	Strange  Failure = "strange" // an answer, but none that was to come
	Whatever Failure = "other"
)

// validated is how many sessions there are for each token that is looked at.
const validated = 4

// requestID is the header by which an answer of Keystone's is told from one that
// a proxy has made.
const requestID = "X-Openstack-Request-Id"

// errStatus is in the error of a request with another answer than was to come.
var errStatus = errors.New("not the answer that was to come")

// A session is one under way.
type session struct {
	Session
	to   *url.URL
	from netip.Addr
	conn net.Conn
	in   *bufio.Reader
}

// run goes through the session. It is late, and out of patience, by Due.
func (s *session) run(ctx context.Context, patience time.Duration, validate bool) Session {
	s.Late = time.Since(s.Due)
	ctx, cancel := context.WithDeadline(ctx, s.Due.Add(patience))
	defer cancel()
	defer s.hangUp()
	s.At = "GET /v3"
	_, err := s.ask(ctx, http.MethodGet, "/v3", http.StatusOK, nil)
	token := ""
	if err == nil {
		s.At = "POST /v3/auth/tokens"
		token, err = s.ask(ctx, http.MethodPost, "/v3/auth/tokens", http.StatusCreated, nil)
	}
	s.Took = time.Since(s.Due)
	if err == nil && validate {
		s.At = "GET /v3/auth/tokens"
		_, err = s.ask(ctx, http.MethodGet, "/v3/auth/tokens", http.StatusOK, http.Header{
			"X-Auth-Token": {token}, "X-Subject-Token": {token},
		})
	}
	if err == nil {
		s.At = ""
		return s.Session
	}
	s.Error = err.Error()
	if s.Failure == "" {
		s.Failure = kindOf(ctx, err)
	}
	return s.Session
}

// kindOf gives the kind of an error that is no answer.
func kindOf(ctx context.Context, err error) Failure {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Timeout
	case ctx.Err() != nil:
		return Stopped
	}
	kinds := map[load.Failure]Failure{
		load.Refused: Refused, load.Reset: Cut, load.Closed: Cut, load.Timeout: Timeout, load.Cancelled: Stopped,
	}
	if kind, ok := kinds[load.Classify(err)]; ok {
		return kind
	}
	return Whatever
}

// kindOfAnswer gives the kind of an answer that is not the one to come.
func kindOfAnswer(resp *http.Response) Failure {
	switch own := resp.Header.Get(requestID) != ""; {
	case resp.StatusCode < 500:
		return Strange
	case own:
		return Host
	case resp.StatusCode == http.StatusServiceUnavailable:
		return NoHost
	case resp.StatusCode == http.StatusBadGateway:
		return Bad
	case resp.StatusCode == http.StatusGatewayTimeout:
		return Slow
	}
	return Host
}

// ask sends one request and takes the whole answer; it gives the token in it,
// if there is one.
func (s *session) ask(ctx context.Context, method, path string, want int, header http.Header) (string, error) {
	if s.conn == nil {
		if err := s.dial(ctx); err != nil {
			return "", err
		}
	}
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it wakes the reader
	defer stop()
	s.Sent++
	resp, err := s.exchange(method, path, header)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	if resp.Close {
		s.hangUp()
	}
	if resp.StatusCode != want {
		s.Status, s.Failure = resp.StatusCode, kindOfAnswer(resp)
		return "", fmt.Errorf("%w: %s", errStatus, resp.Status)
	}
	return resp.Header.Get("X-Subject-Token"), nil
}

func (s *session) exchange(method, path string, header http.Header) (*http.Response, error) {
	if header == nil {
		header = http.Header{}
	}
	header.Set("User-Agent", "holdfast-lab")
	header.Set("Accept", "application/json")
	u := *s.to
	u.Path = path
	req := &http.Request{Method: method, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header}
	if method == http.MethodPost {
		body := credentials()
		header.Set("Content-Type", "application/json")
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	if err := req.Write(s.conn); err != nil {
		return nil, fmt.Errorf("send the request: %w", err)
	}
	resp, err := http.ReadResponse(s.in, req)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return resp, nil
}

func (s *session) dial(ctx context.Context) error {
	dialer := net.Dialer{FallbackDelay: -1}
	if s.from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.from, 0))
	}
	conn, err := dialer.DialContext(ctx, "tcp", s.to.Host)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	s.conn, s.in = conn, bufio.NewReader(conn)
	return nil
}

func (s *session) hangUp() {
	if s.conn != nil {
		_ = s.conn.Close() //nolint:errcheck // the answer is here, or never will be
	}
	s.conn = nil
}

// credentials is what the user admin sends for a token of the project admin.
func credentials() []byte {
	type named struct {
		Name   string            `json:"name"`
		Domain map[string]string `json:"domain"`
	}
	inDefault := named{"admin", map[string]string{"id": "default"}}
	user := struct {
		named
		Password string `json:"password"`
	}{inDefault, openstack.Password}
	// It is nothing but strings: that cannot fail.
	data, _ := json.Marshal(map[string]any{"auth": map[string]any{ //nolint:errcheck // see above
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": user}},
		"scope":    map[string]any{"project": inDefault},
	}})
	return data
}
