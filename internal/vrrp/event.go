package vrrp

import (
	"net/netip"
	"time"
)

// A State is a state of the machine (RFC 9568 section 6.4).
type State uint8

// The states.
const (
	Initialize State = iota
	Backup
	Active
)

// String gives "initialize", "backup" or "active".
func (s State) String() string {
	switch s {
	case Backup:
		return "backup"
	case Active:
		return "active"
	case Initialize:
	}
	return "initialize"
}

// An Event is what happened to a Machine: one of Startup, Timer,
// AdvertReceived, Eligible, Configure, Yield, Stay, Silence, Elsewhere, GiveWay and Shutdown.
type Event interface{ event() }

type (
	// Startup begins the protocol (RFC 9568 section 6.4.1). The machine stays
	// in Initialize while it is not eligible.
	Startup struct{}

	// Timer says that the deadline of the last Output has come. Before the
	// driver serves it, it passes on every advert that it has received: after
	// a delay they may say that the deadline is no more.
	Timer struct{}

	// AdvertReceived is an advert that passed every check of RFC 9568 section 7.1.
	AdvertReceived struct {
		Src      netip.Addr
		Priority uint8
		Interval time.Duration // Max Advertise Interval
		// Directed says that an advert of priority 0 went to this router alone,
		// and that it hears what the sender tells the others: its sender hands
		// over, see Yield.
		Directed bool
	}

	// Eligible says whether this router may be Active, and in words why. One
	// that may not is in Initialize; an Active one resigns first.
	Eligible struct {
		OK     bool
		Reason string
	}

	// Configure changes the configuration and keeps the state. The driver
	// sends with the new interval from the Output of this event on.
	Configure struct{ Config }

	// Yield hands over to another router. This one stays Active and keeps the
	// addresses meanwhile. Only To is told that it resigns, at once and with
	// each advert, since adverts are lost now and then; To takes over after its
	// skew time, as any router does. The others hear the usual adverts, so that
	// none of them takes over first. When To is heard as Active, this router
	// goes to Backup whatever the priorities, tells To so once more, which then
	// announces the addresses again, and does not preempt To after that.
	// When To was not heard within Wait, this router is Active as before. What
	// else happens meanwhile has the consequences that it always has.
	//
	// It has no effect unless Active, nor with a Wait of 0 or less. It replaces
	// a Yield that is under way.
	Yield struct {
		// To is the other router. If it is not valid, every one is told, and
		// whichever takes over first does it: the one with the highest priority.
		To netip.Addr
		// AnySource says that adverts of To come from an address that is not
		// known, as over IPv6 multicast: the first Active router is taken for To.
		AnySource bool
		Wait      time.Duration
	}

	// Stay ends a Yield that is under way, as the end of its Wait does.
	Stay struct{}

	// Silence says whether the silence of the others counts, which it does at first.
	// While it does not, a Backup router that has heard no Active one waits for ever:
	// the link may not carry anything yet, or somebody has the address who does not
	// advertise. Whoever was heard can still resign, or fall silent.
	Silence struct {
		Counts bool
		// Since is when the silence that counts began, at the earliest.
		Since time.Time
		// All says that not even the silence of one that was heard counts: it is known
		// otherwise that another one is Active.
		All bool
	}

	// Elsewhere says that another router is Active, as is known by other means than
	// adverts. What a former process may have left here is released, as at the first
	// advert; it has no other effect.
	Elsewhere struct{}

	// GiveWay ends being Active for another router that is Active too, as this one
	// knows by other means, since neither hears the other. Nothing is sent: others may
	// hear both. No silence counts from then on, until Silence says so. It has no effect unless Active.
	GiveWay struct{ To netip.Addr }

	// Shutdown ends the protocol (RFC 9568 sections 6.4.2 and 6.4.3).
	Shutdown struct{}
)

func (Startup) event()        {}
func (Timer) event()          {}
func (AdvertReceived) event() {}
func (Eligible) event()       {}
func (Configure) event()      {}
func (Yield) event()          {}
func (Stay) event()           {}
func (Silence) event()        {}
func (Elsewhere) event()      {}
func (GiveWay) event()        {}
func (Shutdown) event()       {}

// An Output is everything that the driver must do after an event, in the order
// of the fields: whoever resigns says so before it spends time on removing the
// address, and whoever takes over says so before it takes the address, so that
// the one before has dropped it when the new one is announced.
type Output struct {
	// Yield, if it is valid, is the router to send an advert of priority 0 to,
	// alone. It comes first: where what is in Send reaches that router too, it
	// knows that it does not count, see AdvertReceived.Directed.
	Yield netip.Addr
	// Send has the priorities of the adverts to send now, to every peer but
	// Yield. It is valid until the next Step.
	Send []uint8
	// Release asks to remove the virtual addresses.
	Release bool
	// Claim asks to put them on the interface. Claim and Release never come together.
	Claim bool
	// Announce asks for gratuitous ARP or unsolicited neighbour advertisements.
	Announce bool

	// State is the state after the event; Cause says why it is another than before.
	State State
	Cause Cause
	// Late is by how much the deadline was missed, when that was so long that
	// a peer may have acted in the meantime; 0 otherwise.
	Late time.Duration
	// Deadline is when to Step with a Timer, unless a later Output has another
	// one; zero for never.
	Deadline time.Time
}

// A CauseKind is a kind of Cause.
type CauseKind uint8

// The kinds of causes.
const (
	CauseStarted    CauseKind = iota + 1 // the protocol began
	CauseShutdown                        // the protocol ended
	CauseIneligible                      // the router may not be Active; Text says why
	CauseEligible                        // it may be again; Text says why
	CauseSilence                         // no advert for Lasted; Peer is whose were heard last, if anyone's
	CauseResigned                        // Peer sent priority 0
	CausePreempt                         // Peer is Active with a lower Priority, and this router preempts
	CauseOutranked                       // Peer is Active too, with a higher Priority
	CauseTieBreak                        // Peer is Active too, with the same Priority and a higher address
	CauseUnheard                         // Peer is Active too, and does not hear this router
	CauseHeldUp                          // this process did not run for Lasted, and Peer took over
	CauseYielded                         // handed over to Peer, see Yield
	CauseGaveWay                         // Peer is Active too, and neither hears the other, see GiveWay
)

// A Cause says why the state changed.
type Cause struct {
	Kind     CauseKind
	Peer     netip.Addr    // the other router
	Priority uint8         // its priority
	Own      uint8         // this router's priority
	Lasted   time.Duration // of silence, or of the delay
	Text     string        // of the Eligible event
}

// String says c in words, with the addresses of peers.
func (c Cause) String() string { return c.Words(netip.Addr.String) }
