package dns

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"holdfast/internal/dns/dnstest"
)

// otherMakes are the servers beside BIND that take updates, as docs/dns.md sets
// them up.
var otherMakes = map[string]func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server{
	"Knot": func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
		return n.Knot(at, "example.org", text, n.KnotUpdates("api", "int"))
	},
	"PowerDNS": func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
		return n.PowerDNS(at, "example.org", text, n.PowerDNSUpdates())
	},
}

// zoneAt is the zone of the tests with the server at as its primary.
func zoneAt(at netip.AddrPort, records string) string {
	return dnstest.Text("example.org", map[string]netip.AddrPort{"ns1.example.org": at}, "ns1.example.org") + records
}

// bedAt is a bed of which the primary runs at at.
func bedAt(t testing.TB, n *dnstest.Net, at netip.AddrPort) *bed {
	return &bed{t: t, net: n, primary: at, state: t.TempDir(), zone: "example.org"}
}

// tried gives the plan with what the primary says of it.
func (b *bed) tried() Plan {
	b.t.Helper()
	return Updater{b.looker()}.Try(b.t.Context(), b.plan(PlanOptions{}))
}

// TestOtherMakes: plan, apply and rollback at Knot and PowerDNS; what was there
// before is there again, and a change of somebody else's is not overwritten.
func TestOtherMakes(t *testing.T) {
	for name, start := range otherMakes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := dnstest.New(t)
			at := n.Addr()
			start(n, at, zoneAt(at, cloudZone))
			b := bedAt(t, n, at)
			first := b.transfer(at)
			plan := b.tried()
			if len(plan.Changes()) != 2 || plan.Blocked() {
				t.Fatalf("plan:\n%s%v", plan.Diff(), plan.Findings)
			}
			b.same(first) // the plan has changed nothing
			if serial := *plan.Names[0].View.Servers[0].Serial; serial != 10 {
				t.Errorf("serial %d", serial)
			}
			out, err := b.applier().Apply(t.Context(), plan)
			if err != nil || out.Changed != 2 || out.Verified != 2 {
				t.Fatalf("apply: %+v, %v", out, err)
			}
			if again := b.tried(); !again.Empty() || again.Blocked() {
				t.Errorf("the plan after the apply is not empty:\n%s", again.Diff())
			}
			if _, err := b.applier().Apply(t.Context(), plan); err == nil || !strings.Contains(err.Error(), ErrChanged.Error()) {
				t.Errorf("the same once more: %v", err)
			}
			stale := plan.Changes()[1]
			if err := (Updater{b.looker()}).Replace(t.Context(), stale.place(), stale.Before, stale.After); err == nil || !strings.Contains(err.Error(), ErrChanged.Error()) {
				t.Errorf("the prerequisites: %v", err)
			}
			back, err := b.applier().Rollback(t.Context(), b.latest(), false)
			if err != nil || back.Undone != 2 || len(back.Left)+len(back.Behind) != 0 {
				t.Errorf("rollback: %+v, %v", back, err)
			}
			b.same(first)
		})
	}
}

// A wrongKey is what may be wrong between a server and a key.
type wrongKey struct {
	name  string
	spoil func(l *Looker)
}

func wrongKeys() []wrongKey {
	return []wrongKey{
		{"name", func(l *Looker) { l.Key = &Key{"stranger", "hmac-sha256", l.Key.secret} }},
		{"secret", func(l *Looker) { l.Key = &Key{l.Key.Name, "hmac-sha256", strings.Repeat("QUJD", 10)} }},
		{"clock", func(l *Looker) { l.Now = func() time.Time { return time.Now().Add(-time.Hour) } }},
	}
}

// TestKeyRefused: every make, and everything that may be wrong with a key: the
// plan names the key, does not talk of a zone that is not registered, and no
// journal is written.
func TestKeyRefused(t *testing.T) {
	const someOf = "it has none of this name and algorithm, or another secret for it, or its clock and this machine's differ"
	starts := map[string]func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server{
		"BIND": func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			return n.Primary(at, dnstest.Zone{Name: "example.org", Text: text})
		},
		"Knot": otherMakes["Knot"], "PowerDNS": otherMakes["PowerDNS"],
		"Knot without a rule": func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			return n.Knot(at, "example.org", text)
		},
		"NSD": func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			return n.NSD(at, "example.org", text, true)
		},
	}
	const noRule = "no rule of the zone's acl lets the key holdfast-test (hmac-sha256) query or update the zone from this machine, or Knot does not know the key"
	wants := map[string]map[string]string{
		"BIND":                {"name": "does not know the key stranger (hmac-sha256), by this name and algorithm (BADKEY)", "secret": "another secret for the key holdfast-test (hmac-sha256) (BADSIG)", "clock": "5 minutes (BADTIME)"},
		"NSD":                 {"name": "does not know the key stranger (hmac-sha256), by this name and algorithm (BADKEY)", "secret": "another secret for the key holdfast-test (hmac-sha256) (BADSIG)", "clock": "5 minutes (BADTIME)"},
		"Knot":                {"name": "or Knot does not know the key", "secret": "another secret for the key holdfast-test (hmac-sha256) (BADSIG)", "clock": "5 minutes (BADTIME)"},
		"Knot without a rule": {"name": "or Knot does not know the key", "secret": noRule, "clock": noRule},
		"PowerDNS":            {"name": someOf, "secret": someOf, "clock": someOf},
	}
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := dnstest.New(t)
			at := n.Addr()
			start(n, at, zoneAt(at, cloudZone))
			b := bedAt(t, n, at)
			for _, wrong := range wrongKeys() {
				l := b.looker()
				wrong.spoil(&l)
				plan := planFor(t, l, PlanOptions{})
				if !plan.Blocked() || len(plan.Changes()) != 0 || plan.Names[0].Zone != "example.org" {
					t.Errorf("wrong %s:\n%s", wrong.name, plan.Diff())
				}
				said := says(plan, "key-refused")
				if !strings.Contains(said, wants[name][wrong.name]) || says(plan, "zone-not-found")+says(plan, "no-server")+says(plan, "unreachable") != "" {
					t.Errorf("wrong %s: %q, want %q of %v", wrong.name, said, wants[name][wrong.name], plan.Findings)
				}
			}
		})
	}
}

// says gives the texts of the findings with a code.
func says(plan Plan, code string) string {
	var all []string
	for _, f := range plan.Findings {
		if f.Code == code {
			all = append(all, f.Text)
		}
	}
	return strings.Join(all, "\n")
}

// TestPlanTriesTheUpdate: what a server would refuse, though it knows the key, is
// in the plan already, with where that make has it configured.
func TestPlanTriesTheUpdate(t *testing.T) {
	bind := func(update string) func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
		return func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			return n.Primary(at, dnstest.Zone{Name: "example.org", Text: text, Update: update})
		}
	}
	powerDNS := func(change func(*dnstest.PowerDNS)) func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
		return func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			how := n.PowerDNSUpdates()
			change(&how)
			return n.PowerDNS(at, "example.org", text, how)
		}
	}
	knot := func(rule string) func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
		return func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			return n.Knot(at, "example.org", text, dnstest.KnotRule("key: "+n.KeyName+"\n    "+rule))
		}
	}
	for name, c := range map[string]struct {
		start func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server
		want  string
	}{
		"BIND, nobody":       {bind("allow-update { none; };"), "(REFUSED); see allow-update or update-policy of the zone example.org"},
		"BIND, another name": {bind("update-policy { grant holdfast-test name other.example.org A AAAA CNAME; };"), "whether that is for this key and this name"},
		"BIND, without CNAME": {
			bind("update-policy { grant holdfast-test name api.example.org A AAAA; grant holdfast-test name int.example.org A AAAA; };"),
			"update-policy of the zone",
		},
		"Knot, queries only":       {knot("action: query"), "no rule of the zone's acl lets the key holdfast-test (hmac-sha256) update this name from this machine"},
		"Knot, another name":       {knot("action: update\n    update-owner: name\n    update-owner-match: equal\n    update-owner-name: other"), "no rule of the zone's acl lets the key"},
		"PowerDNS, off":            {powerDNS(func(p *dnstest.PowerDNS) { p.Updates = false }), "see dnsupdate in pdns.conf, and ALLOW-DNSUPDATE-FROM (this machine) and TSIG-ALLOW-DNSUPDATE (this key)"},
		"PowerDNS, another source": {powerDNS(func(p *dnstest.PowerDNS) { p.From = []string{"192.0.2.0/24"} }), "ALLOW-DNSUPDATE-FROM"},
		"PowerDNS, another key":    {powerDNS(func(p *dnstest.PowerDNS) { p.Keys = []string{"other"} }), "TSIG-ALLOW-DNSUPDATE"},
		"PowerDNS, a secondary":    {powerDNS(func(p *dnstest.PowerDNS) { p.Secondary = true }), "it is a secondary that cannot send the update on"},
		"NSD": {func(n *dnstest.Net, at netip.AddrPort, text string) *dnstest.Server {
			return n.NSD(at, "example.org", text, true)
		}, "it does not know updates by RFC 2136 (NOTIMP)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := dnstest.New(t)
			at := n.Addr()
			c.start(n, at, zoneAt(at, cloudZone))
			b := bedAt(t, n, at)
			zone := b.transfer(at)
			plan := b.tried()
			if said := says(plan, "update-refused"); !strings.Contains(said, c.want) || !plan.Blocked() {
				t.Errorf("%q, want %q in\n%s", said, c.want, plan.Diff())
			}
			if strings.Contains(name, "PowerDNS") && strings.Contains(says(plan, "update-refused"), "update-policy") {
				t.Error("PowerDNS has no update-policy")
			}
			b.same(zone)
		})
	}
}

// TestTryNeedsOnlyWhatChanges: a key that may change A and AAAA is good enough
// where no alias has to go.
func TestTryNeedsOnlyWhatChanges(t *testing.T) {
	n := dnstest.New(t)
	at := n.Addr()
	b := bedAt(t, n, at)
	n.Primary(at, dnstest.Zone{Name: "example.org", Text: zoneAt(at, cloudZone), Update: "update-policy { grant holdfast-test name int.example.org A AAAA; };"})
	plan := Updater{b.looker()}.Try(t.Context(), b.plan(PlanOptions{}, "int.example.org"))
	if plan.Blocked() || len(plan.Changes()) != 1 {
		t.Errorf("%s%v", plan.Diff(), plan.Findings)
	}
}

// TestTryMessage: its prerequisites cannot both hold, and what it asks for is
// what is there.
func TestTryMessage(t *testing.T) {
	before := Records{{Type: "A", TTL: 600, Values: []string{"10.0.0.13"}}, {Type: "AAAA", TTL: 60, Values: []string{"2001:db8::13"}}}
	after := Records{{Type: "A", TTL: 600, Values: []string{"10.0.0.10"}}}
	m, err := tryMessage("example.org", "api.example.org", before, after)
	if err != nil {
		t.Fatal(err)
	}
	if got := shown(m.Answer); !slices.Equal(got, []string{"0 CLASS255 A", "0 NONE A"}) {
		t.Errorf("prerequisites: %q", got)
	}
	if got := shown(m.Ns); !slices.Equal(got, []string{"600 IN A 10.0.0.13", "60 IN AAAA 2001:db8::13"}) {
		t.Errorf("updates: %q", got)
	}
	if m, err = tryMessage("example.org", "api.example.org", after, before); err != nil {
		t.Fatal(err)
	}
	if got := shown(m.Ns); !slices.Equal(got, []string{"600 IN A 10.0.0.10", "0 CLASS255 AAAA"}) {
		t.Errorf("updates: %q", got)
	}
}

// TestNotAuthSignature: a NOTAUTH that is signed has to be signed right, and what
// it says of the clock or the zone is not believed otherwise.
func TestNotAuthSignature(t *testing.T) {
	key := Key{Name: "k", Algorithm: "hmac-sha256", secret: strings.Repeat("QUJD", 10)}
	for _, c := range []struct {
		name   string
		secret string
		fault  uint16
		want   string // "" is for good
	}{
		{"right", key.secret, 0, ""},
		{"right, and the clock", key.secret, dns.RcodeBadTime, "BADTIME"},
		{"another secret", strings.Repeat("REVG", 10), 0, "the signature of its reply is not that of the key k (hmac-sha256)"},
		{"another secret, and the clock", strings.Repeat("REVG", 10), dns.RcodeBadTime, "the signature of its reply is not that"},
	} {
		q := query("example.org", dns.TypeSOA, false, true)
		_, mac, err := packed(q, &key, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r := new(dns.Msg)
		r.SetRcode(q, dns.RcodeNotAuth)
		r.Extra = nil
		r.SetTsig("k.", dns.HmacSHA256, fudge, time.Now().Unix())
		r.IsTsig().Error = c.fault
		wire, _, err := dns.TsigGenerate(r, c.secret, mac, false)
		if err != nil {
			t.Fatal(err)
		}
		got := new(dns.Msg)
		if err := got.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		err = checkSigned(wire, got, key, mac, dns.OpcodeQuery)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
