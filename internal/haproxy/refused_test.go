package haproxy_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/spec"
)

// send writes raw to the service of x and gives what is answered until the end. half
// ends the request before it is whole.
func (x *balancer) send(raw string, half bool) string {
	x.t.Helper()
	conn, err := net.Dial("tcp", x.at())
	if err != nil {
		x.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, raw); err != nil {
		x.t.Log(err) // it may have been refused already
	}
	if half {
		return ""
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	answer := make([]byte, 12) // "HTTP/1.1 400"
	n, _ := io.ReadFull(conn, answer)
	return string(answer[:n])
}

// refused gives what counter counts since it was asked last.
func (x *balancer) refused(counter *haproxy.RefusalCounter) []haproxy.Refusal {
	x.t.Helper()
	rows, err := output.ParseStat(x.ask("show stat -1 1 -1"))
	if err != nil {
		x.t.Fatal(err)
	}
	var invalid []haproxy.InvalidRequest
	for _, name := range counter.Rose(rows) {
		invalid = append(invalid, haproxy.ParseErrors(x.ask("show errors "+haproxy.CLIWord(name)+" request"))...)
	}
	return counter.Count(x.spec, rows, invalid)
}

// getLarge makes a request with headers of so many octets; an error says that it was
// not answered 200.
func (x *balancer) getLarge(octets int) error {
	scheme := "http"
	if x.spec.VIPs[0].TLS != nil {
		scheme = "https"
	}
	// With a body that it cannot begin again Go's client does not, when it is reset.
	body := io.LimitReader(strings.NewReader("body"), 4)
	req, err := http.NewRequestWithContext(x.t.Context(), http.MethodPost, scheme+"://"+x.at()+"/", body)
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", strings.Repeat("a", octets))
	r, err := (&http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return errors.New(r.Status)
	}
	return nil
}

// What HAProxy refuses by itself is counted by its cause.
func TestRefusedRequestsAreCountedByCause(t *testing.T) {
	x := newBench(t, "ctl1").start(1)
	const head = "GET / HTTP/1.1\r\nHost: api.example.org\r\n"
	many := ""
	for i := range 120 {
		many += fmt.Sprintf("X-%d: 1\r\n", i)
	}
	var counter haproxy.RefusalCounter
	x.send("no HTTP\r\n\r\n", false)
	if got := x.refused(&counter); len(got) > 0 {
		t.Errorf("what was before the first reading is counted: %v", got)
	}
	for _, tt := range []struct {
		name, raw string
		half      bool
		want      haproxy.Cause
	}{
		{"large", head + "X-Auth-Token: " + strings.Repeat("a", 16_000) + "\r\n\r\n", false, haproxy.TooLarge},
		{"huge", head + "X-Auth-Token: " + strings.Repeat("a", 60_000) + "\r\n\r\n", false, haproxy.TooLarge},
		{"large in several", head + strings.Repeat("Cookie: a="+strings.Repeat("b", 4_000)+"\r\n", 4) + "\r\n", false, haproxy.TooLarge},
		{"long URL", "GET /" + strings.Repeat("a", 17_000) + " HTTP/1.1\r\nHost: a\r\n\r\n", false, haproxy.TooLarge},
		{"many", head + many + "\r\n", false, haproxy.TooMany},
		{"malformed", head + "Bad Name: 1\r\n\r\n", false, haproxy.Malformed},
		{"a byte that no URL has", "GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", false, haproxy.Malformed},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 500), false, haproxy.TLSInPlain},
		{"half", head + "X-", true, haproxy.Incomplete},
		{"malformed again", head + "Bad Name: 1\r\n\r\n", false, haproxy.Malformed},
	} {
		for range 2 {
			if got := x.send(tt.raw, tt.half); !tt.half && !slices.Contains(refusals(tt.want), got) {
				t.Errorf("%s: answered %q", tt.name, got)
			}
		}
		var sum uint64
		x.eventually(tt.name+" counted", func() bool {
			for _, r := range x.refused(&counter) {
				if r.Service != "api" || r.Cause != tt.want {
					t.Errorf("%s: counted as %v", tt.name, r)
				}
				sum += r.N
			}
			return sum >= 2
		})
		if sum != 2 {
			t.Errorf("%s: counted %d times", tt.name, sum)
		}
	}
	x.get("/")
	if got := x.refused(&counter); len(got) > 0 {
		t.Errorf("a good request is counted: %v", got)
	}
}

// refusals gives what HAProxy may answer a request that it refuses for cause: 3.2 and
// later tell what is too large.
func refusals(cause haproxy.Cause) []string {
	if cause == haproxy.TooLarge {
		return []string{"HTTP/1.1 400", "HTTP/1.1 431", "HTTP/1.1 414"}
	}
	return []string{"HTTP/1.1 400"}
}

// By HTTP/2, HAProxy resets a request with too large headers, and counts it nowhere.
func TestRefusedByHTTP2IsCounted(t *testing.T) {
	b := newBench(t, "ctl1")
	b.spec.VIPs[0].TLS = &spec.TLS{}
	x := b.start(1)
	var counter haproxy.RefusalCounter
	x.refused(&counter)
	if r := x.get("/"); r.proto != "HTTP/2.0" {
		t.Fatal(r)
	}
	if got := x.refused(&counter); len(got) > 0 {
		t.Errorf("a good request is counted: %v", got)
	}
	for range 3 {
		if err := x.getLarge(16_000); err == nil {
			t.Error("headers of 16 kB went through")
		}
	}
	got := x.refused(&counter)
	if len(got) != 1 || got[0] != (haproxy.Refusal{Service: "api", Cause: haproxy.NoStream, N: 3}) {
		t.Errorf("counted: %v", got)
	}
}

// With a higher limit larger headers go through, both ways, by either protocol.
func TestHeaderLimit(t *testing.T) {
	for _, secure := range []*spec.TLS{nil, {}} {
		b := newBench(t, "ctl1")
		b.spec.VIPs[0].TLS = secure
		b.spec.HeaderLimit = 64 << 10
		x := b.start(1)
		if err := x.getLarge(63 << 10); err != nil {
			t.Errorf("TLS %t: headers of 63 KiB with a limit of 64: %v", secure != nil, err)
		}
		if err := x.getLarge(67 << 10); err == nil {
			t.Errorf("TLS %t: headers of 67 KiB with a limit of 64 went through", secure != nil)
		}
		if n := len(b.hosts["ctl1"].seen()); n != 1 {
			t.Errorf("TLS %t: the host saw %d requests", secure != nil, n)
		}
		b.hosts["ctl1"].set(func(s *standIn) { s.header = http.Header{"X-Large": {strings.Repeat("a", 60<<10)}} })
		if err := x.getLarge(1); err != nil {
			t.Errorf("TLS %t: an answer with headers of 60 KiB: %v", secure != nil, err)
		}
	}
}
