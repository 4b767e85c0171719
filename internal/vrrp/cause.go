package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// Words says c in words; name gives what to call the router with an address.
func (c Cause) Words(name func(netip.Addr) string) string {
	peer := "another controller"
	if c.Peer.IsValid() {
		peer = name(c.Peer)
	}
	switch c.Kind {
	case CauseStarted:
		return "started"
	case CauseShutdown:
		return "shutting down"
	case CauseIneligible, CauseEligible:
		return c.Text
	case CauseSilence:
		return c.silence(peer)
	case CauseResigned:
		return peer + " resigned"
	case CausePreempt:
		return fmt.Sprintf("preempts %s, which has priority %d and this controller %d", peer, c.Priority, c.Own)
	case CauseOutranked:
		return fmt.Sprintf("%s is active too, with priority %d and this controller %d", peer, c.Priority, c.Own)
	case CauseTieBreak:
		return fmt.Sprintf("%s is active too, with the same priority %d and the higher address", peer, c.Priority)
	case CauseUnheard:
		return fmt.Sprintf("%s is active too, and does not hear this controller", peer)
	case CauseYielded:
		return "handed over to " + peer
	case CauseGaveWay:
		return fmt.Sprintf("%s is active too, as the agents found out, and neither hears the other's adverts", peer)
	case CauseHeldUp:
		return fmt.Sprintf("this process was held up for %v, and %s took over", rounded(c.Lasted), peer)
	}
	return ""
}

func (c Cause) silence(peer string) string {
	if !c.Peer.IsValid() {
		return fmt.Sprintf("no other controller was heard for %v", rounded(c.Lasted))
	}
	return fmt.Sprintf("no advert from %s for %v", peer, rounded(c.Lasted))
}

// rounded gives d to three digits or so: nobody wants to read nanoseconds.
func rounded(d time.Duration) time.Duration {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond)
	case d < time.Second:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
