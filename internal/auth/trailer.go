package auth

import (
	"crypto/hmac"
	"encoding/binary"
	"hash"
	"net/netip"
	"time"
)

// The trailer of an advert, which follows the message in the packet
// (draft-cassen-vrrp-auth-hmac, as keepalived 2.4.2 and later have it; 2.4.0 and
// 2.4.1 sign other octets):
//
//	octet  0  type: 1, HMAC-SHA256 of which 16 octets are sent
//	       1  id of the key
//	       2  0, 0
//	       4  sequence: seconds since 1970, fraction of a second in 1/65536, counter
//	      12  the first 16 octets of the HMAC
//
// The HMAC is over family, version, router id, 0 and the source in 16 octets; the
// message with its checksum read as 0; the trailer with its HMAC read as 0.
const (
	TrailerLen = 28

	trailerType  = 1
	trailerMAC   = 12 // where the HMAC begins
	trailerSum   = 16 // its octets
	checksumAt   = 6  // of the message (RFC 9568 section 5.2.8)
	checksumEnd  = checksumAt + 2
	pseudoLen    = 20
	maxSenders   = 64 // whose sequences are remembered where any neighbour may send
	minMessage   = 8
	subsecond    = 1 << 16
	counterShift = 16
)

// IsTrailer reports whether b looks like a trailer, as far as its first octets say.
func IsTrailer(b []byte) bool {
	return len(b) == TrailerLen && b[0] == trailerType && b[2] == 0 && b[3] == 0
}

// A Sequence orders the adverts of one sender. It wraps around, as serial numbers do
// (RFC 1982).
type Sequence uint64

// After reports whether s is later than t.
func (s Sequence) After(t Sequence) bool { return int64(s-t) > 0 }

// AtClock gives the first Sequence of the moment now.
func AtClock(now time.Time) Sequence {
	part := uint64(now.Nanosecond()) * subsecond / uint64(time.Second)
	return Sequence(uint64(uint32(now.Unix()))<<32 | part<<counterShift)
}

func (s Sequence) seconds() int32 { return int32(uint32(s >> 32)) }

// A Freshness is how far the sequence of an advert may be from its receiver's clock,
// in whole seconds; 0: as far as it likes, and only its order counts. keepalived calls the
// one "anti_replay time" and the other "monotonic".
type Freshness int32

// Where both are counted from is the same second: they wrap around together.
func (f Freshness) allows(now time.Time, s Sequence) bool {
	age := int32(uint32(now.Unix())) - s.seconds()
	return f == 0 || age <= int32(f) && age >= -int32(f)
}

// FreshnessOf gives what keepalived takes for adverts with an interval, where it is not
// told otherwise: three of them, 5 s at least and 300 s at most.
func FreshnessOf(interval time.Duration) Freshness {
	return Freshness(min(max(3*int64(interval/time.Second), 5), 300))
}

// A Router is what a trailer is bound to besides the message: who sends it.
type Router struct {
	Version uint8 // of VRRP
	VRID    uint8
}

// A signature makes the HMACs of one Router, of one key each.
type signature struct {
	keys   *Keys
	router Router
	hashes [256]hash.Hash // by the ids of keys; made when they are needed
	sum    []byte
	input  []byte
}

// of gives the HMAC of a message and the beginning of its trailer; nil for no such key.
// It is good until the next call.
func (s *signature) of(id uint8, src netip.Addr, message, trailer []byte) []byte {
	h := s.hashes[id]
	if h == nil {
		if h = s.keys.mac(id, ""); h == nil {
			return nil
		}
		s.hashes[id] = h
	}
	in := append(s.input[:0], make([]byte, pseudoLen)...)
	in[1], in[2] = s.router.Version, s.router.VRID
	if src.Is4() {
		in[0] = 4
		a := src.As4()
		copy(in[4:], a[:])
	} else {
		in[0] = 6
		a := src.As16()
		copy(in[4:], a[:])
	}
	in = append(in, message[:checksumAt]...)
	in = append(in, 0, 0)
	in = append(in, message[checksumEnd:]...)
	in = append(in, trailer[:trailerMAC]...)
	in = append(in, make([]byte, trailerSum)...)
	s.input = in
	h.Reset()
	h.Write(in)
	s.sum = h.Sum(s.sum[:0])
	return s.sum[:trailerSum]
}

// A Signer makes the trailers of one router. It is for one goroutine.
type Signer struct {
	signature
	fresh Freshness
	last  Sequence
}

// NewSigner makes one that signs with the active key of keys, which is not nil. It goes
// on after the sequence last, which is 0 where there was none. Where receivers
// compare sequences with their clocks, fresh is for how long they take them.
func NewSigner(keys *Keys, r Router, fresh Freshness, last Sequence) *Signer {
	return &Signer{signature: signature{keys: keys, router: r}, fresh: fresh, last: last}
}

// Last gives the sequence that was used last.
func (s *Signer) Last() Sequence { return s.last }

// Next begins another advert, at the time now; the copies of it that go to several
// controllers have one trailer.
func (s *Signer) Next(now time.Time) {
	clock := AtClock(now)
	if clock.After(s.last) || !s.fresh.allows(now, s.last) {
		s.last = clock // a clock that was set back: others would take the former time for stale
		return
	}
	s.last++
}

// Append appends to b, which ends with message, the trailer for it as it is sent from
// src. The message has 8 octets at least.
func (s *Signer) Append(b, message []byte, src netip.Addr) []byte {
	start := len(b)
	b = append(b, trailerType, s.keys.active, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(s.last))
	return append(b, s.of(s.keys.active, src, message, b[start:])...)
}

// A Verdict says what a trailer proves.
type Verdict uint8

// The verdicts.
const (
	Proven     Verdict = iota
	Malformed          // no trailer that is known
	UnknownKey         // signed with a key that this controller does not have
	Forged             // the HMAC is another: another key with this id, or altered
	Stale              // too far from the clock
	Replayed           // not later than one that was proven before
)

// A Receiver checks the trailers of one router. It is for one goroutine.
type Receiver struct {
	signature
	fresh   Freshness
	senders map[netip.Addr]*sender
	used    uint64
}

// A sender is what is known of one: the latest sequence that it has proven.
type sender struct {
	last Sequence
	used uint64 // when, among all
}

// NewReceiver makes one that takes all of keys, which is not nil. It knows what from
// knows of the senders, which may be nil.
func NewReceiver(keys *Keys, r Router, fresh Freshness, from *Receiver) *Receiver {
	n := &Receiver{signature: signature{keys: keys, router: r}, fresh: fresh, senders: map[netip.Addr]*sender{}}
	if from != nil {
		n.senders, n.used = from.senders, from.used
	}
	return n
}

// Check says what the trailer of a message that came from src at the time now proves.
// What is not Proven changes nothing of what is remembered.
func (r *Receiver) Check(now time.Time, src netip.Addr, message, trailer []byte) Verdict {
	if !IsTrailer(trailer) || len(message) < minMessage {
		return Malformed
	}
	sequence := Sequence(binary.BigEndian.Uint64(trailer[4:]))
	if !r.fresh.allows(now, sequence) {
		return Stale // before the HMAC, which costs more
	}
	known := r.senders[src]
	if known != nil && r.fresh != 0 && !r.fresh.allows(now, known.last) {
		known = nil // of a clock that was set: what it would keep out is stale anyway
	}
	want := r.of(trailer[1], src, message, trailer)
	switch {
	case want == nil:
		return UnknownKey
	case !hmac.Equal(want, trailer[trailerMAC:]):
		return Forged
	case known != nil && !sequence.After(known.last):
		return Replayed
	}
	r.remember(src, sequence)
	return Proven
}

func (r *Receiver) remember(src netip.Addr, sequence Sequence) {
	r.used++
	if s := r.senders[src]; s != nil {
		s.last, s.used = sequence, r.used
		return
	}
	if len(r.senders) >= maxSenders {
		var oldest netip.Addr
		for a, s := range r.senders {
			if !oldest.IsValid() || s.used < r.senders[oldest].used {
				oldest = a
			}
		}
		delete(r.senders, oldest)
	}
	r.senders[src] = &sender{sequence, r.used}
}

// Latest gives the latest sequence that src has proven; 0 for none.
func (r *Receiver) Latest(src netip.Addr) Sequence {
	if s := r.senders[src]; s != nil {
		return s.last
	}
	return 0
}

// Told takes in that src said, with a proof that it did just now, that its latest
// sequence is is; was is the Latest at the time when it was asked. Adverts that were
// recorded before that are worth nothing from then on. One whose clock was set back, and
// which has begun anew, is believed again.
func (r *Receiver) Told(src netip.Addr, was, is Sequence) {
	if is == 0 {
		return // it has signed nothing yet
	}
	latest := r.Latest(src)
	if latest == 0 || is.After(latest) || was != 0 && was.After(is) {
		r.remember(src, is)
	}
}
