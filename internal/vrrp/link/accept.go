package link

import (
	"errors"
	"net/netip"
	"time"

	"fmt"
	"holdfast/internal/vrrp"
)

// accept decodes d into a, with all checks of RFC 9568 section 7.1 and those of
// this package, for a router with o that sends from own. The Reason is 0 when
// the advert is good. Who has sent is checked before what: so a foreign router
// is named, whatever version of VRRP it speaks. The trailer is not looked at yet.
func accept(o *Options, own netip.Addr, d datagram, a *vrrp.Advert) (form vrrp.Checksum, trailer []byte, reason vrrp.Reason) {
	if r := mayComeFrom(o, own, d); r != 0 {
		return 0, nil, r
	}
	form, trailer, err := a.UnmarshalSigned(d.payload, d.src, d.dst)
	if err != nil {
		r, ok := errors.AsType[vrrp.Reason](err)
		if !ok {
			r = vrrp.BadHeader
		}
		return 0, nil, r
	}
	if a.VRID != o.VRID {
		return 0, nil, vrrp.BadVRID // received before the kernel's filter was there
	}
	if o.Multicast && !d.dst.IsMulticast() && a.Priority != 0 {
		return 0, nil, vrrp.BadDestination // only a handover is for one controller alone
	}
	return form, trailer, 0
}

// mayComeFrom says what is wrong with the IP header of d; 0 for nothing.
func mayComeFrom(o *Options, own netip.Addr, d datagram) vrrp.Reason {
	switch {
	case d.src == own || d.src == o.Source:
		return vrrp.OwnSource
	case !o.believes(d.src):
		return vrrp.ForeignSource
	case d.dst != o.Source && (!o.Multicast || !d.dst.IsMulticast()):
		return vrrp.BadDestination
	case d.ttl != vrrp.TTL:
		return vrrp.BadTTL
	}
	return 0
}

// believes reports whether adverts may come from src.
func (o *Options) believes(src netip.Addr) bool {
	if o.Multicast && src.Is6() {
		return src.IsLinkLocalUnicast()
	}
	_, known := o.Peers[src]
	return known
}

// reject counts a dropped advert and reports it, naming its source.
func (r *runner) reject(src netip.Addr, reason vrrp.Reason) {
	now := time.Now()
	r.count.rejected[reason].Add(1)
	r.count.lastRejected.Store(&Rejection{Source: src, Reason: reason, Time: now})
	r.report.warnOf(now, topic{"reject", reason, src}, func() (string, []any) {
		text := fmt.Sprintf("dropped an advert with router id %d: %v", r.o.VRID, reason)
		if reason == vrrp.ForeignSource {
			text += "; give the VIP another router id, or add the controller to the spec"
		}
		return text, []any{"source", src}
	})
}
