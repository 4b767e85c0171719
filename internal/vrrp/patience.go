package vrrp

import (
	"math/bits"
	"net/netip"
	"time"
)

// maxExtra is how many intervals more than the three of the RFC a Backup router
// waits at most for an advert.
const maxExtra = 7

// A patience knows how many of the last 64 adverts were lost, and says how many
// more intervals to wait than on a network that loses none. Where 30 % are lost,
// three in a row are every few seconds at short intervals: each time a Backup
// router would take over for a moment, to the cost of connections. Where next
// to none are, it adds nothing. It is learned before it is needed, from adverts
// that came after a gap, and forgotten within 64 intervals without one.
type patience struct {
	peer netip.Addr
	last time.Time // an advert of peer was heard
	lost uint64    // a bit for each advert, the newest the lowest: set if lost

	// Of the last gap, until an advert comes in time: how many were missed in it,
	// and how many have come too early since.
	gap, early int
}

// heard takes in an advert. A gap so long that nobody waits for its end is a
// partition or a host that was held up, not loss. Where as many come too early
// after a gap as were missed in it, they were not lost, only late: this process
// may have been held up. One alone may be the last one again, on a network that
// doubles packets, and says nothing.
func (p *patience) heard(now time.Time, a AdvertReceived) {
	peer, last := p.peer, p.last
	p.peer, p.last = a.Src, now
	if a.Src != peer {
		return
	}
	interval := max(a.Interval, MinInterval)
	switch missed := int((now.Sub(last)+interval/2)/interval) - 1; {
	case missed < 0:
		if p.early++; p.early == p.gap && p.gap > 1 {
			p.lost &^= (1<<p.gap - 1) << 1
		}
	case missed <= 3+maxExtra:
		p.lost = p.lost<<(missed+1) | (1<<missed-1)<<1
		p.gap, p.early = missed, 0
	default:
		p.lost <<= 1
		p.gap, p.early = 0, 0
	}
}

// extra gives by how many intervals to wait longer: as many as keep takeovers
// for nothing to some in an hour at 20ms, up to a loss of about 30 %. The table of
// docs/benchmarks/vrrp.md has what comes of it.
func (p *patience) extra() int {
	return min(bits.OnesCount64(p.lost)/2, maxExtra)
}

// A calmDown keeps a router that preempts from taking over again and again,
// when it loses the address each time: with a link that flaps, say. It never
// keeps it from taking over where nobody is Active.
type calmDown struct {
	times int       // that the address was lost lately
	last  time.Time // that it was
	until time.Time // no preempting before
}

const (
	firstCalm = 20 * time.Second // after the second time, and then twice as long each time
	maxCalm   = 5 * time.Minute  // which is also how long the address is to be kept for a new start
)

// lost says that the router was Active and cannot be any more.
func (c *calmDown) lost(now time.Time) {
	if c.times > 0 && now.Sub(c.last) > maxCalm {
		c.times = 0
	}
	c.times++
	c.last = now
	if c.times > 1 {
		c.until = now.Add(min(firstCalm<<min(c.times-2, 10), maxCalm))
	}
}

// preempts reports whether this router takes over from the one that sent a.
func (m *Machine) preempts(now time.Time, a AdvertReceived) bool {
	return m.cfg.Preempt && a.Priority < m.cfg.Priority && a.Src != m.yielded && !now.Before(m.calm.until)
}

// A rival is another Active router that ought to concede to this one.
type rival struct {
	peer        netip.Addr
	since, last time.Time // its adverts were heard
}

// deaf takes in a rival's advert, and reports whether it has been Active for so
// long that it cannot hear this router. It will never concede, so the one that
// hears must: else both would have the address for as long as that lasts.
func (r *rival) deaf(now time.Time, a AdvertReceived, own time.Duration) bool {
	const least, intervals = time.Second, 5
	wait := max(least, intervals*max(own, a.Interval))
	if r.peer != a.Src || now.Sub(r.last) > wait {
		r.peer, r.since = a.Src, now
	}
	r.last = now
	return now.Sub(r.since) >= wait
}
