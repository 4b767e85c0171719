package link

import (
	"cmp"
	"time"

	"holdfast/internal/vrrp"
)

// The silence of the others says that nobody has the address only if they would be
// heard, and if it is not another who has it: a switch's port does not forward yet, a
// filter drops adverts, another machine was given the address. What a loop hears does not
// tell these apart, so somebody else looks, where Options.Guarded says so.

// A Trust says whether the silence of the others counts.
type Trust struct {
	// Doubt is the number that Doubted gave. What is said of an earlier doubt does not
	// count for a later one.
	Doubt  uint64
	Counts bool
	// Since is when the silence that counts began, at the earliest.
	Since time.Time
	// Humble has this controller advertise the lowest priority: nobody was ever heard on
	// this link, so it may be the link that is silent, and whoever comes to be heard has
	// the address for longer.
	Humble bool
	// Why says what is waited for, for people; "" for nothing.
	Why string
}

// Doubted tells when the silence of the others came into doubt, with a number: when
// the loop starts, and when its link has come back. Only the last one is kept.
func (l *Loop) Doubted() <-chan uint64 { return l.doubts }

// SetTrust answers a doubt.
func (l *Loop) SetTrust(t Trust) {
	l.trust.Store(&t)
	l.host.wake()
}

// Defer has this controller take the address from nobody by silence, because it is
// known otherwise that another one has it: why, for people. "" ends that.
func (l *Loop) Defer(why string) {
	l.deferred.Store(&why)
	l.host.wake()
}

// Insist has a holder announce the addresses for some seconds, since another one has
// held them, which it did not hear and which gives way: clients are not to believe that
// one's last word. It does nothing where they are not held.
func (l *Loop) Insist() {
	l.insists.Store(true)
	l.host.wake()
}

// Elsewhere says that another controller has the address, by its agent's word: what a
// former process may have left of it here is released. That is done once: it does
// nothing later, nor where the address is held.
func (l *Loop) Elsewhere() {
	if !l.other.Swap(true) {
		l.host.wake()
	}
}

// trusting is what the runner knows of silence.
type trusting struct {
	doubt    uint64 // the last one
	is       Trust
	deferred string
	told     vrrp.Silence // to the machine
	why      string       // was published
}

// doubt begins one.
func (r *runner) doubt() {
	if !r.o.Guarded {
		return
	}
	t := &r.trusting
	t.doubt++
	t.is = Trust{Doubt: t.doubt}
	select {
	case <-r.l.doubts:
	default:
	}
	r.l.doubts <- t.doubt // the only sender
	r.weigh()
}

// heed takes what SetTrust and Defer said.
func (r *runner) heed() {
	t := &r.trusting
	if said := r.l.trust.Load(); r.o.Guarded && said != nil && said.Doubt == t.doubt && *said != t.is {
		humble := t.is.Humble
		if t.is = *said; humble != t.is.Humble {
			r.step(vrrp.Configure{Config: r.config()})
		}
		r.weigh()
	}
	if why := r.l.deferred.Load(); why != nil && *why != t.deferred {
		if t.deferred = *why; t.deferred == "" {
			t.is.Since = time.Now()
		}
		r.weigh()
	}
	r.say()
}

// weigh tells the machine whether silence counts now.
func (r *runner) weigh() {
	t := &r.trusting
	e := vrrp.Silence{Counts: (!r.o.Guarded || t.is.Counts) && t.deferred == "", Since: t.is.Since, All: t.deferred != ""}
	if e != t.told {
		t.told = e
		r.step(e)
	}
}

// say tells people why nobody is waited for.
func (r *runner) say() {
	t := &r.trusting
	why := cmp.Or(t.deferred, t.is.Why)
	if why == t.why || r.state != vrrp.Backup || r.machine.State() != vrrp.Backup {
		return
	}
	t.why = why
	r.publishReason(cmp.Or(why, "listening for the other controllers"))
}
