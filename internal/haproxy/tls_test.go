package haproxy_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// at gives the address of the service on x.
func (x *balancer) at() string {
	return netip.AddrPortFrom(x.vip, uint16(x.service().Port)).String()
}

// shakesHands tries a TLS handshake.
func (x *balancer) shakesHands(config *tls.Config) error {
	config.InsecureSkipVerify = true
	conn, err := tls.Dial("tcp", x.at(), config)
	if err != nil {
		return err
	}
	return conn.Close()
}

// The key exchange that needs a newer OpenSSL is offered where OpenSSL is that new,
// and HAProxy takes the configuration where it is not. There is none of that age here,
// so another age and another curve stand in.
func TestCurvesFollowOpenSSL(t *testing.T) {
	for version, offered := range map[string]bool{"3.0.0": true, "5.0.0": false} {
		b := newBench(t, "ctl1")
		b.spec.VIPs[0].TLS = &spec.TLS{}
		b.edit = func(cfg []byte) []byte {
			text := strings.Replace(string(cfg), "openssl_version_atleast(3.5.0)", "openssl_version_atleast("+version+")", 1)
			text = strings.Replace(text, "X25519MLKEM768:", "P-521:", 1)
			if !strings.Contains(text, version) || !strings.Contains(text, "P-521:") {
				t.Error("the configuration has no curves by version")
			}
			return []byte(text)
		}
		x := b.start(1)
		if err := x.shakesHands(&tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}}); (err == nil) != offered {
			t.Errorf("OpenSSL %s: the curve that is to be offered from it on: %v", version, err)
		}
		if err := x.shakesHands(&tls.Config{CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519}}); err != nil {
			t.Errorf("OpenSSL %s: a client that can do more: %v", version, err)
		}
	}
}

// A sessionKeeper is a cache of one TLS session.
type sessionKeeper struct{ kept *tls.ClientSessionState }

func (k *sessionKeeper) Get(string) (*tls.ClientSessionState, bool) { return k.kept, k.kept != nil }
func (k *sessionKeeper) Put(_ string, s *tls.ClientSessionState)    { k.kept = s }

// What a client gets to resume its session by is no more than its name, whose
// session this HAProxy remembers: there is no key that would have to be shared,
// or that would open what was recorded. Another HAProxy makes a new session.
func TestTicketsOnlyNameSessions(t *testing.T) {
	const nameLength = 32 // the longest session id there is
	b := newBench(t, "ctl1")
	b.spec.VIPs[0].TLS = &spec.TLS{}
	one, two := b.start(1), b.start(2)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := &sessionKeeper{}
		config := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, ClientSessionCache: cache, ServerName: "api.example.org"}
		if one.resumes(config) {
			t.Fatal("the first connection resumes a session")
		}
		if cache.kept == nil {
			continue // TLS 1.2 has no tickets then
		}
		ticket, _, err := cache.kept.ResumptionState()
		if err != nil || len(ticket) > nameLength {
			t.Errorf("%s: a ticket of %d bytes, which has more in it than a name (%v)", tls.VersionName(version), len(ticket), err)
		}
		if two.resumes(config) {
			t.Errorf("%s: another HAProxy resumes the session", tls.VersionName(version))
		}
	}
}

// resumes makes a request, which must be answered, and reports whether that was in a
// session of before.
func (x *balancer) resumes(config *tls.Config) bool {
	x.t.Helper()
	conn, err := tls.Dial("tcp", x.at(), config)
	if err != nil {
		x.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: api.example.org\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(conn) // which reads the tickets, too
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) {
		x.t.Errorf("%q, %v", answer, err)
	}
	return conn.ConnectionState().DidResume
}

// HAProxy serves a key that is for RSA-PSS alone.
func TestServesRSAPSS(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here, and Go's client does not know such keys")
	}
	data, err := os.ReadFile("../certificate/testdata/rsa-pss.pem")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "ctl1")
	b.spec.VIPs[0].TLS, b.pem = &spec.TLS{}, data
	x := b.start(1)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		cmd := exec.Command(openssl, "s_client", "-connect", x.at(), version, "-servername", "api.example.org")
		said, err := cmd.CombinedOutput()
		// What the chain's first certificate has: a usual RSA key can sign in that way, too.
		if err != nil || !bytes.Contains(said, []byte("a:PKEY: RSASSA-PSS")) || !bytes.Contains(said, []byte("Peer signature type: RSA-PSS")) {
			t.Errorf("%s: %v\n%s", version, err, said)
		}
	}
}

// The challenges of ACME go to where a certificate is asked for, and all else that
// comes in plain HTTP is led to https.
func TestChallengesGoToTheirPlace(t *testing.T) {
	b := newBench(t, "ctl1")
	place, err := net.Listen("tcp", netip.AddrPortFrom(b.addr(99), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 10)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Host + r.URL.Path
		fmt.Fprint(w, "token.thumbprint")
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(place) }()
	stop := func() { server.Close(); <-served }
	t.Cleanup(stop)
	port := b.service().Port + 1
	b.spec.VIPs[0].TLS = &spec.TLS{Redirect: port, ACME: netip.MustParseAddrPort(place.Addr().String())}
	x := b.start(1)
	if states, err := haproxy.ParseServerStates(x.ask("show servers state")); err != nil {
		t.Error(err)
	} else if why := (haproxy.Worker{Servers: states}).Differs(haproxy.Render(x.spec, haproxy.Local{})); why != "" {
		t.Errorf("a change without a reload would take one: %s", why)
	}

	ask := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%v:%d%s", x.vip, port, path), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "api.example.org"
		r, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		return r.StatusCode, string(body) + r.Header.Get("Location")
	}
	const challenge = "/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ"
	if code, body := ask(challenge); code != 200 || body != "token.thumbprint" {
		t.Fatalf("the challenge was answered %d %q", code, body)
	}
	if got := <-seen; got != "api.example.org"+challenge {
		t.Errorf("its place saw %q", got)
	}
	for _, path := range []string{"/", "/.well-known/acme-challenge", "/x/.well-known/acme-challenge/y"} {
		if code, body := ask(path); code != 301 || body != "https://api.example.org"+path {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	stop()
	if code, body := ask(challenge); code != 503 || !strings.Contains(body, "no client of ACME") {
		t.Errorf("with nobody there: %d %q", code, body)
	}
}

// distant listens beside x, and leads to it through a network in which each way
// takes delay. It gives its address.
func (x *balancer) distant(delay time.Duration) string {
	listener, err := net.Listen("tcp", netip.AddrPortFrom(x.addr(98), 0).String())
	if err != nil {
		x.t.Fatal(err)
	}
	var wg sync.WaitGroup
	x.t.Cleanup(func() { listener.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", x.at())
			if err != nil {
				client.Close()
				continue
			}
			wg.Go(func() { late(server, client, delay) })
			wg.Go(func() { late(client, server, delay) })
		}
	})
	return listener.Addr().String()
}

// late copies what from sends to to, delay later, until one of them ends. As much
// as a kernel lets be under way by default is on its way at once, and no more.
func late(to, from net.Conn, delay time.Duration) {
	type sent struct {
		data []byte
		due  time.Time
	}
	const piece, window = 64 << 10, 6 << 20
	way := make(chan sent, window/piece)
	go func() {
		defer close(way)
		for {
			data := make([]byte, piece)
			n, err := from.Read(data)
			if n > 0 {
				way <- sent{data[:n], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		to.Close()
		from.Close()
		for range way { // let the reader end
		}
	}()
	for s := range way {
		time.Sleep(time.Until(s.due))
		if _, err := to.Write(s.data); err != nil {
			return
		}
	}
}

// An upload by HTTP/2 from 50 ms away goes about as fast as one by HTTP/1.1, and not a
// hundred times slower, as with HAProxy's own window. How fast is a benchmark's.
func TestUploadsByHTTP2(t *testing.T) {
	b := newBench(t, "ctl1")
	b.spec.VIPs[0].TLS = &spec.TLS{}
	b.hosts["ctl1"].set(func(s *standIn) { s.reads = true })
	x := b.start(1)
	at := x.distant(25 * time.Millisecond)
	upload := func(h2 bool) time.Duration {
		config := &tls.Config{InsecureSkipVerify: true}
		if !h2 {
			config.NextProtos = []string{"http/1.1"}
		}
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: h2}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		put := func(size int) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://"+at+"/", bytes.NewReader(make([]byte, size)))
			if err != nil {
				t.Fatal(err)
			}
			r, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			if r.StatusCode != 200 || (r.ProtoMajor == 2) != h2 {
				t.Fatalf("%s by %s", r.Status, r.Proto)
			}
		}
		put(1) // the handshake is not what is measured
		begun := time.Now()
		put(32 << 20)
		return time.Since(begun)
	}
	best := 0.0
	for range 5 { // other tests take the processor, too
		one, two := upload(false), upload(true)
		t.Logf("32 MB from 50 ms away: %v by HTTP/1.1, %v by HTTP/2", one, two)
		if best = max(best, float64(one)/float64(two)); best >= 0.4 {
			return
		}
	}
	t.Errorf("HTTP/2 has %.2f of the rate of HTTP/1.1", best)
}
