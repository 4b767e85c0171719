package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/vrrp"
)

// A wire joins fake hosts. It delivers at once.
type wire struct {
	mu    sync.Mutex // guards following
	hosts map[netip.Addr]*fakeHost
	cut   map[netip.Addr]bool
	mute  map[netip.Addr]bool // nothing that it sends arrives
	sniff []string            // what was sent, with the time
	ear   *fakeHost           // gets a copy of all that is sent; nil for nobody
	begun time.Time
}

func newWire() *wire {
	return &wire{hosts: map[netip.Addr]*fakeHost{}, cut: map[netip.Addr]bool{}, mute: map[netip.Addr]bool{}, begun: time.Now()}
}

// A fakeHost is a host without an operating system, for virtual time.
type fakeHost struct {
	wire  *wire
	addr  netip.Addr
	wakes chan struct{}

	mu      sync.Mutex // guards following
	inbox   []datagram
	bad     string // fault
	openErr error
	opens   int
	sendErr error
	readErr error
	links   bool          // changed
	pause   time.Duration // of the next wait, as if this process did not run
	away    netip.Addr    // a peer whose link-layer address is not known
	forgot  []netip.Addr
	greeted []netip.Addr
	ifindex int
	seen    sight
}

func (w *wire) host(addr string) *fakeHost {
	h := &fakeHost{wire: w, addr: netip.MustParseAddr(addr), wakes: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[h.addr] = h
	return h
}

func (h *fakeHost) enter(*Options) (string, error) { return "fake", nil }
func (h *fakeHost) leave() error                   { return nil }

func (h *fakeHost) wake() {
	select {
	case h.wakes <- struct{}{}:
	default:
	}
}

func (h *fakeHost) wait(until time.Time) (bool, error) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-h.wakes:
	case <-timer.C:
	}
	h.mu.Lock()
	pause := h.pause
	h.pause = 0
	h.mu.Unlock()
	time.Sleep(pause)
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := h.links
	h.links = false
	return changed, nil
}

func (h *fakeHost) fault(*Options) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bad
}

// setFault breaks or mends the interface, as the kernel would say.
func (h *fakeHost) setFault(s string) {
	h.mu.Lock()
	h.bad, h.links = s, true
	h.mu.Unlock()
	h.wake()
}

func (h *fakeHost) newBell() (bell, error) { return make(fakeBell, 1), nil }

func (h *fakeHost) onThread(_ *Options, f func()) error {
	go f()
	return nil
}

// A fakeBell is a bell in virtual time.
type fakeBell chan struct{}

func (b fakeBell) Ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}
func (b fakeBell) Wait()  { <-b }
func (b fakeBell) Close() {}

func (h *fakeHost) greet(_ *Options, peer netip.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.greeted = append(h.greeted, peer)
	return nil
}

func (h *fakeHost) index(*Options) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ifindex
}

func (h *fakeHost) look(*Options) sight {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen
}

// changeLink does something to the interface, as the kernel would say.
func (h *fakeHost) changeLink(change func()) {
	h.mu.Lock()
	change()
	h.links = true
	h.mu.Unlock()
	h.wake()
}

func (h *fakeHost) resolved(_ *Options, peer netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return peer != h.away
}

func (h *fakeHost) forget(_ *Options, peer netip.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgot = append(h.forgot, peer)
	return nil
}

func (h *fakeHost) open(*Options) (conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opens++
	if h.openErr != nil {
		return nil, h.openErr
	}
	return fakeConn{h}, nil
}

func (h *fakeHost) openCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.opens
}

type fakeConn struct{ h *fakeHost }

func (c fakeConn) source() netip.Addr { return c.h.addr }
func (c fakeConn) close() error       { return nil }

func (c fakeConn) send(msg []byte, to netip.Addr) error {
	c.h.mu.Lock()
	err := c.h.sendErr
	c.h.mu.Unlock()
	if err != nil {
		return err
	}
	w := c.h.wire
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sniff = append(w.sniff, fmt.Sprintf("%v %v sends %d", time.Since(w.begun), c.h.addr, msg[2]))
	if w.ear != nil {
		w.ear.put(datagram{src: c.h.addr, dst: to, ttl: 255, payload: slices.Clone(msg)})
	}
	for addr, to2 := range w.hosts {
		if to2 != c.h && (addr == to || to.IsMulticast()) && !w.cut[c.h.addr] && !w.cut[addr] && !w.mute[c.h.addr] {
			to2.put(datagram{src: c.h.addr, dst: to, ttl: 255, payload: slices.Clone(msg)})
		}
	}
	return nil
}

func (h *fakeHost) put(d datagram) {
	h.mu.Lock()
	h.inbox = append(h.inbox, d)
	h.mu.Unlock()
	h.wake()
}

// take gives what has come, and forgets it.
func (h *fakeHost) take() []datagram {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.inbox
	h.inbox = nil
	return all
}

func (c fakeConn) receive() (datagram, error) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if err := c.h.readErr; err != nil {
		c.h.readErr = nil
		return datagram{}, err
	}
	if len(c.h.inbox) == 0 {
		return datagram{}, errNothing
	}
	d := c.h.inbox[0]
	c.h.inbox = c.h.inbox[1:]
	return d, nil
}

// isolate cuts a host off, or joins it again.
func (w *wire) isolate(h *fakeHost, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[h.addr] = cut
}

// silence loses all that a host sends, or no longer.
func (w *wire) silence(h *fakeHost, mute bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute[h.addr] = mute
}

// sent gives what was sent since it was last asked.
func (w *wire) sent() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sniff
	w.sniff = nil
	return s
}

// A fakeHolder writes down what it is asked for, with the time.
type fakeHolder struct {
	begun time.Time

	mu         sync.Mutex // guards following
	events     []string
	holds      int
	claimErr   error
	holdErr    error
	releaseErr error
	block      time.Duration         // what the next Claim or Hold lasts
	deaf       func(context.Context) // what the next Hold is in
	present    bool
}

func (h *fakeHolder) note(what string) {
	h.events = append(h.events, fmt.Sprintf("%v %s", time.Since(h.begun), what))
}

func (h *fakeHolder) Claim(ctx context.Context) error {
	h.mu.Lock()
	h.note("claim")
	block := h.block
	h.block = 0
	h.mu.Unlock()
	if err := sleep(ctx, block); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.present = h.claimErr == nil
	return h.claimErr
}

func (h *fakeHolder) Hold(ctx context.Context) error {
	h.mu.Lock()
	h.holds++
	block, err := h.block, h.holdErr
	deaf := h.deaf
	h.block, h.deaf = 0, nil
	h.mu.Unlock()
	if deaf != nil {
		deaf(ctx)
		return nil
	}
	return errors.Join(err, sleep(ctx, block))
}

// sleep is what the kernel does while another has its lock.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *fakeHolder) Announce() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("announce")
}

func (h *fakeHolder) Release(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("release")
	h.present = false
	return errors.Join(ctx.Err(), h.releaseErr)
}

func (h *fakeHolder) Withdraw(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("withdraw")
	h.present = false
	return errors.Join(ctx.Err(), h.releaseErr)
}

// set changes the holder while the loop runs.
func (h *fakeHolder) set(change func(*fakeHolder)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(h)
}

// did gives what the holder was asked for since it was last asked, without Holds.
func (h *fakeHolder) did() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.events
	h.events = nil
	return e
}

func (h *fakeHolder) holdCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.holds
	h.holds = 0
	return n
}

// A controller is a loop on a fake host.
type controller struct {
	*Loop
	t      *testing.T
	host   *fakeHost
	holder *fakeHolder
	stop   func()

	mu    sync.Mutex // guards following
	moves []Transition
}

// cluster starts n eligible controllers, ctl1 with the highest priority, in a bubble.
func cluster(t *testing.T, n int, change func(i int, o *Options)) (*wire, []*controller) {
	w := newWire()
	var all []*controller
	for i := range n {
		c := &controller{t: t, host: w.host(fmt.Sprintf("10.0.0.%d", i+1)), holder: &fakeHolder{begun: w.begun}}
		o := Options{
			Name: "api", Controller: fmt.Sprintf("ctl%d", i+1),
			VRID: 51, Priority: uint8(254 - 24*i), Interval: 100 * time.Millisecond,
			Interface: "eth0", Source: c.host.addr, Peers: map[netip.Addr]string{},
			Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("fd00::100")},
			Holder:    c.holder,
			OnTransition: func(tr Transition) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.moves = append(c.moves, tr)
			},
		}
		for j := range n {
			if j != i {
				o.Peers[netip.AddrFrom4([4]byte{10, 0, 0, byte(j + 1)})] = fmt.Sprintf("ctl%d", j+1)
			}
		}
		if change != nil {
			change(i, &o)
		}
		var err error
		if c.Loop, err = newLoop(o, c.host); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	for _, c := range all {
		c.SetEligible(true, "haproxy is ready")
		c.start()
	}
	return w, all
}

// logOf makes the controller i log to w if it is the wanted one.
func logOf(wanted, i int, o *Options, w io.Writer) {
	if i == wanted {
		o.Log = slog.New(slog.NewTextHandler(w, nil))
	}
}

func (c *controller) start() {
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("Run: %v", err)
		}
	})
	c.t.Cleanup(c.stop)
}

// reasons gives the transitions since it was last asked.
func (c *controller) reasons() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, m := range c.moves {
		out = append(out, fmt.Sprintf("%v: %s", m.To, m.Reason))
	}
	c.moves = nil
	return out
}

func (c *controller) wantState(s vrrp.State) {
	c.t.Helper()
	synctest.Wait()
	if got := c.Stats().State; got != s {
		c.t.Errorf("%s is %v, want %v", c.options.Load().Controller, got, s)
	}
}

func wantAll(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n%q, want\n%q", what, got, want)
	}
}

var errFake = errors.New("no such device")
