package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// versionAndHello begins a hello. RFC 9568 knows the type 1 only, and a router
// drops what has any other (section 5.2.2), so a hello says nothing to one that
// does not know it.
const versionAndHello = 3<<4 | 15

// helloPriority is the priority that a hello has in the place of an advert's:
// the lowest of a router that is Active, which to one that does not look at the
// type would change nothing. 0 would make it take over.
const helloPriority = lowest

// A Hello is what a router sends besides adverts, whatever its state, so that
// the others know whether its adverts would arrive: only one is Active, and a
// router in Backup is never heard otherwise. It is no part of VRRP, and no
// state machine hears it. It looks like an advert to whatever filters these.
type Hello struct {
	VRID uint8
	// From is the sender's address as the others are configured with it: what
	// the IP packet comes from is another one where adverts are IPv6 multicast.
	From netip.Addr
}

// Append appends h to b as a message from src to dst, in the way of
// Advert.Append.
func (h Hello) Append(b []byte, form Checksum, src, dst netip.Addr) ([]byte, error) {
	a := Advert{VRID: h.VRID, Priority: helloPriority, Interval: time.Second, Addresses: []netip.Addr{h.From}}
	if err := a.check(src, dst); err != nil {
		return b, fmt.Errorf("encode hello: %w", err)
	}
	return a.append(b, versionAndHello, form, src, dst), nil
}

// IsHello reports whether b, the payload of an IP packet, is a hello by its
// first octet.
func IsHello(b []byte) bool { return len(b) > 0 && b[0] == versionAndHello }

// Unmarshal sets h to the message b, in the way of Advert.Unmarshal.
func (h *Hello) Unmarshal(b []byte, src, dst netip.Addr) error {
	return h.unmarshal(b, nil, src, dst)
}

// UnmarshalSigned is Unmarshal in the way of Advert.UnmarshalSigned.
func (h *Hello) UnmarshalSigned(b []byte, src, dst netip.Addr) (trailer []byte, err error) {
	msg, trailer := split(b, src)
	return trailer, h.unmarshal(msg, trailer, src, dst)
}

func (h *Hello) unmarshal(msg, trailer []byte, src, dst netip.Addr) error {
	var a Advert
	if _, err := a.unmarshalBefore(msg, trailer, versionAndHello, src, dst); err != nil {
		return err
	}
	h.VRID, h.From = a.VRID, a.Addresses[0]
	return nil
}
