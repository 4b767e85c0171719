package link

import (
	"net/netip"
	"sync/atomic"
	"time"

	"holdfast/internal/vrrp"
)

// Stats is what a Loop knows of itself and of the others.
type Stats struct {
	State vrrp.State
	// Since is when State began, Reason why. While State is Initialize, Reason
	// is why this controller is not eligible now.
	Since  time.Time
	Reason string
	// Holder is the controller that is Active as far as this one knows: its
	// name, or its address if it has none; empty if none is known.
	Holder string
	// HolderPriority is what its latest advert had; 0 where none is known, or it is this
	// controller.
	HolderPriority uint8
	Priority       uint8

	Transitions uint64
	AdvertsSent uint64 // one, however many peers it went to
	AdvertsSeen uint64 // those accepted
	// Rejected counts adverts that were dropped, by vrrp.Reason; those that
	// never happened are not there.
	Rejected map[string]uint64
	// LastRejected is the address whose advert was dropped last, and why.
	LastRejected Rejection
	// Checksums counts accepted adverts over IPv4 by the form of their checksum.
	Checksums map[string]uint64
	// OtherAddresses and OtherInterval count accepted adverts that list other
	// addresses, or say another interval, than this controller is configured with.
	OtherAddresses, OtherInterval uint64
	// SendErrors counts packets that could not be sent.
	SendErrors uint64
	// Turned is when the loop last looked at what there is to do. It does so
	// several times a second, whatever its interval; a loop that has not for
	// seconds is stuck.
	Turned time.Time
	// Late counts how often this process was held up for so long that another
	// controller may have taken over.
	Late uint64
}

// A Rejection is an advert that was dropped.
type Rejection struct {
	Source netip.Addr
	Reason vrrp.Reason // 0: there was none
	Time   time.Time
}

// counters are written by the loop and read by Stats, with no lock between
// them: a slow reader must not stop the loop.
type counters struct {
	transitions, sent, seen       atomic.Uint64
	otherAddresses, otherInterval atomic.Uint64
	sendErrors, late              atomic.Uint64
	turned                        atomic.Int64 // a time.Duration since begun
	rejected                      [vrrp.Reasons]atomic.Uint64
	checksums                     [vrrp.PseudoHeader + 1]atomic.Uint64
	lastRejected                  atomic.Pointer[Rejection]

	// The last Active router that was heard: who, and until when its word
	// counts, as a time.Duration since begun.
	begun      time.Time
	heard      atomic.Pointer[netip.Addr]
	heardUntil atomic.Int64
	// heardPriority is that of its latest advert.
	heardPriority atomic.Uint32
	// peers has what is known of each of the others.
	peers atomic.Pointer[map[netip.Addr]*peer]
}

// public is what changes seldom.
type public struct {
	state  vrrp.State
	since  time.Time
	reason string
}

// Stats gives what the loop knows now. It never waits for the loop.
func (l *Loop) Stats() Stats {
	o, p, c := l.options.Load(), l.public.Load(), &l.counters
	s := Stats{
		State: p.state, Since: p.since, Reason: p.reason,
		Holder: l.holder(o, p), Priority: o.Priority,
		Turned:      c.begun.Add(time.Duration(c.turned.Load())),
		Transitions: c.transitions.Load(), AdvertsSent: c.sent.Load(), AdvertsSeen: c.seen.Load(),
		Rejected: map[string]uint64{}, Checksums: map[string]uint64{},
		OtherAddresses: c.otherAddresses.Load(), OtherInterval: c.otherInterval.Load(),
		SendErrors: c.sendErrors.Load(), Late: c.late.Load(),
	}
	if s.Holder != "" && s.State != vrrp.Active {
		s.HolderPriority = uint8(c.heardPriority.Load())
	}
	if r := c.lastRejected.Load(); r != nil {
		s.LastRejected = *r
	}
	for i := range c.rejected {
		if n := c.rejected[i].Load(); n > 0 {
			s.Rejected[vrrp.Reason(i).String()] = n
		}
	}
	for i := range c.checksums {
		if n := c.checksums[i].Load(); n > 0 {
			s.Checksums[vrrp.Checksum(i).String()] = n
		}
	}
	return s
}

func (l *Loop) holder(o *Options, p *public) string {
	if p.state == vrrp.Active {
		return o.Controller
	}
	if who := l.counters.heard.Load(); who != nil && l.counters.hears(time.Now()) {
		return o.name(*who)
	}
	return ""
}

// noteHeard keeps who is Active, for a little longer than a takeover lasts.
func (c *counters) noteHeard(now time.Time, a vrrp.AdvertReceived) {
	if a.Priority == 0 {
		c.forgetHeard()
		return
	}
	if who := c.heard.Load(); who == nil || *who != a.Src {
		src := a.Src
		c.heard.Store(&src)
	}
	c.heardUntil.Store(int64(now.Sub(c.begun) + 4*a.Interval))
	c.heardPriority.Store(uint32(a.Priority))
}

// forgetHeard makes nobody known to be Active.
func (c *counters) forgetHeard() { c.heardUntil.Store(0) }

// hears reports whether an Active router is heard.
func (c *counters) hears(now time.Time) bool {
	return now.Sub(c.begun) < time.Duration(c.heardUntil.Load())
}
