package move

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"holdfast/internal/rtnl"
	"holdfast/internal/sockdiag"
)

// steerTable is the routing table of the Copies that end, a number that nobody
// else has; it says "hfst".
const steerTable = 0x68667374

// steering is the rules with which this host goes on to take what comes for a,
// while its processes' new connections to it go where the route says. One that
// is there already has a at both ends.
func steering(a netip.Addr) []rtnl.Rule {
	return []rtnl.Rule{
		{To: a, FromTo: true, Table: steerTable, Priority: 1},
		{To: a, FromHere: true, Table: unix.RT_TABLE_MAIN, Priority: 2},
		{To: a, Table: steerTable, Priority: 3},
	}
}

// steer makes a no address of this host for new connections from it, but for
// all else. It is undone by unsteer, which also undoes half of it.
func steer(k *rtnl.Conn, lo int, a netip.Addr) error {
	if err := k.AddLocalRoute(lo, a, steerTable); err != nil {
		return fmt.Errorf("add a local route: %w", err)
	}
	for _, r := range steering(a) {
		if err := k.AddRule(r); err != nil {
			return fmt.Errorf("add a routing rule: %w", err)
		}
	}
	// What made it local for all.
	if a.Is4() {
		return k.DeleteLocalRoute(lo, a, unix.RT_TABLE_LOCAL)
	}
	// IPv6 connects from the address that it connects to, if it has it at all.
	return k.DeleteAddress(lo, rtnl.HostPrefix(a))
}

// unsteer is done also when there is nothing to undo. It goes backwards: without
// the rule for what this host sends, the one after it would take that in here,
// where nobody has the address any more, and reset what the new holder serves.
func unsteer(k *rtnl.Conn, lo int, a netip.Addr) error {
	var errs []error
	for _, r := range slices.Backward(steering(a)) {
		errs = append(errs, k.DeleteRule(r))
	}
	return errors.Join(append(errs, k.DeleteLocalRoute(lo, a, steerTable))...)
}

// endSteered ends what an End that was cut short has left.
func endSteered(ctx context.Context, log *slog.Logger) (err error) {
	var k rtnl.Conn
	defer func() { err = errors.Join(err, k.Close()) }()
	var errs []error
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		steered, err := k.LocalRoutes(family, steerTable)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // a kernel without IPv6
		}
		errs = append(errs, err)
		for a, lo := range steered {
			log.Info("end what is left of a vip that was handed over", "address", a)
			errs = append(errs, k.DeleteAddress(lo, rtnl.HostPrefix(a)), unsteer(&k, lo, a))
			if own, err := k.OwnAddresses(); err != nil || own[a] {
				errs = append(errs, err)
				continue
			}
			_, err := sockdiag.Destroy(ctx, sockdiag.Match{Local: netip.AddrPortFrom(a, 0)})
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
