package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

const line = `10.0.0.9:51292 [01/Dec/2026:11:40:33.930] api-v4-nova nova/ctl1 0/0/0/4/4 200 50 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1"`

// specAt gives a spec of one service whose agent has that port.
func specAt(port int) *spec.Spec {
	return &spec.Spec{
		VIPs:     []spec.VIP{{Name: "api", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.10/24")}, Endpoints: []string{"public"}}},
		Services: []spec.Service{{Name: "nova", Port: 8774}},
		Agent:    spec.Agent{CheckPort: port},
	}
}

// freePort gives a UDP port that nobody has on the loopback.
func freePort(t *testing.T) int {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	return conn.LocalAddr().(*net.UDPAddr).Port
}

// A bed is a Listener that runs, and what it said.
type bed struct {
	*Listener
	events chan status.Event // into the journal
	told   chan status.Event // by the Listener

	mu       sync.Mutex // guards following
	spec     *spec.Spec
	findings map[string]bool
}

func (b *bed) set(s *spec.Spec) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spec = s
}

func run(t *testing.T, s *spec.Spec, may bool) *bed {
	t.Helper()
	b := &bed{events: make(chan status.Event, 16), told: make(chan status.Event, 16), spec: s, findings: map[string]bool{}}
	b.Listener = New(Options{
		Spec:    func() *spec.Spec { b.mu.Lock(); defer b.mu.Unlock(); return b.spec },
		MayTell: func(uid uint32) bool { return may && int(uid) == os.Geteuid() },
		Event:   func(e status.Event) { b.told <- e },
		Follow:  func() (<-chan status.Event, func()) { return b.events, func() {} },
		SetFinding: func(key string, f *status.Finding) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.findings[key] = f != nil
		},
		Log: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	return b
}

// send sends lines until the Listener says that it has had some.
func (b *bed) send(t *testing.T, to netip.AddrPort, has func() bool) {
	t.Helper()
	conn, err := net.Dial("udp4", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for !has() {
		if _, err := conn.Write([]byte(line + "\n")); err != nil && !errors.Is(err, net.ErrClosed) && t.Context().Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (b *bed) counted() uint64 {
	sums := b.Account().Sums
	if len(sums) == 0 {
		return 0
	}
	return sums[0].Requests()
}

func TestLinesAreCounted(t *testing.T) {
	s := specAt(freePort(t))
	b := run(t, s, true)
	b.send(t, haproxy.LogAddress(s), func() bool { return b.counted() > 100 })
	if a := b.Account(); a.Strange > 0 || a.Sums[0].Service != "nova" || a.Sums[0].Interface != "public" {
		t.Errorf("%+v", a)
	}
	if rates := b.Rates(); len(rates) != 1 || rates[0].Requests == 0 || rates[0].P50 != 4500*time.Microsecond {
		t.Errorf("rates %+v", rates)
	}
}

// A user that is not HAProxy's can send, and is not believed.
func TestStrangersAreNotCounted(t *testing.T) {
	s := specAt(freePort(t))
	b := run(t, s, false)
	b.send(t, haproxy.LogAddress(s), func() bool { return b.Account().Strange > 10 })
	if n := b.counted(); n > 0 {
		t.Errorf("%d lines of a stranger were counted", n)
	}
}

// A reload may give the agent another port, and what was counted stays.
func TestAnotherPort(t *testing.T) {
	s := specAt(freePort(t))
	b := run(t, s, true)
	b.send(t, haproxy.LogAddress(s), func() bool { return b.counted() > 0 })
	before := b.counted()
	other := specAt(freePort(t))
	b.set(other)
	b.send(t, haproxy.LogAddress(other), func() bool { return b.counted() > before })
}

// A port that somebody has is a finding until he leaves it.
func TestPortThatIsTaken(t *testing.T) {
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := specAt(taken.LocalAddr().(*net.UDPAddr).Port)
	b := run(t, s, true)
	found := func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.findings["listen-log"] }
	for !found() {
		time.Sleep(time.Millisecond)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	b.send(t, haproxy.LogAddress(s), func() bool { return b.counted() > 0 })
	if found() {
		t.Error("the finding stays")
	}
}

// What came faster than it was read is counted as lost.
func TestLinesThatAreLost(t *testing.T) {
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(freePort(t)))
	in, err := open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close() //nolint:errcheck // nothing was written
	if err := unix.SetsockoptInt(in.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096); err != nil {
		t.Fatal(err)
	}
	out, err := net.Dial("udp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for range 1000 {
		fmt.Fprint(out, line)
	}
	for range 1000 { // the count comes with what is kept after the loss
		n, err := in.read(true)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			_, text, said := in.message(i)
			if _, lost := control(said, time.Now(), 0); lost > 0 {
				return
			}
			if string(text) != line {
				t.Fatalf("read %q", text)
			}
		}
		fmt.Fprint(out, line)
	}
	t.Error("nothing was lost")
}

func TestWhoSends(t *testing.T) {
	table := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n" +
		" 6466: 0100007F:24FF 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 682566 2 0000000027c41cd9 0\n" +
		"10774: 00000000:B5D3 00000000:0000 07 00000000:00000000 00:00000000 00000000   107        0 682811 2 00000000066be760 0\nodd\n"
	s := newSenders(func(uid uint32) bool { return uid == 107 })
	reads := 0
	s.read = func() ([]byte, error) { reads++; return []byte(table), nil }
	now := time.Unix(1_800_000_000, 0)
	from := func(port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	}
	if s.may(from(0x24FF), now) || !s.may(from(0xB5D3), now) || s.may(from(9), now) || s.may(netip.AddrPort{}, now) || s.may(netip.MustParseAddrPort("10.0.0.1:46547"), now) || reads != 1 {
		t.Errorf("after %d reads", reads)
	}
	if s.may(from(9), now.Add(time.Second)); reads != 2 {
		t.Errorf("%d reads of a port that is not known, want 2", reads)
	}
	table = "" // its worker has ended
	if !s.may(from(0xB5D3), now.Add(2*time.Second)) || s.may(from(0xB5D3), now.Add(time.Minute)) {
		t.Error("what a worker left behind counts for a while")
	}
}

// Others' sockets, however many, are no reason to take HAProxy for a stranger, nor to look
// again and again.
func TestWhoSendsAmongMany(t *testing.T) {
	var table strings.Builder
	for i := range 1100 {
		fmt.Fprintf(&table, "%d: 0100007F:%04X 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000 0 1 2 0 0\n", i, 20000+i)
	}
	fmt.Fprint(&table, "9999: 00000000:B5D3 00000000:0000 07 00000000:00000000 00:00000000 00000000   107        0 682811 2 00000000066be760 0\n")
	s := newSenders(func(uid uint32) bool { return uid == 107 })
	reads := 0
	s.read = func() ([]byte, error) { reads++; return []byte(table.String()), nil }
	now := time.Unix(1_800_000_000, 0)
	from := func(port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	}
	if !s.may(from(0xB5D3), now) {
		t.Error("HAProxy is taken for a stranger")
	}
	reads = 0
	for i := range 10_000 { // a second, from one port after the other
		s.may(from(1024+i), now.Add(time.Second+time.Duration(i)*100*time.Microsecond))
	}
	if reads > 8 {
		t.Errorf("%d looks in a second for who is nobody", reads)
	}
	if !s.may(from(0xB5D3), now.Add(3*time.Second)) {
		t.Error("HAProxy is taken for a stranger after that")
	}
}
