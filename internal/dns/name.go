package dns

import (
	"strings"

	"github.com/miekg/dns"
)

// Names are kept in lower case and without the final dot, as specs have them;
// the root is "". What comes from the network is in the presentation format of
// RFC 1035 section 5.1, with everything that is not printable escaped.

// Canonical gives name, with or without its final dot, in the form kept here.
func Canonical(name string) string {
	return strings.TrimSuffix(strings.ToLower(dns.Fqdn(name)), ".")
}

// Parent gives the name above name, and "" for that of a top-level domain.
func Parent(name string) string {
	labels := dns.Split(dns.Fqdn(name))
	if len(labels) < 2 {
		return ""
	}
	return name[labels[1]:]
}

// IsBelow reports whether name is zone, or below it.
func IsBelow(name, zone string) bool {
	return dns.IsSubDomain(dns.Fqdn(zone), dns.Fqdn(name))
}

// labels counts the labels of name.
func labels(name string) int {
	if name == "" {
		return 0
	}
	return dns.CountLabel(dns.Fqdn(name))
}

// ShownName gives name as a person writes it.
func ShownName(name string) string {
	if name == "" {
		return "the root"
	}
	return name
}
