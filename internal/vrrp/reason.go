package vrrp

// A Reason says why a received packet was not accepted as an advert. It is an
// error whose text is for people; String gives the key for counters.
type Reason uint8

// The reasons, with the section of RFC 9568 that asks for the check. Unmarshal
// returns those of the message; the rest are for the caller, who has the
// IP header and knows who may send.
const (
	BadHeader      Reason = iota + 1 // the IP header cannot be read or does not agree with the packet
	BadTTL                           // TTL or hop limit is not 255 (5.1.1.3, 5.1.2.3)
	BadVersion                       // not version 3 (7.1)
	BadType                          // not an ADVERTISEMENT (5.2.2)
	BadVRID                          // another virtual router, or 0 (5.2.3)
	BadLength                        // shorter than its address count says, or longer than padding can make it (7.1)
	BadCount                         // no address (5.2.5, erratum 8299)
	BadInterval                      // Max Advertise Interval 0 (erratum 8301)
	BadChecksum                      // wrong in every form (5.2.8)
	BadDestination                   // multicast to a unicast router, or the other way around
	ForeignSource                    // the source address is not that of a controller
	OwnSource                        // the source address is this router's own
	Unsigned                         // no trailer, and authentication is strict
	UnknownKey                       // signed with a key that this controller does not have
	BadSignature                     // signed, but not by who has the key, or altered
	Stale                            // signed, at a time that is too far from this host's clock
	Replayed                         // signed, and not later than one that was heard before
)

// Reasons is the number of reasons, plus one for the zero Reason: the length
// of an array that is indexed by Reason.
const Reasons = int(Replayed) + 1

// reasonWords has for each Reason its key and its text.
func reasonWords(r Reason) (key, text string) {
	switch r {
	case BadHeader:
		return "header", "its IP header is malformed"
	case BadTTL:
		return "ttl", "its TTL or hop limit is not 255, so it may come from another network"
	case BadVersion:
		return "version", "it is not VRRP version 3"
	case BadType:
		return "type", "it is not an advertisement"
	case BadVRID:
		return "vrid", "it is of another virtual router"
	case BadLength:
		return "length", "its length does not agree with its address count"
	case BadCount:
		return "count", "it lists no address"
	case BadInterval:
		return "interval", "its advertisement interval is 0"
	case BadChecksum:
		return "checksum", "its checksum is wrong"
	case BadDestination:
		return "destination", "it is multicast where unicast is configured, or the other way around"
	case ForeignSource:
		return "source", "its source address is not that of a controller"
	case OwnSource:
		return "own", "its source address is this controller's own"
	case Unsigned:
		return "unsigned", "it is not signed with the key of the controllers, and authentication is strict here"
	case UnknownKey:
		return "key", "it is signed with a key that is not in the file of keys here"
	case BadSignature:
		return "signature", "its signature is wrong: its sender has another key, or somebody has forged or changed it"
	case Stale:
		return "stale", "it was signed at a time that is too far from this host's clock"
	case Replayed:
		return "replayed", "it is not later than one that was heard before, as one that was recorded"
	}
	return "unknown", "unknown reason"
}

// String gives the key of r for counters: one lower-case word, stable over releases.
func (r Reason) String() string {
	key, _ := reasonWords(r)
	return key
}

// Error says what is wrong with the packet.
func (r Reason) Error() string {
	_, text := reasonWords(r)
	return text
}
