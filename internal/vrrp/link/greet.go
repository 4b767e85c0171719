package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/rtnl"
	"holdfast/internal/vrrp"
	"holdfast/internal/vrrp/link/nic"
)

// Unicast adverts need the link-layer address of each peer. For a peer that has
// been away the kernel looks for it once a second, and keeps the adverts
// meanwhile. That would let a controller that comes back hear nobody for that
// long, and take over; and hear adverts of the past after that. So it greets
// the others when it comes, an Active one greets those that are away more
// often than the kernel does, and who leaves Active drops what waits.

// greetEvery is the time between two greetings of absent peers, one peer each
// time: with the kernel's own, well below the 15 ARP packets a second at which
// switches with dynamic ARP inspection close a port.
const greetEvery = 200 * time.Millisecond

// greetings says when to greet whom.
type greetings struct {
	due  time.Time
	next int // of the peers
}

// greetAll makes the peers learn this controller's link-layer address, and
// this host theirs.
func (r *runner) greetAll(now time.Time) {
	r.greeting.due = now.Add(greetEvery)
	if !r.o.Multicast {
		r.hand.ask(errand{kind: doGreetAll, o: r.o})
	}
}

// greet greets one of the peers in turn, if it is absent, as long as this
// controller is Active or hears nobody.
func (r *runner) greet() {
	now := time.Now()
	if now.Before(r.greeting.due) {
		return
	}
	r.greeting.due = now.Add(greetEvery)
	active := r.machine.State() == vrrp.Active
	if r.o.Multicast || len(r.to) == 0 || r.conn == nil || !active && r.count.hears(now) {
		return
	}
	r.greeting.next = (r.greeting.next + 1) % len(r.to)
	r.hand.ask(errand{kind: doGreet, o: r.o, peer: r.to[r.greeting.next]})
}

// resolved reports whether packets to the peer leave at once. Those through a
// router do, as far as this host knows.
func (h *linux) resolved(o *Options, peer netip.Addr) bool {
	r, err := h.errands.RouteTo(o.Source, peer, 0)
	if err != nil || r.Behind {
		return true
	}
	return h.errands.Resolved(r.Device, peer)
}

// forget makes the kernel forget the neighbour, and drop what waits for it.
func (h *linux) forget(o *Options, peer netip.Addr) error {
	r, err := h.errands.RouteTo(o.Source, peer, 0)
	if err != nil || r.Behind {
		return nil // then nothing waits
	}
	if err := h.errands.Forget(r.Device, peer); err != nil {
		return fmt.Errorf("forget the link-layer address of %v: %w", peer, err)
	}
	return nil
}

// greet sends an echo request from the source address after it made the kernel
// forget the neighbour: so the kernel asks everyone on the link for it, which
// tells the peer this host's link-layer address too.
func (h *linux) greet(o *Options, peer netip.Addr) error {
	r, err := h.errands.RouteTo(o.Source, peer, 0)
	if err != nil || r.Behind {
		return nil
	}
	if err := h.forget(o, peer); err != nil {
		return err
	}
	return ping(o.Source, peer)
}

// ping sends one echo request (RFC 792, RFC 4443 section 4.1) and does not
// wait for an answer.
func ping(from, to netip.Addr) error {
	protocol, message := unix.IPPROTO_ICMP, []byte{8, 0, 0, 0, 0, 0, 0, 1}
	if to.Is6() {
		protocol, message = unix.IPPROTO_ICMPV6, []byte{128, 0, 0, 0, 0, 0, 0, 1} // the kernel sums it
	} else {
		binary.BigEndian.PutUint16(message[2:], ^uint16(0x0801)) // RFC 1071, of the two words that are not 0
	}
	fd, err := unix.Socket(int(rtnl.FamilyOf(to)), unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return fmt.Errorf("open a raw socket: %w", err)
	}
	err = errors.Join(unix.Bind(fd, nic.Sockaddr(from)), unix.Sendto(fd, message, unix.MSG_DONTWAIT, nic.Sockaddr(to)), unix.Close(fd))
	if err != nil {
		return fmt.Errorf("ping %v: %w", to, err)
	}
	return nil
}
