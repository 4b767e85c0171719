package process

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// setClosing closes the connections to vips.
func (b *bench) setClosing(m *Manager, vips ...netip.Addr) {
	b.t.Helper()
	if err := m.SetClosing(b.t.Context(), vips); err != nil {
		b.t.Fatal(err)
	}
}

// closes asks a path of the VIP on a connection to be kept, and reports
// whether the answer ends it.
func (b *bench) closes(path string) bool {
	b.t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Get(b.url(path))
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Body.Close()
	return r.Close
}

// A load is clients that ask all the time, each on a connection that is kept.
type load struct {
	stop   func() // once: ends it, and reports requests that failed
	asked  atomic.Int64
	closed atomic.Int64 // answers that ended their connections
	opened atomic.Int64 // connections
}

// load has n clients ask url.
func (b *bench) load(n int, url string) *load {
	l := &load{}
	ctx, cancel := context.WithCancel(context.Background())
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if !c.Reused {
			l.opened.Add(1)
		}
	}})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
			defer transport.CloseIdleConnections()
			for ctx.Err() == nil {
				if err := l.ask(ctx, &http.Client{Transport: transport}, url); err != nil && ctx.Err() == nil {
					b.t.Error(err)
				}
			}
		})
	}
	l.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	b.t.Cleanup(l.stop)
	return l
}

func (l *load) ask(ctx context.Context, client *http.Client, url string) error {
	// A method that the client does not repeat by itself.
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, io.MultiReader(strings.NewReader("x")))
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s, %w", answer.Status, err)
	}
	l.asked.Add(1)
	if answer.Close {
		l.closed.Add(1)
	}
	time.Sleep(5 * time.Millisecond)
	return nil
}

func TestClosingHTTP1(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager()
	b.setClosing(m, b.addr(1)) // for the HAProxy to come
	b.apply(m, Started)
	if !b.closes("/") {
		t.Error("what was listed before the start does not close")
	}
	b.setClosing(m, b.addr(99))
	if b.closes("/") {
		t.Error("a VIP that is not listed closes")
	}
	worker := m.current().serving().PID
	l := b.load(4, b.url("/"))
	eventually(t, "asked", func() bool { return l.asked.Load() > 50 })
	if l.closed.Load() > 0 {
		t.Fatalf("%d answers closed", l.closed.Load())
	}
	b.setClosing(m, b.addr(99), b.addr(1))
	eventually(t, "closed", func() bool { return l.closed.Load() > 20 })
	l.stop()
	if n := l.asked.Load(); l.opened.Load() < l.closed.Load() || l.opened.Load() > n {
		t.Errorf("%d requests, %d answers closed, %d connections", n, l.closed.Load(), l.opened.Load())
	}
	for _, path := range []string{"/", haproxy.PingPath} {
		if !b.closes(path) {
			t.Errorf("%s does not close", path)
		}
	}
	if got := m.current().serving().PID; got != worker {
		t.Error("it was reloaded; HTTP/1.1 does not need that")
	}
	b.tunnel()
	b.setClosing(m)
	if b.closes("/") {
		t.Error("it closes with no VIP listed")
	}
}

// tunnel opens a tunnel, as a console's page does, on the VIP.
func (b *bench) tunnel() {
	b.t.Helper()
	c, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(b.url("/"), "http://"), "/"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		b.t.Fatal(err)
	}
	fmt.Fprint(c, "GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	r := bufio.NewReader(c)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols || !strings.EqualFold(answer.Header.Get("Connection"), "upgrade") {
		b.t.Fatalf("%s, Connection: %s", answer.Status, answer.Header.Get("Connection"))
	}
	fmt.Fprintln(c, "hello")
	if line, err := r.ReadString('\n'); line != "hello\n" {
		b.t.Errorf("through the tunnel: %q, %v", line, err)
	}
}

// The list outlives a reload, a crash and the agent.
func TestClosingLasts(t *testing.T) {
	b := newBench(t)
	m, stop := b.manager()
	b.apply(m, Started)
	b.setClosing(m, b.addr(1))
	b.spec.Services[0].Timeout.Server = time.Minute
	b.apply(m, Reloaded)
	if !b.closes("/") {
		t.Error("not after a reload")
	}
	b.killHAProxy()
	eventually(t, "started again", func() bool { return m.State().Restarts == 1 && m.State().PID > 0 })
	if !b.closes("/") {
		t.Error("not after a restart")
	}
	stop()
	if err := os.WriteFile(filepath.Join(b.run, haproxy.ClosingList), nil, 0o600); err != nil {
		t.Fatal(err) // as an agent leaves it that ends between the file and the worker
	}
	m, _ = b.manager()
	eventually(t, "told what the file says", func() bool { return !b.closes("/") })
	if err := os.Remove(filepath.Join(b.run, haproxy.ClosingList)); err != nil {
		t.Fatal(err)
	}
	b.spec.Services[0].Timeout.Server = time.Hour
	b.apply(m, Reloaded)
}

func TestClosingHTTP2(t *testing.T) {
	b := newBench(t)
	b.spec.VIPs[0].TLS = &spec.TLS{}
	pem, _ := newPEM(t)
	file := haproxy.CertificateFile(b.state, "api")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	m, _ := b.manager()
	b.apply(m, Started)
	url := strings.Replace(b.url("/"), "http:", "https:", 1)
	l := b.load(4, url)
	slow := b.load(2, url+"slow")
	eventually(t, "asked", func() bool { return l.asked.Load() > 50 && slow.opened.Load() == 2 })
	if n := l.opened.Load(); n != 4 {
		t.Fatalf("%d connections for 4 clients: no HTTP/2, or not kept", n)
	}
	b.setClosing(m, b.addr(1))
	reloads := m.State().Reloads
	eventually(t, "came anew", func() bool { return l.opened.Load() >= 8 && slow.opened.Load() >= 4 })
	b.setClosing(m, b.addr(1))
	if got := m.State().Reloads; reloads != 1 || got != 1 {
		t.Errorf("%d reloads, and %d after the same again; want 1", reloads, got)
	}
	b.setClosing(m)
	b.setClosing(m, b.addr(99))
	if got := m.State().Reloads; got != 1 {
		t.Errorf("%d reloads for a VIP without HTTP/2", got)
	}
	l.stop()
	slow.stop()
	t.Logf("%d and %d requests", l.asked.Load(), slow.asked.Load())
}
