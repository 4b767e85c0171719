package dns

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A View is what DNS says of one hostname at one moment.
type View struct {
	Hostname string    `json:"hostname"`
	Time     time.Time `json:"time"`
	// Zone is the zone that the hostname is in; empty when none was found, and
	// ZoneError says why.
	Zone      string     `json:"zone"`
	ZoneError string     `json:"zone_error,omitempty"`
	Servers   []Server   `json:"servers"`
	Resolvers []Resolver `json:"resolvers"`

	Named bool `json:"-"` // the servers were named, and not found by the NS records
}

// A Server is one address of an authoritative server, and what it answers.
type Server struct {
	// Name is that of the NS record, or of the SOA record's MNAME; empty for a
	// server that was named by its address.
	Name    string         `json:"name,omitempty"`
	Address netip.AddrPort `json:"address"` // empty in JSON when its name has none
	// Primary says that updates go to it.
	Primary bool `json:"primary"`
	// Hidden says that no client asks it: it is no name server of the zone.
	Hidden bool `json:"hidden,omitempty"`

	Serial      *uint32 `json:"serial,omitempty"` // of the SOA record; nil if it gave none
	NegativeTTL uint32  `json:"negative_ttl"`     // seconds for which "no such name" is cached, RFC 2308 section 5
	A           Answer  `json:"a"`
	AAAA        Answer  `json:"aaaa"`
	// Wildcard is the name whose records answer for the hostname, which has none
	// itself: "*.example.org". Empty if it has its own, or none answer.
	Wildcard string `json:"wildcard,omitempty"`
}

// A Resolver is a recursive server, and what it answers.
type Resolver struct {
	Address netip.AddrPort `json:"address"`
	A       Answer         `json:"a"`
	AAAA    Answer         `json:"aaaa"`
}

// An Answer is what a server says of the addresses of one family of a name.
type Answer struct {
	// Rcode is the response code by its name at IANA: "NOERROR". Empty when
	// there was no answer, and Error says why.
	Rcode         string `json:"rcode,omitempty"`
	Authoritative bool   `json:"authoritative"`
	// Addresses are at the end of the chain of aliases, if there is one. Sorted.
	Addresses []netip.Addr `json:"addresses"`
	// TTL is in seconds, of the addresses; if there are none, how long that is cached.
	TTL uint32 `json:"ttl"`
	// Alias is where the name's own CNAME record points, AliasTTL its TTL.
	Alias    string `json:"alias,omitempty"`
	AliasTTL uint32 `json:"alias_ttl,omitempty"`
	// Above is the name whose DNAME record makes the alias (RFC 6672).
	Above string `json:"dname,omitempty"`
	Error string `json:"error,omitempty"`
	// NoRoute says that this machine has no way to the network of the server.
	NoRoute bool `json:"no_route,omitempty"`
	// KeyRefused says that the server does not accept the key of the question, or
	// its reply is not signed with it.
	KeyRefused bool `json:"key_refused,omitempty"`
}

// Condition says of what use a server is.
type Condition string

// The conditions.
const (
	Good        Condition = "ok"
	Unreachable Condition = "unreachable" // no answer, or none that is DNS
	NoRoute     Condition = "no-route"    // from this machine, that is
	Lame        Condition = "lame"        // it answers, but has not the zone
	KeyRefused  Condition = "key-refused" // it answers, but not to our key
)

// Condition says of what use s is.
func (s Server) Condition() Condition {
	switch {
	case s.A.NoRoute && s.AAAA.NoRoute:
		return NoRoute
	case s.A.KeyRefused || s.AAAA.KeyRefused:
		return KeyRefused
	case s.A.Error != "" || s.AAAA.Error != "":
		return Unreachable
	case !s.A.knows() || !s.AAAA.knows() || !s.A.Authoritative || !s.AAAA.Authoritative:
		return Lame
	}
	return Good
}

// Trouble says in words what is wrong with s.
func (s Server) Trouble() string {
	switch s.Condition() {
	case NoRoute:
		return "cannot be reached from this machine: " + s.A.Error
	case Unreachable:
		return "does not answer: " + cmp.Or(s.A.Error, s.AAAA.Error)
	case KeyRefused:
		return "does not answer to the key: " + s.keyTrouble()
	case Lame:
		if code := cmp.Or(s.A.failure(), s.AAAA.failure()); code != "" {
			return "answers " + code
		}
		return "answers without authority: it has not the zone"
	default:
		return ""
	}
}

// keyTrouble says what is wrong between s and the key.
func (s Server) keyTrouble() string {
	if s.A.KeyRefused {
		return s.A.Error
	}
	return s.AAAA.Error
}

// String names s for a person: "ns1.example.org (192.0.2.53)".
func (s Server) String() string {
	switch {
	case s.Name == "":
		return ShownAddr(s.Address)
	case !s.Address.IsValid():
		return s.Name
	}
	return fmt.Sprintf("%s (%s)", s.Name, ShownAddr(s.Address))
}

// String names r for a person.
func (r Resolver) String() string { return "resolver " + ShownAddr(r.Address) }

// ShownAddr leaves the usual port out.
func ShownAddr(a netip.AddrPort) string {
	if a.Port() == 53 {
		return a.Addr().String()
	}
	return a.String()
}

// Records gives what the hostname itself has at s; nothing if a wildcard answers.
func (s Server) Records() Records {
	if s.Wildcard != "" {
		return nil
	}
	if alias := cmp.Or(s.A.Alias, s.AAAA.Alias); alias != "" {
		ttl := s.A.AliasTTL
		if s.A.Alias == "" {
			ttl = s.AAAA.AliasTTL
		}
		return Records{{Type: TypeCNAME, TTL: ttl, Values: []string{alias}}}
	}
	return MakeRecords(AddressRRset(TypeA, s.A.TTL, s.A.Addresses), AddressRRset(TypeAAAA, s.AAAA.TTL, s.AAAA.Addresses))
}

// addresses gives what clients of s get, through whatever alias or wildcard.
func (s Server) addresses() []netip.Addr { return slices.Concat(s.A.Addresses, s.AAAA.Addresses) }

func (r Resolver) addresses() []netip.Addr { return slices.Concat(r.A.Addresses, r.AAAA.Addresses) }

// knows reports whether a is an answer to what was asked, if only that there is
// nothing.
func (a Answer) knows() bool { return a.Rcode == "NOERROR" || a.Rcode == "NXDOMAIN" }

// failure gives the code of an answer that says nothing.
func (a Answer) failure() string {
	if a.knows() {
		return ""
	}
	return a.Rcode
}

// cachedFor gives for how many seconds a cache that got a may keep it.
func (a Answer) cachedFor() uint32 {
	if a.Alias != "" {
		return a.AliasTTL
	}
	return a.TTL
}

// Same reports whether a and b send a client to the same place.
func (a Answer) Same(b Answer) bool {
	return a.Alias == b.Alias && slices.Equal(a.Addresses, b.Addresses)
}

// newer reports whether the serial a is after b (RFC 1982 section 3.2). Any is
// after none.
func newer(a, b *uint32) bool {
	switch {
	case a == nil:
		return false
	case b == nil:
		return true
	}
	return *a != *b && int32(*a-*b) > 0
}

// source gives the server whose records count: the primary if it answers, else
// the one with the newest serial; nil if none is of use.
func (v View) source() *Server {
	var best *Server
	for i := range v.Servers {
		s := &v.Servers[i]
		switch {
		case s.Condition() != Good:
		case s.Primary:
			return s
		case best == nil || newer(s.Serial, best.Serial):
			best = s
		}
	}
	return best
}

// primary gives the address that updates go to, the one that answers if there
// are several; not valid when none is known.
func (v View) primary() netip.AddrPort {
	var first netip.AddrPort
	for _, s := range v.Servers {
		if s.Primary && s.Condition() == Good {
			return s.Address
		}
		if s.Primary && !first.IsValid() {
			first = s.Address
		}
	}
	return first
}

// keyRefused reports whether updates cannot be made, since no server that they
// could go to accepts the key.
func (v View) keyRefused() bool {
	refused := false
	for _, s := range v.Servers {
		if s.Primary && s.Condition() == Good {
			return false
		}
		refused = refused || s.Condition() == KeyRefused
	}
	return refused
}

// good gives the addresses of the servers that answer as they should.
func (v View) good() []netip.AddrPort {
	all := []netip.AddrPort{}
	for _, s := range v.Servers {
		if s.Condition() == Good {
			all = append(all, s.Address)
		}
	}
	return all
}
