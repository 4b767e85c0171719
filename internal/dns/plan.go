package dns

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// ErrChanged says that the records are not any more as the plan found them.
var ErrChanged = errors.New("the records have changed since the plan was made; look at a new one: holdfast dns plan")

// DefaultTTL is that of records where there were none before, in seconds.
const DefaultTTL = 300

// PlanOptions says what a plan may do beside setting the addresses.
type PlanOptions struct {
	// TTL is that of all records, in seconds; nil keeps what is there.
	TTL *uint32
	// TTLOnly changes the TTL of what is there, and no address: what is done a
	// day before.
	TTLOnly bool
	// Sources has, by hostname, the zone as the one place has it in which it is
	// edited, where that is not a DNS server.
	Sources map[string]Source
}

// A Source is what the place in which a zone is edited knows of a hostname.
type Source struct {
	Zone    string
	Records Records
}

// A Plan is what makes every hostname map to its VIP.
type Plan struct {
	// ID stands for all changes, in 12 hex digits. Equal ids are equal plans.
	ID       string           `json:"plan"`
	Names    []NamePlan       `json:"names"`
	Findings []status.Finding `json:"findings"`
}

// A NamePlan is the plan for one hostname.
type NamePlan struct {
	Hostname string       `json:"hostname"`
	VIPs     []string     `json:"vips"`
	Zone     string       `json:"zone"` // without final dot
	Want     []netip.Addr `json:"want"`
	// Primary is where updates go; null when it is not known.
	Primary netip.AddrPort `json:"primary,omitzero"`
	// Before is what the hostname itself has now, After what it is to have.
	Before Records `json:"before"`
	After  Records `json:"after"`
	// Change says that Before and After differ.
	Change bool `json:"change"`
	// Blocked says that there is no plan; an error in the findings says why.
	Blocked bool `json:"blocked"`
	// StaleFor is for how long after the change a cache may serve what was there
	// before; in JSON, nanoseconds.
	StaleFor time.Duration `json:"stale_for_ns"`
	View     View          `json:"view"`
}

// Empty reports whether there is nothing to change.
func (p Plan) Empty() bool {
	return !slices.ContainsFunc(p.Names, func(n NamePlan) bool { return n.Change })
}

// Blocked reports whether there is a hostname for which no plan could be made.
func (p Plan) Blocked() bool {
	return slices.ContainsFunc(p.Names, func(n NamePlan) bool { return n.Blocked })
}

// Changes gives the hostnames that are to be changed.
func (p Plan) Changes() []NamePlan {
	return slices.DeleteFunc(slices.Clone(p.Names), func(n NamePlan) bool { return !n.Change })
}

// MakePlan compares what DNS says of each hostname with what wants wants of it.
// Views are in the order of wants. It gives the same plan for the same answers.
func MakePlan(s *spec.Spec, wants []Want, views []View, opt PlanOptions) Plan {
	out := Plan{Names: []NamePlan{}, Findings: []status.Finding{}}
	for i, w := range wants {
		view := View{Hostname: w.Hostname, ZoneError: "nobody looked for it"}
		if i < len(views) {
			view = views[i]
		}
		p := &planner{spec: s, want: w, view: view, opt: opt}
		out.Names = append(out.Names, p.plan())
		out.Findings = append(out.Findings, p.findings...)
	}
	out.ID = out.digest()
	return out
}

// Refuse takes the change of the hostname n out of p: the server would not make it.
func (p *Plan) Refuse(n *NamePlan, server netip.AddrPort, why error) {
	n.Change, n.Blocked = false, true
	p.Findings = append(p.Findings, status.Finding{
		Severity: status.Error, Code: status.CodeUpdateRefused, Subject: n.Hostname,
		Text:   fmt.Sprintf("primary %s would not make this change: %v", ShownAddr(server), why),
		Remedy: "see docs/dns.md for what each server needs; --primary ADDRESS names another, --print prints the lines for whom edits by hand",
	})
}

// Place gives where the records of n are.
func (n NamePlan) Place() Place {
	return Place{Hostname: n.Hostname, Zone: n.Zone, Server: n.Primary, Servers: n.View.good()}
}

// digest stands for the changes of p and what they were planned on.
func (p Plan) digest() string {
	sum := sha256.New()
	for _, n := range p.Names {
		line, err := json.Marshal([]any{n.Hostname, n.Zone, n.Before, n.After, n.Blocked})
		if err != nil { // it is made of strings, numbers and booleans
			line = fmt.Appendf(nil, "%+v", n)
		}
		fmt.Fprintf(sum, "%s\n", line) //nolint:errcheck // a hash never fails to be written to
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// planner is the plan for one hostname being made.
type planner struct {
	spec     *spec.Spec
	want     Want
	view     View
	opt      PlanOptions
	findings []status.Finding
}

func (p *planner) plan() NamePlan {
	n := NamePlan{
		Hostname: p.want.Hostname, VIPs: p.want.VIPs, Zone: p.view.Zone, Want: p.want.Addresses,
		Primary: p.view.primary(), Before: Records{}, After: Records{}, View: p.view,
	}
	source, edited := p.opt.Sources[p.want.Hostname]
	if edited {
		n.Zone = source.Zone
	}
	p.sayServers()
	before, ok := p.before(source, edited)
	if !ok || !p.canBe() || !edited && p.view.keyRefused() {
		n.Blocked = true
		p.sayResolvers(nil)
		return n
	}
	n.Before = before
	if n.After = p.after(before); n.After == nil {
		n.After = Records{}
	}
	n.Change = !n.Before.Same(n.After)
	if n.Change {
		n.StaleFor = p.staleFor(n)
	}
	p.sayRecords(n)
	p.sayDisagreement(n)
	p.sayResolvers(&n)
	p.sayStale(n)
	return n
}

// before gives what the hostname has now, and whether that is known.
func (p *planner) before(source Source, edited bool) (Records, bool) {
	if !edited && p.view.Zone == "" {
		p.sayNoZone()
		return nil, false
	}
	if edited && p.view.Zone == "" {
		p.say(status.Warning, status.CodeNotServed, fmt.Sprintf("nobody serves its zone %s, as far as could be found: %s", source.Zone, p.view.ZoneError),
			"without name servers to ask, no change can be proved; --server ADDRESS names them")
	}
	p.sayTopLevel()
	from := p.view.source()
	switch {
	case edited && source.Records == nil:
		return Records{}, true
	case edited:
		return source.Records, true
	case from == nil && p.view.keyRefused(): // said with the server
		return nil, false
	case from == nil:
		p.say(status.Error, status.CodeNoServer, fmt.Sprintf("no name server of the zone %s could be asked", p.view.Zone),
			"see the warnings above; --server ADDRESS names one to ask instead")
		return nil, false
	}
	if records := from.Records(); records != nil {
		return records, true
	}
	return Records{}, true
}

// canBe finds what no change of the hostname's own records could bring about.
func (p *planner) canBe() bool {
	if p.want.Apart {
		p.sayTwoVIPs()
		return false
	}
	if from := p.view.source(); from != nil {
		if above := from.A.Above; above != "" {
			p.say(status.Error, status.CodeBelowAlias, fmt.Sprintf("the DNAME record of %s makes it an alias of %s", above, from.A.Alias),
				"no record of its own can exist below a DNAME; choose another hostname, or remove that record")
			return false
		}
	}
	return true
}

// after gives what the hostname is to have.
func (p *planner) after(before Records) Records {
	switch {
	case p.opt.TTLOnly:
		return p.withTTL(before)
	case p.aliasFits(before):
		return before
	}
	return MakeRecords(p.addressSet(before, TypeA), p.addressSet(before, TypeAAAA))
}

func (p *planner) withTTL(before Records) Records {
	out := slices.Clone(before)
	for i := range out {
		if p.opt.TTL != nil {
			out[i].TTL, out[i].ZoneTTL = *p.opt.TTL, false
		}
	}
	return out
}

// addressSet gives the RRset of typ that the hostname is to have. Its TTL is what
// was asked for, what it has, what the name's others have, or the usual.
func (p *planner) addressSet(before Records, typ string) RRset {
	was := before.Of(typ)
	set := AddressRRset(typ, DefaultTTL, p.want.Addresses)
	set.Description = was.Description
	switch {
	case p.opt.TTL != nil:
		set.TTL = *p.opt.TTL
	case len(was.Values) > 0:
		set.TTL, set.ZoneTTL = was.TTL, was.ZoneTTL
	case len(before) > 0:
		set.TTL, set.ZoneTTL = before[0].TTL, before[0].ZoneTTL
	}
	return set
}

// aliasFits reports whether the name is an alias that leads to the VIP. Some
// people have it so on purpose, and clients see no difference.
func (p *planner) aliasFits(before Records) bool {
	if len(before.Of(TypeCNAME).Values) == 0 {
		return false
	}
	return slices.Equal(p.behindAlias(), p.want.Addresses)
}

// behindAlias gives the addresses that the alias leads to: as the server says
// if it has them, else as a resolver does.
func (p *planner) behindAlias() []netip.Addr {
	if from := p.view.source(); from != nil && len(from.addresses()) > 0 {
		return from.addresses()
	}
	for _, r := range p.view.Resolvers {
		if a := r.addresses(); len(a) > 0 {
			return a
		}
	}
	return nil
}

// staleFor gives for how long a cache that has asked just before the change may
// give the old answer: the TTL of what it got, or that of "there is
// no such name" for a type that comes to be.
func (p *planner) staleFor(n NamePlan) time.Duration {
	longest := uint32(0)
	from := p.view.source()
	for _, typ := range []string{TypeA, TypeAAAA} {
		was, is := n.Before.Of(typ), n.After.Of(typ)
		alias := n.Before.Of(TypeCNAME)
		if was.Same(is) && len(alias.Values) == 0 {
			continue
		}
		ttl := was.TTL
		if len(alias.Values) > 0 {
			ttl = alias.TTL
		} else if from != nil && len(was.Values) == 0 {
			ttl = from.cachedFor(typ)
		}
		longest = max(longest, ttl)
	}
	return seconds(longest)
}

// cachedFor gives for how long a cache keeps what s says of typ, in seconds.
func (s Server) cachedFor(typ string) uint32 {
	answer := s.A
	if typ == TypeAAAA {
		answer = s.AAAA
	}
	if len(answer.Addresses) == 0 && answer.Alias == "" {
		return s.NegativeTTL
	}
	return answer.cachedFor()
}
