package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"holdfast/internal/rtnl"
)

// Cleanup removes the macvlan devices that an earlier agent left and none of
// keep uses: a VIP's router id or interface was changed while no agent ran.
// Addresses need no such thing, their lease ends. It is what the agent does
// first when it starts; log may be nil.
func Cleanup(ctx context.Context, log *slog.Logger, keep ...*Address) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var k rtnl.Conn
	all, err := k.Links()
	if err != nil {
		return errors.Join(fmt.Errorf("list the devices: %w", err), k.Close())
	}
	var errs []error
	for _, l := range all {
		if !isOurs(l) || used(l, all, keep) {
			continue
		}
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		log.Info("remove a macvlan device that no VIP uses", "device", l.Name)
		if err := k.DeleteLink(l.Index); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, k.Explain("delete macvlan device", l.Name, err))
		}
	}
	return errors.Join(append(errs, k.Close())...)
}

// isOurs reports whether l is a device that this package makes: by its kind,
// its name, and the MAC address of a virtual router.
func isOurs(l rtnl.Link) bool {
	router := l.MAC() == routerMAC(int(l.MAC()[5]), false) || l.MAC() == routerMAC(int(l.MAC()[5]), true)
	return l.Kind == rtnl.KindMacvlan && router && strings.HasPrefix(l.Name, macvlanPrefix)
}

// used reports whether l is the device that one of keep would make.
func used(l rtnl.Link, all []rtnl.Link, keep []*Address) bool {
	for _, a := range keep {
		for _, d := range a.devices {
			parent := slices.IndexFunc(all, func(p rtnl.Link) bool { return p.Name == d.parent })
			if d.name == l.Name && parent >= 0 && d.is(l, all[parent]) {
				return true
			}
		}
	}
	return false
}
