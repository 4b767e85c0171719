package bench

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
)

// An Episode is one fault of chaos, from its beginning to its end.
type Episode struct {
	Kind   string    `json:"fault"`
	Node   string    `json:"node"`
	Holder bool      `json:"holder"` // the node had the address
	From   time.Time `json:"from"`
	Undone time.Time `json:"undone"`
	Whole  time.Time `json:"whole,omitzero"` // again: nothing was wrong any longer
	Failed int       `json:"failed"`         // requests of safe methods that it explains
}

// A Violation is one thing that must not be.
type Violation struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
	// Around is what happened about that time, in lines.
	Around []string `json:"around,omitempty"`
}

// A costs says which requests a kind of fault may cost.
type costs int

const (
	costsNothing costs = iota
	// costsOld: those under way or on connections opened before the address moved.
	costsOld
	// costsGap: new connections too, until the address has moved.
	costsGap
)

// chaosKinds gives the faults that chaos does, each as likely as the others.
func chaosKinds() []string {
	return []string{
		"service-kill", "service-hang", "service-errors", "service-restart",
		"haproxy-kill", "haproxy-hang", "agent-kill", "agent-hang", "power-off", "unplug", "partition",
	}
}

// costs gives what e may cost clients: nothing, unless the controller that
// serves them is lost. Of two sides of a partition either may have the address
// in the end.
func (e Episode) costs() costs {
	switch e.Kind {
	case "haproxy-kill", "haproxy-hang", "power-off":
		if e.Holder {
			return costsGap
		}
	case "agent-kill", "agent-hang":
		if e.Holder {
			return costsOld
		}
	case "unplug", "partition":
		return costsGap
	}
	return costsNothing
}

// apart reports whether two controllers cannot but both have the address: each
// on its side of a cut.
func (e Episode) apart() bool { return e.Kind == "unplug" || e.Kind == "partition" }

const (
	// lease is how long two may have the address at once: the lease, and how
	// late the kernel may end it.
	lease = 2500 * time.Millisecond
	// settling is how long after the address has moved, by the word of the
	// taker's kernel, the network may take to follow.
	settling = 100 * time.Millisecond
)

// last gives the end of what e may have caused.
func (e Episode) last() time.Time {
	if e.Whole.IsZero() {
		return e.Undone.Add(wholeTimeout)
	}
	return e.Whole
}

// explains reports whether e explains that f failed, given when the address
// moved from one controller to another.
func (e Episode) explains(f load.Record, moves []time.Time) bool {
	cost := e.costs()
	if cost == costsNothing || !f.End().After(e.From) {
		return false
	}
	// A controller that is cut off from the holder takes the address too, where
	// no client is. Only when that has ended may it be the one that keeps it.
	begin := e.Undone
	var marks []time.Time
	if e.Holder { // it took connections with it, even if nothing moved
		begin = e.From
		marks = append(marks, e.From)
	}
	for _, m := range moves {
		if !m.Before(begin) && !m.After(e.last()) {
			marks = append(marks, m.Add(settling))
		}
	}
	for _, m := range marks {
		opened := !f.Opened.IsZero() && f.Opened.Before(m)
		inGap := f.Due.Before(m) && cost == costsGap
		if f.Due.Before(e.From) || opened || inGap {
			return true
		}
	}
	return false
}

// movesOf gives when vip was taken by, or left, a controller.
func movesOf(changes []lab.Holding, vip netip.Addr) []time.Time {
	var all []time.Time
	for _, c := range changes {
		if c.Address == vip {
			all = append(all, c.Time)
		}
	}
	return all
}

// unexplained gives those of failed that no episode explains, in order, and
// counts the others with the last episode that does.
func unexplained(failed []load.Record, episodes []Episode, moves []time.Time) []load.Record {
	var out []load.Record
	for _, f := range failed {
		why := -1
		for i, e := range episodes {
			if e.explains(f, moves) {
				why = i
			}
		}
		if why < 0 {
			out = append(out, f)
		} else {
			episodes[why].Failed++
		}
	}
	slices.SortFunc(out, func(a, b load.Record) int { return a.Due.Compare(b.Due) })
	return out
}

// both gives the times in which more than one controller had vip, without
// those in which they were apart.
func both(changes []lab.Holding, vip netip.Addr, episodes []Episode, end time.Time) []span {
	var all []span
	held := map[string]bool{}
	var since time.Time
	note := func(now time.Time) {
		if !since.IsZero() {
			all = append(all, without(span{since, now}, episodes)...)
		}
		since = time.Time{}
	}
	for _, c := range changes {
		if c.Address != vip {
			continue
		}
		if held[c.Node] = c.Held; !c.Held {
			delete(held, c.Node)
		}
		switch {
		case len(held) > 1 && since.IsZero():
			since = c.Time
		case len(held) <= 1:
			note(c.Time)
		}
	}
	note(end)
	return all
}

// without cuts the time in which controllers were apart out of s.
func without(s span, episodes []Episode) []span {
	all := []span{s}
	for _, e := range episodes {
		if !e.apart() {
			continue
		}
		var left []span
		for _, s := range all {
			if !e.From.Before(s.to) || !e.Undone.After(s.from) {
				left = append(left, s)
				continue
			}
			if e.From.After(s.from) {
				left = append(left, span{s.from, e.From})
			}
			if e.Undone.Before(s.to) {
				left = append(left, span{e.Undone, s.to})
			}
		}
		all = left
	}
	return all
}

// during names the episode at a time, for a person.
func during(when time.Time, episodes []Episode, start time.Time) string {
	for _, e := range slices.Backward(episodes) {
		if when.Before(e.From) {
			continue
		}
		who := ""
		if e.Holder {
			who = ", which had the address"
		}
		what := fmt.Sprintf("%s after %s on %s%s", short(when.Sub(e.From)), e.Kind, e.Node, who)
		if when.After(e.Undone) {
			what += fmt.Sprintf(", %s after its end", short(when.Sub(e.Undone)))
		}
		return what
	}
	return "before the first fault, at " + clock(when.Sub(start))
}
