package dns

import (
	"regexp"
	"strings"

	"github.com/miekg/dns"
)

// A serverMake is the software of a server. What a refusal means, and where its
// reason is configured, differs from one to the next.
type serverMake string

const (
	unknownMake  serverMake = ""
	makeBIND     serverMake = "BIND"
	makeKnot     serverMake = "Knot DNS"
	makePowerDNS serverMake = "PowerDNS"
	makeNSD      serverMake = "NSD"
)

// versionQuery asks for the software and its version (RFC 4892 section 2): many
// servers are told to say nothing, or something else.
func versionQuery() *dns.Msg {
	m := query("version.bind", dns.TypeTXT, false, false)
	m.Question[0].Qclass = dns.ClassCHAOS
	return m
}

// bindVersion is how BIND says its version: "9.18.33-1~deb12u2-Debian".
var bindVersion = regexp.MustCompile(`^9\.[0-9]+\.[0-9]+`)

// readMake takes the make from the reply to versionQuery.
func readMake(r *dns.Msg) serverMake {
	for _, rr := range r.Answer {
		txt, ok := rr.(*dns.TXT)
		if !ok {
			continue
		}
		text := strings.Join(txt.Txt, "")
		switch {
		case strings.HasPrefix(text, "Knot DNS"):
			return makeKnot
		case strings.HasPrefix(text, "PowerDNS"):
			return makePowerDNS
		case strings.HasPrefix(text, "NSD"):
			return makeNSD
		case bindVersion.MatchString(text):
			return makeBIND
		}
	}
	return unknownMake
}
