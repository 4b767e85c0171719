package dns

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// The types of records that this package knows how to change.
const (
	TypeA     = "A"
	TypeAAAA  = "AAAA"
	TypeCNAME = "CNAME"
)

// KnownTypes gives these types, in the order in which records are shown.
func KnownTypes() []string { return []string{TypeA, TypeAAAA, TypeCNAME} }

// An RRset is all records of one type that a name has (RFC 2181 section 5).
type RRset struct {
	Type string `json:"type"` // "A", "AAAA" or "CNAME"
	TTL  uint32 `json:"ttl"`  // in seconds
	// ZoneTTL says that it has no TTL of its own and takes the zone's, which TTL
	// is. Only in Designate.
	ZoneTTL bool `json:"zone_ttl,omitempty"`
	// Values has addresses in the form of RFC 5952, sorted, or the one name that
	// an alias points at, without its final dot.
	Values []string `json:"values"`
	// Description is what Designate stores beside the record set.
	Description string `json:"description,omitempty"`
}

// Records are the RRsets of one name, at most one of each type, sorted by type.
type Records []RRset

// Of gives the RRset of a type; one without values when there is none.
func (r Records) Of(typ string) RRset {
	for _, set := range r {
		if set.Type == typ {
			return set
		}
	}
	return RRset{Type: typ}
}

// Same reports whether r and b have the same values with the same TTLs.
func (r Records) Same(b Records) bool {
	return !slices.ContainsFunc(KnownTypes(), func(typ string) bool { return !r.Of(typ).Same(b.Of(typ)) })
}

// Same reports whether s and b have the same values with the same TTL.
func (s RRset) Same(b RRset) bool {
	sameTTL := s.ZoneTTL == b.ZoneTTL && (s.TTL == b.TTL || s.ZoneTTL)
	return slices.Equal(s.Values, b.Values) && (sameTTL || len(s.Values) == 0)
}

// SameValues is Same, whatever the TTLs are.
func (r Records) SameValues(b Records) bool {
	return !slices.ContainsFunc(KnownTypes(), func(typ string) bool { return !slices.Equal(r.Of(typ).Values, b.Of(typ).Values) })
}

// Addresses gives all addresses of r, IPv4 first.
func (r Records) Addresses() []netip.Addr {
	var all []netip.Addr
	for _, set := range r {
		if set.Type == TypeCNAME {
			continue
		}
		for _, v := range set.Values {
			if a, err := netip.ParseAddr(v); err == nil { // check has seen to it
				all = append(all, a)
			}
		}
	}
	return all
}

// AddressRRset makes the RRset of typ that has those of addresses that are of
// its family.
func AddressRRset(typ string, ttl uint32, addresses []netip.Addr) RRset {
	set := RRset{Type: typ, TTL: ttl}
	for _, a := range SortedAddrs(addresses) {
		if a.Is4() == (typ == TypeA) {
			set.Values = append(set.Values, a.String())
		}
	}
	return set
}

// SortedAddrs gives addresses in order, each once, IPv4 first.
func SortedAddrs(addresses []netip.Addr) []netip.Addr {
	all := slices.Clone(addresses)
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// MakeRecords gives sets in order, without those that have no values.
func MakeRecords(sets ...RRset) Records {
	var r Records
	for _, set := range sets {
		if len(set.Values) > 0 {
			r = append(r, set)
		}
	}
	slices.SortFunc(r, func(a, b RRset) int { return cmp.Compare(a.Type, b.Type) })
	return r
}

// MaxTTL is the highest TTL there is (RFC 2181 section 8), in seconds.
const MaxTTL = 1<<31 - 1

// Check refuses what could not be written into a zone.
func (r Records) Check() error {
	seen := map[string]bool{}
	for _, set := range r {
		if seen[set.Type] {
			return fmt.Errorf("there are two %s record sets", set.Type)
		}
		seen[set.Type] = true
		if err := set.check(); err != nil {
			return err
		}
	}
	if seen[TypeCNAME] && len(r) > 1 {
		return fmt.Errorf("there is a CNAME record beside others")
	}
	return nil
}

func (s RRset) check() error {
	switch {
	case !slices.Contains(KnownTypes(), s.Type):
		return fmt.Errorf("unknown type %q", s.Type)
	case s.TTL > MaxTTL:
		return fmt.Errorf("the TTL %d is out of range", s.TTL)
	case len(s.Values) == 0 || s.Type == TypeCNAME && len(s.Values) != 1:
		return fmt.Errorf("the %s record set has %d values", s.Type, len(s.Values))
	}
	for _, v := range s.Values {
		if !ValidValue(s.Type, v) {
			return fmt.Errorf("%q is no value of a record of type %s", v, s.Type)
		}
	}
	return nil
}

// ValidValue reports whether v is what a record of typ has, in the form kept here.
func ValidValue(typ, v string) bool {
	if typ == TypeCNAME {
		_, ok := dns.IsDomainName(v)
		return ok && v == Canonical(v) && v != ""
	}
	a, err := netip.ParseAddr(v)
	return err == nil && a.Is4() == (typ == TypeA) && a.Zone() == "" && a.String() == v
}

// Lines gives r as lines of a zone file, with name in front.
func (r Records) Lines(name string) []string {
	var all []string
	for _, set := range r {
		for _, v := range set.Values {
			if set.Type == TypeCNAME {
				v += "."
			}
			all = append(all, fmt.Sprintf("%s. %6d IN %-5s %s", name, set.TTL, set.Type, v))
		}
	}
	return all
}

// ShownRecords gives r in a few words.
func ShownRecords(r Records) string {
	var parts []string
	for _, set := range r {
		parts = append(parts, fmt.Sprintf("%s %s (TTL %d)", set.Type, strings.Join(set.Values, " "), set.TTL))
	}
	if parts == nil {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}
