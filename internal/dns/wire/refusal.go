package wire

import (
	"errors"
	"fmt"
	"strings"

	mdns "github.com/miekg/dns"

	"holdfast/internal/dns"
)

// A Refused is a reply to an update that is no success.
type Refused struct {
	Code   int
	Zone   string
	Signed bool // with the key of the update
	Make   ServerMake
}

// errNoUpdates says that a server takes no updates at all, whatever its configuration.
var errNoUpdates = errors.New("it does not know updates by RFC 2136 (NOTIMP); change the zone by hand: holdfast dns apply --print")

// Err says in words what r means and what to do. It is nil for success, and
// ErrChanged if the records are not as they were.
func (r Refused) Err() error {
	name := RcodeName(r.Code)
	switch r.Code {
	case mdns.RcodeSuccess:
		return nil
	case mdns.RcodeYXRrset, mdns.RcodeNXRrset, mdns.RcodeYXDomain, mdns.RcodeNameError:
		return fmt.Errorf("it has other records now (%s): %w", name, dns.ErrChanged)
	case mdns.RcodeRefused:
		return errors.New(r.refusedText())
	case mdns.RcodeNotAuth:
		return errors.New(r.notAuthText())
	case mdns.RcodeNotZone:
		return fmt.Errorf("the hostname is not in its zone %s (NOTZONE)", r.Zone)
	case mdns.RcodeNotImplemented:
		return errNoUpdates
	case mdns.RcodeServerFailure:
		return errors.New("it failed (SERVFAIL); see its log: " + r.failures())
	}
	return fmt.Errorf("it answers %s", name)
}

// refusedText is for REFUSED. Signed, the key is good and may not do this.
func (r Refused) refusedText() string {
	if r.Signed || r.Make != makePowerDNS {
		return fmt.Sprintf("it refuses the update (REFUSED); see %s", r.permissions())
	}
	return fmt.Sprintf("it refuses the update (REFUSED) and does not sign that, as PowerDNS does for a key that it does not accept (its name, algorithm or secret, or clocks that differ by more than 5 minutes); else see %s", r.permissions())
}

// permissions says where r.make has what an update may do.
func (r Refused) permissions() string {
	places := map[ServerMake]string{
		makeBIND:     fmt.Sprintf("allow-update or update-policy of the zone %s, and whether that is for this key and this name; a secondary and a frozen zone (rndc thaw) refuse as well", r.Zone),
		makePowerDNS: fmt.Sprintf("dnsupdate in pdns.conf, and ALLOW-DNSUPDATE-FROM (this machine) and TSIG-ALLOW-DNSUPDATE (this key) of the zone %s; it says the same where it does not have that zone", r.Zone),
		makeKnot:     fmt.Sprintf("whether the zone %s is frozen (knotc zone-thaw), and the acl of the zone", r.Zone),
	}
	if text, ok := places[r.Make]; ok {
		return text
	}
	return strings.Join([]string{
		"BIND's " + places[makeBIND], "PowerDNS's " + places[makePowerDNS], "with Knot, " + places[makeKnot],
	}, "; ")
}

// notAuthText is for NOTAUTH that has no word on the key in it.
func (r Refused) notAuthText() string {
	switch {
	case r.Signed:
		return fmt.Sprintf("it is not authoritative for the zone %s (NOTAUTH); is that the zone's primary?", r.Zone)
	case r.Make == makeKnot:
		return fmt.Sprintf("it has not the zone %s, or no rule of the zone's acl allows the update (NOTAUTH)", r.Zone)
	}
	return fmt.Sprintf("it is not authoritative for the zone %s, or does not accept the key (NOTAUTH)", r.Zone)
}

// failures says what is often behind SERVFAIL.
func (r Refused) failures() string {
	switch r.Make {
	case makeBIND, makeKnot:
		return "often it cannot write the zone's journal"
	case makePowerDNS:
		return "often it is a secondary that cannot send the update on to its primary, or its database cannot be written"
	default:
		return "often it cannot write the zone's journal or database, or is a secondary that cannot send the update on"
	}
}
