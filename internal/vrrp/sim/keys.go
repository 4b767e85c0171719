package sim

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/vrrp"
)

const (
	routerID  = 51
	tellEvery = time.Second // package hearing asks the other agents
)

// signed is an advert as it is on the wire, and its signature.
type signed struct {
	message, trailer []byte
}

// keyOf gives a key; each number another one.
func keyOf(number byte) *auth.Keys {
	k, err := auth.Parse(fmt.Appendf(nil, "key 1 hex:%x\n", bytes.Repeat([]byte{number}, auth.MinKey)))
	if err != nil {
		panic(err) // it is a key
	}
	return k
}

// virtualRouter is the one that all are of.
func virtualRouter() auth.Router { return auth.Router{Version: 3, VRID: routerID} }

// newKeys begins to sign and to check anew, as an agent that starts. Sequences go on
// from the clock.
func (n *node) newKeys() {
	if n.w.keys == nil {
		return
	}
	n.signer = auth.NewSigner(n.w.keys, virtualRouter(), 0, 0)
	n.receiver = auth.NewReceiver(n.w.keys, virtualRouter(), 0, nil)
	n.tellGen++
	n.w.push(event{at: n.w.now + n.w.chance(n.id, 1, 100*time.Millisecond), kind: evTell, to: uint8(n.id), gen: n.tellGen})
}

// clock gives the time for signatures: no sequence is 0.
func (n *node) clock() time.Time { return n.now().Add(time.Hour) }

// sign makes an advert and signs it.
func (n *node) sign(priority uint8) *signed {
	if n.signer == nil {
		return nil
	}
	s := &signed{message: n.message(priority)}
	n.signer.Next(n.clock())
	s.trailer = n.signer.Append(nil, s.message, n.addr)
	return s
}

func (n *node) message(priority uint8) []byte {
	interval := n.router.Config().Interval.Round(vrrp.IntervalStep)
	a := vrrp.Advert{VRID: routerID, Priority: priority, Interval: interval, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, 100})}}
	b, err := a.Append(nil, vrrp.MessageOnly, n.addr, vrrp.Group4())
	if err != nil {
		panic(err) // of an interval that Parse does not take
	}
	return b
}

// forged makes what somebody without the key sends as n: by turns unsigned, signed with
// another key, and with a signature of n's that is of another advert.
func (n *node) forged(priority uint8) *signed {
	if n.signer == nil || n.router == nil {
		return nil
	}
	s := &signed{message: n.message(priority)}
	switch n.w.chance(n.id, 0, 3) {
	case 0:
	case 1:
		wrong := auth.NewSigner(n.w.wrong, virtualRouter(), 0, n.signer.Last())
		wrong.Next(n.clock().Add(time.Hour))
		s.trailer = wrong.Append(nil, s.message, n.addr)
	case 2:
		other := n.message(priority ^ 1)
		later := auth.NewSigner(n.w.keys, virtualRouter(), 0, n.signer.Last())
		later.Next(n.clock().Add(time.Hour))
		s.trailer = later.Append(nil, other, n.addr)
	default:
	}
	return s
}

// believes checks the signature of p.
func (n *node) believes(p *packet) bool {
	if n.receiver == nil || n.w.lab.Gullible {
		return true
	}
	p.proven = p.signed != nil && p.signed.trailer != nil &&
		n.receiver.Check(n.clock(), n.w.nodes[p.from].addr, p.signed.message, p.signed.trailer) == auth.Proven
	return p.proven
}

// tell has the other agents say what they signed last, as package hearing asks them.
// What they say comes after the adverts that they sent before.
func (w *world) tell(n *node) {
	if n.alive() {
		for _, o := range w.nodes {
			if o != n && o.alive() && w.speak(n, o) {
				w.push(event{
					at: w.now + w.s.Most + w.jitter + 200*time.Microsecond, kind: evTold, to: uint8(n.id), gen: n.tellGen,
					p: packet{from: uint8(o.id), was: n.receiver.Latest(o.addr), is: o.signer.Last()},
				})
			}
		}
	}
	w.push(event{at: w.now + tellEvery, kind: evTell, to: uint8(n.id), gen: n.tellGen})
}
