package move

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/rtnl"
	"holdfast/internal/sockdiag"
	"holdfast/internal/vip"
)

// CopyOptions says what a Copy is.
type CopyOptions struct {
	// Name is that of the VIP, for messages.
	Name string
	// Addresses have the prefix length of their network; at least one.
	Addresses []netip.Prefix
	// Interface is the one that the VIP is activated on, or above, here.
	Interface string
	// Settings are what Keep changes in the kernel, for the caller to restore
	// when no Copy is left; nil for the Copy's own, which Drop and End restore.
	Settings *vip.Settings
	Log      *slog.Logger // may be nil
}

// A Copy is what the giver of a VIP keeps of it: its addresses on lo, which
// answer no neighbour, so that the connections that it has go on when another
// host has the VIP. Its methods may be called from several goroutines.
type Copy struct {
	options CopyOptions
	log     *slog.Logger
	own     *vip.Settings // nil if they are the caller's
	mu      sync.Mutex    // one change at a time
}

// MaxKeep is the longest time for which a Copy can be kept.
const MaxKeep = 24 * time.Hour

// NewCopy gives the Copy that options describe, without touching the machine.
func NewCopy(options CopyOptions) (*Copy, error) {
	if _, err := vip.New(vip.Options{Name: options.Name, Addresses: options.Addresses, Interface: options.Interface}); err != nil {
		return nil, err
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	options.Addresses = slices.Clone(options.Addresses)
	c := &Copy{options: options, log: options.Log.With("vip", options.Name, "device", "lo")}
	if options.Settings == nil {
		c.own = vip.NewSettings(nil, nil)
		c.options.Settings = c.own
	}
	return c, nil
}

// Keep puts the addresses on lo for limit, above 0 up to MaxKeep, in whole
// seconds, rounded up; the kernel removes them then. Before that it sees to it
// that no interface answers an ARP request for them unless it has them itself,
// nor sends one in their name. Called again it starts the time anew. After an error some may be there: Drop
// removes them.
func (c *Copy) Keep(ctx context.Context, limit time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := ctx.Err()
	if err == nil && (limit <= 0 || limit > MaxKeep) {
		err = fmt.Errorf("%s is not a time above 0 up to %s", limit, MaxKeep)
	}
	if err == nil {
		err = c.onKernel(func(k *rtnl.Conn) error { return c.keep(ctx, k, limit) })
	}
	if err != nil {
		return fmt.Errorf("keep the connections of vip %s: %w", c.options.Name, err)
	}
	return nil
}

// keep does it for limit, in whole seconds, rounded up.
func (c *Copy) keep(ctx context.Context, k *rtnl.Conn, limit time.Duration) error {
	seconds := uint32((limit + time.Second - 1) / time.Second)
	below, err := k.LinkByName(c.options.Interface)
	if err != nil {
		return k.Explain("find", c.options.Interface, err)
	}
	if slices.ContainsFunc(c.options.Addresses, isIPv4) {
		if err := c.options.Settings.HideFromARP(c.options.Interface); err != nil {
			return fmt.Errorf("keep %s from telling of what is on lo: %w", c.options.Interface, err)
		}
	}
	lo, err := k.LinkByName(rtnl.Loopback)
	if err != nil {
		return k.Explain("find", rtnl.Loopback, err)
	}
	if lo.Flags&unix.IFF_UP == 0 {
		return errors.New("lo is down; ip link set lo up")
	}
	for _, p := range c.options.Addresses {
		if _, err := k.Lease(lo.Index, p.Addr(), seconds); err != nil {
			return k.Explain(fmt.Sprintf("add %s to", p.Addr()), rtnl.Loopback, err)
		}
		if err := k.AwaitLocal(ctx, p.Addr()); err != nil {
			return fmt.Errorf("wait for %s on lo: %w", p.Addr(), err)
		}
	}
	return c.connect(k, below, seconds)
}

// connect keeps the networks reachable that only the VIP connects: the routes
// that an Address adds for that end when it is withdrawn.
func (c *Copy) connect(k *rtnl.Conn, below rtnl.Link, seconds uint32) error {
	on, err := k.Addresses(below.Index)
	if err != nil {
		return fmt.Errorf("list the addresses of %s: %w", below.Name, err)
	}
	for _, network := range vip.Unconnected(c.options.Addresses, on) {
		err := k.Connect(below.Index, network, vip.SourceIn(c.options.Addresses, network), seconds, vip.CopyMetric)
		if err != nil && !errors.Is(err, unix.ENETDOWN) {
			return fmt.Errorf("add route to %s on %s: %w", network, below.Name, err)
		}
	}
	return nil
}

func isIPv4(p netip.Prefix) bool { return p.Addr().Is4() }

// onKernel calls f with a socket of its own, in the network namespace of the
// calling thread.
func (c *Copy) onKernel(f func(*rtnl.Conn) error) error {
	var k rtnl.Conn
	return errors.Join(f(&k), k.Close())
}

// Present reports whether all addresses are on lo now.
func (c *Copy) Present() (all bool, err error) {
	err = c.onKernel(func(k *rtnl.Conn) error {
		on, err := c.onLoopback(k)
		all = err == nil && len(on) == len(c.options.Addresses)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for the copy of vip %s: %w", c.options.Name, err)
	}
	return all, nil
}

// onLoopback gives the addresses of the VIP that are on lo.
func (c *Copy) onLoopback(k *rtnl.Conn) ([]netip.Prefix, error) {
	lo, err := k.LinkByName(rtnl.Loopback)
	if err != nil {
		return nil, k.Explain("find", rtnl.Loopback, err)
	}
	on, err := k.Addresses(lo.Index)
	if err != nil {
		return nil, fmt.Errorf("list the addresses of lo: %w", err)
	}
	return slices.DeleteFunc(on, func(p netip.Prefix) bool { return !p.IsSingleIP() || !c.has(p.Addr()) }), nil
}

func (c *Copy) has(a netip.Addr) bool {
	return slices.ContainsFunc(c.options.Addresses, func(p netip.Prefix) bool { return p.Addr() == a })
}

// Drop removes the addresses from lo and nothing else, for a host that holds
// the VIP on its interface again: its connections go on. It is done also when
// none is there, and whether or not ctx has ended.
func (c *Copy) Drop(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.onKernel(c.drop); err != nil {
		return fmt.Errorf("end the copy of vip %s: %w", c.options.Name, err)
	}
	return nil
}

// drop removes all that Keep adds, going on after an error.
func (c *Copy) drop(k *rtnl.Conn) error {
	lo, err := k.LinkByName(rtnl.Loopback)
	if err != nil {
		return k.Explain("find", rtnl.Loopback, err)
	}
	var errs []error
	for _, p := range c.options.Addresses {
		if err := k.DeleteAddress(lo.Index, rtnl.HostPrefix(p.Addr())); err != nil {
			errs = append(errs, k.Explain(fmt.Sprintf("remove %s from", p.Addr()), rtnl.Loopback, err))
		}
	}
	if c.own != nil {
		errs = append(errs, c.own.Restore())
	}
	below, err := k.LinkByName(c.options.Interface)
	if err != nil {
		return errors.Join(append(errs, k.Explain("find", c.options.Interface, err))...)
	}
	for _, p := range c.options.Addresses {
		if err := k.Disconnect(below.Index, p.Masked(), vip.CopyMetric); err != nil {
			errs = append(errs, fmt.Errorf("remove route to %s on %s: %w", p.Masked(), below.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Connections counts the TCP connections whose local end is one of the
// addresses and in which somebody still waits at the other end: local, those
// that a process of this host has to it; remote, all others. Listening
// sockets, attempts to connect and connections that only time out do not count.
func (c *Copy) Connections(context.Context) (remote, local int, err error) {
	var found []sockdiag.Socket
	own := map[netip.Addr]bool{}
	err = c.onKernel(func(k *rtnl.Conn) error {
		found, err = c.sockets()
		if err != nil {
			return err
		}
		own, err = k.OwnAddresses()
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("count the connections of vip %s: %w", c.options.Name, err)
	}
	counted := map[[2]netip.AddrPort]bool{}
	for _, s := range found {
		switch {
		case s.Connecting(), counted[[2]netip.AddrPort{s.Remote, s.Local}]:
			continue // or the other end of one that is counted
		case own[s.Remote.Addr()], c.has(s.Remote.Addr()): // End takes it from lo first
			counted[[2]netip.AddrPort{s.Local, s.Remote}] = true
			local++
		default:
			remote++
		}
	}
	return remote, local, nil
}

// sockets lists the connections of the addresses that did not only time out.
func (c *Copy) sockets() (found []sockdiag.Socket, err error) {
	var k sockdiag.Conn
	defer func() { err = errors.Join(err, k.Close()) }()
	for _, p := range c.options.Addresses {
		some, err := k.Sockets(sockdiag.Match{Local: netip.AddrPortFrom(p.Addr(), 0)})
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return slices.DeleteFunc(found, sockdiag.Socket.TimesOut), nil
}
