package health

import (
	"slices"
	"time"
)

// calm is between two probes of a host on which nothing new waits, and between two
// probes of one that is out.
const calm = time.Second

// curious says of which hosts more is to be known for the next step: of one
// that is silent while something waits, and then of all others of its service,
// since only beside them it can stand out.
func (h *host) curious(now time.Time, out *Output) {
	if h.Drained {
		return
	}
	// Sockets are listed, and probes wait behind what waits at the host: neither is
	// done for a silence that is still as long as it may well be.
	near := h.remaining(now) <= 4*h.CheckTime/5 || !h.of.usual.known() && !h.asks.IsZero()
	suspect := h.silence(now) >= h.CheckTime/5 && near
	cutOff := h.unheard(now, standstill/2)
	if suspect || cutOff || !h.out.IsZero() {
		out.Look = append(out.Look, h.Key)
	}
	switch {
	case h.Down || !h.out.IsZero():
		h.ask(now, calm, out)
	case suspect:
		pause := calm
		if h.InFlight > h.askedWith.InFlight || h.Answers != h.askedWith.Answers {
			pause = h.CheckTime / 5
		}
		h.ask(now, pause, out)
		for _, o := range h.of.hosts {
			if o != h && o.InUse && !o.progress.After(h.waits) {
				o.ask(now, calm/2, out)
			}
		}
	case cutOff:
		h.ask(now, calm, out)
	}
}

// ask has h probed, unless that was done less than pause ago or a probe is under way.
func (h *host) ask(now time.Time, pause time.Duration, out *Output) {
	if h.Probe != nil && !h.Probe.Ended || now.Sub(h.asked) < pause || slices.Contains(out.Ask, h.Key) {
		return
	}
	h.asked, h.askedWith = now, h.Reading
	out.Ask = append(out.Ask, h.Key)
}
