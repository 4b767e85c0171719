package haproxy_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// clients gives n client addresses.
func (b *bench) clients(n int) []netip.Addr {
	var all []netip.Addr
	for i := range n {
		all = append(all, netip.AddrFrom4([4]byte{127, b.a, b.b ^ byte(1+i/250), byte(1 + i%250)}))
	}
	return all
}

// mapping gives the host that each client gets.
func (x *balancer) mapping(clients []netip.Addr) map[netip.Addr]string {
	x.t.Helper()
	got := make(map[netip.Addr]string)
	for _, c := range clients {
		got[c] = x.do(c, "GET", "/").body
	}
	return got
}

// moved gives the clients that are on another host in b than in a.
func moved(a, b map[netip.Addr]string) (from map[string]int) {
	from = make(map[string]int)
	for c, host := range a {
		if b[c] != host {
			from[host]++
		}
	}
	return from
}

// Two HAProxys that know nothing of each other send each of 200 clients to the
// same host; a host that is lost, or added, moves its own share only.
func TestSourceAffinity(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2", "ctl3", "ctl4")
	hosts := b.service().Hosts
	b.service().Hosts = hosts[:3]
	one, two := b.start(1), b.start(2)
	clients := b.clients(200)
	before := one.mapping(clients)
	share := make(map[string]int)
	for _, h := range before {
		share[h]++
	}
	t.Logf("shares: %v", share)
	if len(share) != 3 {
		t.Fatalf("shares %v, want three hosts", share)
	}
	if m := moved(before, one.mapping(clients)); len(m) > 0 {
		t.Errorf("a second request went elsewhere: %v", m)
	}
	if m := moved(before, two.mapping(clients)); len(m) > 0 {
		t.Errorf("the other HAProxy sends clients elsewhere: %v", m)
	}

	b.hosts["ctl2"].down()
	one.awaitState("ctl2", status.Down)
	two.awaitState("ctl2", status.Down)
	lost := two.mapping(clients)
	if m := moved(before, lost); len(m) != 1 || m["ctl2"] != share["ctl2"] {
		t.Errorf("with ctl2 lost, clients moved from %v; want its %d only", m, share["ctl2"])
	}
	if m := moved(lost, one.mapping(clients)); len(m) > 0 {
		t.Errorf("with ctl2 lost, the two disagree: %v", m)
	}
	b.hosts["ctl2"].up(t)
	one.awaitState("ctl2", status.Up)
	if m := moved(before, one.mapping(clients)); len(m) > 0 {
		t.Errorf("with ctl2 back, some are elsewhere than before: %v", m)
	}

	b.service().Hosts = append([]spec.Host{hosts[3]}, hosts[:3]...) // order does not matter
	after := b.start(3).mapping(clients)
	for c, h := range after {
		if h != before[c] && h != "ctl4" {
			t.Errorf("%v moved from %s to %s for a host that was added", c, before[c], h)
		}
	}
}

func TestTokenAffinity(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2", "ctl3")
	b.service().Affinity = spec.AffinityToken
	one, two := b.start(1), b.start(2)
	used := make(map[string]bool)
	for i := range 30 {
		token := fmt.Sprintf("gAAAAAB%d", i)
		first := one.do(b.addr(240), "GET", "/", "X-Auth-Token", token).body
		second := two.do(b.addr(241), "GET", "/", "X-Auth-Token", token).body
		if first != second {
			t.Errorf("token %s went to %s and %s", token, first, second)
		}
		used[first] = true
	}
	if len(used) != 3 {
		t.Errorf("30 tokens used %v", used)
	}
}

func TestCookieAffinity(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2", "ctl3")
	b.service().Affinity = spec.AffinityCookie
	one, two := b.start(1), b.start(2)
	for range 5 {
		r := one.get("/")
		set := r.Get("Set-Cookie")
		if !strings.Contains(set, "HttpOnly") || strings.Contains(set, "127.") || strings.Contains(set, r.body) || strings.Contains(set, "Secure") {
			t.Errorf("Set-Cookie: %q", set)
		}
		cookie, _, _ := strings.Cut(set, ";")
		for range 3 {
			again := two.do(b.addr(249), "GET", "/", "Cookie", cookie)
			if again.body != r.body {
				t.Errorf("cookie of %s led to %s", r.body, again.body)
			}
		}
		for name, h := range b.hosts {
			for _, q := range h.seen() {
				if q.Header.Get("Cookie") != "" {
					t.Errorf("%s saw the cookie", name)
				}
			}
		}
	}
}

// What a client says of where it comes from does not reach a service.
func TestForwardedHeaders(t *testing.T) {
	b := newBench(t, "ctl1")
	x := b.start(1)
	x.do(b.addr(77), "GET", "/",
		"X-Forwarded-For", "6.6.6.6", "x-forwarded-for", "6.6.6.7", "X-FORWARDED-PROTO", "gopher", "X-Forwarded-Host", "evil",
		"X-Forwarded-Port", "666", "X-Forwarded-Prefix", "/evil", "X_Forwarded_For", "6.6.6.6", "X-Forwarded_Host", "evil",
		"Forwarded", "for=6.6.6.6;host=evil", "X-Real-Ip", "6.6.6.6", "X_Real_IP", "6.6.6.6", "X-Auth-Token", "mine", "X-Forwarding", "kept")
	seen := b.hosts["ctl1"].seen()
	if len(seen) != 1 {
		t.Fatalf("%d requests", len(seen))
	}
	got := make(map[string]string)
	for name, values := range seen[0].Header {
		got[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	want := map[string]string{
		"x-forwarded-for": b.addr(77).String(), "x-forwarded-proto": "http", "x-forwarded-port": fmt.Sprint(b.service().Port),
		"x-forwarded-host": fmt.Sprintf("%v:%d", b.addr(1), b.service().Port), "x-auth-token": "mine", "x-forwarding": "kept",
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: %q, want %q", name, got[name], value)
		}
	}
	for name, value := range got {
		if strings.Contains(value, "6.6.6") || strings.Contains(value, "evil") {
			t.Errorf("%s: %q reached the service", name, value)
		}
	}
}

// With TLS a service hears that its client used https, HTTP/2 is spoken, and
// the cookie is for TLS only.
func TestTLS(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2")
	b.spec.VIPs[0].TLS = &spec.TLS{}
	b.service().Affinity = spec.AffinityCookie
	r := b.start(1).get("/")
	if r.code != 200 || r.proto != "HTTP/2.0" || !strings.Contains(r.Get("Set-Cookie"), "; Secure") {
		t.Errorf("%d %s %v", r.code, r.proto, r.Header)
	}
	for _, q := range b.hosts[r.body].seen() {
		if got := q.Header.Get("X-Forwarded-Proto"); got != "https" {
			t.Errorf("X-Forwarded-Proto: %q", got)
		}
	}
}

// Metadata of nova comes through neutron's proxy, whose X-Forwarded-For names
// the instance.
func TestKeepForwarded(t *testing.T) {
	b := newBench(t, "ctl1")
	b.service().KeepForwarded = true
	b.start(1).do(b.addr(77), "GET", "/", "X-Forwarded-For", "10.9.8.7", "X_Forwarded_For", "6.6.6.6", "X-Forwarded_For", "6.6.6.6",
		"X-Forwarded-Fox", "6.6.6.6", "X-Forwarded-Host", "evil", "X-Forwarded-Prefix", "/evil", "Forwarded", "for=6.6.6.6")
	for _, q := range b.hosts["ctl1"].seen() {
		for name, values := range q.Header {
			if v := strings.Join(values, ","); strings.Contains(v, "6.6.6") || strings.Contains(v, "evil") {
				t.Errorf("%s: %q reached the service", name, v)
			}
		}
		if got := q.Header["X-Forwarded-For"]; len(got) != 1 || got[0] != "10.9.8.7" {
			t.Errorf("X-Forwarded-For: %q", got)
		}
	}
}

// A TCP service: clients of a host that fails its check learn of it from the end
// of the connection. One that only refuses finishes what it has.
func TestTCP(t *testing.T) {
	t.Run("fails its check", func(t *testing.T) {
		tcpDown(t, spec.Check{Layer: 7, Method: "GET", Path: "/healthcheck"}, true)
	})
	t.Run("refuses", func(t *testing.T) { tcpDown(t, spec.Check{Layer: 4}, false) })
}

func tcpDown(t *testing.T, check spec.Check, ends bool) {
	b := newBench(t, "ctl1", "ctl2")
	svc := b.service()
	svc.Mode, svc.Check, svc.Affinity = spec.TCP, check, spec.AffinitySource
	x := b.start(1)
	first := x.get("/").body
	release := make(chan struct{})
	defer close(release)
	b.hosts[first].set(func(s *standIn) { s.hang = release })
	conn, err := net.Dial("tcp", netip.AddrPortFrom(x.vip, uint16(svc.Port)).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	x.eventually("one connection", func() bool { return x.states()[first].Sessions+x.states()[other(first)].Sessions == 1 })
	b.hosts["ctl1"].listener.Close() // no new connections; those that are stay open
	b.hosts["ctl2"].listener.Close()
	x.awaitState("ctl1", status.Down)
	x.awaitState("ctl2", status.Down)
	wait := patience
	if !ends {
		wait = 500 * time.Millisecond
	}
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) == ends {
		t.Errorf("the connection to a host that is down: %v; want its end: %t", err, ends)
	}
}

// other gives the other of the two hosts.
func other(name string) string {
	if name == "ctl1" {
		return "ctl2"
	}
	return "ctl1"
}

// Requests that are safe to repeat survive a host that fails them; one that is
// not reaches one host once.
func TestRetries(t *testing.T) {
	for name, fail := range map[string]func(*standIn){
		"500":   func(s *standIn) { s.code = 500 },
		"503":   func(s *standIn) { s.code = 503 },
		"crash": func(s *standIn) { s.crash = true },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "ctl1", "ctl2", "ctl3")
			b.service().SafePosts = []string{"/v3/auth/tokens"}
			x := b.start(1)
			bad := b.hosts["ctl1"]
			bad.set(fail) // its health check stays good
			clients := b.clients(40)
			for _, c := range clients {
				if r := x.do(c, "GET", "/"); r.code != 200 {
					t.Errorf("GET from %v: %d %s", c, r.code, r.body)
				}
				if r := x.do(c, "POST", "/v3/auth/tokens"); r.code != 200 {
					t.Errorf("safe POST from %v: %d %s", c, r.code, r.body)
				}
			}
			if len(bad.seen()) < 5 {
				t.Errorf("the bad host saw %d requests only; the test proves nothing", len(bad.seen()))
			}
			for _, h := range b.hosts {
				h.set(func(*standIn) {})
			}
			failed := 0
			for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
				for _, c := range clients {
					if x.do(c, method, "/").code != 200 {
						failed++
					}
				}
			}
			total := 0
			for _, h := range b.hosts {
				total += len(h.seen())
			}
			if total != 4*len(clients) || failed == 0 || failed != len(bad.seen()) {
				t.Errorf("%d unsafe requests reached hosts %d times; %d failed, %d at the bad host", 4*len(clients), total, failed, len(bad.seen()))
			}
		})
	}
}

// Requests that can be repeated use connections to a host again; any other has
// one of its own. That a host closes its idle connections is never seen.
func TestReuse(t *testing.T) {
	b := newBench(t, "ctl1")
	x := b.start(1)
	host := b.hosts["ctl1"]
	// used counts the connections that n requests come to the host with.
	used := func(n int, method string) int {
		host.set(func(*standIn) {})
		for range n {
			if r := x.do(x.addr(250), method, "/"); r.code != 200 {
				t.Errorf("%s: %d %s", method, r.code, r.body)
			}
		}
		from := make(map[string]bool)
		for _, r := range host.seen() {
			from[r.RemoteAddr] = true
		}
		return len(from)
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		if n := used(10, method); n >= 10 {
			t.Errorf("10 %s requests came on %d connections", method, n)
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		if n := used(10, method); n != 10 {
			t.Errorf("10 %s requests came on %d connections", method, n)
		}
	}
	for range 5 {
		used(4, "GET")
		host.down() // with its idle connections
		host.up(t)
		used(4, "GET")
	}
	host.server.IdleTimeout = 2 * time.Millisecond // about as long as the next request takes to come
	used(300, "GET")
	used(100, "POST")
}

// A host that fails its check is out soon, and in words: HAProxy alone finds that
// out, with no agent. When all are out, those that accept serve, until none does.
func TestHealthChecks(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2", "ctl3")
	b.service().Timeout.Check = 0 // as it comes
	x := b.start(1)
	if h := x.awaitState("ctl1", status.Up); h.Check != "GET /healthcheck answered 200" {
		t.Errorf("up: %q", h.Check)
	}
	before := x.mapping(b.clients(20))
	release := make(chan struct{})
	defer close(release)
	for _, fault := range []struct {
		name, host string
		do         func(*standIn)
		want       string
	}{
		{"wrong status", "ctl1", func(s *standIn) { s.health = 503 }, "GET /healthcheck answered 503, want 200"},
		{"hang", "ctl2", func(s *standIn) { s.hang = release }, "GET /healthcheck: no answer within 2.5s"},
		{"kill", "ctl3", func(s *standIn) { s.server.Close() }, "connection refused"},
	} {
		begun := time.Now()
		b.hosts[fault.host].set(fault.do)
		h := x.awaitState(fault.host, status.Down)
		t.Logf("%s: down after %v", fault.name, time.Since(begun).Round(time.Millisecond))
		if h.Check != fault.want {
			t.Errorf("%s: %q, want %q", fault.name, h.Check, fault.want)
		}
	}

	// ctl2 hangs: the client of its share would wait there for the agent.
	x.awaitLast("ctl3", false)
	served := 0
	for c, host := range before {
		if host == "ctl1" {
			served++
			if r := x.do(c, "GET", "/"); r.code != 200 || r.body != "ctl1" {
				t.Errorf("of last resort: %d %q", r.code, r.body)
			}
		}
	}
	if served == 0 {
		t.Error("no client is of ctl1's share; the test proves nothing")
	}
	b.hosts["ctl1"].down()
	b.hosts["ctl2"].down()
	x.awaitLast("ctl1", false)
	x.awaitLast("ctl2", false)
	r := x.get("/")
	if r.code != 503 || r.Get("Retry-After") == "" || !strings.Contains(r.body, "no host of api") || r.Get("Content-Type") != "application/json" {
		t.Errorf("no host: %d %q %v", r.code, r.body, r.Header)
	}
	if r := x.get(haproxy.PingPath); r.code != 200 || r.body != haproxy.PingBody {
		t.Errorf("ping: %d %q", r.code, r.body)
	}
}

// A request that every host fails takes no host out.
func TestOneBadRequest(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2", "ctl3")
	x := b.start(1)
	for _, h := range b.hosts {
		h.set(func(s *standIn) { s.code = 500 })
	}
	for range 100 {
		if r := x.get("/poison"); r.code != 500 {
			t.Fatalf("GET /poison: %d %s", r.code, r.body)
		}
	}
	for _, r := range x.rows() {
		if r.Kind == output.KindServer && (r.Downs > 0 || r.Status != "UP") {
			t.Errorf("%s is %s, went down %d times", r.Name, r.Status, r.Downs)
		}
	}
}

// Drain is what the agent of the host says, and no answer changes nothing.
func TestAgentCheck(t *testing.T) {
	t.Parallel() // it waits for most of the time
	b := newBench(t, "ctl1", "ctl2")
	b.spec.Controllers[0].Address = b.addr(11) // the host ctl1 is a controller
	agent := newFakeAgent(t, netip.AddrPortFrom(b.addr(11), 9471))
	x := b.start(1)
	agent.say("drain\n")
	x.awaitState("ctl1", status.Drain)
	if got := agent.asked.Load(); got == nil || *got != "ctl1 api" {
		t.Errorf("HAProxy asked %v, want \"ctl1 api\"", got)
	}
	for range 20 {
		for _, method := range []string{"GET", "POST"} {
			if r := x.do(x.addr(250), method, "/"); r.body != "ctl2" {
				t.Errorf("a drained host answered a %s: %s", method, r.body)
			}
		}
	}
	agent.say("up ready\n")
	x.awaitState("ctl1", status.Up)
	agent.say("") // accepts and says nothing, as one that hangs
	for n := agent.calls.Load(); agent.calls.Load() < n+3; time.Sleep(10 * time.Millisecond) {
		if s := x.states()["ctl1"]; s.State != status.Up {
			t.Fatalf("an agent that hangs took its host out: %+v", s)
		}
	}
	agent.say("drain\n")
	x.awaitState("ctl1", status.Drain)
	agent.Close()
	time.Sleep(1500 * time.Millisecond) // more than an interval: nothing is to happen
	if s := x.states()["ctl1"]; s.State != status.Drain {
		t.Errorf("the death of the agent changed the host: %+v", s)
	}
	b.hosts["ctl1"].down() // powered off: nothing of it answers any more
	x.eventually("its check has failed", func() bool {
		rows := x.rows()
		i := slices.IndexFunc(rows, func(r output.Row) bool { return r.Proxy == "api" && r.Name == "ctl1" })
		return i >= 0 && strings.HasPrefix(rows[i].Status, "DOWN")
	})
	rows := x.rows()
	for _, backend := range haproxy.Wordless(rows) {
		states, err := haproxy.ParseServerStates(x.ask("show servers state " + backend))
		if err != nil {
			t.Fatal(err)
		}
		haproxy.MarkDrained(rows, states)
	}
	if s := haproxy.Services(b.spec, rows, time.Now())[0].Hosts[0]; s.Name != "ctl1" || s.State != status.Drain {
		t.Errorf("a drained host that is powered off is %+v", s)
	}
}

// A fakeAgent answers agent checks.
type fakeAgent struct {
	net.Listener
	answer, asked atomic.Pointer[string]
	calls         atomic.Int64
}

func newFakeAgent(t *testing.T, at netip.AddrPort) *fakeAgent {
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	a := &fakeAgent{Listener: l}
	a.say("up ready\n")
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			a.calls.Add(1)
			go a.converse(c)
		}
	}()
	return a
}

func (a *fakeAgent) say(s string) { a.answer.Store(&s) }

func (a *fakeAgent) converse(c net.Conn) {
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return
	}
	line = strings.TrimSpace(line)
	a.asked.Store(&line)
	if answer := *a.answer.Load(); answer != "" {
		fmt.Fprint(c, answer)
		return
	}
	time.Sleep(5 * time.Second)
}

// What is sent again is a tenth of the requests at the most, or a few: where
// hosts push back, more would make it worse.
func TestRetryBudget(t *testing.T) {
	t.Parallel() // it waits for most of the time
	b := newBench(t, "ctl1", "ctl2", "ctl3")
	x := b.start(1)
	clients := b.clients(240)
	for _, c := range []struct {
		name    string
		bad     []string
		header  http.Header
		atMost  float64 // requests that hosts see, for each of clients
		atLeast float64
	}{
		{name: "one host fails now and then", bad: []string{"ctl1"}, atMost: 1.15, atLeast: 1.01}, // and 1.1, as in the benchmark, where the machine is not busy
		{name: "all fail", bad: []string{"ctl1", "ctl2", "ctl3"}, atMost: 1.35},                   // each client learns for itself
		// The last one: it holds for ten seconds more.
		{name: "all say when to come again", bad: []string{"ctl1", "ctl2", "ctl3"}, header: http.Header{"Retry-After": {"1"}}, atMost: 1.02},
	} {
		t.Run(c.name, func(t *testing.T) {
			time.Sleep(1100 * time.Millisecond) // the rates of the case before are over
			for _, h := range b.hosts {
				h.set(func(s *standIn) { s.code, s.header = 200, nil })
			}
			for _, bad := range c.bad {
				b.hosts[bad].set(func(s *standIn) { s.code, s.header = 503, c.header })
			}
			rounds := 0
			for begun := time.Now(); time.Since(begun) < 9*time.Second; rounds++ { // most of a window
				for _, client := range clients {
					x.do(client, "GET", "/")
				}
			}
			seen := 0
			for _, h := range b.hosts {
				seen += len(h.seen())
			}
			ratio := float64(seen) / float64(rounds*len(clients))
			t.Logf("hosts saw %.3f requests for each of %d", ratio, rounds*len(clients))
			if ratio > c.atMost || ratio < c.atLeast {
				t.Errorf("want %.2f at the most, %.2f at the least", c.atMost, c.atLeast)
			}
		})
	}
}

// A host that fails for a moment, and again some seconds later, has not used up
// in between what may be sent again.
func TestRetryBudgetInMoments(t *testing.T) {
	t.Parallel() // it waits for most of the time
	b := newBench(t, "ctl1", "ctl2", "ctl3")
	x := b.start(1)
	clients := b.clients(120)
	failed := 0
	load := func(d time.Duration) {
		for begun := time.Now(); time.Since(begun) < d; {
			for _, client := range clients {
				if r := x.do(client, "GET", "/"); r.code != 200 {
					failed++
				}
			}
		}
	}
	for range 2 {
		load(1500 * time.Millisecond)
		b.hosts["ctl1"].set(func(s *standIn) { s.code = 503 })
		load(400 * time.Millisecond)
		b.hosts["ctl1"].set(func(s *standIn) { s.code = 200 })
		load(4 * time.Second)
	}
	if failed > 0 {
		t.Errorf("%d requests failed, want each sent again to another host", failed)
	}
}

// While there is much to do, no client waits in the queue of the host that its
// address leads to while others have nothing to do; then it is back there.
func TestEvenWhileBusy(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2", "ctl3")
	x := b.start(1)
	client := b.clients(1)[0]
	home := x.do(client, "GET", "/").body
	release := make(chan struct{})
	for _, h := range b.hosts {
		h.set(func(s *standIn) { s.hang = release })
	}
	var waiting sync.WaitGroup
	ask := func(n int) {
		for i := range n {
			method := []string{"GET", "POST"}[i%2]
			waiting.Go(func() {
				if r := x.do(client, method, "/"); r.code != 200 {
					t.Errorf("%s: %d %s", method, r.code, r.body)
				}
			})
		}
	}
	seen := func() (n []int) {
		for _, h := range b.hosts {
			n = append(n, len(h.seen()))
		}
		slices.Sort(n)
		return n
	}
	const first, then = 14, 30
	ask(first) // all for the client's own host
	b.eventually("all at a host", func() bool { n := seen(); return n[2] == first })
	time.Sleep(300 * time.Millisecond) // what lasts for a moment only is nothing
	ask(then)
	b.eventually("the others at a host", func() bool { n := seen(); return n[0]+n[1]+n[2] == first+then })
	if n := seen(); n[0] < then/3-3 || n[2] > first+then/3+3 {
		t.Errorf("of one client's requests at once hosts have %v", n)
	}
	for _, h := range b.hosts {
		h.set(func(s *standIn) { s.hang = nil })
	}
	close(release)
	waiting.Wait()
	for range 10 {
		if r := x.do(client, "GET", "/"); r.body != home {
			t.Errorf("when it is over, the client comes to %s, and not to %s", r.body, home)
		}
	}
}

// Of a service that takes long for each request, two at once of one client are
// worked on by two hosts, whatever their method; one by one they stay at its host.
// What was slow for a moment only stays, too.
func TestSpreadsWhileSlow(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2", "ctl3")
	x := b.start(1)
	client := b.clients(1)[0]
	home := x.do(client, "GET", "/").body
	slow := func(d time.Duration) {
		for _, h := range b.hosts {
			h.set(func(s *standIn) { s.takes = d })
		}
	}
	// one asks one by one, and reports how often another host answered.
	one := func(n int) (away int) {
		for i := range n {
			if r := x.do(client, []string{"GET", "POST"}[i%2], "/"); r.body != home {
				away++
			}
		}
		return away
	}
	// two asks two at once, and reports in how many pairs another host took part.
	two := func(pairs int) (away int) {
		for range pairs {
			other := make(chan reply)
			go func() { other <- x.do(client, "POST", "/") }()
			time.Sleep(10 * time.Millisecond) // two threads of HAProxy may choose in the same moment
			a, b := x.do(client, "GET", "/"), <-other
			if a.code != 200 || b.code != 200 {
				t.Fatalf("GET: %d, POST: %d", a.code, b.code)
			}
			if a.body != home || b.body != home {
				away++
			}
		}
		return away
	}
	slow(100 * time.Millisecond)
	if n := two(3); n > 0 {
		t.Errorf("slow for a moment: %d of 3 pairs left the client's host", n)
	}
	// HAProxy may still have the last one on its books when the next one comes.
	if n := one(25); n > 6 {
		t.Errorf("slow, one by one: %d of 25 left the client's host", n)
	}
	if n := two(10); n < 8 {
		t.Errorf("slow: only %d of 10 pairs were worked on by two hosts", n)
	}
	if n := one(12); n > 4 {
		t.Errorf("still slow, one by one: %d of 12 left the client's host", n)
	}
	slow(0)
	one(40)
	if n := two(20); n > 0 {
		t.Errorf("quick again: %d of 20 pairs left the client's host", n)
	}
}

// A host that fails all it gets is told apart while its service is slow, too, when
// POSTs, which cannot be sent again, share a backend with what can.
func TestFailingWhileSlow(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2", "ctl3")
	x := b.start(1)
	clients := b.clients(12)
	load := func(n int) {
		var under sync.WaitGroup
		for i, client := range clients {
			under.Go(func() {
				for j := range n {
					x.do(client, []string{"GET", "POST"}[(i+j)%2], "/")
				}
			})
		}
		under.Wait()
	}
	for _, h := range b.hosts {
		h.set(func(s *standIn) { s.takes = 100 * time.Millisecond })
	}
	load(15)
	before := x.rows()
	for _, how := range []func(*standIn){func(s *standIn) { s.code = 500 }, func(s *standIn) { s.code, s.crash = 200, true }} {
		b.hosts["ctl2"].set(how)
		load(5)
		after := x.rows()
		var names []string
		for _, r := range haproxy.Failing(before, after) {
			names = append(names, r.Name)
		}
		if !slices.Equal(names, []string{"ctl2"}) {
			t.Errorf("failing: %v, want ctl2", names)
			for _, r := range after {
				t.Logf("%s/%s: %v, %d redispatched, eresp %d", r.Proxy, r.Name, r.Responses, r.Redisp, r.RespErr)
			}
		}
		before = after
	}
}

// upload sends so many octets from the address from, and gives the answer, or what
// comes until the connection ends.
func (x *balancer) upload(from netip.Addr, size int) ([]byte, error) {
	x.t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	conn, err := dialer.DialContext(x.t.Context(), "tcp", netip.AddrPortFrom(x.vip, uint16(x.service().Port)).String())
	if err != nil {
		x.t.Fatal(err)
	}
	defer conn.Close()
	beginUpload(conn, size)
	go io.CopyN(conn, zeros{}, int64(size))
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	var raw bytes.Buffer
	r, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &raw)), nil)
	if err == nil {
		_ = r.Body.Close() // later versions go on reading what the client sends
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return raw.Bytes(), err
}

func beginUpload(conn net.Conn, size int) {
	fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: api\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", size)
}

// A host that resets every upload, of several clients, while others take them is
// told apart; not by what one client sends, not where all do so, and not where
// clients give up.
func TestHostThatResetsUploads(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2", "ctl3")
	x := b.start(1)
	clients := b.clients(24)
	homes := x.mapping(clients)
	of := func(host string) []netip.Addr {
		return slices.DeleteFunc(slices.Clone(clients), func(c netip.Addr) bool { return homes[c] != host })
	}
	// suspects gives the hosts that are told by what f does, and of how many clients.
	suspects := func(f func()) (names []string, clients int) {
		before, known := x.rows(), haproxy.ParseClients(x.ask(haproxy.ShowClients(*x.service())))
		f()
		for _, r := range haproxy.Dropping(before, x.rows(), 0) {
			names = append(names, r.Host.Name)
			clients = haproxy.ParseClients(x.ask(haproxy.ShowClients(*x.service()))).Since(known) - int(r.Spare)
		}
		return names, clients
	}
	for _, h := range b.hosts {
		h.set(func(s *standIn) { s.reads = true })
	}
	b.hosts["ctl2"].set(func(s *standIn) { s.resets, s.reads = true, false })
	well := func() {
		for _, c := range append(of("ctl1")[:1], of("ctl3")[:1]...) {
			if answer, _ := x.upload(c, 1000); !bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) {
				t.Fatalf("a host that is well answered %q", answer)
			}
		}
	}
	names, n := suspects(func() {
		for range 8 {
			_, _ = x.upload(of("ctl2")[0], 5_000_000)
		}
		well()
	})
	if !slices.Equal(names, []string{"ctl2"}) || n != 1 {
		t.Errorf("one client: %v by %d clients, want ctl2 by 1", names, n)
	}
	names, n = suspects(func() {
		for _, c := range of("ctl2")[:5] {
			_, _ = x.upload(c, 5_000_000)
		}
		well()
	})
	if !slices.Equal(names, []string{"ctl2"}) || n < haproxy.DropClients {
		t.Errorf("several: %v by %d clients, want ctl2 by %d or more", names, n, haproxy.DropClients)
	}
	b.hosts["ctl2"].set(func(s *standIn) { s.resets, s.reads = false, true })
	names, _ = suspects(func() {
		for _, c := range of("ctl2")[:5] {
			dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: c.AsSlice()}}
			conn, err := dialer.DialContext(t.Context(), "tcp", netip.AddrPortFrom(x.vip, uint16(x.service().Port)).String())
			if err != nil {
				t.Fatal(err)
			}
			beginUpload(conn, 5_000_000)
			_ = conn.Close()
		}
		well()
	})
	if len(names) > 0 {
		t.Errorf("clients gave up: %v, want none", names)
	}
	b.hosts["ctl2"].set(func(s *standIn) { s.resets, s.reads = true, false })
	b.hosts["ctl3"].set(func(s *standIn) { s.resets, s.reads = true, false })
	names, _ = suspects(func() {
		for _, c := range append(of("ctl2")[:5], of("ctl3")[:5]...) {
			_, _ = x.upload(c, 5_000_000)
		}
	})
	if len(names) > 0 {
		t.Errorf("two hosts: %v, want none", names)
	}
}

// A host that resets the connection in the middle of an upload leaves its client
// with an error, or with none: HAProxy 2.6 may close without a word then. That is told
// in README.md; this
// notices when it is no longer so. The next request of the client goes well.
func TestResetInTheMiddleOfAnUpload(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2")
	x := b.start(1)
	for _, h := range b.hosts {
		h.set(func(s *standIn) { s.resets = true })
	}
	answer, err := x.upload(b.addr(250), 50_000_000)
	if err == nil || errors.Is(err, syscall.ECONNRESET) {
		t.Logf("the client got %q, %v", answer[:min(len(answer), 20)], err)
	} else {
		t.Errorf("the client waits: %v", err)
	}
	if bytes.HasPrefix(answer, []byte("HTTP/1.1 2")) {
		t.Errorf("the client got %q", answer)
	}
	for _, h := range b.hosts {
		h.set(func(s *standIn) { s.resets = false })
	}
	if r := x.do(b.addr(250), "GET", "/"); r.code != 200 {
		t.Errorf("the next request: %d", r.code)
	}
}

// A host with a limit gets no more at once; the others wait in HAProxy, which
// says when to come again when that takes too long.
func TestLimit(t *testing.T) {
	b := newBench(t, "ctl1", "ctl2")
	svc := b.service()
	svc.Limit, svc.Timeout.Queue, svc.Affinity = 3, 300*time.Millisecond, spec.AffinityNone
	x := b.start(1)
	release := make(chan struct{})
	for _, h := range b.hosts {
		h.set(func(s *standIn) { s.hang = release })
	}
	codes := make(chan reply, 20)
	var waiting sync.WaitGroup
	for i := range cap(codes) {
		method := []string{"GET", "POST"}[i%2]
		waiting.Go(func() { codes <- x.do(b.addr(250), method, "/") })
	}
	for range cap(codes) - 6 {
		if r := <-codes; r.code != 503 || r.Get("Retry-After") == "" {
			t.Errorf("%d %v, want 503 with Retry-After", r.code, r.Header)
		}
	}
	for name, h := range b.hosts {
		if n := len(h.seen()); n != 3 {
			t.Errorf("%s got %d requests at once, want 3", name, n)
		}
		h.set(func(s *standIn) { s.hang = nil })
	}
	close(release)
	waiting.Wait()
	for range 6 {
		if r := <-codes; r.code != 200 {
			t.Errorf("one that a host had: %d", r.code)
		}
	}
	for _, r := range x.rows() {
		if r.Kind == output.KindServer && r.Downs > 0 {
			t.Errorf("%s/%s went down", r.Proxy, r.Name)
		}
	}
}
