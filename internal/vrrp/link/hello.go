package link

import (
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"holdfast/internal/vrrp"
)

// In Backup a controller sends no adverts, so nobody knows whether its adverts
// would arrive: a filter that drops them, on its host or on the way, shows only
// when it takes over, as two holders. So the loops of one VIP send each other
// hellos. Only those are sent any that are known to take them for what they are.

const (
	// helloEvery is the time between two hellos.
	helloEvery = time.Second
	// A prompt makes a loop send some at once, this far apart: not all are lost
	// where some frames are.
	promptEvery = 40 * time.Millisecond
	promptTimes = 8
)

// A peer is what a loop knows of another controller. It is written by the loop.
type peer struct {
	heard   atomic.Int64 // when it last was, as a time.Duration since begun; 0 for never
	refused atomic.Pointer[string]
	proven  atomic.Uint64 // the latest auth.Sequence that it has; 0 for none
	signs   atomic.Bool   // the last thing that was heard of it was signed, and proven
}

// A Hearing is how a loop hears another controller, and reaches it.
type Hearing struct {
	// Ago is how long ago an advert or a hello came; negative for never.
	Ago time.Duration
	// Refused is why the last advert or hello to it could not be sent, in the
	// kernel's words; empty when it could.
	Refused string
	// Signs says that what it sent last was signed with a key that this controller has.
	Signs bool
}

// Hears reports whether something came within d.
func (h Hearing) Hears(d time.Duration) bool { return h.Ago >= 0 && h.Ago < d }

// Hearing tells of each other controller, by its address. Where adverts are IPv6
// multicast, only hellos say who has sent them. It never waits for the loop.
func (l *Loop) Hearing() map[netip.Addr]Hearing {
	all := map[netip.Addr]Hearing{}
	peers := l.counters.peers.Load()
	if peers == nil {
		return all
	}
	now := time.Since(l.counters.begun)
	for a, p := range *peers {
		h := Hearing{Ago: -1, Signs: p.signs.Load()}
		if at := time.Duration(p.heard.Load()); at > 0 {
			h.Ago = max(0, now-at)
		}
		if why := p.refused.Load(); why != nil {
			h.Refused = *why
		}
		all[a] = h
	}
	return all
}

// SetHearers says which of the other controllers are to get hellos: none at
// first. A multicast group gets them when all others are named.
func (l *Loop) SetHearers(all []netip.Addr) {
	all = slices.Clone(all)
	l.hearers.Store(&all)
	l.host.wake()
}

// Hello has some hellos sent at once, and reports whether the controller with the
// address to is one of those who get them.
func (l *Loop) Hello(to netip.Addr) bool {
	l.prompted.Add(1)
	l.host.wake()
	return slices.Contains(l.options.Load().greeted(l.hearers.Load()), to)
}

// greeted gives which of hearers get hellos.
func (o *Options) greeted(hearers *[]netip.Addr) []netip.Addr {
	if hearers == nil {
		return nil
	}
	known := slices.DeleteFunc(slices.Clone(*hearers), func(a netip.Addr) bool {
		_, is := o.Peers[a]
		return !is
	})
	if o.Multicast && len(known) < len(o.Peers) {
		return nil
	}
	return known
}

// hellos says when to send them, and to whom.
type hellos struct {
	due      time.Time // zero for never
	to       []netip.Addr
	told     *[]netip.Addr // of SetHearers
	o        *Options      // that to was made with
	prompted uint64
	quick    int // to send soon after each other
}

// hearers takes what SetHearers and Hello said.
func (r *runner) hearers() {
	h := &r.hellos
	if told := r.l.hearers.Load(); told != h.told || r.o != h.o {
		h.told, h.o = told, r.o
		h.to = r.o.greeted(told)
		if r.o.Multicast && len(h.to) > 0 {
			h.to = r.o.destinations()
		}
		if len(h.to) == 0 {
			h.due = time.Time{}
		} else if h.due.IsZero() {
			h.due = time.Now()
		}
	}
	if n := r.l.prompted.Load(); n != h.prompted {
		h.prompted, h.quick = n, promptTimes
		if len(h.to) > 0 {
			h.due = time.Now()
		}
	}
}

// hello sends them when they are due.
func (r *runner) hello() {
	h := &r.hellos
	now := time.Now()
	if h.due.IsZero() || now.Before(h.due) {
		return
	}
	h.due = now.Add(helloEvery)
	if h.quick > 0 {
		h.quick--
		h.due = now.Add(promptEvery)
	}
	if r.conn == nil {
		return
	}
	r.signNext()
	for _, to := range h.to {
		err := r.helloTo(to)
		r.count.noteSent(r.o, to, err)
		if err != nil {
			r.count.sendErrors.Add(1)
			r.report.warn(now, "hello "+err.Error(), "cannot send to another controller, which would not hear adverts either", "to", r.o.name(to), "error", err)
		}
	}
}

func (r *runner) helloTo(to netip.Addr) error {
	var err error
	r.buf, err = vrrp.Hello{VRID: r.o.VRID, From: r.o.Source}.Append(r.buf[:0], r.o.Checksum, r.conn.source(), to)
	if err != nil {
		return err
	}
	r.sign(to)
	return r.conn.send(r.buf, to)
}

// hearHello takes in a hello, which must be as good as an advert.
func (r *runner) hearHello(d datagram) {
	var h vrrp.Hello
	reason := mayComeFrom(r.o, r.conn.source(), d)
	if reason == 0 {
		trailer, err := h.UnmarshalSigned(d.payload, d.src, d.dst)
		if err != nil {
			reason, _ = errors.AsType[vrrp.Reason](err)
		} else if h.VRID != r.o.VRID {
			reason = vrrp.BadVRID
		} else {
			reason = r.proven(d, trailer)
		}
	}
	if reason != 0 {
		r.reject(d.src, reason)
		return
	}
	from := d.src
	if r.anonymous() {
		from = h.From
	}
	r.count.noteFrom(time.Now(), from)
}

// hearFrom makes the others those of o, and keeps what is known of them.
func (c *counters) hearFrom(o *Options) {
	before := c.peers.Load()
	peers := map[netip.Addr]*peer{}
	for a := range o.Peers {
		peers[a] = &peer{}
		if before == nil {
			continue
		}
		if known := (*before)[a]; known != nil {
			peers[a] = known
		}
	}
	c.peers.Store(&peers)
}

// noteFrom keeps that something came from another controller.
func (c *counters) noteFrom(now time.Time, from netip.Addr) {
	if p := (*c.peers.Load())[from]; p != nil {
		p.heard.Store(int64(max(1, now.Sub(c.begun))))
	}
}

// noteSent keeps whether something could be sent to one, or to the group of all.
func (c *counters) noteSent(o *Options, to netip.Addr, err error) {
	peers := *c.peers.Load()
	if p := peers[to]; p != nil {
		p.sent(err)
	} else if o.Multicast {
		for _, p := range peers {
			p.sent(err)
		}
	}
}

func (p *peer) sent(err error) {
	switch {
	case err != nil:
		why := err.Error()
		p.refused.Store(&why)
	case p.refused.Load() != nil:
		p.refused.Store(nil)
	}
}
