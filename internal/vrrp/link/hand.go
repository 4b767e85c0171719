package link

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A hand does for the loop what may take time: whatever changes an address or a
// neighbour needs the kernel's lock of all network configuration, and where
// namespaces come and go that is held by others for seconds. The loop must
// advertise meanwhile. The hand works on a thread of its own, with the priority
// of the loop's, and only when the loop asks: so a loop that hangs has its lease
// run out.
type hand struct {
	host   host
	bell   bell
	loop   func() // wakes the loop up
	cancel context.CancelFunc
	ended  chan struct{}

	macs string // as of the last doLook; the hand's own

	mu    sync.Mutex // guards following
	queue []errand
	done  []result
	quit  bool
	turn  uint64             // whose Claims and Holds are wanted; 0 for none
	abort context.CancelFunc // of the Claim or Hold under way; nil for none
}

// An errand is one thing for the hand to do.
type errand struct {
	kind errandKind
	o    *Options
	peer netip.Addr // of greet; of dropWaiting, if not all
	turn uint64     // of the loop as Active, for claim and hold

	yield *yieldRequest // that waits for the release or withdrawal; nil for none
}

// awaited reports whether the end of e is to be told although it went well.
func (e errand) awaited() bool {
	return e.kind == doClaim || e.kind == doHold || e.kind == doLook || e.yield != nil
}

type errandKind uint8

const (
	doClaim errandKind = iota + 1
	doHold
	doAnnounce
	doRelease
	doWithdraw
	doGreet // if the peer is not resolved
	doGreetAll
	doDropWaiting
	doLook // at the interfaces, and greet all peers if a MAC address is another
)

// A result is how an errand ended. Those without an error that nobody waits
// for are not reported.
type result struct {
	errand
	err error

	seen sight // of doLook
}

// newHand starts a hand, which ends with stop.
func newHand(ctx context.Context, h host, o *Options) (*hand, error) {
	b, err := h.newBell()
	if err != nil {
		return nil, err
	}
	// The context of Run ends before the addresses are released.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d := &hand{host: h, bell: b, loop: h.wake, cancel: cancel, ended: make(chan struct{})}
	if err := h.onThread(o, func() { d.run(ctx) }); err != nil {
		cancel()
		return nil, err
	}
	return d, nil
}

// ask gives the hand something to do, after all that it was asked for before.
//
// While it is held up, what can be left out is: the greetings and announcements
// that others will follow.
func (d *hand) ask(e errand) {
	const many = 32
	d.mu.Lock()
	optional := e.kind == doGreet || e.kind == doAnnounce
	// A link that flaps is looked at once, when there is time for it.
	again := e.kind == doLook && slices.ContainsFunc(d.queue, func(q errand) bool { return q.kind == doLook })
	if !again && (!optional || len(d.queue) < many) {
		d.queue = append(d.queue, e)
	}
	if e.kind == doClaim {
		d.turn = e.turn
	}
	d.mu.Unlock()
	d.bell.Ring()
}

// giveUp says that the addresses are wanted no more: a Claim or Hold that the
// kernel has not answered yet is not to announce them when it does, nor what
// waits behind it, long after another controller has. The loop asks for their release besides.
func (d *hand) giveUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn = 0
	if d.abort != nil {
		d.abort()
	}
}

// results gives what has ended since it was last asked.
func (d *hand) results() []result {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.done) == 0 {
		return nil
	}
	out := d.done
	d.done = nil
	return out
}

// stop lets the hand do what it was asked for, and no longer than patience,
// and reports whether it has ended.
func (d *hand) stop(patience time.Duration) bool {
	d.mu.Lock()
	d.quit = true
	d.mu.Unlock()
	d.bell.Ring()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-d.ended:
	case <-timer.C:
	}
	d.cancel()
	select {
	case <-d.ended:
		d.bell.Close()
		return true
	default:
		return false // it still has the bell
	}
}

func (d *hand) run(ctx context.Context) {
	defer close(d.ended)
	for {
		todo, quit := d.take()
		for _, e := range todo {
			d.report(d.do(ctx, e))
		}
		if len(todo) == 0 {
			if quit {
				return
			}
			d.bell.Wait()
		}
	}
}

func (d *hand) take() ([]errand, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	todo := d.queue
	d.queue = nil
	return todo, d.quit
}

func (d *hand) report(r result) {
	if r.err == nil && !r.awaited() {
		return
	}
	d.mu.Lock()
	d.done = append(d.done, r)
	d.mu.Unlock()
	d.loop()
}

func (d *hand) do(ctx context.Context, e errand) result {
	switch e.kind {
	case doLook:
		return d.look(e)
	case doClaim, doHold:
		return d.have(ctx, e)
	default:
		return result{errand: e, err: d.work(ctx, e)}
	}
}

// have does a Claim or a Hold, unless it was given up.
func (d *hand) have(ctx context.Context, e errand) result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !d.begin(e.turn, cancel) {
		return result{errand: e, err: context.Canceled}
	}
	err := d.work(ctx, e)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.abort = nil
	return result{errand: e, err: err}
}

// begin reports whether the addresses of a turn are wanted; abort is called when
// they are no more.
func (d *hand) begin(turn uint64, abort context.CancelFunc) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if turn != d.turn {
		return false
	}
	d.abort = abort
	return true
}

// wanted reports whether the addresses are.
func (d *hand) wanted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.turn != 0
}

// look looks at the interfaces. Where a MAC address is another than before, the
// peers are greeted: they learn it, and do not send their adverts, or what is
// sent on after a handover, to the old one.
func (d *hand) look(e errand) result {
	r := result{errand: e, seen: d.host.look(e.o)}
	was := d.macs
	if d.macs = r.seen.macs; was != "" && d.macs != "" && was != d.macs {
		for _, peer := range e.o.peers() {
			if err := d.host.greet(e.o, peer); err != nil && r.err == nil {
				r.err = err
			}
		}
	}
	return r
}

func (d *hand) work(ctx context.Context, e errand) error {
	switch e.kind {
	case doClaim:
		return e.o.Holder.Claim(ctx)
	case doHold:
		return e.o.Holder.Hold(ctx)
	case doAnnounce:
		if d.wanted() {
			e.o.Holder.Announce()
		}
	case doRelease:
		return e.o.Holder.Release(ctx)
	case doWithdraw:
		return e.o.Holder.Withdraw(ctx)
	case doGreet:
		if !d.host.resolved(e.o, e.peer) {
			return d.host.greet(e.o, e.peer)
		}
	case doGreetAll:
		return d.each(e.o, d.host.greet)
	case doDropWaiting:
		if e.peer.IsValid() {
			return d.dropWaiting(e.o, e.peer)
		}
		return d.each(e.o, d.dropWaiting)
	case doLook: // is for look
	}
	return nil
}

// each does something for each peer, and gives the first error.
func (d *hand) each(o *Options, f func(*Options, netip.Addr) error) error {
	var first error
	for _, peer := range o.destinations() {
		if err := f(o, peer); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (d *hand) dropWaiting(o *Options, peer netip.Addr) error {
	if d.host.resolved(o, peer) {
		return nil
	}
	return d.host.forget(o, peer)
}
