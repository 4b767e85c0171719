package haproxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// newPublicBench makes a bench with two services that share a port of a VIP with TLS: "api"
// by name, and "Other_1" by path, which is stripped.
func newPublicBench(t *testing.T) *bench {
	b := newBench(t, "one", "two")
	other := *b.service()
	other.Name, other.Port = "Other_1", other.Port+1
	other.Hosts = []spec.Host{{Name: "three", Address: b.addr(13)}}
	b.hosts["three"] = newStandIn(t, "three", netip.AddrPortFrom(b.addr(13), uint16(other.Port)))
	b.spec.Services = append(b.spec.Services, other)
	b.spec.VIPs[0].TLS = &spec.TLS{Certificate: "/c.pem"}
	b.spec.VIPs[0].Public = &spec.Public{By: spec.ByName, Port: other.Port + 1, Routes: []spec.Route{
		{Service: "Other_1", Name: "api.example.org", Path: "/other/one", Strip: true},
		{Service: "api", Name: "api.example.net"},
	}}
	return b
}

// certificateFor makes a certificate for names and its key in one PEM file.
func certificateFor(t *testing.T, rsaKey bool, names ...string) []byte {
	t.Helper()
	var key interface{ Public() any }
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key = publicOnly{e.Public()}
	var private any = e
	if rsaKey {
		key, private = publicOnly{r.Public()}, r
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
}

type publicOnly struct{ key any }

func (p publicOnly) Public() any { return p.key }

// An asker asks for names on connections that it made for one.
type asker struct {
	x      *balancer
	client *http.Client
}

// asker makes one that names sni as it connects, and may do with these cipher suites only.
func (x *balancer) asker(sni string, http2 bool, suites ...uint16) *asker {
	at := fmt.Sprintf("%v:%d", x.vip, x.spec.VIPs[0].Public.Port)
	config := &tls.Config{InsecureSkipVerify: true, ServerName: sni, CipherSuites: suites}
	if len(suites) > 0 {
		config.MaxVersion = tls.VersionTLS12
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", at)
		},
		TLSClientConfig: config, ForceAttemptHTTP2: http2, DisableKeepAlives: true,
	}
	return &asker{x, &http.Client{Timeout: 10 * time.Second, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// ask sends a request to name, and gives the answer and the kind of certificate.
func (a *asker) ask(method, name, path string) (reply, *x509.Certificate) {
	a.x.t.Helper()
	req, err := http.NewRequestWithContext(a.x.t.Context(), method, "https://"+name+path, nil)
	if err != nil {
		a.x.t.Fatal(err)
	}
	r, err := a.client.Do(req)
	if err != nil {
		a.x.t.Errorf("%s %s%s: %v", method, name, path, err)
		return reply{}, nil
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		a.x.t.Error(err)
	}
	return reply{r.StatusCode, string(body), r.Proto, r.Header}, r.TLS.PeerCertificates[0]
}

// Services that share a port are found by the name or the path of a request, over HTTP/1.1
// and HTTP/2; what is for none of them is told so.
func TestSharedPort(t *testing.T) {
	x := newPublicBench(t).start(1)
	for _, http2 := range []bool{false, true} {
		for _, tt := range []struct {
			name, path string
			code       int
			hosts, own string // who may answer, and the path that it saw
		}{
			{"api.example.net", "/v1", 200, "one two", "/v1"},
			{"API.example.NET", "/", 200, "one two", "/"},
			{"api.example.net:443", "/other/one/x", 200, "one two", "/other/one/x"},
			{"api.example.net.", "/v1", 200, "one two", "/v1"},
			{"api.example.org", "/other/one", 200, "three", "/"},
			{"api.example.org", "/other/one/", 200, "three", "/"},
			{"api.example.org", "/other/one/v2/a?b=/other/one", 200, "three", "/v2/a?b=/other/one"},
			{x.vip.String(), "/other/one/v2", 200, "three", "/v2"},
			{"api.example.org", "/other/ones", 404, "", ""},
			{"api.example.org", "/", 404, "", ""},
			{"nova.example.net", "/other/one", 421, "", ""},
			{"api.example.net.example.com", "/", 421, "", ""},
		} {
			for _, h := range x.hosts {
				h.set(func(*standIn) {})
			}
			for _, method := range []string{"GET", "POST"} {
				got, _ := x.asker(strings.TrimSuffix(tt.name, "."), http2).ask(method, tt.name, tt.path)
				if got.code != tt.code || tt.hosts != "" && !slices.Contains(strings.Fields(tt.hosts), got.body) {
					t.Errorf("%s %s%s: %d %q, want %d of %s", method, tt.name, tt.path, got.code, got.body, tt.code, tt.hosts)
				}
				if http2 != (got.proto == "HTTP/2.0") {
					t.Errorf("%s", got.proto)
				}
			}
			for _, h := range x.hosts {
				for _, r := range h.seen() {
					if r.URL.RequestURI() != tt.own {
						t.Errorf("%s%s: the host saw %s, want %s", tt.name, tt.path, r.URL.RequestURI(), tt.own)
					}
					prefix := ""
					if tt.hosts == "three" {
						prefix = "/other/one"
					}
					if got := r.Header.Get("X-Forwarded-Prefix"); got != prefix || r.Header.Get("X-Forwarded-Proto") != "https" || strings.TrimSuffix(r.Header.Get("X-Forwarded-Host"), ":443") != strings.TrimSuffix(tt.name, ":443") {
						t.Errorf("%s%s: prefix %q, headers %v", tt.name, tt.path, got, r.Header)
					}
				}
			}
		}
	}
}

// A service that does not know of the path that was taken off it sends clients on all the
// same; one that does, and one that sends them elsewhere, is left alone.
func TestSharedPortLocation(t *testing.T) {
	x := newPublicBench(t).start(1)
	for location, want := range map[string]string{
		"/login":                               "/other/one/login",
		"/other/one/login":                     "/other/one/login",
		"https://api.example.org/v2/":          "https://api.example.org/other/one/v2/",
		"https://api.example.org/other/one/v2": "https://api.example.org/other/one/v2",
		"https://idp.example.com/login":        "https://idp.example.com/login",
		"//idp.example.com/login":              "//idp.example.com/login",
		"login":                                "login",
		"https://API.example.org:443/v2":       "https://API.example.org:443/other/one/v2",
		fmt.Sprintf("https://%v/v2", x.vip):    fmt.Sprintf("https://%v/other/one/v2", x.vip),
	} {
		x.hosts["three"].set(func(s *standIn) { s.code, s.header = 302, http.Header{"Location": {location}} })
		got, _ := x.asker("api.example.org", false).ask("GET", "api.example.org", "/other/one/x")
		if got.Get("Location") != want {
			t.Errorf("%s became %s, want %s", location, got.Get("Location"), want)
		}
	}
}

// What names an address of the VIP, or nothing, as HTTP/1.0 may, is as for its hostname.
func TestSharedPortByAddress(t *testing.T) {
	b := newPublicBench(t)
	b.spec.VIPs[0].TLS = nil
	b.spec.VIPs[0].Addresses = append(b.spec.VIPs[0].Addresses, netip.MustParsePrefix("::1/128"))
	b.spec.VIPs[0].Public.Routes[1].Name = "api.example.org"
	x := b.start(1)
	x.hosts["three"].set(func(s *standIn) {
		s.code, s.header = 302, http.Header{"Location": {"http://[::1]/v2"}}
	})
	for _, tt := range []struct{ head, path, want string }{
		{"HTTP/1.0\r\n", "/other/one/x", "location: http://[::1]/other/one/v2"},
		{"HTTP/1.0\r\nHost:\r\n", "/other/one/x", "302"},
		{"HTTP/1.0\r\n", "/v1", "200"},
		{"HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n", "/other/one/x", "302"},
		{"HTTP/1.1\r\nHost: [::1]:443\r\nConnection: close\r\n", "/v1", "200"},
		{"HTTP/1.1\r\nHost: [::2]:443\r\nConnection: close\r\n", "/v1", "421"},
		{"HTTP/1.1\r\nHost: " + x.vip.String() + ":443\r\nConnection: close\r\n", "/v1", "200"},
		{"HTTP/1.1\r\nHost: API.example.org:80\r\nConnection: close\r\n", "http://API.example.org/v1", "200"},
	} {
		conn, err := net.Dial("tcp", fmt.Sprintf("%v:%d", x.vip, x.spec.VIPs[0].Public.Port))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s %s\r\n", tt.path, tt.head)
		answer, err := io.ReadAll(conn)
		if conn.Close(); err != nil || !strings.Contains(string(answer), tt.want) {
			t.Errorf("%q of %s: %v %q, want %s", tt.head, tt.path, err, answer, tt.want)
		}
	}
}

// With several certificates a client gets the one for its name and with a kind of key that it
// can do with; a request for another name than the connection was made for is sent elsewhere.
func TestSharedPortCertificates(t *testing.T) {
	b := newPublicBench(t)
	b.pem = certificateFor(t, false, "api.example.org")
	b.more = [][]byte{certificateFor(t, true, "api.example.org"), certificateFor(t, false, "api.example.net")}
	b.spec.VIPs[0].TLS.More = []spec.CertificateFiles{{Certificate: "/d.pem"}, {Certificate: "/e.pem"}}
	x := b.start(1)
	got, certificate := x.asker("api.example.net", true).ask("GET", "api.example.net", "/")
	if got.code != 200 || certificate.VerifyHostname("api.example.net") != nil {
		t.Errorf("%d with a certificate for %v", got.code, certificate.DNSNames)
	}
	if _, certificate := x.asker("api.example.org", true).ask("GET", "api.example.org", "/other/one"); certificate.PublicKeyAlgorithm != x509.ECDSA || certificate.VerifyHostname("api.example.org") != nil {
		t.Errorf("%v for %v", certificate.PublicKeyAlgorithm, certificate.DNSNames)
	}
	if _, certificate := x.asker("api.example.org", false, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256).ask("GET", "api.example.org", "/other/one"); certificate.PublicKeyAlgorithm != x509.RSA {
		t.Errorf("%v for a client that can do with RSA only", certificate.PublicKeyAlgorithm)
	}
	for _, http2 := range []bool{false, true} {
		if got, _ := x.asker("api.example.org", http2).ask("GET", "api.example.net", "/"); got.code != 421 {
			t.Errorf("%d for another name than the connection was made for", got.code)
		}
		if got, _ := x.asker("", http2).ask("GET", "api.example.net", "/"); got.code != 200 {
			t.Errorf("%d on a connection that was made for no name", got.code)
		}
	}
}

// With one certificate, which is for all names, they share connections.
func TestSharedPortCoalesces(t *testing.T) {
	x := newPublicBench(t).start(1)
	if got, _ := x.asker("api.example.org", true).ask("GET", "api.example.net", "/"); got.code != 200 {
		t.Errorf("%d", got.code)
	}
}

// While a service is busy its requests that come through a shared port go to any host that
// has room, and only its own.
func TestSharedPortWhileBusy(t *testing.T) {
	b := newPublicBench(t)
	x := b.start(1)
	for _, name := range []string{"one", "two"} {
		b.hosts[name].set(func(s *standIn) { s.takes = 300 * time.Millisecond })
	}
	busy := func() bool { return strings.Contains(string(x.ask("show table holdfast:busy")), "gpt0=1") }
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			a := x.asker("api.example.net", false)
			for {
				select {
				case <-stop:
					return
				default:
					a.ask("GET", "api.example.net", "/")
				}
			}
		})
	}
	x.eventually("busy", busy)
	x.eventually("both hosts ask", func() bool { return len(b.hosts["one"].seen()) > 0 && len(b.hosts["two"].seen()) > 0 })
	if got, _ := x.asker("api.example.org", false).ask("GET", "api.example.org", "/other/one"); got.body != "three" {
		t.Errorf("%+v", got)
	}
	close(stop)
	all.Wait()
	for _, name := range []string{"one", "two"} {
		b.hosts[name].set(func(s *standIn) { s.takes = 0 })
	}
	x.eventually("busy no more", func() bool {
		x.asker("api.example.net", false).ask("GET", "api.example.net", "/")
		return !busy()
	})
}

// publicLarge is large, with services by name on one port of two VIPs.
func publicLarge(services, hosts int) *spec.Spec {
	s := large(services, hosts)
	second := s.VIPs[0]
	second.Name, second.Hostname = "internal", "internal.example.org"
	second.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.11/16")}
	s.VIPs = append(s.VIPs, second)
	for i := range s.VIPs {
		v := &s.VIPs[i]
		v.TLS = &spec.TLS{Certificate: "/tls/" + v.Name + ".pem"}
		v.Public = &spec.Public{By: spec.ByName, Port: 443, Domain: v.Hostname}
		for _, svc := range s.Services {
			v.Public.Routes = append(v.Public.Routes, spec.Route{Service: svc.Name, Name: svc.Name + "." + v.Hostname})
		}
	}
	return s
}

func TestLargePublicIsValid(t *testing.T) {
	check(t, haproxy.Render(publicLarge(100, 50), haproxy.Local{RunDir: "/run/holdfast"}).Bytes())
}

// The target is 50 ms.
func BenchmarkRenderPublic100x50(b *testing.B) {
	s := publicLarge(100, 50)
	var n int
	for b.Loop() {
		n = len(haproxy.Render(s, haproxy.Local{RunDir: "/run/holdfast", StateDir: "/var/lib/holdfast"}).Bytes())
	}
	b.ReportMetric(float64(n), "bytes")
}

// What is asked of a service where clients come is a path that they reach there.
func TestClientRequest(t *testing.T) {
	svc := spec.Service{Name: "heat", Check: spec.Check{Layer: 7, Method: "GET", Path: "/healthcheck"}}
	for _, tt := range []struct {
		at    spec.Place
		check string
		want  string
	}{
		{spec.Place{Name: "a"}, "/healthcheck", "/healthcheck"},
		{spec.Place{Name: "a", Path: "/heat", Strip: true}, "/healthcheck", "/heat/healthcheck"},
		{spec.Place{Name: "a", Path: "/heat"}, "/heat/healthcheck", "/heat/healthcheck"},
		{spec.Place{Name: "a", Path: "/heat"}, "/healthcheck", "/heat/"},
		{spec.Place{Name: "a", Path: "/heat"}, "/heater", "/heat/"},
	} {
		svc.Check.Path = tt.check
		if got := string(haproxy.ClientRequest(svc, tt.at)); !strings.HasPrefix(got, "GET "+tt.want+" HTTP/1.1\r\nHost: a\r\n") {
			t.Errorf("%+v with the check %s: %q, want %s", tt.at, tt.check, got, tt.want)
		}
	}
}

// HAProxy reads 64 words of a line; a VIP may have more addresses, and services may be more.
func TestSharedPortOfManyAddressesIsValid(t *testing.T) {
	requireHAProxy(t)
	s := large(70, 2)
	v := &s.VIPs[0]
	for i := range 70 {
		v.Addresses = append(v.Addresses, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 16))
	}
	v.Public = &spec.Public{By: spec.ByPath, Port: 8999}
	for i := range s.Services {
		s.Services[i].KeepForwarded = true
		v.Public.Routes = append(v.Public.Routes, spec.Route{Service: s.Services[i].Name, Name: v.Hostname, Path: "/" + s.Services[i].Name, Strip: true})
	}
	check(t, haproxy.Render(s, haproxy.Local{RunDir: "/run/holdfast"}).Bytes())
}
