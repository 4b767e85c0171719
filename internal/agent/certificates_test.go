package agent

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/certificate/certificatetest"
	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/status"
)

// An authority signs the certificates of a test, and asks as its clients do.
type authority struct{ *certificatetest.Authority }

func newAuthority(t testing.TB) authority { return authority{certificatetest.NewAuthority(t)} }

const tlsURL = "https://192.0.2.10:5000/v3"

// client makes a client that takes what the authority signed.
func (a authority) client(h2 bool) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	config := &tls.Config{RootCAs: pool, ServerName: "api.example.org"}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: h2}
	if !h2 {
		config.NextProtos = []string{"http/1.1"}
	}
	a.T.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// serial asks on a new connection whose certificate is served; 0 for no answer.
func (a authority) serial() int64 {
	c := a.client(false)
	defer c.CloseIdleConnections()
	response, err := c.Get(tlsURL)
	if err != nil {
		return 0
	}
	defer response.Body.Close() //nolint:errcheck // it was only looked at
	return response.TLS.PeerCertificates[0].SerialNumber.Int64()
}

// tlsHost is a host whose VIP has TLS, with the certificate in dir/cert.pem and,
// if said, the key in dir/key.pem.
func tlsHost(t *testing.T, key bool) (*host, string) {
	h := newHost(t)
	h.keystone()
	dir := t.TempDir()
	settings := "certificate: " + filepath.Join(dir, "cert.pem")
	if key {
		settings += ", key: " + filepath.Join(dir, "key.pem")
	}
	h.write(strings.Replace(testSpec, "    vrrp:", "    tls: {"+settings+"}\n    vrrp:", 1))
	return h, dir
}

// worker gives the process that serves.
func (d *running) worker() int {
	d.h.t.Helper()
	reply, err := d.haproxy.Runtime(d.h.t.Context(), "show info")
	if err != nil {
		d.h.t.Fatal(err)
	}
	info, err := output.ParseInfo([]byte(reply))
	if err != nil {
		d.h.t.Fatal(err)
	}
	return info.PID
}

// A caller asks again and again over one connection.
type caller struct {
	asked, failed, connections atomic.Int64
	proto                      atomic.Value
	stop                       func()
}

func (a authority) call(h2, fresh bool) *caller {
	c, client, end := &caller{}, a.client(h2), make(chan struct{})
	if fresh {
		client.Transport.(*http.Transport).DisableKeepAlives = true
	}
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if !i.Reused {
			c.connections.Add(1)
		}
	}}
	var wait sync.WaitGroup
	c.stop = sync.OnceFunc(func() { close(end); wait.Wait() })
	a.T.Cleanup(c.stop)
	wait.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(2 * time.Millisecond):
			}
			request, err := http.NewRequestWithContext(httptrace.WithClientTrace(a.T.Context(), trace), http.MethodGet, tlsURL, nil)
			if err == nil {
				err = c.ask(client, request)
			}
			c.asked.Add(1)
			if err != nil {
				c.failed.Add(1)
				a.T.Log(err)
			}
		}
	})
	return c
}

func (c *caller) ask(client *http.Client, request *http.Request) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	c.proto.Store(response.Proto)
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != 200 || string(body) != "keystone\n") {
		err = fmt.Errorf("%s %q", response.Status, body)
	}
	return errors.Join(err, response.Body.Close())
}

func TestNewCertificateIsLiveWithoutAReload(t *testing.T) {
	h, dir := tlsHost(t, true)
	ca := newAuthority(t)
	// As certbot and Kubernetes have them: links, of which one is replaced.
	place := func(p certificatetest.Pair) {
		t.Helper()
		version := fmt.Sprint("v", p.Serial)
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		certificatetest.Put(t, filepath.Join(dir, version, "cert.pem"), p.Cert)
		certificatetest.Put(t, filepath.Join(dir, version, "key.pem"), p.Key)
		link := filepath.Join(dir, "data")
		if err := errors.Join(os.Symlink(version, link+".new"), os.Rename(link+".new", link)); err != nil {
			t.Fatal(err)
		}
	}
	place(ca.Issue(101))
	for _, name := range []string{"cert.pem", "key.pem"} {
		if err := os.Symlink(filepath.Join("data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	d := h.start()
	d.awaitActive()
	h.await("the first certificate is served", func() bool { return ca.serial() == 101 })
	worker := d.worker()
	callers := []*caller{ca.call(false, false), ca.call(true, false), ca.call(false, true)}
	asked := func(n int64) {
		t.Helper()
		for _, c := range callers {
			from := c.asked.Load()
			h.await("requests are made", func() bool { return c.asked.Load() >= from+n })
		}
	}
	asked(20)
	for serial := int64(102); serial < 105; serial++ {
		begun := time.Now()
		place(ca.Issue(serial))
		h.await("the next certificate is served", func() bool { return ca.serial() == serial })
		t.Logf("a new connection has it %v after the change", time.Since(begun).Round(time.Millisecond))
		asked(20)
	}
	for i, c := range callers {
		c.stop()
		t.Logf("%v: %d requests on %d connections", c.proto.Load(), c.asked.Load(), c.connections.Load())
		if c.failed.Load() != 0 || i < 2 && c.connections.Load() != 1 {
			t.Errorf("caller %d: %d of %d requests failed, on %d connections", i, c.failed.Load(), c.asked.Load(), c.connections.Load())
		}
	}
	if p := callers[1].proto.Load(); p != "HTTP/2.0" {
		t.Errorf("a client that can do HTTP/2 got %v", p)
	}
	s := d.Snapshot()
	if d.worker() != worker || s.HAProxy.Reloads != 0 {
		t.Errorf("HAProxy was reloaded: worker %d, was %d, %d reloads", d.worker(), worker, s.HAProxy.Reloads)
	}
	h.await("the changes are in the journal", func() bool { return events(d, "certificate-changed") >= 3 })
	if c := s.VIPs[0].Certificate; c == nil || c.Refused || !slices.Equal(c.Names, []string{"api.example.org"}) || len(d.wrong()) != 0 {
		t.Errorf("the snapshot has %+v, and %v", s.VIPs[0].Certificate, d.wrong())
	}
	if n := events(d, "certificate-refused"); n != 0 {
		t.Errorf("%d good certificates were refused", n)
	}
	info, err := os.Stat(haproxy.CertificateFile(h.opt.StateDir, "api"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy of the key: %v, %v; want it for root only", info.Mode(), err)
	}
}

func events(d *running, kind string) int {
	n := 0
	for _, e := range d.journal.Last(1000) {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func hasFinding(s status.Snapshot, code string, severity status.Severity) bool {
	return slices.ContainsFunc(s.Findings, func(f status.Finding) bool { return f.Code == code && f.Severity == severity })
}

func TestBadCertificateIsRefused(t *testing.T) {
	h, dir := tlsHost(t, false)
	ca := newAuthority(t)
	file, good := filepath.Join(dir, "cert.pem"), ca.Issue(201)
	certificatetest.Put(t, file, good.Both())
	d := h.start()
	d.awaitActive()
	h.await("the first certificate is served", func() bool { return ca.serial() == 201 })
	for i, bad := range []struct {
		code string
		data []byte
	}{
		{"certificate-key", slices.Concat(good.Cert, ca.Issue(0).Key)},
		{"certificate-expired", ca.Issue(202, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }).Both()},
		{"certificate-name", ca.Issue(203, func(c *x509.Certificate) { c.DNSNames = []string{"www.example.org"} }).Both()},
		{"certificate-format", []byte("half of it")},
	} {
		certificatetest.Put(t, file, bad.data)
		h.await(bad.code+" is found", func() bool { return hasFinding(d.Snapshot(), bad.code, status.Warning) })
		s := d.Snapshot()
		if ca.serial() != 201 || !s.VIPs[0].Certificate.Refused || !s.VIPs[0].Present || events(d, "certificate-refused") != i+1 {
			t.Errorf("%s: serial %d, %+v, %d events", bad.code, ca.serial(), s.VIPs[0].Certificate, events(d, "certificate-refused"))
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	h.await("the loss is found", func() bool { return hasFinding(d.Snapshot(), "certificate-unreadable", status.Warning) })
	if err := d.end(); err != nil {
		t.Fatal(err)
	}

	// A start with a bad file goes on with the copy, of HAProxy too.
	h.killHAProxy()
	d = h.start()
	d.awaitActive()
	h.await("the copy is served", func() bool { return ca.serial() == 201 })
	if s := d.Snapshot(); !hasFinding(s, "certificate-unreadable", status.Warning) || len(s.Config.Rejected) != 0 {
		t.Errorf("a start with the copy says %v", s.Findings)
	}
	last := ca.Issue(204, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().AddDate(0, 0, -70), time.Now().AddDate(0, 0, 20)
	})
	certificatetest.Put(t, file, last.Both())
	h.await("the good one is served", func() bool { return ca.serial() == 204 })
	kept, err := os.ReadFile(haproxy.CertificateFile(h.opt.StateDir, "api"))
	if err != nil || !bytes.HasPrefix(kept, last.Cert) {
		t.Errorf("the copy is not the newest good one: %v", err)
	}
	if s := d.Snapshot(); len(d.wrong()) != 1 || !hasFinding(s, "certificate-expires", status.Warning) {
		t.Errorf("a certificate for 20 days more: %v", s.Findings)
	}
}

// A spec whose certificate is bad is refused as one, where there is another.
func TestReloadWithABadCertificateIsRefused(t *testing.T) {
	h, dir := tlsHost(t, false)
	ca := newAuthority(t)
	withTLS, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	h.write(testSpec)
	d := h.start()
	d.awaitActive()
	h.write(string(withTLS))
	certificatetest.Put(t, filepath.Join(dir, "cert.pem"), ca.Issue(301, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }).Both())
	if _, err := d.rollout.Reload(t.Context(), "test"); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("reload with an expired certificate: %v", err)
	}
	if got, err := get("http://192.0.2.10:5000/v3"); err != nil || !strings.HasPrefix(got, "200") {
		t.Errorf("after it: %q, %v", got, err)
	}
	certificatetest.Put(t, filepath.Join(dir, "cert.pem"), ca.Issue(302).Both())
	if _, err := d.rollout.Reload(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	h.await("it is served", func() bool { return ca.serial() == 302 })
}

// At the very start an expired certificate is better than no API at all; one
// that HAProxy cannot load is waited for.
func TestStartWithABadCertificateAndNoOther(t *testing.T) {
	h, dir := tlsHost(t, false)
	ca := newAuthority(t)
	file := filepath.Join(dir, "cert.pem")
	certificatetest.Put(t, file, []byte("nothing"))
	d := h.start()
	h.await("it is said", func() bool { return hasFinding(d.Snapshot(), status.CodeNotInForce, status.Error) })
	certificatetest.Put(t, file, ca.Issue(401, func(c *x509.Certificate) { c.DNSNames = []string{"www.example.org"} }).Both())
	d.awaitActive()
	h.await("it is found", func() bool { return hasFinding(d.Snapshot(), "certificate-name", status.Error) })
	certificatetest.Put(t, file, ca.Issue(402).Both())
	h.await("the good one is served", func() bool { return ca.serial() == 402 })
	if f := d.wrong(); len(f) != 0 {
		t.Errorf("all is well, and the snapshot has %v", f)
	}
}

// What is too long for the runtime API takes a reload.
func TestLongCertificateTakesAReload(t *testing.T) {
	h, dir := tlsHost(t, false)
	ca := newAuthority(t)
	file := filepath.Join(dir, "cert.pem")
	certificatetest.Put(t, file, ca.Issue(501).Both())
	d := h.start()
	d.awaitActive()
	h.await("the first certificate is served", func() bool { return ca.serial() == 501 })
	long := ca.Issue(502, func(c *x509.Certificate) {
		for i := range 600 {
			c.DNSNames = append(c.DNSNames, fmt.Sprintf("name%d.example.org", i))
		}
	})
	if len(long.Both()) < 16384 || !bytes.Contains(long.Key, []byte("KEY")) {
		t.Fatalf("%d bytes are not long", len(long.Both()))
	}
	certificatetest.Put(t, file, long.Both())
	h.await("the long one is served", func() bool { return ca.serial() == 502 })
	h.await("the reload is counted", func() bool { return d.Snapshot().HAProxy.Reloads == 1 && events(d, "certificate-changed") > 0 })
}

// Hosts that speak TLS are checked, and asked with it; browsers are told to
// come with it.
func TestTLSToTheHosts(t *testing.T) {
	h := newHost(t)
	ca, dir := newAuthority(t), t.TempDir()
	authorities, file := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem")
	certificatetest.Put(t, authorities, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw}))
	certificatetest.Put(t, file, ca.Issue(601).Both())
	h.secureKeystone(ca.Issue(602, func(c *x509.Certificate) { c.DNSNames = []string{"ctl1"} }))
	settings := "    tls: {certificate: " + file + ", hsts: 1d, redirect: true}\n    vrrp:"
	with := func(service string) string {
		s := strings.Replace(testSpec, "    vrrp:", settings, 1)
		return strings.Replace(s, "keystone: {}", "keystone: {"+service+"}\n  horizon: {port: 443}", 1)
	}
	h.write(with("tls: verify, ca: " + authorities))
	d := h.start()
	d.awaitActive()
	client := ca.client(true)
	ask := func(url string) (*http.Response, error) {
		response, err := client.Get(url)
		if err == nil {
			err = response.Body.Close()
		}
		return response, err
	}
	h.await("Keystone answers", func() bool {
		r, err := ask(tlsURL)
		return err == nil && r.StatusCode == 200 && r.Header.Get("Strict-Transport-Security") == "max-age=86400"
	})
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r, err := ask("http://192.0.2.10/project/?a=b")
	if err != nil || r.StatusCode != 301 || r.Header.Get("Location") != "https://api.example.org/project/?a=b" {
		t.Errorf("plain HTTP: %v, %v", r, err)
	}
	h.write(with("tls: verify, server_name: other.example.org, ca: " + authorities))
	if _, err := d.rollout.Reload(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	h.await("a host with another name is not asked", func() bool {
		r, err := ask(tlsURL)
		return err == nil && r.StatusCode == 503 && r.Header.Get("Strict-Transport-Security") != ""
	})
	h.write(with("tls: insecure"))
	if _, err := d.rollout.Reload(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	h.await("unless nobody checks", func() bool {
		r, err := ask(tlsURL)
		return err == nil && r.StatusCode == 200
	})
}

// secureKeystone is keystone with TLS.
func (h *host) secureKeystone(p certificatetest.Pair) {
	h.t.Helper()
	cert, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		h.t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "192.0.2.1:5000", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		h.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "keystone\n") // the client says what it misses
	}), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)} // a check that gives up is none of ours
	go server.Serve(listener) //nolint:errcheck // it ends with the test
	h.t.Cleanup(func() { _ = server.Close() })
}
