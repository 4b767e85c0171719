package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Cleanup removes the macvlan devices that an earlier agent left and none of
// keep uses: a VIP's router id or interface was changed while no agent ran.
// Addresses need no such thing, their lease ends. It is what the agent does
// first when it starts; log may be nil.
func Cleanup(ctx context.Context, log *slog.Logger, keep ...*Address) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	k := kernel{family: unix.NETLINK_ROUTE}
	all, err := k.links()
	if err != nil {
		return errors.Join(fmt.Errorf("list the devices: %w", err), k.close())
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
		log.Info("remove a macvlan device that no VIP uses", "device", l.name)
		if err := k.deleteLink(l.index); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, k.explain("delete macvlan device", l.name, err))
		}
	}
	return errors.Join(append(errs, k.close())...)
}

// isOurs reports whether l is a device that this package makes: by its kind,
// its name, and the MAC address of a virtual router.
func isOurs(l netlinkLink) bool {
	router := l.hw == routerMAC(int(l.hw[5]), false) || l.hw == routerMAC(int(l.hw[5]), true)
	return l.kind == kindMacvlan && router && strings.HasPrefix(l.name, macvlanPrefix)
}

// used reports whether l is the device that one of keep would make.
func used(l netlinkLink, all []netlinkLink, keep []*Address) bool {
	for _, a := range keep {
		for _, d := range a.devices {
			parent := slices.IndexFunc(all, func(p netlinkLink) bool { return p.name == d.parent })
			if d.name == l.name && parent >= 0 && d.is(l, all[parent]) {
				return true
			}
		}
	}
	return false
}
