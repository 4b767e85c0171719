// Package listen takes HAProxy's log, has package traffic count what is in it, and tells
// what a fault or a planned move cost. HAProxy sends it datagrams of UDP on the loopback,
// and never waits for it.
package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/traffic"
)

const (
	// pause is how long lines may wait, so that many are read at once: it costs a wake-up
	// each time.
	pause = 50 * time.Millisecond
	// again is after which time an address that is not free is tried again, or another one
	// is looked for.
	again = time.Second
)

// Options is what a Listener is made of.
type Options struct {
	Spec func() *spec.Spec // the one in force; nil: none is
	// MayTell reports whether a user's processes may be HAProxy.
	MayTell func(uid uint32) bool
	// Event writes into the journal; Follow gives what is written into it from now on, and
	// what ends that.
	Event  func(status.Event)
	Follow func() (<-chan status.Event, func())
	// Lives reports whether the host of a controller has answered all that it was asked in the
	// last seconds, whatever its agent does; false where that is not known. Nil: it is not.
	Lives func(controller string) bool
	// SetFinding records what is so under key, nil for no more.
	SetFinding func(key string, f *status.Finding)
	Log        *slog.Logger
}

// A Listener takes the log. Its methods may be called by any goroutine.
type Listener struct {
	opt     Options
	senders senders // of Run alone

	mu      sync.Mutex // guards following
	book    *traffic.Book
	spec    *spec.Spec // that book counts by
	lost    uint64     // lines that the kernel had no room for
	strange uint64     // lines of nobody who may be HAProxy
	rates   []status.Client
	ratesAt time.Time
}

// New makes a Listener. It touches nothing until Run.
func New(opt Options) *Listener {
	return &Listener{opt: opt, senders: newSenders(opt.MayTell), book: traffic.NewBook()}
}

// Run takes the log until ctx ends. An address that is not free is tried again.
func (l *Listener) Run(ctx context.Context) {
	var costs sync.WaitGroup
	costs.Go(func() { l.tellCosts(ctx) })
	costs.Go(func() { l.tellTurned(ctx) })
	defer costs.Wait()
	said := ""
	for ctx.Err() == nil {
		err := l.listen(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			said = ""
			continue
		case err.Error() != said:
			said = err.Error()
			l.opt.Log.Warn("what clients get is not counted; trying again every second", "error", err)
			l.opt.SetFinding("listen-log", &status.Finding{
				Severity: status.Warning, Code: status.CodeNotListening, Subject: "HAProxy's log",
				Text: fmt.Sprintf("what clients get is not counted: %v", err), Remedy: "see with ss -lunp which process has the port, or set another check_port under agent: in the spec",
			})
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// listen takes the log at the address of the spec in force, until that is another one or
// ctx ends.
func (l *Listener) listen(ctx context.Context) error {
	s := l.opt.Spec()
	if s == nil {
		return errors.New("no spec is in force")
	}
	at := haproxy.LogAddress(s)
	socket, err := open(at)
	if err != nil {
		return fmt.Errorf("take HAProxy's log at %s: %w", at, err)
	}
	l.opt.SetFinding("listen-log", nil)
	err = l.read(ctx, socket, at)
	if err := errors.Join(err, socket.close()); err != nil {
		return fmt.Errorf("take HAProxy's log at %s: %w", at, err)
	}
	return nil
}

// read reads lines until ctx ends, or the spec in force has another address than at.
func (l *Listener) read(ctx context.Context, from *socket, at netip.AddrPort) error {
	defer context.AfterFunc(ctx, func() { poke(at) })()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	before := uint32(0) // lost on this socket, as was told last
	for wait := true; ; {
		n, err := from.read(wait)
		if err != nil {
			return err
		}
		before = l.count(from, n, before)
		if s := l.opt.Spec(); ctx.Err() != nil || s != nil && haproxy.LogAddress(s) != at {
			return nil
		}
		if wait = n == 0; wait || n == atOnce {
			continue
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// poke wakes who waits for a datagram at that address. Where it does not, he wakes by himself.
func poke(at netip.AddrPort) {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte{'\n'}) //nolint:errcheck // see above
	_ = conn.Close()                //nolint:errcheck // nothing more is sent
}

// count has the book count n lines that were read, and gives how many the socket had lost
// by then.
func (l *Listener) count(from *socket, n int, before uint32) uint32 {
	if n == 0 {
		return before
	}
	s := l.opt.Spec()
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.use(s)
	for i := range n {
		sender, line, said := from.message(i)
		if !l.senders.may(sender, now) {
			l.strange++
			continue
		}
		at, lost := control(said, now, before)
		l.lost += uint64(lost - before) // it counts on beyond its end
		before = lost
		l.book.AddLine(at, line)
	}
	return before
}

// use has the book count by s. The caller holds mu.
func (l *Listener) use(s *spec.Spec) {
	if s == nil || s == l.spec {
		return
	}
	l.spec = s
	l.book.Use(Keys(s))
}

// control reads what the kernel says of a datagram: when it came, and how many were lost
// before it.
func control(oob []byte, now time.Time, before uint32) (at time.Time, lost uint32) {
	at, lost = now, before
	for len(oob) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		switch {
		case header.Level != unix.SOL_SOCKET:
		case header.Type == unix.SO_TIMESTAMPNS:
			at = timestamp(data, now)
		case header.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			lost = nativeUint32(data)
		}
		oob = rest
	}
	return at, lost
}

// Keys gives what the lines of each frontend of s are counted under.
func Keys(s *spec.Spec) map[string]traffic.Key {
	keys := map[string]traffic.Key{}
	for _, f := range haproxy.Frontends(s) {
		keys[f.Name] = traffic.KeyOf(f.Service.Name, f.VIP.Name, f.VIP.Endpoints)
	}
	return keys
}
