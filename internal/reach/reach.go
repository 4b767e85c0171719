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
	// Paths has how the controller's connections to other hosts fare.
	Paths []status.Path
	// Needs has, for services that have only hosts with a Path to the service
	// itself, the addresses of those in use.
	Needs map[string][]string
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

// silentFor is how many handshakes in a row, one a second, a host may leave
// without an answer before it is out of reach.
const silentFor = 4

// cutOff gives the services, in the order of their names, of which a's HAProxy
// has no host that answers, though it has not found out yet, and b's has one that
// answered each time. HAProxy is given ten seconds for that, since a host may stand
// still together with all others; but whose every handshake is answered at the
// same moment stands nowhere.
func cutOff(a, b View) []string {
	var services []string
	for _, name := range slices.Sorted(maps.Keys(a.Needs)) {
		silent := !slices.ContainsFunc(a.Needs[name], func(address string) bool { return a.path(address).Silent < silentFor })
		answered := slices.ContainsFunc(a.Needs[name], func(address string) bool { return clean(b.path(address)) })
		if silent && answered && b.Services[name] {
			services = append(services, name)
		}
	}
	return services
}

func (v View) path(address string) status.Path {
	i := slices.IndexFunc(v.Paths, func(p status.Path) bool { return p.Address == address })
	if i < 0 {
		return status.Path{}
	}
	return v.Paths[i]
}

// gain gives the services that clients would gain by a move from a to b: those
// that a lacks, and those that it is cut off from.
func gain(b, a View) []string {
	all := append(Lost(b, a), cutOff(a, b)...)
	slices.Sort(all)
	return slices.Compact(all)
}

// clearlyBetter reports whether clients would gain a service by a move from a to
// b, or lose none and have a better way to those that there are; and that they
// lose none. Services come first, and a holder that moves the VIP for its paths is
// one whose own link is bad, and the taker is none: no chain of such moves comes back
// to where it began, whatever three controllers see, unless what they reach changes.
func clearlyBetter(b, a View, lag Lag) bool {
	return len(gain(a, b)) == 0 && (len(gain(b, a)) > 0 || slices.Contains(lag.By, b.Controller))
}

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
// from own to each would cost: those that lose the fewest services first, among
// these those that reach the most, and then those whose link is not bad. One of
// which nothing is known loses none, and comes after those that say so.
func Best(own View, names []string, views map[string]View) []string {
	lags := lagging(append(slices.Collect(maps.Values(views)), own))
	sorted := slices.Clone(names)
	slices.SortStableFunc(sorted, func(a, b string) int {
		return cmp.Or(
			cmp.Compare(len(Lost(own, views[a])), len(Lost(own, views[b]))),
			cmp.Compare(views[b].count(), views[a].count()),
			cmp.Compare(lags[a], lags[b]),
		)
	})
	return sorted
}

// lagging gives 1 for those whose link is bad beside those of the others.
func lagging(views []View) map[string]int {
	lags := map[string]int{}
	for _, v := range views {
		if len(FindLag(v, views).Hosts) > 0 {
			lags[v.Controller] = 1
		}
	}
	return lags
}
