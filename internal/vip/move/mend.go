package move

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"holdfast/internal/rtnl"
	"holdfast/internal/vip"
)

// Mend puts back what Keep put in place and somebody has removed, for limit from
// now on: network managers that start anew remove what they do not know. It gives
// what was missing, for people; empty for nothing.
func (c *Copy) Mend(ctx context.Context, limit time.Duration) (missing string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err = c.onKernel(func(k *rtnl.Conn) error {
		missing, err = c.missing(k)
		if err != nil || missing == "" {
			return err
		}
		return c.keep(ctx, k, limit)
	})
	if err != nil {
		return missing, fmt.Errorf("put back what keeps the connections of vip %s: %w", c.options.Name, err)
	}
	return missing, nil
}

// missing says what of Keep's is not there. What would hinder keep it removes.
func (c *Copy) missing(k *rtnl.Conn) (string, error) {
	var all []string
	on, err := c.onLoopback(k)
	if err != nil {
		return "", err
	}
	for _, p := range c.options.Addresses {
		if !slices.Contains(on, rtnl.HostPrefix(p.Addr())) {
			all = append(all, p.Addr().String()+" on lo")
			continue
		}
		local, err := k.IsLocal(p.Addr())
		if err != nil {
			return "", err
		}
		if !local {
			all = append(all, "the local route to "+p.Addr().String())
			// It comes with the address only when that is added.
			lo, err := k.LinkByName(rtnl.Loopback)
			if err == nil {
				err = k.DeleteAddress(lo.Index, rtnl.HostPrefix(p.Addr()))
			}
			if err != nil {
				return "", k.Explain(fmt.Sprintf("remove %s from", p.Addr()), rtnl.Loopback, err)
			}
		}
	}
	routes, err := c.missingRoutes(k)
	if err != nil {
		return "", err
	}
	return strings.Join(append(all, routes...), ", "), nil
}

// missingRoutes says which networks only the VIP connects, and nothing does.
func (c *Copy) missingRoutes(k *rtnl.Conn) (all []string, err error) {
	below, err := k.LinkByName(c.options.Interface)
	if err != nil {
		return nil, k.Explain("find", c.options.Interface, err)
	}
	if below.Flags&unix.IFF_UP == 0 {
		return nil, nil // they come with it
	}
	on, err := k.Addresses(below.Index)
	if err != nil {
		return nil, fmt.Errorf("list the addresses of %s: %w", below.Name, err)
	}
	for _, network := range vip.Unconnected(c.options.Addresses, on) {
		there, err := k.Connected(below.Index, network)
		if err != nil {
			return nil, err
		}
		if !there {
			all = append(all, fmt.Sprintf("the route to %s on %s", network, below.Name))
		}
	}
	return all, nil
}

// Whole reports whether all rules of the Detour are there: ErrNoDetour if not.
func (d *Detour) Whole(context.Context) error {
	c, err := openNFT(0)
	if err != nil {
		return fmt.Errorf("look for the detour of vip %s: %w", d.options.Name, err)
	}
	for _, addresses := range byFamily(d.options.Addresses) {
		t := tableOf(tableName(d.options.Name), addresses[0])
		for _, name := range []string{entryName, exitName, forwardName, unknownName} {
			rules, err := c.GetRules(t, &nftables.Chain{Name: name, Table: t})
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("look for the detour of vip %s: %w", d.options.Name, explainNFT(err))
			}
			if len(rules) == 0 {
				return fmt.Errorf("look for the detour of vip %s: %w", d.options.Name, ErrNoDetour)
			}
		}
	}
	return nil
}

// WatchRules calls changed whenever somebody has changed nftables in this network
// namespace, until ctx ends: at once, but not for each change when there are many;
// and first when it has begun to watch.
func WatchRules(ctx context.Context, changed func()) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
	if err != nil {
		return fmt.Errorf("watch nftables: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // Receive says so
	defer stop()
	for {
		changed()
		_, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, unix.ENOBUFS):
			return errors.Join(fmt.Errorf("watch nftables: %w", err), conn.Close())
		}
	}
}
