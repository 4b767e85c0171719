package dns

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// A refused is a reply to an update that is no success.
type refused struct {
	code   int
	zone   string
	signed bool // with the key of the update
	make   serverMake
}

// errNoUpdates says that a server takes no updates at all, whatever its configuration.
var errNoUpdates = errors.New("it does not know updates by RFC 2136 (NOTIMP); change the zone by hand: holdfast dns apply --print")

// err says in words what r means and what to do. It is nil for success, and
// ErrChanged if the records are not as they were.
func (r refused) err() error {
	name := rcodeName(r.code)
	switch r.code {
	case dns.RcodeSuccess:
		return nil
	case dns.RcodeYXRrset, dns.RcodeNXRrset, dns.RcodeYXDomain, dns.RcodeNameError:
		return fmt.Errorf("it has other records now (%s): %w", name, ErrChanged)
	case dns.RcodeRefused:
		return errors.New(r.refusedText())
	case dns.RcodeNotAuth:
		return errors.New(r.notAuthText())
	case dns.RcodeNotZone:
		return fmt.Errorf("the hostname is not in its zone %s (NOTZONE)", r.zone)
	case dns.RcodeNotImplemented:
		return errNoUpdates
	case dns.RcodeServerFailure:
		return errors.New("it failed (SERVFAIL); see its log: " + r.failures())
	}
	return fmt.Errorf("it answers %s", name)
}

// refusedText is for REFUSED. Signed, the key is good and may not do this.
func (r refused) refusedText() string {
	if r.signed || r.make != makePowerDNS {
		return fmt.Sprintf("it refuses the update (REFUSED); see %s", r.permissions())
	}
	return fmt.Sprintf("it refuses the update (REFUSED) and does not sign that, as PowerDNS does for a key that it does not accept (its name, algorithm or secret, or clocks that differ by more than 5 minutes); else see %s", r.permissions())
}

// permissions says where r.make has what an update may do.
func (r refused) permissions() string {
	places := map[serverMake]string{
		makeBIND:     fmt.Sprintf("allow-update or update-policy of the zone %s, and whether that is for this key and this name; a secondary and a frozen zone (rndc thaw) refuse as well", r.zone),
		makePowerDNS: fmt.Sprintf("dnsupdate in pdns.conf, and ALLOW-DNSUPDATE-FROM (this machine) and TSIG-ALLOW-DNSUPDATE (this key) of the zone %s; it says the same where it has not that zone", r.zone),
		makeKnot:     fmt.Sprintf("whether the zone %s is frozen (knotc zone-thaw), and the acl of the zone", r.zone),
	}
	if text, ok := places[r.make]; ok {
		return text
	}
	return strings.Join([]string{
		"BIND's " + places[makeBIND], "PowerDNS's " + places[makePowerDNS], "with Knot, " + places[makeKnot],
	}, "; ")
}

// notAuthText is for NOTAUTH that has no word on the key in it.
func (r refused) notAuthText() string {
	switch {
	case r.signed:
		return fmt.Sprintf("it is not authoritative for the zone %s (NOTAUTH); is that the zone's primary?", r.zone)
	case r.make == makeKnot:
		return fmt.Sprintf("it has not the zone %s, or no rule of the zone's acl allows the update (NOTAUTH)", r.zone)
	}
	return fmt.Sprintf("it is not authoritative for the zone %s, or does not accept the key (NOTAUTH)", r.zone)
}

// failures says what is often behind SERVFAIL.
func (r refused) failures() string {
	switch r.make {
	case makeBIND, makeKnot:
		return "often it cannot write the zone's journal"
	case makePowerDNS:
		return "often it is a secondary that cannot send the update on to its primary, or its database cannot be written"
	default:
		return "often it cannot write the zone's journal or database, or is a secondary that cannot send the update on"
	}
}
