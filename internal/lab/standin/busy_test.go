package standin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/lab/busy"
)

const ms = time.Millisecond

// TestWorkersAreShared has health checks and uploads wait for the same workers
// as everything else.
func TestWorkersAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(service(t, "  keystone: {}\n"), testHost(), Options{Start: busy.Behaviour{Workers: 1, Hold: 100 * ms}})
		begin := time.Now()
		var all sync.WaitGroup
		took := func(want time.Duration, do func() int) {
			all.Go(func() {
				status := do()
				if got := time.Since(begin); got != want || status >= 400 {
					t.Errorf("answered %d after %v, want %v", status, got, want)
				}
			})
			synctest.Wait()
		}
		took(1100*ms, func() int { // its body comes over a second
			body, sent := io.Pipe()
			go func() {
				time.Sleep(1100 * ms)
				_ = sent.Close()
			}()
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest("PUT", "/v3/x", body))
			return w.Code
		})
		took(1200*ms, func() int { return ask(s, "GET", "/v3", "").status })
		took(1300*ms, func() int { return ask(s, s.service.Check.Method, s.service.Check.Path, "").status })
		all.Wait()
	})
}

// TestBehaviourFile takes on what the file says with the next request, and goes
// back to what it was started with.
func TestBehaviourFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "behaviour")
	s := New(service(t, "  nova: {}\n"), testHost(), Options{Start: busy.Behaviour{Hold: ms}, BehaviourFile: file})
	for _, want := range []busy.Behaviour{{Hold: ms}, {Hold: 2 * ms}, {Workers: 3}, {}} {
		if want.Hold != ms {
			if err := want.WriteFile(file); err != nil {
				t.Fatal(err)
			}
		}
		if ask(s, "GET", "/v2.1", ""); s.pool.Behaviour() != want {
			t.Errorf("it behaves as %+v, want %+v", s.pool.Behaviour(), want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if ask(s, "GET", "/v2.1", ""); s.pool.Behaviour() != (busy.Behaviour{Hold: ms}) {
		t.Errorf("without the file it behaves as %+v", s.pool.Behaviour())
	}
	if err := os.WriteFile(file, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := ask(s, "GET", "/v2.1", ""); got.status != 500 || !strings.Contains(got.body, "behaviour") {
		t.Errorf("a file that is none: %d %s", got.status, got.body)
	}
}

// TestPushesBack answers 503 with Retry-After to what is beyond its rate, and
// neither counts health checks nor turns them away.
func TestPushesBack(t *testing.T) {
	arrivals := filepath.Join(t.TempDir(), "arrivals")
	s := New(service(t, "  nova: {}\n"), testHost(), Options{Start: busy.Behaviour{Limited: true, Rate: 10}, Arrivals: arrivals})
	for i, want := range []int{201, 503, 503} {
		for range 3 {
			if got := ask(s, s.service.Check.Method, s.service.Check.Path, ""); got.status >= 400 {
				t.Errorf("a health check got %d", got.status)
			}
		}
		got := ask(s, "POST", "/v2.1/servers", "x", "X-Lab-Key", fmt.Sprint("k", i))
		if got.status != want || (want == 503) != (got.header.Get("Retry-After") == "1") {
			t.Errorf("request %d: %d, Retry-After %q, want %d", i, got.status, got.header.Get("Retry-After"), want)
		}
	}
	if data, err := os.ReadFile(arrivals); err != nil || string(data) != "k0\n" { // what was turned away was not carried out
		t.Errorf("arrived: %q, %v", data, err)
	}
}

// TestCloses closes the connection of a request with large headers without an
// answer, and of no other.
func TestCloses(t *testing.T) {
	s := New(service(t, "  nova: {}\n"), testHost(), Options{Start: busy.Behaviour{Closes: true}})
	addr, end := serve(t, s)
	for size, want := range map[int]string{3500: "HTTP/1.1 200 OK\r\n", 5000: ""} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET /v2.1 HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %s\r\n\r\n", strings.Repeat("t", size)); err != nil {
			t.Fatal(err)
		}
		got, err := bufio.NewReader(conn).ReadString('\n')
		if got != want || (want == "") != errors.Is(err, io.EOF) {
			t.Errorf("a token of %d bytes: %q, %v", size, got, err)
		}
	}
	end()
}

// TestCountsOutlive counts all that was seen, whatever the answer, in this
// process and the next.
func TestCountsOutlive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "counts")
	for range 2 {
		s := New(service(t, "  nova: {}\n"), testHost(), Options{Start: busy.Behaviour{Limited: true}, Counts: file})
		addr, end := serve(t, s)
		for range 2 {
			get(t, "http://"+addr+s.service.Check.Path, "")
		}
		get(t, "http://"+addr+"/v2.1", "")
		get(t, "http://"+addr+s.service.Check.Path, "k1") // from a load generator
		end()
	}
	got, err := busy.ReadCounts(file)
	if want := (busy.Counts{Requests: 4, Keyed: 2, Checks: 4}); got != want || err != nil {
		t.Errorf("seen %+v, %v, want %+v", got, err, want)
	}
}

// TestFinish closes the listener first and ends when all is answered.
func TestFinish(t *testing.T) {
	for yaml, lines := range map[string][3]string{ // sent, answered, sent when it is to finish
		"  nova: {}\n": {"PUT /v2.1/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", "HTTP/1.1 100 Continue\r\n", "here"},
		"  db: {type: db, port: 3306, mode: tcp}\n": {"hello\n", "ctl1: hello\n", "more\n"},
	} {
		s := New(service(t, yaml), testHost(), Options{})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(t.Context(), l) }()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(conn)
		talk := func(text string) string {
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			answer, err := answers.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: after %q: %v", s.service.Name, text, err)
			}
			return answer
		}
		if got := talk(lines[0]); got != lines[1] {
			t.Fatalf("%s: answered %q", s.service.Name, got)
		}
		s.Finish()
		for refused := false; !refused; time.Sleep(ms) {
			other, err := net.Dial("tcp", l.Addr().String())
			if refused = err != nil; !refused {
				_ = other.Close()
			}
		}
		select {
		case err := <-served:
			t.Fatalf("%s: it ended with a request in flight: %v", s.service.Name, err)
		case <-time.After(50 * ms):
		}
		talk(lines[2])
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// serve serves s until end is called.
func serve(t *testing.T, s *Server) (addr string, end func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	return l.Addr().String(), func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

func get(t *testing.T, url, key string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("X-Lab-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
}
