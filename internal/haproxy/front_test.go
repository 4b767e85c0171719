package haproxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// headers gives what the last request to the one host had.
func (b *bench) headers() map[string]string {
	seen := b.hosts["ctl1"].seen()
	if len(seen) == 0 {
		b.t.Fatal("no request reached the host")
	}
	got := map[string]string{}
	for name, values := range seen[len(seen)-1].Header {
		got[name] = strings.Join(values, "|")
	}
	return got
}

// A balancer in front says whom a request is for, and is believed; nobody else is. The client
// that it names is the one that limits hold for.
func TestBehindABalancer(t *testing.T) {
	b := newBench(t, "ctl1")
	balancer, client := b.addr(90), "198.51.100.7"
	b.spec.VIPs[0].Behind = spec.Behind{Trusted: []netip.Prefix{netip.PrefixFrom(balancer, 32)}}
	b.spec.VIPs[0].Access = spec.Access{Deny: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}
	b.service().Clients = spec.ClientLimit{Requests: spec.Rate{N: 3, Per: time.Hour}, Connections: 1}
	x := b.start(1)
	said := []string{"X-Forwarded-For", "6.6.6.6, " + client, "X-Forwarded-Proto", "https", "X-Forwarded-Host", "api.example.org", "X-Forwarded-Port", "443",
		"Forwarded", "for=6.6.6.6", "X-Real-Ip", "6.6.6.6", "X-Forwarded-Prefix", "/mine", "X-Forwarded-User", "admin", "X-Forwarded-Hosts", "x", "X-Forwarded-Fo", "x"}
	x.do(balancer, "GET", "/", said...)
	got := b.headers()
	for name, want := range map[string]string{"X-Forwarded-For": "6.6.6.6, " + client, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example.org",
		"X-Forwarded-Port": "443", "Forwarded": "", "X-Real-Ip": "", "X-Forwarded-Prefix": "", "X-Forwarded-User": "", "X-Forwarded-Hosts": "", "X-Forwarded-Fo": ""} {
		if got[name] != want {
			t.Errorf("of the balancer %s: %q, want %q", name, got[name], want)
		}
	}
	x.do(b.addr(77), "GET", "/", said...)
	if got = b.headers(); got["X-Forwarded-For"] != b.addr(77).String() || got["X-Forwarded-Proto"] != "http" {
		t.Errorf("of who is none: %v", got)
	}
	x.do(balancer, "GET", "/")
	if got = b.headers(); got["X-Forwarded-For"] != balancer.String() {
		t.Errorf("of the balancer itself: %v", got)
	}
	wantCodes(t, "its client over the limit", x.codes(4, balancer, "GET", "/", "X-Forwarded-For", client), "map[200:2 429:2]")
	wantCodes(t, "another of its clients", x.codes(3, balancer, "GET", "/", "X-Forwarded-For", "198.51.100.8"), "map[200:3]")
	wantCodes(t, "one that is denied", x.codes(1, balancer, "GET", "/", "X-Forwarded-For", "203.0.113.9"), "map[403:1]")
	wantCodes(t, "who only says that it is another", x.codes(1, b.addr(78), "GET", "/", "X-Forwarded-For", "203.0.113.9"), "map[200:1]")
}

// The PROXY protocol is read from the balancer, and from nobody else; the agent's own requests
// come without.
func TestBehindProxyProtocol(t *testing.T) {
	b := newBench(t, "ctl1")
	balancer := b.addr(90)
	b.spec.VIPs[0].Behind = spec.Behind{ProxyProtocol: true, Trusted: []netip.Prefix{netip.PrefixFrom(balancer, 32), netip.PrefixFrom(b.addr(201), 32)}}
	x := b.start(1)
	ask := func(from netip.Addr, proxy string) string {
		conn := x.dial(from)
		defer conn.Close()
		fmt.Fprintf(conn, "%sGET / HTTP/1.0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n", proxy)
		answer, _ := io.ReadAll(conn)
		return string(answer)
	}
	line := "PROXY TCP4 198.51.100.7 192.0.2.80 40000 443\r\n"
	if a := ask(balancer, line); !strings.Contains(a, " 200 ") || b.headers()["X-Forwarded-For"] != "198.51.100.7" || b.headers()["X-Forwarded-Port"] != "443" {
		t.Errorf("%q, %v", a, b.headers())
	}
	if a := ask(balancer, ""); strings.Contains(a, " 200 ") {
		t.Errorf("of the balancer without the protocol: %q", a)
	}
	if a := ask(b.addr(77), line); strings.Contains(a, " 200 ") {
		t.Errorf("the protocol of who is no balancer: %q", a)
	}
	if a := ask(b.addr(77), ""); !strings.Contains(a, " 200 ") || b.headers()["X-Forwarded-For"] != b.addr(77).String() {
		t.Errorf("%q, %v", a, b.headers())
	}
	wantCodes(t, "a controller that is among the trusted", x.codes(1, b.addr(201), "GET", haproxy.PingPath), "map[200:1]")
	write(t, filepath.Join(x.run, haproxy.ClosingList), nil)
	x.ask("add acl " + filepath.Join(x.run, haproxy.ClosingList) + " " + x.vip.String())
	conn := x.dial(balancer)
	defer conn.Close()
	fmt.Fprintf(conn, "%sGET / HTTP/1.1\r\nHost: api\r\n\r\n", line)
	if r, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || !r.Close {
		t.Errorf("a connection to a VIP that moves is kept: %v", err)
	}
}

// Each request has an id for the service, in the answer and in the log: that of the client, if
// it looks like one. The log has the service's own beside it.
func TestRequestID(t *testing.T) {
	b := newBench(t, "ctl1")
	b.service().Access = spec.Access{Deny: []netip.Prefix{netip.PrefixFrom(b.addr(66), 32)}}
	b.hosts["ctl1"].set(func(s *standIn) {
		s.header = map[string][]string{"X-Openstack-Request-Id": {"req-0123"}}
	})
	x := b.start(1)
	uuid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	r := x.get("/")
	if id := r.Get("X-Request-Id"); !uuid.MatchString(id) || b.headers()["X-Request-Id"] != id || r.Get("X-Openstack-Request-Id") != "req-0123" {
		t.Errorf("%v, the host got %v", r.Header, b.headers())
	}
	if r = x.do(b.addr(77), "GET", "/", "X-Request-Id", "my-own_7"); r.Get("X-Request-Id") != "my-own_7" || b.headers()["X-Request-Id"] != "my-own_7" {
		t.Errorf("%v, the host got %v", r.Header, b.headers())
	}
	for _, odd := range []string{`a"} {x`, strings.Repeat("a", 65), "a b"} {
		if r = x.do(b.addr(77), "GET", "/", "X-Request-Id", odd); !uuid.MatchString(r.Get("X-Request-Id")) {
			t.Errorf("%q became %q", odd, r.Get("X-Request-Id"))
		}
	}
	if r = x.do(b.addr(66), "GET", "/"); r.code != 403 || !uuid.MatchString(r.Get("X-Request-Id")) {
		t.Errorf("%d %v", r.code, r.Header)
	}
}

// A service in maintenance answers 503 with its page; pages of the spec take the place of
// HAProxy's words. HAProxy's own sign of life goes on.
func TestMaintenanceAndPages(t *testing.T) {
	b := newBench(t, "ctl1")
	b.spec.ErrorPages = []spec.ErrorPage{{Code: 403, File: "/etc/no.html"}, {Code: 503, File: "/etc/sorry.html"}}
	b.service().Access = spec.Access{Deny: []netip.Prefix{netip.PrefixFrom(b.addr(66), 32)}}
	start := func(vip int) *balancer {
		files := t.TempDir()
		for _, f := range []string{"/etc/no.html", "/etc/sorry.html", "/etc/closed.html"} {
			write(t, filepath.Join(files, filepath.Base(f)), []byte("the page "+f))
		}
		b.edit = func(cfg []byte) []byte {
			return regexp.MustCompile(` file \S+-(\w+\.html)`).ReplaceAll(cfg, []byte(" file "+files+"/$1"))
		}
		return b.start(vip)
	}
	x := start(1)
	if r := x.do(b.addr(66), "GET", "/"); r.code != 403 || r.body != "the page /etc/no.html" || !strings.HasPrefix(r.Get("Content-Type"), "text/html") {
		t.Errorf("%d %v %s", r.code, r.Header, r.body)
	}
	b.hosts["ctl1"].down()
	if r := x.get("/"); r.code != 503 || r.body != "the page /etc/sorry.html" || r.Get("Retry-After") == "" {
		t.Errorf("without a host: %d %v %s", r.code, r.Header, r.body)
	}
	b.hosts["ctl1"].up(t)
	b.service().Maintenance = spec.Maintenance{On: true, Page: "/etc/closed.html", RetryAfter: 10 * time.Minute}
	x = start(2)
	if r := x.get("/"); r.code != 503 || r.body != "the page /etc/closed.html" || r.Get("Retry-After") != "600" {
		t.Errorf("in maintenance: %d %v %s", r.code, r.Header, r.body)
	}
	wantCodes(t, "the sign of life", x.codes(1, b.addr(77), "GET", haproxy.PingPath), "map[200:1]")
	if n := len(b.hosts["ctl1"].seen()); n > 0 {
		t.Errorf("%d requests reached the host", n)
	}
}

// HAProxy's own page and exporter are for the cloud itself and for whom the spec names.
func TestStatsPage(t *testing.T) {
	b := newBench(t, "ctl1")
	b.spec.Stats = spec.Stats{Listen: netip.AddrPortFrom(b.addr(201), uint16(b.service().Port)), Allow: []netip.Prefix{netip.PrefixFrom(b.addr(77), 32)}}
	x := b.start(1)
	x.vip = b.addr(201)
	if r := x.do(b.addr(77), "GET", "/metrics"); r.code != 200 || !strings.Contains(r.body, "haproxy_backend_http_responses_total") {
		t.Errorf("the exporter: %d", r.code)
	}
	if r := x.do(b.addr(77), "GET", "/"); r.code != 200 || !strings.Contains(r.body, "Statistics Report") {
		t.Errorf("the page: %d", r.code)
	}
}

// What HAProxy says of a raw line is told with the line of the spec.
func TestSpecLine(t *testing.T) {
	requireHAProxy(t)
	text := `vips: [{name: api, addresses: [10.0.0.10/24], hostname: api.example.org, interface: eno1, vrrp: {router_id: 51}}]
controllers: [{name: ctl1, address: 10.0.0.1}, {name: ctl2, address: 10.0.0.2}]
haproxy:
  global: |
    tune.maxaccept 100

    tune.no-such-thing 7
services:
  keystone:
    haproxy:
      frontend:
        - http-request no-such-action
  nova: {}
`
	dir := t.TempDir()
	cfg := haproxy.Render(parse(t, []byte(text)), haproxy.Local{RunDir: dir, StateDir: dir})
	write(t, filepath.Join(dir, haproxy.StateFile), []byte(haproxy.EmptyState))
	write(t, filepath.Join(dir, haproxy.ClosingList), nil)
	file := filepath.Join(dir, "haproxy.cfg")
	write(t, file, cfg.Bytes())
	out, _ := exec.CommandContext(t.Context(), "haproxy", "-c", "-f", file).CombinedOutput()
	lines := map[int]bool{}
	for _, m := range regexp.MustCompile(`haproxy\.cfg:(\d+)\]`).FindAllSubmatch(out, -1) {
		var n int
		fmt.Sscan(string(m[1]), &n)
		lines[cfg.SpecLine(n)] = true
	}
	if fmt.Sprint(lines) != "map[7:true 12:true]" {
		t.Errorf("lines of the spec: %v\n%s", lines, out)
	}
	n := 0
	for line := range bytes.Lines(cfg.Bytes()) {
		n++
		if at := cfg.SpecLine(n); (at == 5) != bytes.Contains(line, []byte("maxaccept")) {
			t.Errorf("line %d %q is of line %d", n, line, at)
		}
	}
}

// A raw line has the services that it is of put on trial; one for all has all.
func TestRawLinesAreParts(t *testing.T) {
	s := large(2, 2)
	parts := func() map[string]string { return haproxy.Parts(haproxy.Render(s, haproxy.Local{}), s) }
	before := parts()
	s.Services[0].HAProxy.Frontend = []spec.RawLine{{Text: "http-request deny", Line: 3}}
	after := parts()
	if after["service1"] == before["service1"] || after["service2"] != before["service2"] {
		t.Error("a raw line of a frontend is not a part of its service alone")
	}
	s.HAProxy.Global = []spec.RawLine{{Text: "maxconn 10", Line: 4}}
	if all := parts(); all["service1"] == after["service1"] || all["service2"] == after["service2"] {
		t.Error("a raw line for all is not a part of all services")
	}
}
