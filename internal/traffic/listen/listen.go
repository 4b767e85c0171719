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
	"os"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/traffic"
)

const (
	// atOnce is how many datagrams are read at once, lineLength how much of each.
	atOnce     = 64
	lineLength = 1024
	// pause is how long lines may wait, so that many are read at once: it costs a wake-up
	// each time.
	pause = 50 * time.Millisecond
	// receiveBuffer is what of the lines the kernel keeps meanwhile, in octets as it counts
	// them: some 6,000 lines.
	receiveBuffer = 4 << 20
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
	conn, err := open(at)
	if err != nil {
		return fmt.Errorf("take HAProxy's log at %s: %w", at, err)
	}
	l.opt.SetFinding("listen-log", nil)
	here, leave := context.WithCancel(ctx)
	defer leave()
	context.AfterFunc(here, func() { _ = conn.Close() }) // it wakes the reader
	go l.leaveWhenOther(here, leave, at)
	err = l.read(here, ipv4.NewPacketConn(conn))
	if here.Err() != nil {
		return nil
	}
	return fmt.Errorf("take HAProxy's log at %s: %w", at, err)
}

// leaveWhenOther calls leave when the spec in force has another address than at.
func (l *Listener) leaveWhenOther(ctx context.Context, leave func(), at netip.AddrPort) {
	ticker := time.NewTicker(again)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if s := l.opt.Spec(); s != nil && haproxy.LogAddress(s) != at {
			leave()
			return
		}
	}
}

// open opens a socket whose datagrams come with the time at which they were sent, and the
// number of those that were lost.
func open(at netip.AddrPort) (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		var set error
		err = raw.Control(func(fd uintptr) {
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // what an agent that is not root may
			}
			set = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1),
			)
		})
		err = errors.Join(err, os.NewSyscallError("setsockopt", set))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// read reads lines until ctx ends.
func (l *Listener) read(ctx context.Context, conn *ipv4.PacketConn) error {
	messages := buffers()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	before := uint32(0) // lost on this socket, as was told last
	for {
		n, err := conn.ReadBatch(messages, 0)
		if err != nil {
			return err
		}
		before = l.count(messages[:n], before)
		if n == len(messages) {
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

// buffers gives room for datagrams, and what the kernel says of them.
func buffers() []ipv4.Message {
	messages := make([]ipv4.Message, atOnce)
	for i := range messages {
		messages[i] = ipv4.Message{Buffers: [][]byte{make([]byte, lineLength)}, OOB: make([]byte, 128)}
	}
	return messages
}

// count has the book count lines, and gives how many the socket had lost by then.
func (l *Listener) count(messages []ipv4.Message, before uint32) uint32 {
	s := l.opt.Spec()
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.use(s)
	for i := range messages {
		m := &messages[i]
		from, _ := m.Addr.(*net.UDPAddr)
		if !l.senders.may(from, now) {
			l.strange++
			continue
		}
		at, lost := control(m.OOB[:m.NN], now, before)
		l.lost += uint64(lost - before) // it counts on beyond its end
		before = lost
		l.book.AddLine(at, m.Buffers[0][:m.N])
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
