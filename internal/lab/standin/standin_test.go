package standin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/catalog"
	"holdfast/internal/spec"
)

const fileHead = `
cloud: test
vips:
  - {name: api, addresses: [10.0.0.10/24], hostname: api.example.org, interface: eth0, vrrp: {router_id: 1}}
controllers:
  - {name: ctl1, address: 10.0.0.11}
  - {name: ctl2, address: 10.0.0.12}
services:
`

// service parses a spec with one service and gives that.
func service(t *testing.T, yaml string) spec.Service {
	t.Helper()
	s, findings := spec.Parse("test.yaml", []byte(fileHead+yaml))
	if s == nil {
		t.Fatalf("spec: %v", findings)
	}
	return s.Services[0]
}

func testHost() spec.Host { return spec.Host{Name: "ctl1", Address: netip.MustParseAddr("127.0.0.1")} }

// An answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends one request to a stand-in and gives its answer.
func ask(s *Server, method, target, body string, header ...string) answer {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// TestEveryCheckPasses asks the stand-in of each service that the catalog
// knows, and of some of an operator's own, what its health check asks.
func TestEveryCheckPasses(t *testing.T) {
	yamls := []string{
		"  own: {type: own, port: 5668, path: /v1/$(tenant_id)s, check: {path: /dynamicproxy-api/, expect: \"200-499\"}}\n",
		"  own: {type: own, port: 5669, check: {method: OPTIONS, path: /, expect: \"401\"}}\n",
		"  own: {type: own, port: 5670, check: {method: HEAD, path: /deep/check, expect: \"204,302-303\"}}\n",
	}
	known, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range known.Names() {
		yamls = append(yamls, fmt.Sprintf("  %s: {}\n", name))
	}
	for _, yaml := range yamls {
		s := service(t, yaml)
		if s.Mode != spec.HTTP || s.Check.Layer != 7 {
			continue
		}
		resp := ask(New(s, testHost(), Options{}), s.Check.Method, s.Check.Path, "")
		if !accepts(s.Check.Expect, resp.status) {
			t.Errorf("%s: %s %s answered %d, want one of %v", s.Name, s.Check.Method, s.Check.Path, resp.status, s.Check.Expect)
		}
	}
}

func TestAnswers(t *testing.T) {
	s := New(service(t, "  keystone: {}\n"), testHost(), Options{})
	tests := []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/", "", 300, `"id":"v3.14"`},
		{"GET", "/healthcheck", "", 200, "OK"},
		{"GET", "/v3", "", 200, "CURRENT"},
		{"GET", "/v3/users", "", 200, "CURRENT"},
		{"GET", "/v3000", "", 404, "could not be found"},
		{"GET", "/bytes/5", "", 200, "\x00\x00\x00\x00\x00"},
		{"GET", "/bytes/many", "", 400, "/bytes/N"},
		{"GET", "/bytes/-1", "", 400, "/bytes/N"},
		{"GET", "/stream/6?s=0.001", "", 200, "\x00\x00\x00\x00\x9e\x37"},
		{"GET", "/stream/6", "", 400, "SECONDS"},
		{"GET", "/stream/0?s=1", "", 400, "SECONDS"},
		{"GET", "/stream/6?s=NaN", "", 400, "SECONDS"},
		{"GET", "/slow?s=0.001", "", 200, "0.001"},
		{"GET", "/slow?s=x", "", 400, "SECONDS"},
		{"POST", "/v3/auth/tokens", "12345", 201, `"bytes":5`},
		{"PUT", "/anything", strings.Repeat("x", 1<<20), 201, `"bytes":1048576`},
		{"DELETE", "/v3/x", "", 204, ""},
		{"OPTIONS", "/v3", "", 200, ""},
	}
	for _, tt := range tests {
		resp := ask(s, tt.method, tt.target, tt.body)
		if got := resp.body; resp.status != tt.status || !strings.Contains(got, tt.want) {
			t.Errorf("%s %s: %d %.200q, want %d with %q", tt.method, tt.target, resp.status, got, tt.status, tt.want)
		}
		if got := resp.header.Get("X-Served-By"); got != "ctl1" {
			t.Errorf("%s %s: served by %q", tt.method, tt.target, got)
		}
	}
}

// TestStream gives a body that is as long as it says, with its checksum.
func TestStream(t *testing.T) {
	s := New(service(t, "  nova: {}\n"), testHost(), Options{})
	resp := ask(s, "GET", "/stream/100001?s=0.05", "")
	sum := fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(resp.body)))
	if len(resp.body) != 100001 || resp.header.Get("Content-Length") != "100001" || resp.header.Get("X-Body-Crc32") != sum {
		t.Errorf("%d bytes with checksum %s, header %v", len(resp.body), sum, resp.header)
	}
}

// TestTemplatedPath answers below an endpoint whose path has a template.
func TestTemplatedPath(t *testing.T) {
	s := New(service(t, "  own: {type: own, port: 5668, path: /api/v1/$(tenant_id)s, check: {path: /, expect: \"200\"}}\n"), testHost(), Options{})
	if resp := ask(s, "GET", "/api/v1/some-project", ""); resp.status != 200 {
		t.Errorf("status %d", resp.status)
	}
}

// TestTellsWhatItSaw gives back the client that the load balancer tells of, and
// how often a request came.
func TestTellsWhatItSaw(t *testing.T) {
	s := New(service(t, "  nova: {}\n"), testHost(), Options{})
	resp := ask(s, "GET", "/echo", "", "X-Forwarded-For", "198.18.0.7")
	if got := resp.header.Get("X-Forwarded-For"); got != "198.18.0.7" {
		t.Errorf("client %q", got)
	}
	var echo struct{ Headers http.Header }
	if err := json.Unmarshal([]byte(resp.body), &echo); err != nil || echo.Headers.Get("X-Forwarded-For") != "198.18.0.7" {
		t.Errorf("echo %+v, %v", echo, err)
	}
	ask(s, "POST", "/v2.1/servers", "x", "X-Lab-Key", "k1")
	ask(s, "POST", "/v2.1/servers", "x", "X-Lab-Key", "k1")
	ask(s, "POST", "/v2.1/servers", "x", "X-Lab-Key", "k2")
	for key, want := range map[string]string{"k1": `"count":2`, "k2": `"count":1`, "k3": `"count":0`} {
		if got := ask(s, "GET", "/seen/"+key, "").body; !strings.Contains(got, want) {
			t.Errorf("seen %s: %s, want %s", key, got, want)
		}
	}
	if got := ask(s, "GET", "/requests", "").body; !strings.Contains(got, `"POST":3`) {
		t.Errorf("requests: %s", got)
	}
}

// TestFails answers 503 to everything, health check included, while told to.
func TestFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fail")
	s := New(service(t, "  nova: {}\n"), testHost(), Options{FailFile: file})
	for _, failing := range []bool{false, true, false} {
		var err error
		if failing {
			err = os.WriteFile(file, nil, 0o644)
		} else if _, statErr := os.Stat(file); statErr == nil {
			err = os.Remove(file)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/", "/v2.1", s.service.Check.Path} {
			if got := ask(s, "GET", path, "").status == 503; got != failing {
				t.Errorf("GET %s fails: %v, want %v", path, got, failing)
			}
		}
	}
}

// TestLines talks to a service that is not HTTP, as a client and as a check.
func TestLines(t *testing.T) {
	s := New(service(t, "  db: {type: db, port: 3306, mode: tcp}\n"), testHost(), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	for _, tt := range [][2]string{{"hello\n", "ctl1: hello\n"}, {"GET / HTTP/1.0\n", "HTTP/1.1 200 Checked\r\n"}} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, tt[0]); err != nil {
			t.Fatal(err)
		}
		got, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || got != tt[1] {
			t.Errorf("%q answered %q, %v", tt[0], got, err)
		}
	}
	cancel() // with a connection still open
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestAccept is the example of RFC 6455 section 1.3.
func TestAccept(t *testing.T) {
	if got := accept("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("got %s", got)
	}
}
