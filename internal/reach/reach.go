// Package reach judges controllers by what their HAProxys reach: which services
// a VIP would lose by a move from one to another, which controller is the best
// to have it, and when a holder that is clearly worse than another ought to give
// it away unasked.
//
// It is pure: it is told the time and what each controller says of itself. It
// asks nobody and moves nothing; the agent does.
package reach

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"holdfast/internal/status"
)

// A View is what one controller says of itself, and its HAProxy of the services.
type View struct {
	Controller string
	// At is when its HAProxy said so, by the clock of the one who asked.
	At time.Time
	// Unfit says why it is not to be given a VIP that nobody asked it to take:
	// it is drained, its HAProxy does not run; empty when it may be.
	Unfit string
	// Spec is the digest of the spec that it runs with.
	Spec string
	// Services has the services of which something is known: true for those
	// with a host that serves, false for those of which no host can be reached.
	Services map[string]bool
}

// Services gives what is known of services. One of which each host is drained,
// not checked yet, or silent together with all others, is left out: none of
// that is for a move to mend.
func Services(services []status.Service) map[string]bool {
	known := map[string]bool{}
	for _, s := range services {
		serves := slices.ContainsFunc(s.Hosts, func(h status.Host) bool {
			return h.State == status.Up && h.Condition != status.Dead && h.Condition != status.Hung
		})
		lost := slices.ContainsFunc(s.Hosts, func(h status.Host) bool {
			return h.State == status.Down || h.State == status.Up && h.Condition == status.Dead
		})
		open := slices.ContainsFunc(s.Hosts, func(h status.Host) bool {
			return h.State == status.Unknown || h.State == status.Up && h.Condition == status.Hung
		})
		switch {
		case serves:
			known[s.Name] = true
		case lost && !open && !s.LastResort:
			known[s.Name] = false
		}
	}
	return known
}

// Lost gives the services, in the order of their names, that from has a host of
// and to has none of: what clients would lose by a move.
func Lost(from, to View) []string {
	var lost []string
	for _, name := range slices.Sorted(maps.Keys(from.Services)) {
		if has, known := to.Services[name]; from.Services[name] && known && !has {
			lost = append(lost, name)
		}
	}
	return lost
}

// clearlyBetter reports whether clients would gain a service by a move from a to
// b, and lose none. That is an order: no chain of such moves comes back to where
// it began, whatever three controllers see, unless what they reach changes.
func clearlyBetter(b, a View) bool { return len(Lost(b, a)) > 0 && len(Lost(a, b)) == 0 }

// count gives of how many services v has a host.
func (v View) count() int {
	n := 0
	for _, has := range v.Services {
		if has {
			n++
		}
	}
	return n
}

// Best sorts controllers, which are in the order of preference, by what a move
// from own to each would cost: those that lose the fewest services first, and
// among these those that reach the most. One of which nothing is known loses
// none, and comes after those that say so.
func Best(own View, names []string, views map[string]View) []string {
	sorted := slices.Clone(names)
	slices.SortStableFunc(sorted, func(a, b string) int {
		return cmp.Or(
			cmp.Compare(len(Lost(own, views[a])), len(Lost(own, views[b]))),
			cmp.Compare(views[b].count(), views[a].count()),
		)
	})
	return sorted
}
