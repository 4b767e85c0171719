package probe_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"holdfast/internal/health"
	"holdfast/internal/health/probe"
)

const request = "GET /healthcheck HTTP/1.0\r\n\r\n"

// listen has each connection to the address that it gives served by serve.
func listen(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return at(t, l.Addr())
}

func at(t *testing.T, a net.Addr) netip.AddrPort {
	t.Helper()
	where, err := netip.ParseAddrPort(a.String())
	if err != nil {
		t.Fatal(err)
	}
	return where
}

// answer reads one request and answers it.
func answer(conn net.Conn) {
	defer conn.Close()
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
		conn.Write([]byte("HTTP/1.0 503 Service Unavailable\r\n\r\n"))
	}
}

// reset ends the connection without a word, and without a good end.
func reset(conn net.Conn) {
	if c, ok := conn.(*net.TCPConn); ok {
		c.SetLinger(0)
	}
	bufio.NewReader(conn).ReadString('\n')
	conn.Close()
}

// await waits until the last probe of key is as want says.
func await(t *testing.T, p *probe.Prober, key health.Key, want func(*health.Probe) bool) health.Probe {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if last := p.Last(key); last != nil && want(last) {
			return *last
		}
	}
	t.Fatalf("the last probe is %+v", p.Last(key))
	return health.Probe{}
}

func ended(p *health.Probe) bool { return p.Ended }

func TestAsk(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := at(t, nobody.Addr())
	nobody.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	key := health.Key{Service: "nova", Host: "ctl1"}
	for _, c := range []struct {
		name   string
		target probe.Target
		want   health.Probe // but for its times
	}{
		{"answered, be it a failure", probe.Target{Address: listen(t, answer), Request: []byte(request)}, health.Probe{Connected: true, Ended: true, Answered: true}},
		{"nothing to ask", probe.Target{Address: listen(t, func(net.Conn) {})}, health.Probe{Connected: true, Ended: true, Answered: true}},
		{"TLS", probe.Target{Address: at(t, secure.Listener.Addr()), Request: []byte(request), TLS: true, Name: "api"}, health.Probe{Connected: true, Ended: true, Answered: true}},
		{"refused", probe.Target{Address: free, Request: []byte(request)}, health.Probe{Ended: true, Refused: true}},
		{"reset", probe.Target{Address: listen(t, reset), Request: []byte(request)}, health.Probe{Connected: true, Ended: true, Refused: true}},
		{"no TLS there", probe.Target{Address: listen(t, reset), Request: []byte(request), TLS: true}, health.Probe{Connected: true, Ended: true, Refused: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := probe.New()
			p.Ask(t.Context(), key, c.target)
			got := await(t, p, key, ended)
			if got.Begun.IsZero() || got.Took <= 0 {
				t.Errorf("it began at %v and took %v", got.Begun, got.Took)
			}
			got.Begun, got.Took = time.Time{}, 0
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			p.Wait()
		})
	}
}

// A host that hangs is asked once, until that is over; nothing is left of it then.
func TestAskSilent(t *testing.T) {
	accepted := make(chan net.Conn, 10)
	where := listen(t, func(conn net.Conn) { accepted <- conn })
	for _, secure := range []bool{false, true} {
		p := probe.New()
		ctx, cancel := context.WithCancel(t.Context())
		key := health.Key{Service: "nova", Host: "ctl1"}
		target := probe.Target{Address: where, Request: []byte(request), TLS: secure}
		p.Ask(ctx, key, target)
		first := await(t, p, key, func(p *health.Probe) bool { return p.Connected })
		if first.Ended || first.Answered || first.Refused {
			t.Errorf("of a host that hangs: %+v", first)
		}
		p.Ask(ctx, key, target)
		if again := p.Last(key); again.Begun != first.Begun {
			t.Error("a second question was sent while the first one waits")
		}
		if secure {
			p.Forget(func(health.Key) bool { return false })
			if p.Last(key) != nil {
				t.Error("it is not forgotten")
			}
		}
		cancel()
		p.Wait()
		(<-accepted).Close()
		if n := len(accepted); n > 0 {
			t.Errorf("%d connections more than one", n)
		}
	}
}
