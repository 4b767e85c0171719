package link

import (
	"net/netip"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/vrrp"
)

// A proof is what a runner signs with, and checks what others have signed. Both are nil
// where there is nothing to be done.
type proof struct {
	policy   auth.Policy
	checksum vrrp.Checksum
	interval time.Duration
	signer   *auth.Signer
	receiver *auth.Receiver
	trailer  []byte // of the message that is sent
	signed   bool   // trailer is that of the message
}

// prepareKeys makes what follows from the keys. What was signed and heard before counts
// with other keys, too.
func (r *runner) prepareKeys() {
	p := &r.proof
	if p.policy == r.o.Keys && p.checksum == r.o.Checksum && p.interval == r.o.Interval {
		return
	}
	p.policy, p.checksum, p.interval = r.o.Keys, r.o.Checksum, r.o.Interval
	router := auth.Router{Version: 3, VRID: r.o.VRID}
	var last auth.Sequence
	if p.signer != nil {
		last = p.signer.Last()
	}
	p.signer = nil
	if p.policy.Signs() {
		p.signer = auth.NewSigner(p.policy.Keys, router, r.o.freshness(), last)
	}
	if p.policy.Keys == nil {
		p.receiver = nil
		return
	}
	p.receiver = auth.NewReceiver(p.policy.Keys, router, r.o.freshness(), p.receiver)
}

// freshness gives how far clocks may differ: only keepalived wants them not to.
func (o *Options) freshness() auth.Freshness {
	if o.Checksum == vrrp.PseudoHeader {
		return auth.FreshnessOf(o.Interval)
	}
	return 0
}

// clock gives the time for signatures. Where only their order counts, it goes on from
// what the clock said when this loop began, and a clock that is set changes nothing.
func (r *runner) clock() time.Time {
	if r.o.freshness() == 0 {
		return r.l.epoch.Add(time.Since(r.count.begun))
	}
	return time.Now()
}

// signNext begins another message, whose copies have one signature.
func (r *runner) signNext() {
	p := &r.proof
	if p.signed = false; p.signer == nil {
		return
	}
	p.signer.Next(r.clock())
	r.l.signed.Store(&Signed{r.conn.source(), uint64(p.signer.Last())})
}

// sign appends the trailer to the message in r.buf that goes to a controller, where
// there is to be one.
func (r *runner) sign(to netip.Addr) {
	p := &r.proof
	if p.signer == nil {
		return
	}
	if !p.signed {
		p.trailer, p.signed = p.signer.Append(p.trailer[:0], r.buf, r.conn.source()), true
	}
	r.buf = vrrp.AppendTrailer(r.buf, 0, p.trailer, r.conn.source(), to)
}

// proven says why what came in d is not to be believed, as far as its signature tells;
// 0: it is. Without a key nothing can be said of one.
func (r *runner) proven(d datagram, trailer []byte) vrrp.Reason {
	p := &r.proof
	if trailer == nil {
		if p.policy.Demands() {
			return vrrp.Unsigned
		}
		r.count.noteSigned(d.src, 0)
		return 0
	}
	if p.receiver == nil {
		if !auth.IsTrailer(trailer) {
			return vrrp.BadLength
		}
		return 0
	}
	message := d.payload[:len(d.payload)-len(trailer)]
	switch p.receiver.Check(r.clock(), d.src, message, trailer) {
	case auth.Proven:
		r.count.noteSigned(d.src, p.receiver.Latest(d.src))
		return 0
	case auth.UnknownKey:
		return vrrp.UnknownKey
	case auth.Forged:
		return vrrp.BadSignature
	case auth.Stale:
		return vrrp.Stale
	case auth.Replayed:
		return vrrp.Replayed
	case auth.Malformed:
	}
	return vrrp.BadLength
}

// noteSigned keeps what another controller has signed last; 0: it does not sign.
func (c *counters) noteSigned(from netip.Addr, sequence auth.Sequence) {
	if p := (*c.peers.Load())[from]; p != nil {
		p.proven.Store(uint64(sequence))
		p.signs.Store(sequence != 0)
	}
}

// Signed is what a loop has signed last.
type Signed struct {
	// From is the address that it sends from.
	From netip.Addr `json:"from"`
	// Sequence is that of package auth.
	Sequence uint64 `json:"sequence"`
}

// Signed gives what this loop has signed last; the zero value for nothing. A controller
// that is told so knows that what it hears with an earlier sequence was recorded.
func (l *Loop) Signed() Signed {
	if s := l.signed.Load(); s != nil {
		return *s
	}
	return Signed{}
}

// Proven gives the latest sequence that another controller has signed and that was
// heard here; 0 for none, or where its adverts do not come from its own address.
func (l *Loop) Proven(controller netip.Addr) uint64 {
	if peers := l.counters.peers.Load(); peers != nil && (*peers)[controller] != nil {
		return (*peers)[controller].proven.Load()
	}
	return 0
}

// told is what Told was called with.
type told struct {
	was uint64
	is  Signed
}

// Told says that another controller has signed is last, by its own word of just now;
// was is what Proven gave before it was asked. It never waits for the loop.
func (l *Loop) Told(was uint64, is Signed) {
	select {
	case l.told <- told{was, is}:
	default: // it is told again
	}
	l.host.wake()
}

// learnSequences takes what Told said.
func (r *runner) learnSequences() {
	for {
		select {
		case t := <-r.l.told:
			from := t.is.From
			if r.proof.receiver == nil || r.o.freshness() != 0 || !from.IsValid() || !r.o.believes(from) {
				continue
			}
			r.proof.receiver.Told(from, auth.Sequence(t.was), auth.Sequence(t.is.Sequence))
		default:
			return
		}
	}
}
