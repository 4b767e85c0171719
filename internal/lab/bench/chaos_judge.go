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
	Value  string    `json:"value,omitempty"`
	To     string    `json:"to,omitempty"`   // the second node, of one-way
	Work   string    `json:"work,omitempty"` // what moved the address meanwhile, as an operator does
	From   time.Time `json:"from"`
	Undone time.Time `json:"undone"`
	Whole  time.Time `json:"whole,omitzero"` // again: nothing was wrong any longer
	Failed int       `json:"failed"`         // requests of safe methods that it explains
	// Slowest is what the slowest answer took that was awaited meanwhile; 0 where
	// each took less than 200 ms.
	Slowest time.Duration `json:"slowest_ns,omitempty"`
}

// A Violation is one thing that must not be.
type Violation struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
	// Around is what happened about that time, in lines.
	Around []string `json:"around,omitempty"`
}

// what tells what was done where, for a person.
func (e Episode) what() string {
	text := e.Kind
	if e.Value != "" {
		text += " " + e.Value
	}
	text += " on " + e.Node
	if e.Holder {
		text += ", which had the address"
	}
	if e.To != "" {
		text += ", to " + e.To
	}
	if e.Work != "" {
		text += ", with " + e.Work
	}
	return text
}

// costs gives what e may cost clients.
func (e Episode) costs() costs {
	if e.Holder {
		return kindOf(e.Kind).holder
	}
	return kindOf(e.Kind).other
}

// apart reports whether two controllers cannot but both have the address.
func (e Episode) apart() bool { return kindOf(e.Kind).apart }

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
	if !f.End().After(e.From) {
		return false
	}
	switch cost {
	case costsNothing:
		return false
	case costsAnswers:
		return f.Failure == load.ServerError && f.Due.Before(e.last())
	case costsReset:
		if f.Failure == load.Timeout {
			return false
		}
	case costsAll:
		if f.Due.Before(e.Undone.Add(settling)) {
			return true
		}
	case costsOld, costsGap:
	}
	for _, m := range e.marks(moves) {
		opened := !f.Opened.IsZero() && f.Opened.Before(m)
		inGap := f.Due.Before(m) && (cost == costsGap || cost == costsAll)
		if f.Due.Before(e.From) || opened || inGap {
			return true
		}
	}
	return false
}

// marks gives those of moves that e may have caused, and after which clients were
// at another controller than before.
func (e Episode) marks(moves []time.Time) []time.Time {
	begin := e.From
	var marks []time.Time
	switch {
	case e.Holder && e.Work == "": // it took connections with it, even if nothing moved
		marks = append(marks, e.From)
	case !e.Holder && e.apart():
		// A controller that is cut off from the holder takes the address too, where
		// no client is. Only when that has ended may it be the one that keeps it.
		begin = e.Undone
	}
	for _, m := range moves {
		if !m.Before(begin) && !m.After(e.last()) {
			marks = append(marks, m.Add(settling))
		}
	}
	return marks
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
		what := fmt.Sprintf("%s after %s", short(when.Sub(e.From)), e.what())
		if when.After(e.Undone) {
			what += fmt.Sprintf(", %s after its end", short(when.Sub(e.Undone)))
		}
		return what
	}
	return "before the first fault, at " + clock(when.Sub(start))
}
