package move

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"holdfast/internal/rtnl"
	"holdfast/internal/sockdiag"
)

const (
	// localTime is how long End waits for this host's own connections.
	localTime = 500 * time.Millisecond
	// localPause is the time between two looks at them.
	localPause = 5 * time.Millisecond
	// endTime bounds the rest of End.
	endTime = 10 * time.Second
)

// End ends what is left. This host's own new connections to the addresses go
// to whoever has them now, from then on; those that it has already get up to
// 500 ms to end. Then the addresses go from lo, and all connections that have
// one of them as their local address are destroyed; cut is their number. A
// host that has the addresses on another device holds the VIP again: End is
// Drop then. It works also when nothing is there, and after ctx has ended.
func (c *Copy) End(ctx context.Context) (cut int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	err = c.onKernel(func(k *rtnl.Conn) error {
		held, err := c.heldElsewhere(k)
		if err != nil || held {
			return errors.Join(err, c.drop(k))
		}
		cut, err = c.end(ctx, k)
		return err
	})
	if err != nil {
		return cut, fmt.Errorf("end the connections of vip %s: %w", c.options.Name, err)
	}
	return cut, nil
}

// heldElsewhere reports whether a device other than lo has one of the addresses.
func (c *Copy) heldElsewhere(k *rtnl.Conn) (bool, error) {
	all, err := k.Links()
	if err != nil {
		return false, fmt.Errorf("list the devices: %w", err)
	}
	for _, l := range all {
		if l.Name == rtnl.Loopback {
			continue
		}
		on, err := k.Addresses(l.Index)
		if err != nil {
			return false, fmt.Errorf("list the addresses of %s: %w", l.Name, err)
		}
		for _, p := range on {
			if c.has(p.Addr()) {
				c.log.Warn("this host holds the vip again: its connections go on", "address", p, "on", l.Name)
				return true, nil
			}
		}
	}
	return false, nil
}

func (c *Copy) end(ctx context.Context, k *rtnl.Conn) (cut int, err error) {
	lo, err := k.LinkByName(rtnl.Loopback)
	if err != nil {
		return 0, k.Explain("find", rtnl.Loopback, err)
	}
	c.leadAway(k, lo.Index)
	c.awaitLocal(ctx)
	// Destroyed once while the addresses are there, so that the resets get out,
	// and once when nothing can come any more.
	cut, first := c.destroy(ctx)
	errs := []error{first, c.drop(k)}
	for _, p := range c.options.Addresses {
		if err := unsteer(k, lo.Index, p.Addr()); err != nil {
			errs = append(errs, fmt.Errorf("remove the routing rules of %s: %w", p.Addr(), err))
		}
	}
	rest, second := c.destroy(ctx)
	return cut + rest, errors.Join(append(errs, second)...)
}

// leadAway leads this host's own new connections to the new holder. Where that
// fails they begin here up to the end, and are cut.
func (c *Copy) leadAway(k *rtnl.Conn, lo int) {
	on, err := c.onLoopback(k)
	if err != nil {
		c.log.Warn("connections of this host to the vip may be cut", "error", err)
		return
	}
	for _, p := range on {
		if err := steer(k, lo, p.Addr()); err != nil {
			c.log.Warn("connections of this host to the vip may be cut", "address", p.Addr(), "error", err)
		}
	}
}

// awaitLocal waits until this host's own connections have ended.
func (c *Copy) awaitLocal(ctx context.Context) {
	for begun := time.Now(); time.Since(begun) < localTime; {
		_, local, err := c.Connections(ctx)
		if err != nil {
			c.log.Warn("connections of this host to the vip may be cut", "error", err)
			return
		}
		if local == 0 {
			return
		}
		time.Sleep(localPause)
	}
}

// destroy destroys the connections that sockets lists.
func (c *Copy) destroy(ctx context.Context) (n int, err error) {
	return c.destroyThose(ctx, func(sockdiag.Socket) bool { return true })
}

// Cut resets the connections of these clients, and leaves those of all others. It gives how
// many there were.
func (c *Copy) Cut(ctx context.Context, clients []netip.Addr) (cut int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err = c.onKernel(func(*rtnl.Conn) error {
		cut, err = c.destroyThose(ctx, func(s sockdiag.Socket) bool { return slices.Contains(clients, s.Remote.Addr().Unmap()) })
		return err
	})
	if err != nil {
		return cut, fmt.Errorf("reset connections of vip %s: %w", c.options.Name, err)
	}
	return cut, nil
}

func (c *Copy) destroyThose(ctx context.Context, are func(sockdiag.Socket) bool) (n int, err error) {
	var k sockdiag.Conn
	for _, p := range c.options.Addresses {
		wanted := func(s sockdiag.Socket) bool { return !s.TimesOut() && are(s) }
		destroyed, err := k.Destroy(ctx, sockdiag.Match{Local: netip.AddrPortFrom(p.Addr(), 0)}, wanted)
		n += destroyed
		if err != nil {
			return n, errors.Join(err, k.Close())
		}
	}
	return n, k.Close()
}
