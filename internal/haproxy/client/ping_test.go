package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/spec"
)

// peer answers each connection in its own way, and gives where.
func peer(t *testing.T, answer func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go answer(c)
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func read(c net.Conn) { _, _ = c.Read(make([]byte, 64<<10)) }

// Whatever comes back is a sign of life, in either scheme.
func TestPing(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != haproxy.PingPath {
			t.Errorf("asked for %s", r.URL)
		}
		_, _ = w.Write([]byte(haproxy.PingBody))
	})
	plain, secure := httptest.NewServer(ok), httptest.NewUnstartedServer(ok)
	secure.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	at := func(s *httptest.Server) netip.AddrPort {
		return netip.MustParseAddrPort(s.Listener.Addr().String())
	}
	nobody := peer(t, func(net.Conn) {})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	for _, c := range []struct {
		name string
		at   netip.AddrPort
		want process.Sign
	}{
		{"http", at(plain), process.Answered},
		{"https", at(secure), process.Answered},
		{"an error", peer(t, func(c net.Conn) { read(c); _, _ = c.Write([]byte("HTTP/1.1 503 Busy\r\n\r\n")) }), process.Answered},
		{"an alert", peer(t, func(c net.Conn) { read(c); _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 40}) }), process.Answered},
		{"one octet", peer(t, func(c net.Conn) { read(c); _, _ = c.Write([]byte("x")) }), process.Answered},
		{"an orderly end", peer(t, func(c net.Conn) { read(c); c.Close() }), process.Answered},
		{"nothing", nobody, process.Silent},
		{"a reset", peer(t, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); c.Close() }), process.NoSign},
		{"no listener", gone, process.Refused},
		{"no way there", netip.MustParseAddrPort("224.0.0.1:1"), process.NoSign},
		{"nowhere to ask", netip.AddrPort{}, process.NoSign},
	} {
		for _, secure := range []bool{false, true} {
			var pings Pings
			got, err := pings.Ping(t.Context(), Pinger{c.at, secure})
			pings.Keep(nil)
			if got != c.want || (err != nil) != (got != process.Answered && c.at.IsValid()) {
				t.Errorf("%s, tls %t: %v, %v; want %v", c.name, secure, got, err, c.want)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if got, err := new(Pings).Ping(ctx, Pinger{nobody, false}); got != process.Silent || !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "timeout") {
		t.Errorf("in a short time: %v, %v", got, err)
	}
}

// TestPingsWhatIsThere proves that HAProxy is asked through a service that listens on
// the VIP: one that is on another would be refused, and be taken for a hang.
func TestPingsWhatIsThere(t *testing.T) {
	s, findings := spec.Parse("test.yaml", []byte(`vips:
  - {name: public, addresses: [192.0.2.10/24], hostname: api.example.org, interface: eno1, endpoints: [public], vrrp: {router_id: 7}}
  - {name: internal, addresses: [192.0.2.11/24], hostname: int.example.org, interface: eno1, endpoints: [internal, admin], vrrp: {router_id: 8}}
controllers: [{name: ctl1, address: 192.0.2.1}, {name: ctl2, address: 192.0.2.2}]
services: {placement: {vips: [internal]}, keystone: {vips: [public]}, mariadb: {}}
`))
	if s == nil {
		t.Fatal(findings)
	}
	for i, want := range []string{"192.0.2.10:5000", "192.0.2.11:8778"} {
		if got := NewPinger(s.VIPs[i], s.Services).At.String(); got != want {
			t.Errorf("vip %s is asked at %s, want %s", s.VIPs[i].Name, got, want)
		}
	}
	if got := NewPinger(s.VIPs[1], s.Services[1:]); got.At.IsValid() {
		t.Errorf("a vip without http is asked at %v", got.At)
	}
}

// TestPingsKeepAConnection proves that one connection serves many pings, that each
// second one is new, and what becomes of a ping on one that its end has left.
func TestPingsKeepAConnection(t *testing.T) {
	var accepted, asked atomic.Int32
	var leaves atomic.Bool // after each answer
	silent := make(chan bool, 1)
	at := peer(t, func(c net.Conn) {
		accepted.Add(1)
		r := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			select {
			case <-silent:
				return // with the connection open
			default:
			}
			asked.Add(1)
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"))
			if leaves.Load() {
				c.Close()
				return
			}
		}
	})
	var pings Pings
	ping := func() {
		t.Helper()
		if sign, err := pings.Ping(t.Context(), Pinger{At: at}); sign != process.Answered || err != nil {
			t.Fatalf("%v, %v", sign, err)
		}
	}
	for range 5 {
		ping()
	}
	if accepted.Load() != 1 || asked.Load() != 5 {
		t.Errorf("5 pings were %d requests on %d connections, want 5 on 1", asked.Load(), accepted.Load())
	}
	pings.kept[at].since = time.Now().Add(-2 * renewEvery)
	ping()
	if accepted.Load() != 2 {
		t.Errorf("after a second no connection was new")
	}
	silent <- true // the kept connection is dead, and HAProxy lives
	ping()
	if accepted.Load() != 3 {
		t.Errorf("a kept connection without an answer was not replaced")
	}
	leaves.Store(true)
	ping()
	ping()
	ping()
	if accepted.Load() != 5 {
		t.Errorf("%d connections where each ends after its answer, want 5", accepted.Load())
	}
	pings.Keep(nil)
	if len(pings.kept) > 0 {
		t.Error("a connection is kept to a VIP that is not held")
	}
}
