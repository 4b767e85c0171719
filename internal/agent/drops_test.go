package agent

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast/internal/haproxy"
)

// uploadFrom sends a body from a client's address, and gives what comes back.
func uploadFrom(t *testing.T, client string, size int) string {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", "192.0.2.10:5000")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: api\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", size)
	go io.WriteString(conn, strings.Repeat("x", size))
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	answer, _ := io.ReadAll(conn) // an end by a reset is one, too
	return string(answer)
}

// A host that passes its check and resets every upload is taken out, once these are
// of several clients: not for one, whatever it sends.
func TestHostThatResetsUploadsIsTakenOut(t *testing.T) {
	h := newHost(t)
	h.listen("192.0.2.1:5000", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	h.otherHost(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthcheck" {
			return
		}
		_, _ = io.CopyN(io.Discard, r.Body, 10_000)
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	})
	h.write(strings.Replace(testSpec, "keystone: {}", "keystone: {affinity: none}", 1))
	d := h.start()
	d.awaitActive()
	h.awaitBothUp(d)
	from := time.Now()
	for time.Since(from) < haproxy.DropWindow*8/5 {
		uploadFrom(t, "127.0.0.2", 1_000_000)
		time.Sleep(20 * time.Millisecond)
	}
	if hasEvent(d, "host-taken-out") {
		t.Fatal("one client's uploads have taken a host out")
	}
	h.await("the host is taken out", func() bool {
		for i := range 5 {
			uploadFrom(t, fmt.Sprintf("127.0.0.%d", 2+i), 1_000_000)
		}
		return hasEvent(d, "host-taken-out")
	})
	for _, e := range d.journal.Last(100) {
		if e.Kind == "host-taken-out" && (!strings.Contains(e.Text, "ctl2") || !strings.Contains(e.Cause, "without an answer")) {
			t.Errorf("%s: %s", e.Text, e.Cause)
		}
	}
}
