package link

import (
	"errors"
	"net/netip"
	"time"
)

// A host is what a loop needs of the operating system. Only wake may be called
// from another goroutine than the loop's.
type host interface {
	// enter readies the goroutine's thread, leave undoes it. The words say how
	// the thread is scheduled.
	enter(o *Options) (scheduling string, err error)
	leave() error
	// wait returns when there is something to receive, after a wake, when the
	// state of a link may have changed, and at the given time; also without a
	// reason. A zero time is never.
	wait(until time.Time) (linksChanged bool, err error)
	// wake makes the wait under way, or else the next one, return.
	wake()
	// fault says what is wrong with the interfaces and addresses that o needs;
	// "" for nothing.
	fault(o *Options) string
	// index is that of the interface of o, 0 if there is none: another than
	// before says that it was made anew.
	index(o *Options) int
	// open opens the socket for o; the one before must be closed.
	open(o *Options) (conn, error)

	// newBell makes a bell, and onThread runs f on a thread like that of the
	// loop. What follows is for that thread.
	newBell() (bell, error)
	onThread(o *Options, f func()) error
	// resolved reports whether packets to a peer leave at once, greet makes that
	// so, in both directions, and forget drops those that wait.
	resolved(o *Options, peer netip.Addr) bool
	greet(o *Options, peer netip.Addr) error
	forget(o *Options, peer netip.Addr) error
	// look is for what only the kernel's lock of all network configuration tells.
	look(o *Options) sight
}

// A sight is what look finds.
type sight struct {
	// fault says what is wrong with the interface of the options; "" for nothing.
	fault string
	// macs are the MAC addresses at which the peers have this host.
	macs string
	// linkLocal is the link-local address of the interface, if the options want
	// it and it may be used already.
	linkLocal netip.Addr
}

// A bell wakes another thread up: Wait returns after a Ring, also one before.
type bell interface {
	Ring()
	Wait()
	Close()
}

// A conn is the socket of one virtual router.
type conn interface {
	// source is the address from which send sends.
	source() netip.Addr
	send(msg []byte, to netip.Addr) error
	// receive gives what was received first, without waiting: errNothing if
	// there is nothing. A vrrp.Reason as the error is about one packet, any
	// other about the socket. The payload is valid until the next call.
	receive() (datagram, error)
	close() error
}

// errNothing says that there is nothing to receive.
var errNothing = errors.New("nothing to receive")

// A datagram is a received IP packet.
type datagram struct {
	src, dst netip.Addr
	ttl      int // or hop limit
	payload  []byte
}
