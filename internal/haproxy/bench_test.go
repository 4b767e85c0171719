package haproxy_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
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
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// patience is how long a condition may take before a test gives up on it.
const patience = 20 * time.Second

// requireHAProxy skips a test that needs the real thing.
func requireHAProxy(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("no haproxy here; apt-get install haproxy")
	}
	if os.Getuid() != 0 {
		t.Skip("binding a VIP that is not here needs root")
	}
	return path
}

// A bench is stand-ins on loopback, and a spec for HAProxys in front of them.
type bench struct {
	t     *testing.T
	a, b  byte // of 127.A.B.0/24, so that tests do not meet
	spec  *spec.Spec
	hosts map[string]*standIn
	edit  func(cfg []byte) []byte // of the configuration, before HAProxy has it; nil: none
	pem   []byte                  // the VIP's certificate; nil: one is made
	more  [][]byte                // its others
}

// newBench makes a bench with service "api" on hosts of these names.
func newBench(t *testing.T, names ...string) *bench {
	t.Helper()
	requireHAProxy(t)
	b := &bench{t: t, a: byte(1 + rand.IntN(250)), b: byte(1 + rand.IntN(250)), hosts: make(map[string]*standIn)}
	port := 20000 + rand.IntN(10000)
	svc := spec.Service{
		Name: "api", Port: port, Affinity: spec.AffinitySource,
		// A machine that is busy with other tests must not look like a host that hangs.
		Timeout: spec.Timeout{Check: 5 * time.Second},
		Check:   spec.Check{Layer: 7, Method: "GET", Path: "/healthcheck", Expect: []spec.CodeRange{{From: 200, To: 200}}},
	}
	for i, name := range names {
		svc.Hosts = append(svc.Hosts, spec.Host{Name: name, Address: b.addr(11 + i)})
		b.hosts[name] = newStandIn(t, name, netip.AddrPortFrom(b.addr(11+i), uint16(port)))
	}
	b.spec = &spec.Spec{
		Cloud: "test", Agent: spec.Agent{CheckPort: 9471}, Services: []spec.Service{svc},
		Controllers: []spec.Controller{{Name: "c1", Address: b.addr(201)}, {Name: "c2", Address: b.addr(202)}},
		VIPs:        []spec.VIP{{Name: "api", Addresses: []netip.Prefix{netip.PrefixFrom(b.addr(1), 24)}, Hostname: "api.example.org"}},
	}
	return b
}

func (b *bench) addr(n int) netip.Addr  { return netip.AddrFrom4([4]byte{127, b.a, b.b, byte(n)}) }
func (b *bench) service() *spec.Service { return &b.spec.Services[0] }

// A balancer is one HAProxy.
type balancer struct {
	*bench
	vip netip.Addr
	run string
}

// start runs an HAProxy with the spec as it is, on the VIP vip, and waits
// until it has checked every host.
func (b *bench) start(vip int) *balancer {
	b.t.Helper()
	s := *b.spec
	s.VIPs = append([]spec.VIP(nil), s.VIPs...)
	s.VIPs[0].Addresses = append([]netip.Prefix{netip.PrefixFrom(b.addr(vip), 24)}, s.VIPs[0].Addresses[1:]...)
	x := &balancer{bench: b, vip: b.addr(vip), run: b.t.TempDir()}
	write(b.t, filepath.Join(x.run, haproxy.StateFile), []byte(haproxy.EmptyState))
	write(b.t, filepath.Join(x.run, haproxy.ClosingList), nil)
	cfg := filepath.Join(x.run, "haproxy.cfg")
	text := haproxy.Render(&s, haproxy.Local{RunDir: x.run, StateDir: x.run, MaxConn: 500}).Bytes()
	if b.edit != nil {
		text = b.edit(text)
	}
	write(b.t, cfg, text)
	if s.VIPs[0].TLS != nil {
		if err := os.Mkdir(filepath.Join(x.run, "tls"), 0o700); err != nil {
			b.t.Fatal(err)
		}
		data := b.pem
		if data == nil {
			data = selfSigned(b.t)
		}
		write(b.t, haproxy.CertificateFile(x.run, s.VIPs[0].Name), data)
		for i := range s.VIPs[0].TLS.More {
			write(b.t, haproxy.CertificateFile(x.run, haproxy.CertificateName(s.VIPs[0], i+1)), b.more[i])
		}
	}
	cmd := exec.Command("haproxy", "-db", "-f", cfg)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if b.t.Failed() {
			b.t.Logf("haproxy: %s", said.String())
		}
	})
	b.eventually("every host checked", func() bool {
		for _, h := range x.states() {
			if h.State == status.Unknown {
				return false
			}
		}
		return len(x.states()) > 0
	})
	return x
}

// ask sends a command to the runtime API; nil when HAProxy does not answer yet.
func (x *balancer) ask(command string) []byte {
	conn, err := net.Dial("unix", filepath.Join(x.run, haproxy.RuntimeSocket))
	if err != nil {
		return nil
	}
	defer conn.Close()
	fmt.Fprintln(conn, command)
	reply, _ := io.ReadAll(conn)
	return reply
}

// rows gives "show stat".
func (x *balancer) rows() []output.Row {
	rows, err := output.ParseStat(x.ask("show stat"))
	if err != nil {
		return nil
	}
	return rows
}

// states gives the hosts of the service, by name.
func (x *balancer) states() map[string]status.Host {
	out := make(map[string]status.Host)
	for _, h := range haproxy.Services(x.spec, x.rows(), time.Now())[0].Hosts {
		out[h.Name] = h
	}
	return out
}

func (x *balancer) awaitState(host string, want status.ServiceState) status.Host {
	x.t.Helper()
	x.eventually(fmt.Sprintf("%s %s", host, want), func() bool { return x.states()[host].State == want })
	return x.states()[host]
}

// awaitLast waits until the host is, or is no longer, one of last resort.
func (x *balancer) awaitLast(host string, up bool) {
	x.t.Helper()
	x.eventually(fmt.Sprintf("%s of last resort: %t", host, up), func() bool {
		return slices.ContainsFunc(x.rows(), func(r output.Row) bool {
			return r.Proxy == "api" && r.Name == host+":last" && strings.HasPrefix(r.Status, "UP") == up
		})
	})
}

// A reply is what a client got.
type reply struct {
	code  int
	body  string
	proto string
	http.Header
}

// do sends a request through x from the client address from, on a connection of its own.
func (x *balancer) do(from netip.Addr, method, path string, header ...string) reply {
	x.t.Helper()
	scheme := "http"
	if x.spec.VIPs[0].TLS != nil {
		scheme = "https"
	}
	url := fmt.Sprintf("%s://%v:%d%s", scheme, x.vip, x.service().Port, path)
	req, err := http.NewRequestWithContext(x.t.Context(), method, url, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header[header[i]] = append(req.Header[header[i]], header[i+1])
	}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: dialer.DialContext, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	r, err := client.Do(req)
	if err != nil {
		x.t.Errorf("%s %s: %v", method, path, err)
		return reply{}
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		x.t.Errorf("%s %s: %v", method, path, err)
	}
	return reply{r.StatusCode, string(body), r.Proto, r.Header}
}

// get is a GET from the bench's first client.
func (x *balancer) get(path string) reply {
	x.t.Helper()
	return x.do(x.addr(250), "GET", path)
}

func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("not %s in %v", what, patience)
		}
	}
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A standIn is a service on one host. It answers its name, and can be told to
// fail in the ways that services do.
type standIn struct {
	name     string
	at       netip.AddrPort
	server   *http.Server
	listener net.Listener
	mu       sync.Mutex // guards following
	health   int        // status of the health check
	code     int        // status of all else
	header   http.Header
	crash    bool // close the connection instead of an answer
	requests []*http.Request
	hang     chan struct{} // not nil: answer nothing until it is closed
	takes    time.Duration // before it answers
	resets   bool          // the connection, in the middle of a request's body
	reads    bool          // all of a request before it answers
}

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func newStandIn(t *testing.T, name string, at netip.AddrPort) *standIn {
	s := &standIn{name: name, at: at, health: 200, code: 200}
	s.up(t)
	return s
}

// up starts the service, also again after down.
func (s *standIn) up(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", s.at.String())
	if err != nil {
		t.Fatal(err)
	}
	s.server, s.listener = &http.Server{Handler: s}, l
	go s.server.Serve(l)
	t.Cleanup(s.down)
}

// down kills the service.
func (s *standIn) down() { _ = s.server.Close() }

// set changes how it behaves, and forgets the requests so far.
func (s *standIn) set(f func(*standIn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
	f(s)
}

// seen gives the requests since the last set, without checks.
func (s *standIn) seen() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	check := r.URL.Path == "/healthcheck"
	if !check {
		s.requests = append(s.requests, r)
	}
	code, crash, hang, takes, header, resets := s.code, s.crash, s.hang, s.takes, s.header, s.resets
	reads := s.reads && !check
	if check {
		code, takes = s.health, 0
	}
	s.mu.Unlock()
	if reads {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	time.Sleep(takes)
	switch {
	case hang != nil:
		<-hang
	case resets && !check:
		_, _ = io.CopyN(io.Discard, r.Body, 100_000)
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	case crash && !check:
		panic(http.ErrAbortHandler)
	default:
		if !check {
			maps.Copy(w.Header(), header)
		}
		w.WriteHeader(code)
		fmt.Fprint(w, s.name)
	}
}
