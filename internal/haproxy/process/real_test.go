package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/ours"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// patience is how long a condition may take before a test gives up on it.
const patience = 20 * time.Second

// A bench is a real HAProxy on loopback with stand-ins behind it.
type bench struct {
	t        testing.TB
	net      [3]byte // of 127.A.B.0/24, so that tests do not meet
	port     int
	state    string
	run      string
	user     string // of the worker; empty: the test's own
	backends map[string]*standIn
	spec     *spec.Spec
}

// newBench makes a bench with service "api" on hosts a, b and c.
func newBench(t testing.TB) *bench {
	t.Helper()
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Skip("no haproxy here; apt-get install haproxy")
	}
	if os.Getuid() != 0 {
		t.Skip("binding a VIP that is not here needs root")
	}
	dir := t.TempDir()
	b := &bench{
		t: t, net: [3]byte{127, byte(1 + rand.IntN(250)), byte(1 + rand.IntN(250))}, port: 20000 + rand.IntN(10000),
		state: filepath.Join(dir, "state"), run: filepath.Join(dir, "run"), backends: make(map[string]*standIn),
	}
	for _, d := range []string{b.state, b.run} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b.spec = &spec.Spec{
		Cloud: "test", Agent: spec.Agent{CheckPort: 9471},
		VIPs: []spec.VIP{{Name: "api", Addresses: []netip.Prefix{netip.PrefixFrom(b.addr(1), 24)}, Hostname: "api.example.org"}},
	}
	var hosts []spec.Host
	for i, name := range []string{"a", "b", "c"} {
		h := spec.Host{Name: name, Address: b.addr(11 + i)}
		hosts = append(hosts, h)
		b.backends[name] = newStandIn(t, name, netip.AddrPortFrom(h.Address, uint16(b.port)))
	}
	b.spec.Services = []spec.Service{{
		Name: "api", Port: b.port, Affinity: spec.AffinityNone, Hosts: hosts,
		// A machine that is busy with other tests must not look like a host that hangs.
		Timeout: spec.Timeout{Check: 5 * time.Second},
		Check:   spec.Check{Layer: 7, Method: "GET", Path: "/healthcheck", Expect: []spec.CodeRange{{From: 200, To: 200}}},
	}}
	t.Cleanup(b.killHAProxy)
	return b
}

func (b *bench) addr(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{b.net[0], b.net[1], b.net[2], byte(n)})
}

// killHAProxy ends what HAProxy processes the test has left, as the run
// directory is this test's alone.
func (b *bench) killHAProxy() {
	all, err := ours.Find(b.run, "haproxy", ours.Identity{})
	if err != nil {
		b.t.Error(err)
	}
	for _, p := range all {
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			b.t.Error(err)
		}
	}
}

func (b *bench) cfg() *haproxy.Config {
	return haproxy.Render(b.spec, haproxy.Local{RunDir: b.run, StateDir: b.state, MaxConn: 500, User: b.user, Group: b.user})
}

// edited gives the configuration with one of its lines, where that comes first, replaced
// by another, or without it where that is empty.
func (b *bench) edited(line, by string) *haproxy.Config {
	b.t.Helper()
	if by != "" {
		by = "    " + by + "\n"
	}
	text := strings.Replace(string(b.cfg().Bytes()), "    "+line+"\n", by, 1)
	var c haproxy.Config
	model, err := json.Marshal(b.cfg())
	if err == nil {
		err = json.Unmarshal(model, &c)
	}
	for i := range c.Sections {
		s := &c.Sections[i]
		if s.Bind != nil && line == "bind "+s.Bind.Address.String()+" transparent" {
			s.Bind, s.Lines = nil, slices.Insert(s.Lines, 0, haproxy.Line{Text: line})
		}
		at := slices.IndexFunc(s.Lines, func(l haproxy.Line) bool { return l.Text == line })
		if at < 0 {
			continue
		}
		if s.Lines[at].Text = strings.TrimSpace(by); by == "" {
			s.Lines = slices.Delete(s.Lines, at, at+1)
		}
		break
	}
	model, err2 := json.Marshal(c)
	read := haproxy.ReadConfig([]byte(text), model)
	if err := errors.Join(err, err2); err != nil || !read.Known() {
		b.t.Fatalf("%q in the place of %q: %v", by, line, err)
	}
	return read
}

// manager runs a Manager until the function it gives is called, or the test ends.
func (b *bench) manager(change ...func(*Options)) (*Manager, func()) {
	b.t.Helper()
	o := Options{StateDir: b.state, RunDir: b.run, Log: testLog(b.t)}
	for _, f := range change {
		f(&o)
	}
	m := New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Run: %v", err)
		}
	})
	b.t.Cleanup(stop)
	return m, stop
}

func (b *bench) apply(m *Manager, want Action) {
	b.t.Helper()
	r, err := m.Apply(b.t.Context(), b.cfg())
	if err != nil {
		b.t.Fatalf("Apply: %v", err)
	}
	if r.Action != want {
		b.t.Fatalf("Apply: %s, want %s", r.Action, want)
	}
}

// get asks the VIP, and gives the status code and the body.
func (b *bench) get(path string) (int, string) {
	b.t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(b.url(path))
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func (b *bench) url(path string) string {
	return fmt.Sprintf("http://%v:%d%s", b.addr(1), b.port, path)
}

// await waits until ok is true of the state of m.
func await(t *testing.T, m *Manager, what string, ok func(status.HAProxy) bool) status.HAProxy {
	t.Helper()
	deadline := time.After(patience)
	for {
		changed := m.Changes()
		s := m.State()
		if ok(s) {
			return s
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("not %s in %v: %+v", what, patience, s)
		}
	}
}

func awaitState(t *testing.T, m *Manager, want status.HAProxyState) status.HAProxy {
	t.Helper()
	return await(t, m, string(want), func(s status.HAProxy) bool { return s.State == want })
}

// eventually waits until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s in %v", what, patience)
		}
	}
}

// A standIn is a service on one host.
type standIn struct {
	name     string
	server   *http.Server
	listener net.Listener
	health   atomic.Int32 // the status of its health check
	seen     atomic.Int64 // requests, without checks
}

func newStandIn(t testing.TB, name string, at netip.AddrPort) *standIn {
	t.Helper()
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	s := &standIn{name: name, listener: l}
	s.health.Store(200)
	s.server = &http.Server{Handler: s}
	go s.server.Serve(l)
	t.Cleanup(func() { s.server.Close() })
	return s
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthcheck" {
		w.WriteHeader(int(s.health.Load()))
		return
	}
	s.seen.Add(1)
	if r.URL.Path == "/tunnel" {
		echo(w)
		return
	}
	if r.URL.Path == "/slow" {
		time.Sleep(time.Second)
	}
	fmt.Fprint(w, s.name)
}

// echo answers with a tunnel, and gives back what comes through it.
func echo(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	c, rw, err := hijacker.Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	_, _ = io.Copy(c, rw)
}

// testLog writes the log into the test's output.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(&testWriter{t: t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ t testing.TB }

func (w *testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(string(bytes.TrimSpace(p)))
	}
	return len(p), nil
}
