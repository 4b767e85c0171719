package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/vrrp"
)

// A Holder has the VIP's addresses. It is called from one goroutine, one call
// at a time, when the loop asks for it; the loop advertises meanwhile. A Claim or
// Hold that takes longer than seven times Options.Refresh makes the loop resign.
type Holder interface {
	// Claim puts the addresses on the interface, or keeps them there. After an
	// error none is there; the loop then resigns and tries again later.
	Claim(ctx context.Context) error
	// Hold renews the lease of the addresses. It is called every
	// Options.Refresh while Active: a loop that hangs loses the addresses.
	Hold(ctx context.Context) error
	// Announce tells the neighbours once where the addresses are, by
	// gratuitous ARP or unsolicited neighbour advertisements. It never waits.
	Announce()
	// Release removes the addresses, if they are there, and resets their
	// connections.
	Release(ctx context.Context) error
	// Withdraw removes the addresses and leaves their connections alone: called
	// instead of Release after a Yield with Keep.
	Withdraw(ctx context.Context) error
}

// Options says what a Loop is.
type Options struct {
	Name       string // of the VIP, for messages
	Controller string // this controller's name

	VRID uint8 // virtual router id, 1 to 255
	// Priority, Interval, Preempt and Patient are those of vrrp.Config. Interval
	// is 10ms to 40.95s in steps of 10ms, Priority 1 to 254.
	Priority uint8
	Interval time.Duration
	Preempt  bool
	Patient  bool

	// Interface is where the VIP is activated. While it is down or has no
	// carrier, this controller is not eligible.
	Interface string
	// Source is this controller's address: the source of its adverts, except
	// for IPv6 multicast. Its family is that of the adverts.
	Source netip.Addr
	// Peers are the other controllers: address to name.
	Peers map[netip.Addr]string
	// Multicast sends to the VRRP group on Interface, not to each of Peers.
	Multicast bool
	// Addresses are the VIP's. Adverts list those of Source's family; there
	// must be one.
	Addresses []netip.Addr
	// Checksum is the form in which IPv4 adverts are sent. Both are accepted.
	// With PseudoHeader, IPv6 adverts are as keepalived wants them, too: it drops
	// those that list an address more than it is configured with, and so they do
	// not begin with the link-local address of the sender.
	Checksum vrrp.Checksum
	// Keys are those of the controllers, and what is done with them. Adverts and hellos
	// are signed, and believed, accordingly. With PseudoHeader, as keepalived does by
	// default, what was signed at a time that is too far from this host's clock is dropped;
	// else no clock counts.
	Keys auth.Policy

	// Guarded has somebody else say when the silence of the others counts: see
	// Loop.Doubted. Otherwise it always does.
	Guarded bool

	Holder Holder
	// Refresh is the time between two Holds; 0 means 250ms.
	Refresh time.Duration
	// AnnouncePeriod is the time between two Announces in the long run, so that
	// switches and neighbours do not forget the address; 0 means 60s, less than
	// 0 never. After a takeover there are some more at once.
	AnnouncePeriod time.Duration
	// NoPriority leaves the thread at the priority of the process.
	NoPriority bool

	// Log may be nil.
	Log *slog.Logger
	// OnTransition, which may be nil, is told of each change of state, in order
	// and after it is done, in a goroutine of its own.
	OnTransition func(Transition)
}

// A Transition is a change of state.
type Transition struct {
	VIP      string
	From, To vrrp.State
	// Reason says why, naming the other controller.
	Reason string
	// Peer is that controller; empty if there is none.
	Peer string
	Time time.Time
	// Took is how long it took to send, and to claim the addresses. A release
	// is not waited for.
	Took time.Duration
}

const (
	defaultRefresh  = 250 * time.Millisecond
	defaultAnnounce = time.Minute
)

// normal gives a copy of o with its defaults filled in.
func (o Options) normal() Options {
	if o.Refresh == 0 {
		o.Refresh = defaultRefresh
	}
	if o.AnnouncePeriod == 0 {
		o.AnnouncePeriod = defaultAnnounce
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Peers = maps.Clone(o.Peers)
	o.Addresses = slices.Clone(o.Addresses)
	return o
}

// check gives all that is wrong with o.
func (o Options) check() error {
	var errs []error
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("vip %s: "+format, append([]any{o.Name}, args...)...))
		}
	}
	add(o.VRID == 0, "router id 0 is not 1 to 255")
	add(o.Priority < 1 || o.Priority > 254, "priority %d is not 1 to 254", o.Priority)
	add(o.Interval < vrrp.MinInterval || o.Interval > vrrp.MaxInterval || o.Interval%vrrp.IntervalStep != 0,
		"interval %v is not %v to %v in steps of %v", o.Interval, vrrp.MinInterval, vrrp.MaxInterval, vrrp.IntervalStep)
	add(o.Interface == "", "no interface")
	add(o.Holder == nil, "no holder")
	add(o.Refresh < 0, "refresh %v is less than 0", o.Refresh)
	if !o.Source.IsValid() || o.Source.Is4In6() || o.Source.Zone() != "" {
		add(true, "source %v is not a controller's address", o.Source)
		return errors.Join(errs...)
	}
	n, most := len(o.listed()), 255
	if n > 0 && o.wantsLinkLocal() {
		most--
	}
	add(n == 0, "no address of the family of %v, which is that of the adverts", o.Source)
	add(n > most, "%d addresses are more than an advert can list, which is %d", n, most)
	for peer := range o.Peers {
		add(peer.Is4() != o.Source.Is4() || peer.Is4In6(), "controller address %v is not of the family of %v", peer, o.Source)
		add(peer == o.Source, "controller address %v is both this controller's and another's", peer)
	}
	return errors.Join(errs...)
}

// listed gives the addresses of the VIP that adverts list, a link-local one first.
func (o Options) listed() []netip.Addr {
	all := slices.DeleteFunc(slices.Clone(o.Addresses), func(a netip.Addr) bool {
		return a.Is4() != o.Source.Is4() || !a.IsValid()
	})
	slices.SortStableFunc(all, func(a, b netip.Addr) int {
		switch {
		case a.IsLinkLocalUnicast() == b.IsLinkLocalUnicast():
			return 0
		case a.IsLinkLocalUnicast():
			return -1
		}
		return 1
	})
	return all
}

// wantsLinkLocal reports whether adverts are to begin with the link-local
// address of the sender (RFC 9568 section 5.2.9; a strict receiver discards
// others): over IPv6, where the VIP has none of its own.
func (o *Options) wantsLinkLocal() bool {
	return o.Source.Is6() && o.Checksum == vrrp.MessageOnly && !o.listed()[0].IsLinkLocalUnicast()
}

// sameRouter reports whether a running loop with o can take n: what else there
// is in them is fixed for the life of a loop.
func (o Options) sameRouter(n Options) error {
	switch {
	case n.Name != o.Name, n.VRID != o.VRID, n.Interface != o.Interface,
		n.Source != o.Source, n.Multicast != o.Multicast:
		return fmt.Errorf("vip %s: name, router id, interface, source and multicast of a running loop are fixed: start another one", o.Name)
	}
	return nil
}

// name gives what to call the controller with the address.
func (o *Options) name(a netip.Addr) string {
	if name, ok := o.Peers[a]; ok {
		return name
	}
	return a.String()
}

// destinations gives where adverts go, in a fixed order.
func (o *Options) destinations() []netip.Addr {
	switch {
	case !o.Multicast:
		return o.peers()
	case o.Source.Is4():
		return []netip.Addr{vrrp.Group4()}
	}
	return []netip.Addr{vrrp.Group6()}
}

// peers gives the other controllers, in a fixed order.
func (o *Options) peers() []netip.Addr {
	return slices.SortedFunc(maps.Keys(o.Peers), netip.Addr.Compare)
}
