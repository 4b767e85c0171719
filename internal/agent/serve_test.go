package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestListenMoves proves that what listens goes to another port when a reload has made
// it another one, and that nothing answers at the one before.
func TestListenMoves(t *testing.T) {
	a := New(Options{Controller: "ctl1", Log: slog.New(slog.DiscardHandler)})
	free := func() netip.AddrPort {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // nothing came
		return netip.MustParseAddrPort(l.Addr().String())
	}
	first, second := free(), free()
	var at atomic.Pointer[netip.AddrPort]
	at.Store(&first)
	serve := func(ctx context.Context, l net.Listener) error {
		stop := context.AfterFunc(ctx, func() { l.Close() }) //nolint:errcheck // Accept says so
		defer stop()
		for {
			conn, err := l.Accept()
			if err != nil {
				return nil
			}
			_, _ = io.WriteString(conn, "here") // the test says what it misses
			conn.Close()                        //nolint:errcheck // as for that
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.listen(ctx, func() netip.AddrPort { return *at.Load() }, "page", serve)
	}()
	await := func(address netip.AddrPort) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			conn, err := net.Dial("tcp", address.String())
			if err == nil {
				conn.Close() //nolint:errcheck // it was there
				return
			}
		}
		t.Fatalf("nothing answers at %v", address)
	}
	await(first)
	at.Store(&second)
	await(second)
	if _, err := net.Dial("tcp", first.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("at the port before: %v", err)
	}
	cancel()
	<-done
}
