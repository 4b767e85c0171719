package wire

import (
	"regexp"
	"strings"

	mdns "github.com/miekg/dns"
)

// A ServerMake is the software of a server. What a refusal means, and where its
// reason is configured, differs from one to the next.
type ServerMake string

// The makes that are told apart.
const (
	UnknownMake  ServerMake = ""
	makeBIND     ServerMake = "BIND"
	makeKnot     ServerMake = "Knot DNS"
	makePowerDNS ServerMake = "PowerDNS"
	makeNSD      ServerMake = "NSD"
)

// VersionQuery asks for the software and its version (RFC 4892 section 2): many
// servers are told to say nothing, or something else.
func VersionQuery() *mdns.Msg {
	m := Query("version.bind", mdns.TypeTXT, false, false)
	m.Question[0].Qclass = mdns.ClassCHAOS
	return m
}

// bindVersion is how BIND says its version: "9.18.33-1~deb12u2-Debian".
var bindVersion = regexp.MustCompile(`^9\.[0-9]+\.[0-9]+`)

// ReadMake takes the make from the reply to versionQuery.
func ReadMake(r *mdns.Msg) ServerMake {
	for _, rr := range r.Answer {
		txt, ok := rr.(*mdns.TXT)
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
	return UnknownMake
}
