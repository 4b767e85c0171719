package link

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/vrrp"
)

// inspection is what the runner knows of its interfaces and its socket.
type inspection struct {
	due   time.Time // of the next one
	index int       // of the VIP's interface; 0 if it was never there
	found string    // what the hand has found to be wrong with it
	// linkLocal is what adverts begin with; not valid if they do not.
	linkLocal netip.Addr
	fault     string    // what is wrong with the interfaces; "" for nothing
	seen      time.Time // a fault was, while Active

	// After a fault has ended, former has it until the others had time to be heard.
	former string
	until  time.Time

	closed string // why there is no socket
	reopen time.Time
	pause  time.Duration // before reopen
	broken bool          // the socket sends no more
	mended time.Time     // it was opened anew because of that
}

const (
	// inspectEvery is how often the interfaces are looked at without a reason:
	// an address that goes away tells nobody.
	inspectEvery = time.Second
	// listenTime is how long a controller whose link came back listens before it
	// counts the silence of the others: a switch does not forward at once, and
	// another one may have the address by now. The first advert ends it.
	listenTime = 2 * time.Second
	// mendEvery is the least time between two sockets that are opened because
	// the one before could not send.
	mendEvery      = time.Second
	minReopenPause = 100 * time.Millisecond
	maxReopenPause = 5 * time.Second
)

// brokenBy looks closer at what made a send fail.
func (n *inspection) brokenBy(err error) {
	for _, gone := range [...]error{unix.ENODEV, unix.ENXIO, unix.EINVAL, unix.EADDRNOTAVAIL} {
		if errors.Is(err, gone) {
			n.broken, n.due = true, time.Now()
		}
	}
}

// inspect looks at the interfaces, and opens the socket when they are well.
func (r *runner) inspect(now time.Time) {
	n := &r.links
	n.due = now.Add(inspectEvery)
	if r.o.wantsLinkLocal() && !n.linkLocal.IsValid() {
		// A link-local address is there a second or two after its interface is,
		// which netlink does not tell of as a change of the link.
		r.hand.ask(errand{kind: doLook, o: r.o})
	}
	anew := r.madeAnew()
	fault := cmp.Or(n.found, r.host.fault(r.o))
	if fault != "" && r.debounce(now) {
		return
	}
	n.seen = time.Time{}
	if fault != "" {
		n.fault = fault
		return
	}
	if n.fault != "" {
		n.former, n.until = n.fault, now.Add(listenTime)
		r.count.forgetHeard() // what was heard before the fault is no longer true
	}
	if n.fault == "" && anew && r.machine.State() != vrrp.Active {
		n.former, n.until = "interface "+r.o.Interface+" was made anew", now.Add(listenTime)
		r.count.forgetHeard()
	}
	if n.fault != "" || anew || n.broken && now.Sub(n.mended) > mendEvery {
		if n.fault != "" || anew {
			r.doubt()
		}
		n.fault, n.mended = "", now
		r.reset()
	}
	n.broken = false
	if r.conn == nil && !now.Before(n.reopen) {
		r.openConn(now)
	}
	if r.conn == nil && n.reopen.Before(n.due) {
		n.due = n.reopen
	}
}

// madeAnew reports whether the interface is another one than at the last look,
// of the same name: the socket has lost its membership of the group, and hears
// nobody. An Active router puts its addresses on the new one with the next Hold.
func (r *runner) madeAnew() bool {
	index, was := r.host.index(r.o), r.links.index
	if index == 0 {
		return false
	}
	r.links.index = index
	return was != 0 && was != index
}

// see takes what the hand has found.
func (r *runner) see(done result) {
	if done.err != nil {
		r.complain(done)
	}
	if done.seen.fault != r.links.found {
		r.links.found, r.links.due = done.seen.fault, time.Now()
	}
	if done.seen.linkLocal != r.links.linkLocal {
		r.links.linkLocal = done.seen.linkLocal
		r.prepare()
	}
}

// listen ends the listening after a fault, when an Active router was heard or
// it is time.
func (r *runner) listen(now time.Time) {
	n := &r.links
	if n.former != "" && (r.count.hears(now) || !now.Before(n.until)) {
		n.former, n.until = "", time.Time{}
	}
}

// debounce reports whether it is too early to believe in a fault. Without a
// carrier nobody reaches this controller, so while the others still wait it
// costs nothing to keep the addresses for a moment, in which it may come back.
func (r *runner) debounce(now time.Time) bool {
	const intervals = 2
	n := &r.links
	if r.machine.State() != vrrp.Active {
		return false
	}
	if n.seen.IsZero() {
		n.seen = now
	}
	until := n.seen.Add(intervals * r.o.Interval)
	if !now.Before(until) {
		return false
	}
	n.due = until
	return true
}

// reset closes the socket, to open it anew: an interface that was away has
// lost its memberships, and may have another index and address.
func (r *runner) reset() {
	if err := r.closeConn(); err != nil {
		r.report.warn(time.Now(), "close", "cannot close the socket", "error", err)
	}
}

// lose gives up a socket that fails, for a while.
func (r *runner) lose(err error) {
	now := time.Now()
	r.report.warn(now, "receive "+err.Error(), "cannot receive adverts", "error", err)
	r.reset()
	r.postpone(now, err)
}

func (r *runner) openConn(now time.Time) {
	c, err := r.host.open(r.o)
	if err != nil {
		r.report.warn(now, "open "+err.Error(), "cannot open the socket for adverts; trying again", "error", err)
		r.postpone(now, err)
		return
	}
	r.greetAll(now)
	before := r.config()
	r.conn, r.links.closed, r.links.pause = c, "", 0
	if after := r.config(); after != before {
		r.step(vrrp.Configure{Config: after})
	}
}

// postpone waits longer each time before the socket is opened again.
func (r *runner) postpone(now time.Time, err error) {
	n := &r.links
	n.closed = fmt.Sprintf("no socket for adverts: %v", err)
	n.pause = min(max(2*n.pause, minReopenPause), maxReopenPause)
	n.reopen = now.Add(n.pause)
	n.due = n.reopen
}

func (r *runner) closeConn() error {
	if r.conn == nil {
		return nil
	}
	c := r.conn
	r.conn = nil
	return c.close()
}
