package reach

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"holdfast/internal/status"
)

const (
	// pathLate is by how much the handshakes of one controller must take longer
	// than those of another to the same host, and pathLossy which share of them
	// must get no answer for as long as that, to be clearly worse.
	pathLate  = 100 * time.Millisecond
	pathLossy = 0.1
)

// clean reports whether nothing got lost of enough.
func clean(p status.Path) bool { return p.Sent >= status.PathWindow/2 && p.Lost == 0 }

// Suspect reports whether p may be worse than another controller's: one handshake
// after the other got no answer, or many, or they take long.
func Suspect(p status.Path) bool { return p.Silent > 1 || p.Lasting > pathLossy || p.RTT > pathLate }

// worse reports whether p is clearly worse than o, another controller's path to
// the same host, on which nothing is lost: by loss that lasts, or by time.
func worse(p, o status.Path) bool {
	if p.Sent < status.PathWindow || o.Sent < status.PathWindow || !clean(o) {
		return false
	}
	return p.Lasting > pathLossy || p.RTT-o.RTT > pathLate && o.RTT > 0
}

// A Lag is what one controller's paths have in common that are worse than those
// of others; it has no Hosts for nothing.
type Lag struct {
	Controller string
	Hosts      []string      // to which its paths are worse, in order
	Lost       float64       // the largest share of handshakes that gets lost
	Late       time.Duration // the most that they take longer
	By         []string      // controllers that are clearly better, and worse in nothing, in order
}

// FindLag compares the paths of a controller with those of all others.
// It is its own link that is bad when most hosts, and two at least, are worse
// reached by it than by another. One for which no controller has a good path
// counts neither way: that may be the host's own doing. A controller has no path
// to itself, so that each host is compared among those that are remote to it.
func FindLag(own View, others []View) Lag {
	all := map[string][]status.Path{own.Controller: own.Paths}
	for _, o := range others {
		all[o.Controller] = o.Paths
	}
	l := lagOf(own.Controller, all)
	if len(l.Hosts) == 0 {
		return l
	}
	for _, other := range slices.Sorted(maps.Keys(all)) {
		if other != own.Controller && clearlyWorse(own.Paths, all[other]) && len(lagOf(other, all).Hosts) == 0 {
			l.By = append(l.By, other)
		}
	}
	return l
}

// lagOf is FindLag without a word of who is better.
func lagOf(controller string, all map[string][]status.Path) Lag {
	l, compared := Lag{Controller: controller}, 0
	for _, own := range all[controller] {
		best, ok := bestTo(own.Address, controller, all)
		if !ok || own.Sent < status.PathWindow {
			continue
		}
		compared++
		if !worse(own, best) {
			continue
		}
		l.Hosts = append(l.Hosts, own.Host)
		if own.Lasting > pathLossy {
			l.Lost = max(l.Lost, own.Lasting)
		}
		if d := own.RTT - best.RTT; d > pathLate && best.RTT > 0 {
			l.Late = max(l.Late, d)
		}
	}
	if len(l.Hosts) < 2 || 2*len(l.Hosts) <= compared {
		return Lag{Controller: controller}
	}
	slices.Sort(l.Hosts)
	return l
}

// bestTo gives the best path to an address that any other controller has and on
// which nothing is lost.
func bestTo(address, but string, all map[string][]status.Path) (status.Path, bool) {
	var good []status.Path
	for controller, paths := range all {
		for _, p := range paths {
			if controller != but && p.Address == address && clean(p) && p.Sent >= status.PathWindow {
				good = append(good, p)
			}
		}
	}
	if len(good) == 0 {
		return status.Path{}, false
	}
	return slices.MinFunc(good, func(a, b status.Path) int {
		return cmp.Or(cmp.Compare(min(b.RTT, 1), min(a.RTT, 1)), cmp.Compare(a.RTT, b.RTT)) // a known time first
	}), true
}

// clearlyWorse reports whether b is worse than a to no host, and a than b to most
// of those that are remote to both and that either reaches well.
func clearlyWorse(a, b []status.Path) bool {
	n, compared := 0, 0
	for _, pa := range a {
		i := slices.IndexFunc(b, func(pb status.Path) bool { return pb.Address == pa.Address })
		switch {
		case i < 0:
			continue
		case worse(b[i], pa):
			return false
		case worse(pa, b[i]):
			n++
		}
		if clean(pa) || clean(b[i]) {
			compared++
		}
	}
	return 2*n > compared
}

// String tells what is wrong, in one line.
func (l Lag) String() string {
	to := fmt.Sprintf("from %s to %s", l.Controller, status.List(l.Hosts))
	from := "others"
	if len(l.By) > 0 {
		from = status.List(l.By)
	}
	switch {
	case len(l.Hosts) == 0:
		return ""
	case l.Lost == 0:
		return fmt.Sprintf("connections %s take up to %s longer than from %s", to, status.Brief(l.Late), from)
	case l.Late == 0:
		return fmt.Sprintf("up to %.0f %% of the connections %s get no answer at first, and from %s all do", 100*l.Lost, to, from)
	}
	return fmt.Sprintf("up to %.0f %% of the connections %s get no answer at first, the others take up to %s longer, and neither is so from %s",
		100*l.Lost, to, status.Brief(l.Late), from)
}
