package peer

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

// ask sends request to the server at address and gives what it answers.
func ask(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the test has its answer
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	// One that is not to be answered may have been cut off by now.
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	return string(answer)
}

func TestAgentCheck(t *testing.T) {
	s := NewServer(Options{
		Log:    slog.New(slog.DiscardHandler),
		Answer: func(host, service string) string { return host + "/" + service + " up ready" },
	})
	listener, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(t.Context(), listener)
	address := listener.Addr().String()

	if got := ask(t, address, "ctl1 nova\n"); got != "" {
		t.Errorf("an address that is no controller's was answered %q", got)
	}
	s.Allow(map[netip.Addr]string{netip.MustParseAddr("127.0.0.1"): "ctl1"})
	for _, test := range []struct{ request, want string }{
		{"ctl1 nova\n", "ctl1/nova up ready\n"},
		{"ctl1 nova\r\n", "ctl1/nova up ready\n"},
		{"ctl1 nova\r", "ctl1/nova up ready\n"},
		{"\n", ""},
		{"ctl1\n", ""},
		{"no end of line", ""},
		{strings.Repeat("x", 4*checkLine) + " nova\n", ""},
	} {
		if got := ask(t, address, test.request); got != test.want {
			t.Errorf("%.20q: answered %q, want %q", test.request, got, test.want)
		}
	}
}
