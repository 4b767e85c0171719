package reach

import (
	"slices"
	"time"
)

// soundFor is how long the link of a controller must be as good as those of the
// others before it counts as good again.
const soundFor = 10 * time.Second

// A Limp knows whether it is a controller's own link that is bad: while it is,
// the controller should be the last to take a VIP, and not take it for adverts
// that got lost. Its zero value is of a good link. It is not for concurrent use.
type Limp struct {
	bad   bool
	sound time.Time // since when it looks good again; zero for not
}

// Step says whether the link of own is bad at now, by what the others said last.
// Without a fresh word of any it stays as it was.
func (l *Limp) Step(now time.Time, own View, others []View) bool {
	others = slices.DeleteFunc(slices.Clone(others), func(o View) bool { return now.Sub(o.At) > fresh })
	switch {
	case len(others) == 0 || now.Sub(own.At) > fresh:
	case len(FindLag(own, others).Hosts) > 0:
		l.bad, l.sound = true, time.Time{}
	case !l.bad:
	case l.sound.IsZero():
		l.sound = now
	case now.Sub(l.sound) >= soundFor:
		l.bad, l.sound = false, time.Time{}
	}
	return l.bad
}
