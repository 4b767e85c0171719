package dns

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"holdfast/internal/status"
)

// sayResolvers tells of resolvers that do not give what the name servers do. n
// is nil when it is not known what they should give.
func (p *planner) sayResolvers(n *NamePlan) {
	for _, r := range p.view.Resolvers {
		switch {
		case r.trouble() != "":
			p.say(status.Warning, status.CodeResolverFails, fmt.Sprintf("%s %s", r, r.trouble()), "")
		case n != nil:
			p.sayResolver(r, *n)
		}
	}
}

// trouble says why r is of no use, "" if it is.
func (r Resolver) trouble() string {
	if err := cmp.Or(r.A.Error, r.AAAA.Error); err != "" {
		return "does not answer: " + err
	}
	if code := cmp.Or(r.A.failure(), r.AAAA.failure()); code != "" {
		return "answers " + code
	}
	return ""
}

// sayResolver compares r with what the records are now: where these are to be
// changed, that is no news.
func (p *planner) sayResolver(r Resolver, n NamePlan) {
	expected := p.expected(n)
	if expected == nil || slices.Equal(r.addresses(), expected) || slices.Equal(r.addresses(), p.want.Addresses) {
		return
	}
	until := p.until(r, expected)
	old := "it may be a cache"
	if until > 0 {
		old = "if that is from its cache, until " + p.clock(until)
	}
	if len(r.addresses()) == 0 {
		p.say(status.Warning, status.CodeResolverUnknown, fmt.Sprintf("%s has %s, the name servers have %s; %s", r, ShownAnswers(r.A, r.AAAA), plain(expected), old), p.whyUnknown(expected))
		return
	}
	p.say(status.Warning, status.CodeResolverStale, fmt.Sprintf("%s gives %s, the name servers have %s; %s", r, described(p.spec, r.addresses()), p.orNothing(expected), old),
		"if it still does after that, it asks other servers: see how it forwards, and whether there are views")
}

func (p *planner) orNothing(a []netip.Addr) string {
	if len(a) == 0 {
		return "nothing"
	}
	return plain(a)
}

// expected gives the addresses that a resolver without an old cache gives now;
// nil when that is not known.
func (p *planner) expected(n NamePlan) []netip.Addr {
	if len(n.Before.Of(TypeCNAME).Values) > 0 {
		return nil // the end of the chain may be anybody's
	}
	if from := p.view.source(); from != nil && from.Wildcard != "" {
		return from.addresses()
	}
	if a := n.Before.Addresses(); a != nil {
		return a
	}
	return []netip.Addr{}
}

// until gives for how long the answers of r that are not as expected may stay
// in its cache.
func (p *planner) until(r Resolver, expected []netip.Addr) time.Duration {
	longest := uint32(0)
	for _, answer := range []struct {
		Answer
		typ string
	}{{r.A, TypeA}, {r.AAAA, TypeAAAA}} {
		if !slices.Equal(answer.Addresses, Records{AddressRRset(answer.typ, 0, expected)}.Addresses()) {
			longest = max(longest, max(answer.TTL, answer.AliasTTL))
		}
	}
	return seconds(longest)
}

// clock gives the moment that is d after the view, for a person.
func (p *planner) clock(d time.Duration) string { return Until(p.view.Time, p.view.Time.Add(d)) }

// Until gives the moment t as people and logs have it, with how far it is from now.
func Until(now, t time.Time) string {
	return fmt.Sprintf("%s (in %s)", t.UTC().Truncate(time.Second).Format("2006-01-02 15:04:05 UTC"), status.Brief(t.Sub(now)))
}

// whyUnknown says what else than a cache there may be to a name that a resolver
// does not know.
func (p *planner) whyUnknown(expected []netip.Addr) string {
	private := slices.ContainsFunc(expected, netip.Addr.IsPrivate)
	if private {
		return "after that: some resolvers drop answers with private addresses (rebind protection), and the zone may not be delegated for them"
	}
	return fmt.Sprintf("after that: see that %s is delegated to these name servers", ShownName(p.view.Zone))
}
