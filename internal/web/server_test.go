package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
	"holdfast/internal/web/page"
)

// listen gives a listener on loopback.
func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// start serves s until the test ends, and gives its URL. Serve must then end
// without an error.
func start(t testing.TB, s *Server) string {
	t.Helper()
	listener := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return "http://" + listener.Addr().String()
}

// answer is what a server said.
type answer struct {
	StatusCode int
	Header     http.Header
}

// get fetches url and gives the answer and its body.
func get(t *testing.T, method, url string) (answer, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header}, string(body)
}

func TestServerAnswers(t *testing.T) {
	url := start(t, demoServer(demoDegraded()))
	tests := []struct {
		method, path string
		code         int
		contentType  string
		contains     string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", "cloudcontrol1005"},
		{"HEAD", "/", 200, "text/html; charset=utf-8", ""},
		{"GET", "/status", 200, "application/json", `"controller": "cloudcontrol1003"`},
		{"GET", "/cloud", 200, "application/json", `"healthy": false`},
		{"GET", "/events", 200, "application/json", `"kind": "vip-active"`},
		{"GET", "/incidents?n=0", 200, "application/json", `"incidents": []`},
		{"GET", "/incidents?n=-1", 400, "application/json", `"error": "n is \"-1\", want a number from 0 to 4000"`},
		{"GET", "/events?n=0", 200, "application/json", `"events": []`},
		{"GET", "/events?n=-1", 400, "application/json", `"error": "n is \"-1\", want a number from 0 to 4000"`},
		{"GET", "/events?n=x", 400, "application/json", `"error"`},
		{"GET", "/metrics", 200, "", "holdfast_info"},
		{"GET", "/healthz", 200, "text/plain; charset=utf-8", "ok\n"},
		{"GET", "/assets/style.css", 200, "text/css; charset=utf-8", "prefers-color-scheme"},
		{"GET", "/assets/live.js", 200, "text/javascript; charset=utf-8", "EventSource"},
		{"GET", "/assets/icon.svg", 200, "image/svg+xml", "<svg"},
		{"GET", "/assets/page.html", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/assets/..%2Fweb.go", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/nothing", 404, "text/plain; charset=utf-8", ""},
		{"HEAD", "/stream", 200, "text/event-stream", ""},
		{"POST", "/", 405, "text/plain; charset=utf-8", ""},
		{"POST", "/status", 405, "text/plain; charset=utf-8", ""},
		{"DELETE", "/metrics", 405, "text/plain; charset=utf-8", ""},
		{"POST", "/reload", 404, "text/plain; charset=utf-8", ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			resp, body := get(t, tt.method, url+tt.path)
			if resp.StatusCode != tt.code {
				t.Errorf("code %d, want %d", resp.StatusCode, tt.code)
			}
			if got := resp.Header.Get("Content-Type"); tt.contentType != "" && got != tt.contentType {
				t.Errorf("Content-Type %q, want %q", got, tt.contentType)
			}
			if !strings.Contains(body, tt.contains) {
				t.Errorf("body does not contain %q:\n%s", tt.contains, body)
			}
			if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") {
				t.Errorf("Content-Security-Policy %q", csp)
			}
			if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("no X-Content-Type-Options")
			}
		})
	}
}

// TestStatusIsTheSnapshot proves that what a controller tells is what it has.
func TestStatusIsTheSnapshot(t *testing.T) {
	resp, body := get(t, "GET", start(t, demoServer(demoDegraded()))+"/status")
	var got status.Snapshot
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := demoController(0, 3)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	if got := resp.Header.Get(clockHeader); got != demoNow.Format(time.RFC3339Nano) {
		t.Errorf("%s is %q", clockHeader, got)
	}
}

func TestHealth(t *testing.T) {
	snap := demoController(0, 3)
	var alive error
	s := New(Options{
		Self: snap.Controller, Snapshot: func() status.Snapshot { return snap }, Alive: func() error { return alive },
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return demoNow },
	})
	url := start(t, s)
	check := func(code int, want string) {
		t.Helper()
		if resp, body := get(t, "GET", url+"/healthz"); resp.StatusCode != code || body != want {
			t.Errorf("%d %q, want %d %q", resp.StatusCode, body, code, want)
		}
	}
	check(200, "ok\n")
	snap.HAProxy.State, snap.HAProxy.Reason = status.HAProxyHung, "no answer for 300ms"
	check(503, "haproxy is hung: no answer for 300ms\n")
	snap.Time = ago(12 * time.Second)
	check(503, "the agent stands still: what it says is 12s old\n")
	alive = errors.New("its loop has not turned for 3s")
	check(503, "the agent stands still: its loop has not turned for 3s\n")
	if _, body := get(t, "GET", url+"/status"); !strings.Contains(body, `"text": "its agent stands still: its loop has not turned for 3s"`) {
		t.Errorf("the snapshot of an agent that stands still does not say so:\n%s", body)
	}
}

// TestHostileRequests proves that one client cannot take much of the agent.
func TestHostileRequests(t *testing.T) {
	addr := strings.TrimPrefix(start(t, demoServer(demoDegraded())), "http://")
	for name, request := range map[string]string{
		"header too large": "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
		"no HTTP":          "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
		"bad method":       "G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go io.WriteString(conn, request) // the server may hang up before all of it is read
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				return // it hung up, which will do
			}
			defer resp.Body.Close()
			if resp.StatusCode < 400 {
				t.Errorf("answered %s", resp.Status)
			}
		})
	}
}

// event is one server-sent event's fragment.
type event struct{ ID, HTML, Title string }

// nextEvent reads the next fragment of a stream.
func nextEvent(t *testing.T, lines *bufio.Scanner) event {
	t.Helper()
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var e event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				t.Fatal(err)
			}
			return e
		}
	}
	t.Fatalf("the stream ended: %v", lines.Err())
	return event{}
}

// TestStream proves that a stream sends everything once, and then what changes.
func TestStream(t *testing.T) {
	s := demoServer(view{})
	views := make(chan view)
	s.live.look = func(ctx context.Context) view {
		select {
		case v := <-views:
			return v
		case <-ctx.Done():
			return view{}
		}
	}
	url := start(t, s)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	healthy := demoViews()["healthy"]
	views <- healthy
	var ids []string
	for range page.Parts() {
		ids = append(ids, nextEvent(t, lines).ID)
	}
	if diff := cmp.Diff(page.Parts(), ids); diff != "" {
		t.Errorf("first fragments (-want +got):\n%s", diff)
	}
	later := healthy
	later.cloud.Time = demoNow.Add(time.Second)
	views <- later
	if e := nextEvent(t, lines); e.ID != "clock" || !strings.Contains(e.HTML, "10:42:08 UTC") {
		t.Errorf("when only time has passed: %+v", e)
	}
	views <- demoUnreachable()
	if e := nextEvent(t, lines); e.ID != "head" || e.Title != "▲ eqiad1: serving; cloudcontrol1003 lost since 10:41; no action needed now" {
		t.Errorf("when the cloud is degraded: %+v", e)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	s := demoServer(demoDegraded())
	for range maxStreams {
		_, leave, ok := s.join()
		if !ok {
			t.Fatal("not as many as there may be")
		}
		defer leave()
	}
	if resp, _ := get(t, "GET", start(t, s)+"/stream"); resp.StatusCode != 503 {
		t.Errorf("one stream too many: %d", resp.StatusCode)
	}
}

// TestCacheAsksOnce proves that many pages cost no more questions than one.
func TestCacheAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		c := cache[view]{age: viewAge, now: time.Now, load: func(context.Context) view {
			loads++
			time.Sleep(300 * time.Millisecond)
			return view{cloud: cloud.Cloud{Cloud: fmt.Sprint(loads)}}
		}}
		for range 10 {
			go c.get(t.Context())
		}
		synctest.Wait()
		if got := c.get(t.Context()).cloud.Cloud; got != "1" || loads != 1 {
			t.Errorf("view %s after %d loads", got, loads)
		}
		time.Sleep(viewAge - time.Millisecond)
		if c.get(t.Context()); loads != 1 {
			t.Errorf("%d loads while the view is young", loads)
		}
		time.Sleep(time.Millisecond)
		if got := c.get(t.Context()).cloud.Cloud; got != "2" || loads != 2 {
			t.Errorf("view %s after %d loads, when it is old", got, loads)
		}
		time.Sleep(viewAge)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if got := c.get(gone).cloud.Cloud; got != "2" {
			t.Errorf("who cannot wait gets view %s, want the last", got)
		}
		time.Sleep(time.Second)
	})
}

// TestCloudAsksTheOthers proves that /cloud is every controller's word, with
// this one's own not asked over the network, in the order of the spec.
func TestCloudAsksTheOthers(t *testing.T) {
	serve := func(i int) *Server {
		snap := demoController(i, 3)
		return New(Options{
			Self: snap.Controller, Snapshot: func() status.Snapshot { return snap },
			Events: func(int) []status.Event {
				return []status.Event{{Time: ago(time.Duration(i) * time.Minute), Controller: snap.Controller, Kind: "reload"}}
			},
			Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return demoNow },
		})
	}
	second := strings.TrimPrefix(start(t, serve(1)), "http://")
	gone := listen(t)
	gone.Close()
	s := serve(0)
	s.opt.Controllers = func() []Target {
		return []Target{{demoName(1), second}, {demoName(0), "192.0.2.1:9470"}, {demoName(2), gone.Addr().String()}}
	}
	v := s.views.get(t.Context())
	var got []string
	for _, c := range v.cloud.Controllers {
		got = append(got, fmt.Sprintf("%s %t %s", c.Name, c.Reachable, c.Error))
	}
	want := []string{
		"cloudcontrol1004 true ", "cloudcontrol1003 true ",
		"cloudcontrol1005 false connection refused: nothing listens at " + gone.Addr().String(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("controllers (-want +got):\n%s", diff)
	}
	var events []string
	for _, e := range v.events {
		events = append(events, e.Controller)
	}
	if diff := cmp.Diff([]string{"cloudcontrol1003", "cloudcontrol1004"}, events); diff != "" {
		t.Errorf("events, newest first (-want +got):\n%s", diff)
	}
}
