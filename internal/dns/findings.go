package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast/internal/status"
)

// highTTL is from when on waiting for caches is worth preparing for.
const highTTL = 15 * time.Minute

func (p *planner) say(severity status.Severity, code, text, remedy string) {
	p.findings = append(p.findings, status.Finding{
		Severity: severity, Code: code, Subject: p.want.Hostname, Text: text, Remedy: remedy,
	})
}

func (p *planner) sayTwoVIPs() {
	p.say(status.Error, status.CodeTwoVIPs, fmt.Sprintf("the VIPs %s have this one hostname and serve different endpoints, and a name leads all clients to all of its addresses", strings.Join(p.want.VIPs, " and ")),
		"give each its own hostname; or, where DNS has a view for each group of clients, do one at a time: --vip NAME --server ADDRESS")
}

// sayNoZone tells that no zone was found, where it was looked for.
func (p *planner) sayNoZone() {
	remedy := "see that the domain is registered and delegated, or name a server that has it by --server"
	if p.view.Named {
		remedy = "see that the server that --server names has the zone, and answers this machine"
	}
	p.say(status.Error, status.CodeZoneNotFound, "it is in no zone that could be found: "+p.view.ZoneError, remedy)
}

// sayTopLevel warns of a zone in which nobody but a registry can write.
func (p *planner) sayTopLevel() {
	if p.view.Zone != "" && labels(p.view.Zone) == 1 && labels(p.want.Hostname) > 2 {
		p.say(status.Warning, status.CodeTopLevelZone, fmt.Sprintf("the nearest zone is %s, a top-level domain", p.view.Zone),
			"see that the domain is registered and delegated, unless that zone is your own")
	}
}

// sayServers tells of servers that are of no use, and of those that the cloud
// needs itself.
func (p *planner) sayServers() {
	for _, s := range p.view.Servers {
		p.sayServer(s)
	}
	p.sayOwnCloud()
}

func (p *planner) sayServer(s Server) {
	what := "name server " + s.String()
	if s.Hidden {
		what = "primary " + s.String()
	}
	switch s.Condition() {
	case Good:
	case NoRoute:
		p.say(status.Info, status.CodeNoRoute, what+" "+s.Trouble(), "")
	case Unreachable:
		p.say(status.Warning, status.CodeUnreachable, what+" "+s.Trouble(), "clients lose time with it; see that it runs, or take it out of the NS records")
	case KeyRefused:
		p.say(status.Error, status.CodeKeyRefused, what+" "+s.Trouble(), "make name, algorithm and secret of the key, what it may do and the clocks agree on both sides (docs/dns.md)")
	case Lame:
		p.say(status.Warning, status.CodeLame, fmt.Sprintf("%s %s", what, s.Trouble()), fmt.Sprintf("configure the zone %s there, or take it out of the NS records", ShownName(p.view.Zone)))
	}
}

// sayOwnCloud warns of a zone that only the cloud itself serves: to start it,
// its name would have to be there already.
func (p *planner) sayOwnCloud() {
	var own []string
	for _, s := range p.view.Servers {
		if s.Hidden {
			continue
		}
		who := owner(p.spec, s.Address.Addr())
		if who == "" {
			return
		}
		own = append(own, fmt.Sprintf("%s (%s)", s.Address.Addr(), who))
	}
	if len(own) == 0 {
		return
	}
	p.say(status.Warning, status.CodeOwnCloud, fmt.Sprintf("every name server of its zone is of the cloud that needs this name to start: %s", strings.Join(own, ", ")),
		"have a secondary outside of it, or the hostname in a zone that is served elsewhere")
}

// sayRecords tells what is wrong with the hostname's records as they are.
func (p *planner) sayRecords(n NamePlan) {
	p.sayWildcard(n)
	if len(n.Before.Of(TypeCNAME).Values) > 0 {
		p.sayAlias(n)
		return
	}
	if len(n.Before) == 0 {
		if p.wildcard() == "" {
			p.say(status.Error, status.CodeNoName, "it has no address in DNS", "")
		}
		return
	}
	p.sayFamily(n, TypeA, "IPv4")
	p.sayFamily(n, TypeAAAA, "IPv6")
}

// sayWildcard tells of a name that is only there because every name is.
func (p *planner) sayWildcard(n NamePlan) {
	from := p.view.source()
	if len(n.Before) > 0 || p.wildcard() == "" {
		return
	}
	severity := status.Warning
	if !slices.Equal(from.addresses(), p.want.Addresses) {
		severity = status.Error
	}
	p.say(severity, status.CodeWildcard, fmt.Sprintf("it has no records of its own, the wildcard %s answers for it: %s", from.Wildcard, ShownAnswers(from.A, from.AAAA)),
		"its own records take precedence, for every type of record")
}

func (p *planner) wildcard() string {
	if from := p.view.source(); from != nil {
		return from.Wildcard
	}
	return ""
}

func (p *planner) sayAlias(n NamePlan) {
	alias := n.Before.Of(TypeCNAME).Values[0]
	if p.aliasFits(n.Before) {
		p.say(status.Info, status.CodeAlias, fmt.Sprintf("it is an alias of %s, which has the VIP's addresses", alias), "")
		return
	}
	leads := "leads nowhere"
	if a := p.behindAlias(); len(a) > 0 {
		leads = "leads to " + described(p.spec, a)
	}
	p.say(status.Error, status.CodeAlias, fmt.Sprintf("it is an alias of %s, which %s; the VIP has %s", alias, leads, plain(p.want.Addresses)), "")
}

// sayFamily compares the addresses of one family.
func (p *planner) sayFamily(n NamePlan, typ, family string) {
	has := Records{n.Before.Of(typ)}.Addresses()
	want := Records{AddressRRset(typ, 0, p.want.Addresses)}.Addresses()
	extra, missing := without(has, want), without(want, has)
	switch {
	case len(extra) > 0 && len(want) == 0:
		p.say(status.Error, status.CodeNoSuchFamily, fmt.Sprintf("it has %s records, and the VIP has no %s address: %s", typ, family, described(p.spec, extra)), "")
	case len(extra) > 0:
		p.say(status.Error, status.CodeWrongAddress, fmt.Sprintf("its %s records have %s; the VIP has %s", typ, described(p.spec, extra), plain(want)), "")
	case len(missing) > 0:
		p.say(status.Error, status.CodeMissingAddress, fmt.Sprintf("its %s records lack %s", typ, plain(missing)), "")
	}
}

// without gives the addresses of a that are not in b.
func without(a, b []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(a), func(x netip.Addr) bool { return slices.Contains(b, x) })
}

// sayDisagreement tells of servers that have other records than the one whose
// records count.
func (p *planner) sayDisagreement(n NamePlan) {
	from := p.view.source()
	if from == nil {
		return
	}
	if _, edited := p.opt.Sources[p.want.Hostname]; edited && !from.Records().SameValues(n.Before) {
		p.say(status.Warning, status.CodeDisagree, fmt.Sprintf("%s has %s (serial %s); where the zone is edited it has %s", *from, ShownAnswers(from.A, from.AAAA), ShownSerial(*from), ShownRecords(n.Before)),
			"see that the zone is brought to its name servers, and that they are the right ones")
	}
	for _, s := range p.view.Servers {
		if s.Condition() != Good || s.Address == from.Address {
			continue
		}
		if s.A.Same(from.A) && s.AAAA.Same(from.AAAA) {
			if !sameSerial(s, *from) {
				p.say(status.Info, status.CodeSerial, fmt.Sprintf("%s has serial %s of the zone %s, %s has %s; they agree on this name", s, ShownSerial(s), n.Zone, *from, ShownSerial(*from)), "")
			}
			continue
		}
		p.say(status.Warning, status.CodeDisagree, fmt.Sprintf("%s has %s (serial %s), %s has %s (serial %s)",
			s, ShownAnswers(s.A, s.AAAA), ShownSerial(s), *from, ShownAnswers(from.A, from.AAAA), ShownSerial(*from)),
			"see that the zone is transferred: NOTIFY, allow-transfer, the log of the one that is behind")
	}
}

func sameSerial(a, b Server) bool {
	return a.Serial == nil || b.Serial == nil || *a.Serial == *b.Serial
}

// ShownSerial gives the serial number of s, for a person.
func ShownSerial(s Server) string {
	if s.Serial == nil {
		return "unknown"
	}
	return fmt.Sprint(*s.Serial)
}

// ShownAnswers gives what a server answers, for a person.
func ShownAnswers(a, aaaa Answer) string {
	all := slices.Concat(a.Addresses, aaaa.Addresses)
	alias := a.Alias
	if alias == "" {
		alias = aaaa.Alias
	}
	switch {
	case alias != "" && len(all) > 0:
		return fmt.Sprintf("an alias of %s, %s", alias, plain(all))
	case alias != "":
		return "an alias of " + alias
	case len(all) > 0:
		return plain(all)
	case a.Rcode == "NXDOMAIN":
		return "no such name"
	}
	return "no address"
}

// sayStale tells for how long the old answers stay around.
func (p *planner) sayStale(n NamePlan) {
	if !n.Change || n.StaleFor < highTTL {
		return
	}
	long := status.Brief(n.StaleFor)
	switch {
	case p.opt.TTLOnly:
		p.say(status.Info, status.CodeHighTTL, fmt.Sprintf("caches may keep the old TTL for up to %s after the change", long), "change the addresses after that")
	case !n.Before.SameValues(n.After):
		p.say(status.Info, status.CodeHighTTL, fmt.Sprintf("caches may give the old answer for up to %s after the change", long),
			fmt.Sprintf("to be quicker, lower the TTL first (holdfast dns apply --ttl 60 --ttl-only) and come back in %s", long))
	}
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// plain gives addresses for a person.
func plain(addresses []netip.Addr) string { return described(nil, addresses) }
