package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"holdfast/internal/spec"
)

// run runs c and gives the records in the order in which they were due.
func run(ctx context.Context, t *testing.T, c Config) []Record {
	t.Helper()
	var mu sync.Mutex
	var all []Record
	c.Record = func(r Record) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, r)
	}
	if err := Run(ctx, c); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b Record) int { return a.Due.Compare(b.Due) })
	return all
}

func config(urls ...string) Config {
	c := Config{Rate: 200, Duration: 100 * time.Millisecond, Timeout: 5 * time.Second, Connections: New}
	for i, u := range urls {
		c.Targets = append(c.Targets, Target{fmt.Sprint("t", i), u})
	}
	return c
}

// TestSendsOnSchedule sends each request when it is due, by turns, with a key
// of its own, and records who answered.
func TestSendsOnSchedule(t *testing.T) {
	var mu sync.Mutex
	keys := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != r.ContentLength && r.Method == "POST" {
			t.Errorf("body of %d bytes: %v", n, err)
		}
		mu.Lock()
		keys[r.Header.Get("X-Lab-Key")] = r.Method + " " + r.URL.Path
		mu.Unlock()
		w.Header().Set("X-Served-By", "ctl1")
	}))
	defer server.Close()
	c := config(server.URL+"/a", server.URL+"/b")
	c.Methods, c.Body = []string{"GET", "POST"}, 10
	records := run(t.Context(), t, c)
	if len(records) != 20 || len(keys) != 20 {
		t.Fatalf("%d records of %d requests, want 20", len(records), len(keys))
	}
	want := []string{"GET /a", "GET /b", "POST /a", "POST /b"}
	for i, r := range records {
		if r.Failure != "" || r.Status != 200 || r.Host != "ctl1" || keys[r.Key] != want[i%4] {
			t.Errorf("request %d: %+v arrived as %q, want %q", i, r, keys[r.Key], want[i%4])
		}
		if due := records[0].Due.Add(time.Duration(i) * 5 * time.Millisecond); !r.Due.Equal(due) {
			t.Errorf("request %d was due at %v, want %v", i, r.Due, due)
		}
	}
}

// TestStallIsEveryonesStall holds the load to being open: while the service
// stalls, requests go on leaving, and each one's wait counts from its own time.
func TestStallIsEveryonesStall(t *testing.T) {
	arrived := make(chan struct{}, 100)
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer server.Close()
	go func() {
		for range 20 { // all of them wait at the same time
			<-arrived
		}
		close(release)
	}()
	records := run(t.Context(), t, config(server.URL))
	end := records[19].End()
	for i, r := range records {
		if r.Failure != "" || r.Took <= 0 || r.Due.Add(r.Took).Before(records[19].Due) {
			t.Errorf("request %d: %+v ended before the last one had been sent; the load ended at %v", i, r, end)
		}
	}
}

// TestKeepAlive uses idle connections again, but none that the other side has
// closed in the meantime: that is no failure of a request.
func TestKeepAlive(t *testing.T) {
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c := config(server.URL)
	c.Connections, c.Rate, c.Duration = KeepAlive, 50, 200*time.Millisecond
	records := run(t.Context(), t, c)
	reused := 0
	for _, r := range records {
		if r.Failure != "" {
			t.Errorf("failed: %+v", r)
		}
		if r.Reused {
			reused++
		}
	}
	if reused == 0 || int(opened.Load())+reused != len(records) {
		t.Errorf("%d requests on %d connections, %d on used ones", len(records), opened.Load(), reused)
	}
	cl, err := newClient(c)
	if err != nil {
		t.Fatal(err)
	}
	keepAlive := stream{connections: KeepAlive}
	s := cl.shot(keepAlive, 0, time.Now())
	if r := cl.fire(t.Context(), s); r.Failure != "" {
		t.Fatalf("first request: %+v", r)
	}
	server.CloseClientConnections()
	kept := cl.idle[s.pool()][0]
	for range 1500 {
		if stirred(kept.raw) != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if r := cl.fire(t.Context(), cl.shot(keepAlive, 1, time.Now())); r.Failure != "" || r.Reused {
		t.Errorf("after the server had closed the connection: %+v", r)
	}
}

// TestFailures asks servers that fail in all the ways there are.
func TestFailures(t *testing.T) {
	serve := func(do func(net.Conn)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go do(conn)
			}
		}()
		return "http://" + l.Addr().String() + "/"
	}
	readRequest := func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }
	tests := []struct {
		name string
		url  string
		want Failure
	}{
		{"nobody listens", "http://" + unheard(t) + "/", Refused},
		{"closes without an answer", serve(func(c net.Conn) { readRequest(c); _ = c.Close() }), Closed},
		{"resets", serve(func(c net.Conn) { readRequest(c); _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() }), Reset},
		{"never answers", serve(func(net.Conn) {}), Timeout},
		{"stops in the middle", serve(func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
			_ = c.Close()
		}), Closed},
		{"answers 503", serve(func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
		}), ServerError},
		{"is no HTTP", serve(func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, "SSH-2.0-x\r\n") }), Other},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := config(tt.url)
			c.Rate, c.Timeout = 20, 300*time.Millisecond
			for _, r := range run(t.Context(), t, c) {
				if r.Failure != tt.want || r.Error == "" {
					t.Errorf("failed as %q (%s), want %q", r.Failure, r.Error, tt.want)
				}
			}
		})
	}
}

// unheard gives an address at which nobody listens, and nobody else can: it is
// bound. A port that was only free a moment ago may be the next listener's.
func unheard(t *testing.T) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port)
}

// TestStops ends the load with its context; what was in flight is cancelled.
func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	c := config(server.URL)
	c.Duration = time.Hour
	for _, r := range run(ctx, t, c) {
		if r.Failure != Cancelled {
			t.Errorf("ended as %q: %s", r.Failure, r.Error)
		}
	}
}

func TestRefusesConfig(t *testing.T) {
	tests := []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Targets = nil }, "no target"},
		{func(c *Config) { c.Rate = 0 }, "rate"},
		{func(c *Config) { c.Rate = MaxRate + 1 }, "rate"},
		{func(c *Config) { c.Duration = -1 }, "duration"},
		{func(c *Config) { c.Timeout = 0 }, "timeout"},
		{func(c *Config) { c.Connections = "old" }, "keep-alive"},
		{func(c *Config) { c.Targets[0].URL = "localhost:5000" }, "not an http"},
	}
	for _, tt := range tests {
		c := config("http://localhost:1/")
		tt.change(&c)
		if err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q in it", err, tt.want)
		}
	}
}

func TestClassify(t *testing.T) {
	tests := map[Failure]error{
		Timeout:   fmt.Errorf("x: %w", context.DeadlineExceeded),
		Cancelled: context.Canceled,
		Closed:    io.ErrUnexpectedEOF,
		Other:     errors.New("whatever"),
	}
	for want, err := range tests {
		if got := Classify(err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}

func TestSummarize(t *testing.T) {
	start := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	at := func(n int) time.Time { return start.Add(ms(n)) }
	record := func(due, took int, host string, f Failure) Record {
		return Record{Due: at(due), Took: ms(took), Host: host, Failure: f, Late: ms(due / 100)}
	}
	records := []Record{
		record(-5, 2, "early", ""), // due before
		record(0, 10, "a", ""),
		record(100, 1, "a", ""),
		record(200, 5, "", Refused),
		record(300, 900, "b", ""), // ends after the end
		record(400, 2, "b", ""),
		record(450, 1, "", Refused),
		record(460, 1, "", Timeout),
		record(500, 1, "late", ""), // due after
	}
	got := Summarize(records, start, at(500))
	want := Summary{
		From: start, To: at(500), Requests: 7, Failed: 3, Kinds: map[Failure]int{Refused: 2, Timeout: 1},
		LongestGap: ms(301), P50: ms(2), P99: ms(900), Slowest: ms(900), Late: ms(4), Hosts: map[string]int{"a": 2, "b": 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if got := Summarize(nil, start, at(500)); got.LongestGap != ms(500) || got.Requests != 0 || got.P99 != 0 {
		t.Errorf("summary of nothing: %+v", got)
	}
}

// TestFailuresAfter forgives what was in flight, or sent on a connection that
// was open, and nothing else.
func TestFailuresAfter(t *testing.T) {
	moment := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	records := []Record{
		{Key: "after", Due: moment.Add(2), Failure: Reset},
		{Key: "in flight", Due: moment.Add(-1), Failure: Reset},
		{Key: "well", Due: moment.Add(1)},
		{Key: "stale", Due: moment.Add(1), Failure: Reset, Reused: true, Opened: moment.Add(-5)},
		{Key: "reused, opened after", Due: moment.Add(9), Failure: Reset, Reused: true, Opened: moment.Add(5)},
		{Key: "at the moment", Due: moment, Failure: Refused},
	}
	var got []string
	for _, r := range FailuresAfter(records, moment) {
		got = append(got, r.Key)
	}
	if diff := cmp.Diff([]string{"at the moment", "after", "reused, opened after"}, got); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
}

func TestTargetsOf(t *testing.T) {
	s := &spec.Spec{
		VIPs: []spec.VIP{{Hostname: "api.example.org", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}, {Hostname: "in.example.org", TLS: &spec.TLS{}}},
		Services: []spec.Service{
			{Name: "heat", Port: 8004, Path: "/v1/%(tenant_id)s", Mode: spec.HTTP},
			{Name: "glance", Port: 9292, Mode: spec.HTTP},
			{Name: "db", Port: 3306, Mode: spec.TCP},
		},
	}
	want := []Target{
		{"heat", "http://api.example.org:8004/v1/lab"},
		{"glance", "http://api.example.org:9292/"},
		{"heat", "https://in.example.org:8004/v1/lab"},
		{"glance", "https://in.example.org:9292/"},
	}
	if diff := cmp.Diff(want, TargetsOf(s)); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}
